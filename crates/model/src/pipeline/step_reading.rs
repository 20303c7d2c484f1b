//! Reading steps, groups and parallel blocks.

use std::collections::HashSet;

use super::failure;
use super::spec::StepSpec;
use super::step::{Step, StepGroup, StepNode};
use crate::parse;
use crate::problem::Code;
use crate::reader::{Context, Fields};
use crate::service::reading::unique;
use crate::variable;
use crate::yaml::Node;
use crate::yaml::json::to_json;

/// Reads a list of steps. Identifiers are unique over a whole list, groups included.
pub(crate) fn read_steps(
    fields: &mut Fields<'_>,
    name: &'static str,
    required: bool,
    seen: &mut HashSet<String>,
    cx: &mut Context<'_>,
) -> Vec<StepNode> {
    if required && fields.node(name).is_none_or(|node| node.is_empty()) {
        fields.missing(name, cx);
    }
    nodes(fields.items(name, cx), seen, cx)
}

fn nodes(
    items: Vec<(&Node, String)>,
    seen: &mut HashSet<String>,
    cx: &mut Context<'_>,
) -> Vec<StepNode> {
    let mut nodes = Vec::new();
    for (node, path) in items {
        let Some(mut item) = Fields::open(node, path, cx) else {
            continue;
        };
        nodes.extend(read_node(&mut item, seen, cx));
        item.finish(cx);
    }
    nodes
}

fn read_node(
    item: &mut Fields<'_>,
    seen: &mut HashSet<String>,
    cx: &mut Context<'_>,
) -> Option<StepNode> {
    item.accept(&["step", "stepGroup", "parallel", "insert"]);
    let present = ["step", "stepGroup", "parallel", "insert"]
        .into_iter()
        .filter(|name| item.node(name).is_some())
        .collect::<Vec<_>>();
    if let [first, second, ..] = present.as_slice() {
        let message =
            format!("`{first}` and `{second}` are two items of the list; write `- ` before each");
        cx.error(
            Code::Conflict,
            &item.path_of(second),
            item.position_of(second),
            message,
        );
    }
    match present.first().copied() {
        Some("step") => {
            let mut fields = item.map("step", cx)?;
            let step = Step::read(&mut fields, seen, cx);
            fields.finish(cx);
            step.map(|step| StepNode::Step(Box::new(step)))
        }
        Some("stepGroup") => {
            let mut fields = item.map("stepGroup", cx)?;
            let group = StepGroup::read(&mut fields, seen, cx);
            fields.finish(cx);
            group.map(|group| StepNode::Group(Box::new(group)))
        }
        Some("parallel") => {
            let inner = item.items("parallel", cx);
            Some(StepNode::Parallel(self::nodes(inner, seen, cx)))
        }
        Some(_) => {
            item.not_runnable(&["insert"], cx);
            None
        }
        None => {
            item.missing("step", cx);
            None
        }
    }
}

impl Step {
    fn read(
        fields: &mut Fields<'_>,
        seen: &mut HashSet<String>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let identifier = parse::identifier(fields, cx);
        if let Some(identifier) = &identifier {
            unique(seen, identifier, "step", &fields.path_of("identifier"), cx);
        }
        let name = parse::name(fields, cx);
        fields.accept(&["description", "spec", "type"]);
        let timeout = fields.duration("timeout", cx);
        fields.not_runnable(&["when", "strategy"], cx);
        fields.no_effect(&["enforce"], cx);
        let failure_strategies = failure::read_all(fields, cx);
        let parameters = fields.node("spec").map(to_json).unwrap_or_default();
        if fields.node("template").is_some() {
            fields.not_runnable(&["template"], cx);
            return None;
        }
        let step_type = fields.required_fixed_text("type", cx)?;
        let spec = StepSpec::read(&step_type.value, fields, cx);
        let (identifier, name, (spec, delegate_selectors)) = (identifier?, name?, spec?);
        Some(Self {
            identifier,
            name,
            step_type,
            spec,
            timeout,
            failure_strategies,
            delegate_selectors,
            parameters,
            path: fields.path.clone(),
            position: fields.position,
        })
    }
}

impl StepGroup {
    fn read(
        fields: &mut Fields<'_>,
        seen: &mut HashSet<String>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let identifier = parse::identifier(fields, cx);
        if let Some(identifier) = &identifier {
            unique(
                seen,
                identifier,
                "step group",
                &fields.path_of("identifier"),
                cx,
            );
        }
        let name = parse::name(fields, cx);
        fields.accept(&["description", "steps"]);
        let variables = variable::read_all(fields, cx);
        let delegate_selectors = fields.texts("delegateSelectors", cx);
        let failure_strategies = failure::read_all(fields, cx);
        fields.not_runnable(&["when", "strategy", "template", "stepGroupInfra"], cx);
        fields.no_effect(&["sharedPaths", "platform", "enforce"], cx);
        if fields.node("template").is_some() {
            return None;
        }
        let steps = read_steps(fields, "steps", true, seen, cx);
        Some(Self {
            identifier: identifier?,
            name: name?,
            steps,
            failure_strategies,
            variables,
            delegate_selectors,
            path: fields.path.clone(),
            position: fields.position,
        })
    }
}
