//! Reading pipelines and their stages.

use std::collections::HashSet;

use super::Pipeline;
use super::failure;
use super::stage::{DeploymentStage, EnvironmentChoice, Stage, StageNode, StageSpec};
use super::step_reading::read_steps;
use crate::entity::Kind;
use crate::field::{Field, TextField};
use crate::parse;
use crate::path;
use crate::problem::Code;
use crate::reader::fields::{text_of, unknown_value};
use crate::reader::{Context, Fields};
use crate::reference::{EntityRef, RefField};
use crate::service::{DeploymentType, reading::unique};
use crate::variable;
use crate::yaml::Node;

impl Pipeline {
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        fields.accept(&[
            "allowStageExecutions",
            "fixedInputsOnRerun",
            "properties",
            "stages",
        ]);
        let variables = variable::read_all(fields, cx);
        let timeout = fields.duration("timeout", cx);
        let delegate_selectors = fields.texts("delegateSelectors", cx);
        fields.not_runnable(&["template", "flowControl"], cx);
        fields.no_effect(&["notificationRules", "enforce"], cx);
        let by_template = fields.node("template").is_some();
        if fields.node("stages").is_none_or(|node| node.is_empty()) && !by_template {
            fields.missing("stages", cx);
        }
        let mut seen = HashSet::new();
        let stages = stages(fields.items("stages", cx), &mut seen, cx);
        Some(Self {
            stages,
            variables,
            timeout,
            delegate_selectors,
        })
    }
}

fn stages(
    items: Vec<(&Node, String)>,
    seen: &mut HashSet<String>,
    cx: &mut Context<'_>,
) -> Vec<StageNode> {
    let mut nodes = Vec::new();
    for (node, path) in items {
        let Some(mut item) = Fields::open(node, path, cx) else {
            continue;
        };
        item.accept(&["stage", "parallel", "insert"]);
        if item.node("stage").is_some() {
            if let Some(mut fields) = item.map("stage", cx) {
                let stage = Stage::read(&mut fields, seen, cx);
                fields.finish(cx);
                nodes.extend(stage.map(|stage| StageNode::Stage(Box::new(stage))));
            }
        } else if item.node("parallel").is_some() {
            item.not_runnable(&["parallel"], cx);
            let inner = item.items("parallel", cx);
            nodes.push(StageNode::Parallel(stages(inner, seen, cx)));
        } else if item.node("insert").is_some() {
            item.not_runnable(&["insert"], cx);
        } else {
            item.missing("stage", cx);
        }
        item.finish(cx);
    }
    nodes
}

/// Stage types of Harness beside Deployment.
const LATER: [&str; 8] = [
    "Approval",
    "Custom",
    "CI",
    "FeatureFlag",
    "SecurityTests",
    "Pipeline",
    "IACM",
    "IDP",
];

impl Stage {
    fn read(
        fields: &mut Fields<'_>,
        seen: &mut HashSet<String>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let identifier = parse::identifier(fields, cx);
        if let Some(identifier) = &identifier {
            unique(seen, identifier, "stage", &fields.path_of("identifier"), cx);
        }
        let name = parse::name(fields, cx);
        fields.accept(&[
            "description",
            "spec",
            "type",
            "failureStrategies",
            "template",
        ]);
        parse::tags(fields, cx);
        let variables = variable::read_all(fields, cx);
        let timeout = fields.duration("timeout", cx);
        let delegate_selectors = fields.texts("delegateSelectors", cx);
        fields.not_runnable(&["when", "strategy"], cx);
        fields.no_effect(&["skipInstances", "runMode", "enforce"], cx);
        let spec = StageSpec::read(fields, cx);
        let deploys = matches!(spec, Some(StageSpec::Deployment(_)));
        if deploys && fields.node("failureStrategies").is_none() {
            fields.missing("failureStrategies", cx);
        }
        let failure_strategies = failure::read_all(fields, cx);
        Some(Self {
            identifier: identifier?,
            name: name?,
            spec: spec?,
            variables,
            failure_strategies,
            timeout,
            delegate_selectors,
            path: fields.path.clone(),
            position: fields.position,
        })
    }
}

impl StageSpec {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if fields.node("template").is_some() {
            fields.not_runnable(&["template"], cx);
            return Some(Self::Unsupported {
                stage_type: "template".to_owned(),
            });
        }
        let kind = fields.required_fixed_text("type", cx)?;
        if kind.value == "Deployment" {
            let mut spec = fields.required_map("spec", cx)?;
            let stage = DeploymentStage::read(&mut spec, cx);
            spec.finish(cx);
            return stage.map(|stage| Self::Deployment(Box::new(stage)));
        }
        let path = fields.path_of("type");
        if !LATER.contains(&kind.as_str()) {
            unknown_value(
                &path,
                &kind,
                &[&["Deployment"], LATER.as_slice()].concat(),
                cx,
            );
            return None;
        }
        let message = format!(
            "stages of type `{}` are kept, and cannot be run yet",
            kind.value
        );
        cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
        Some(Self::Unsupported {
            stage_type: kind.value,
        })
    }
}

impl DeploymentStage {
    fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        spec.accept(&["deploymentMetadata", "execution", "gitOpsEnabled"]);
        let deployment_type = DeploymentType::read(spec, "deploymentType", cx);
        if spec.fixed_flag("gitOpsEnabled", cx) == Some(true) {
            let message =
                "GitOps stages are kept, and cannot be run; set `gitOpsEnabled: false`".to_owned();
            let path = spec.path_of("gitOpsEnabled");
            cx.not_runnable(
                Code::NotRunnable,
                &path,
                spec.position_of("gitOpsEnabled"),
                message,
            );
        }
        spec.no_effect(&["multiDeploymentConfig"], cx);
        spec.not_runnable(&["customDeploymentRef"], cx);
        one_of(spec, &["service", "services", "serviceConfig"], cx);
        one_of(
            spec,
            &[
                "environment",
                "environments",
                "environmentGroup",
                "infrastructure",
            ],
            cx,
        );
        let later = [
            "services",
            "serviceConfig",
            "environments",
            "environmentGroup",
            "infrastructure",
        ];
        spec.not_runnable(&later, cx);
        let service = spec.map("service", cx).and_then(|mut service| {
            let read = service_choice(&mut service, cx);
            service.finish(cx);
            read
        });
        let environment = spec.map("environment", cx).and_then(|mut environment| {
            let read = EnvironmentChoice::read(&mut environment, cx);
            environment.finish(cx);
            read
        });
        let mut execution = spec.required_map("execution", cx)?;
        let mut seen = HashSet::new();
        let steps = read_steps(&mut execution, "steps", true, &mut seen, cx);
        // Rollback steps may repeat the identifiers of steps.
        let rollback_steps = read_steps(
            &mut execution,
            "rollbackSteps",
            false,
            &mut HashSet::new(),
            cx,
        );
        execution.finish(cx);
        Some(Self {
            deployment_type: deployment_type?,
            service,
            environment,
            steps,
            rollback_steps,
        })
    }
}

/// Exactly one of some fields must be there.
fn one_of(spec: &mut Fields<'_>, names: &[&'static str], cx: &mut Context<'_>) {
    let present: Vec<_> = names
        .iter()
        .copied()
        .filter(|name| spec.node(name).is_some())
        .collect();
    match present.as_slice() {
        [_] => {}
        [] => {
            if let Some(name) = names.first() {
                spec.missing(name, cx);
            }
        }
        [first, second, ..] => {
            let message = format!("`{first}` and `{second}` exclude each other; remove one");
            cx.error(
                Code::Conflict,
                &spec.path_of(second),
                spec.position_of(second),
                message,
            );
        }
    }
}

fn service_choice(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<RefField> {
    fields.accept(&["serviceRef", "disableArtifactValidation", "metadata"]);
    fields.not_runnable(
        &[
            "serviceInputs",
            "useFromStage",
            "gitBranch",
            "failureStrategies",
        ],
        cx,
    );
    if fields.node("useFromStage").is_some() {
        return None;
    }
    fields.required_reference("serviceRef", Kind::Service, cx)
}

impl EnvironmentChoice {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        fields.accept(&[
            "environmentRef",
            "infrastructureDefinitions",
            "infrastructureDefinition",
            "metadata",
        ]);
        let later = [
            "environmentInputs",
            "serviceOverrideInputs",
            "servicesOverrides",
            "provisioner",
            "useFromStage",
            "filters",
            "failureStrategies",
            "gitBranch",
            "gitOpsClusters",
        ];
        fields.not_runnable(&later, cx);
        if fields.node("useFromStage").is_some() {
            return None;
        }
        let to_all = fields
            .flag("deployToAll", cx)
            .is_some_and(|flag| flag.value != Field::Value(false));
        if to_all {
            let message =
                "`deployToAll` is kept, and cannot be run yet; name one infrastructure".to_owned();
            let path = fields.path_of("deployToAll");
            cx.not_runnable(
                Code::NotRunnable,
                &path,
                fields.position_of("deployToAll"),
                message,
            );
        }
        let environment = fields.required_reference("environmentRef", Kind::Environment, cx);
        let infrastructures = infrastructures(fields, environment.as_ref(), to_all, cx);
        Some(Self {
            environment: environment?,
            infrastructures,
        })
    }
}

fn infrastructures(
    fields: &mut Fields<'_>,
    environment: Option<&RefField>,
    to_all: bool,
    cx: &mut Context<'_>,
) -> Vec<TextField> {
    let mut items = fields.items("infrastructureDefinitions", cx);
    if let Some(node) = fields.node("infrastructureDefinition") {
        items.push((node, fields.path_of("infrastructureDefinition")));
    }
    let whole = fields
        .node("infrastructureDefinitions")
        .is_some_and(|node| !node.is_empty());
    if items.is_empty() && !to_all && !whole {
        fields.missing("infrastructureDefinitions", cx);
    }
    let mut found = Vec::new();
    for (node, path) in items {
        let Some(mut item) = Fields::open(node, path, cx) else {
            continue;
        };
        let path = item.path_of("identifier");
        let identifier = item
            .required_fixed_text("identifier", cx)
            .and_then(|_| item.node("identifier"));
        if let Some(node) = identifier {
            found.extend(infrastructure(node, &path, environment, cx));
        }
        item.not_runnable(&["inputs"], cx);
        item.accept(&["metadata"]);
        item.finish(cx);
    }
    if let Some(second) = found.get(1) {
        let message = "several infrastructures in one stage are kept, and cannot be run yet; use one stage for each";
        let path = fields.path_of("infrastructureDefinitions");
        let at: &TextField = second;
        cx.not_runnable(
            Code::NotRunnable,
            &path::item(&path, 1),
            at.position,
            message.to_owned(),
        );
    }
    found
}

fn infrastructure(
    node: &Node,
    path: &str,
    environment: Option<&RefField>,
    cx: &mut Context<'_>,
) -> Option<TextField> {
    let field = text_of(node, path, cx)?;
    cx.runtime_input(node, field.value.text(), path);
    if let Field::Value(text) = &field.value {
        if !crate::identifier::is_identifier(text) {
            let message = format!(
                "`{}` cannot be the identifier of an infrastructure",
                path::clip(text)
            );
            cx.error(Code::InvalidReference, path, field.position, message);
            return None;
        }
        // An infrastructure is where its environment is.
        if let Some(Field::Value(environment)) = environment.map(|field| &field.value) {
            let target = EntityRef {
                level: environment.level,
                identifier: text.clone(),
            };
            let environment = Some(environment.identifier.clone());
            cx.refer(
                Kind::Infrastructure,
                target,
                environment,
                path.to_owned(),
                field.position,
            );
        }
    }
    Some(field)
}
