//! Reading steps, groups and parallel blocks.

use std::collections::HashSet;

use super::failure;
use super::step::{RollingDeploy, RollingRollback, Step, StepGroup, StepNode, StepSpec};
use super::step_type::StepType;
use crate::field::{Field, TextField};
use crate::parse;
use crate::path;
use crate::problem::Code;
use crate::reader::{Context, Fields};
use crate::service::reading::unique;
use crate::suggest;
use crate::variable;
use crate::yaml::Node;
use crate::yaml::json::to_json;

/// Step types of the published schema that cannot be run yet.
const LATER: [&str; 34] = [
    "AIVerifyNG",
    "Barrier",
    "CustomApproval",
    "DownloadManifests",
    "Email",
    "HarnessApproval",
    "HelmBGDeploy",
    "HelmBlueGreenSwapStep",
    "HelmCanaryDelete",
    "HelmCanaryDeploy",
    "HelmDelete",
    "HelmDeploy",
    "HelmRollback",
    "Http",
    "K8sApply",
    "K8sBGSwapServices",
    "K8sBlueGreenDeploy",
    "K8sBlueGreenStageScaleDown",
    "K8sBlueGreenStageScaleUp",
    "K8sCanaryDelete",
    "K8sCanaryDeploy",
    "K8sDelete",
    "K8sDiff",
    "K8sDryRun",
    "K8sPatch",
    "K8sProgressiveCanaryRollback",
    "K8sRollout",
    "K8sScale",
    "K8sTrafficRouting",
    "Policy",
    "Queue",
    "ShellScript",
    "Verify",
    "Wait",
];

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
        Some(Self {
            identifier: identifier?,
            name: name?,
            step_type,
            spec: spec?,
            timeout,
            failure_strategies,
            parameters,
            path: fields.path.clone(),
            position: fields.position,
        })
    }
}

/// A whole number from 0, or an expression.
fn count(fields: &mut Fields<'_>, name: &'static str, cx: &mut Context<'_>) -> Option<TextField> {
    let field = fields.text(name, cx)?;
    if let Field::Value(text) = &field.value
        && text.parse::<u32>().is_err()
    {
        let message = "a whole number from 0 is needed here".to_owned();
        cx.error(
            Code::WrongType,
            &fields.path_of(name),
            field.position,
            message,
        );
        return None;
    }
    Some(field)
}

impl StepSpec {
    fn read(step_type: &str, fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if let Some(known) = StepType::from_name(step_type) {
            let mut spec = fields.required_map("spec", cx)?;
            let read = match known {
                StepType::RollingDeploy => Self::RollingDeploy(RollingDeploy {
                    skip_dry_run: spec.flag("skipDryRun", cx),
                    pruning_enabled: spec.flag("pruningEnabled", cx),
                    prune_limit: count(&mut spec, "pruneLimit", cx),
                    adopt: spec.flag("adopt", cx),
                    replace: spec.flag("replace", cx),
                    skip_job_wait: spec.flag("skipJobWait", cx),
                    delegate_selectors: spec.texts("delegateSelectors", cx),
                }),
                StepType::RollingRollback => {
                    // Written by older pipelines; a rollback has no dry run.
                    spec.accept(&["skipDryRun"]);
                    Self::RollingRollback(RollingRollback {
                        pruning_enabled: spec.flag("pruningEnabled", cx),
                        delete_storage: spec.flag("deleteStorage", cx),
                        delegate_selectors: spec.texts("delegateSelectors", cx),
                    })
                }
            };
            spec.no_effect(&["commandFlags"], cx);
            spec.finish(cx);
            return Some(read);
        }
        let path = fields.path_of("type");
        let at = fields.position_of_value("type");
        if LATER.contains(&step_type) {
            let message = format!("steps of type `{step_type}` are kept, and cannot be run yet");
            cx.not_runnable(Code::StepNotRunnable, &path, at, message);
            return Some(Self::Unsupported);
        }
        let shown = path::clip(step_type);
        let known = LATER.into_iter().chain(StepType::ALL.map(StepType::name));
        let message = match suggest::nearest(step_type, known) {
            Some(nearest) => format!("there is no step type `{shown}`; was `{nearest}` meant?"),
            None => format!(
                "there is no step type `{shown}`; see the documentation for the types there are"
            ),
        };
        cx.error(Code::UnknownStep, &path, at, message);
        None
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
