//! From a pipeline entity to the plan of one execution.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_model::pipeline::{
    DeploymentStage, FailureAction, FailureStrategy, Pipeline, Stage, StageNode, StageSpec, Step,
    StepNode, StepType,
};
use sortie_model::variable::{Variable, VariableValue};
use sortie_model::{Entity, EntitySpec, Field, ListField, Position, TextField};
use sortie_workflow as workflow;
use sortie_workflow::{NodeInfo, NodePath, Plan};

use super::inputs;
use super::parameters::{PipelineParameters, StageParameters, StepParameters, VariableParameter};
use crate::problem::{Code, Finding, Problem};

/// A step without a timeout gets this one, as in Harness.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Compiles a pipeline with the values that this run gives its variables.
///
/// Everything that keeps the pipeline from being run is named at once.
pub(super) fn compile(entity: &Entity, inputs: &BTreeMap<String, Value>) -> Result<Plan, Problem> {
    let EntitySpec::Pipeline(pipeline) = &entity.spec else {
        return Err(Problem::not_found(format!(
            "pipeline `{}`",
            entity.identifier
        )));
    };
    let mut compiler = Compiler {
        findings: entity
            .unsupported()
            .iter()
            .map(|unsupported| {
                finding(
                    unsupported.code.code(),
                    &unsupported.path,
                    Some(unsupported.position),
                    unsupported.message.clone(),
                )
            })
            .collect(),
    };
    let plan = compiler.plan(entity, pipeline, inputs);
    if compiler.findings.is_empty() {
        return Ok(plan);
    }
    Err(Problem::new(
        Code::NotRunnable,
        format!("pipeline `{}` cannot be run", entity.identifier),
    )
    .hint("correct what is listed, in the stored pipeline (`sortie get pipeline`, `sortie apply`) or in the values of the run, and run it again")
    .findings(compiler.findings))
}

struct Compiler {
    findings: Vec<Finding>,
}

/// What a step takes over from what is around it.
#[derive(Clone)]
struct Surroundings {
    selectors: Value,
    variables: Vec<VariableParameter>,
}

impl Compiler {
    fn plan(
        &mut self,
        entity: &Entity,
        pipeline: &Pipeline,
        inputs: &BTreeMap<String, Value>,
    ) -> Plan {
        let variables = inputs::resolve(&pipeline.variables, inputs, &mut self.findings);
        let around = Surroundings {
            selectors: list(&pipeline.delegate_selectors),
            variables: Vec::new(),
        };
        let parameters = PipelineParameters {
            description: entity.description.clone(),
            tags: json!(entity.tags),
            variables,
        };
        Plan {
            format: workflow::FORMAT,
            pipeline: NodeInfo {
                id: entity.identifier.clone(),
                name: entity.name.clone(),
            },
            parameters: to_value(&parameters),
            stages: pipeline
                .stages
                .iter()
                .filter_map(|node| match node {
                    StageNode::Stage(stage) => self.stage(stage, &around),
                    // The reader of pipelines lists these as unsupported.
                    StageNode::Parallel(_) => None,
                })
                .collect(),
        }
    }

    fn stage(&mut self, stage: &Stage, around: &Surroundings) -> Option<workflow::Stage> {
        let StageSpec::Deployment(deployment) = &stage.spec else {
            return None;
        };
        let id = stage.identifier.value.clone();
        let path = NodePath::stage(&id);
        let around = inner(around, &stage.delegate_selectors);
        let parameters = self.stage_parameters(stage, deployment)?;
        let steps = self.nodes(&deployment.steps, &around);
        let mut rollback_steps = self.nodes(&deployment.rollback_steps, &around);
        let begun = steps_of(&deployment.steps, &|id| path.step(id));
        guard_rollbacks(&mut rollback_steps, &begun);
        Some(workflow::Stage {
            info: NodeInfo {
                id,
                name: stage.name.clone(),
            },
            stage_type: "Deployment".to_owned(),
            parameters: to_value(&parameters),
            steps,
            rollback_steps,
            failure_strategies: strategies(&stage.failure_strategies),
            when: None,
        })
    }

    fn stage_parameters(
        &mut self,
        stage: &Stage,
        deployment: &DeploymentStage,
    ) -> Option<StageParameters> {
        let service = deployment.service.as_ref()?;
        let environment = deployment.environment.as_ref()?;
        let [infrastructure] = environment.infrastructures.as_slice() else {
            self.findings.push(finding(
                "SRT-E025",
                &stage.path,
                Some(stage.position),
                "the stage must name exactly one infrastructure".to_owned(),
            ));
            return None;
        };
        Some(StageParameters {
            service: reference(&service.value),
            environment: reference(&environment.environment.value),
            infrastructure: infrastructure.text().to_owned(),
            variables: variables(&stage.variables),
        })
    }

    fn nodes(&mut self, nodes: &[StepNode], around: &Surroundings) -> Vec<workflow::Node> {
        nodes
            .iter()
            .map(|node| match node {
                StepNode::Step(step) => workflow::Node::Step(self.step(step, around)),
                StepNode::Group(group) => {
                    let mut around = inner(around, &group.delegate_selectors);
                    around.variables.extend(variables(&group.variables));
                    workflow::Node::Group(workflow::Group {
                        info: NodeInfo {
                            id: group.identifier.value.clone(),
                            name: group.name.clone(),
                        },
                        steps: self.nodes(&group.steps, &around),
                        failure_strategies: strategies(&group.failure_strategies),
                        when: None,
                    })
                }
                StepNode::Parallel(members) => workflow::Node::Parallel {
                    members: self.nodes(members, around),
                },
            })
            .collect()
    }

    fn step(&mut self, step: &Step, around: &Surroundings) -> workflow::Step {
        let timeout = match step.timeout.as_ref().map(|timeout| &timeout.value) {
            None => DEFAULT_TIMEOUT,
            Some(Field::Value(timeout)) => *timeout,
            Some(Field::Expression(text)) => {
                self.findings.push(finding(
                    "SRT-E025",
                    &format!("{}.timeout", step.path),
                    Some(step.position),
                    format!("the timeout `{text}` must be a fixed duration such as `10m`"),
                ));
                DEFAULT_TIMEOUT
            }
        };
        let around = inner(around, &step.delegate_selectors);
        let parameters = StepParameters {
            spec: step.parameters.clone(),
            selectors: around.selectors,
            group_variables: around.variables,
        };
        workflow::Step {
            info: NodeInfo {
                id: step.identifier.value.clone(),
                name: step.name.clone(),
            },
            step_type: step.step_type.value.clone(),
            timeout,
            failure_strategies: strategies(&step.failure_strategies),
            when: None,
            only_if_reached: Vec::new(),
            parameters: to_value(&parameters),
        }
    }
}

/// Variables with their values; those without are undefined.
pub(super) fn variables(variables: &[Variable]) -> Vec<VariableParameter> {
    variables
        .iter()
        .filter_map(|variable| {
            Some(VariableParameter {
                name: variable.name.value.clone(),
                value: value(variable.effective()?),
            })
        })
        .collect()
}

/// A list field as JSON: a list of texts, or one expression.
pub(super) fn list(field: &ListField) -> Value {
    match &field.value {
        Field::Value(items) => items
            .iter()
            .map(|item: &TextField| Value::String(item.text().to_owned()))
            .collect(),
        Field::Expression(text) => Value::String(text.clone()),
    }
}

/// A reference as text, with its prefix.
pub(super) fn reference(field: &Field<sortie_model::EntityRef>) -> String {
    match field {
        Field::Value(reference) => reference.to_string(),
        Field::Expression(text) => text.clone(),
    }
}

pub(super) fn value(value: &VariableValue) -> Value {
    match value {
        VariableValue::Text(text) => Value::String(text.text().to_owned()),
        VariableValue::Number(number) => match &number.value {
            // Whole numbers print without a fraction.
            Field::Value(number) if number.fract() == 0.0 && number.abs() < 9.0e15 => {
                #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
                let whole = *number as i64;
                json!(whole)
            }
            Field::Value(number) => json!(number),
            Field::Expression(text) => Value::String(text.clone()),
        },
        VariableValue::Secret(secret) => match &secret.value {
            Field::Value(secret) => secret_expression(secret),
            Field::Expression(text) => Value::String(format!("<+secrets.getValue({text})>")),
        },
    }
}

/// The expression that yields a secret.
pub(super) fn secret_expression(secret: &sortie_model::EntityRef) -> Value {
    Value::String(format!("<+secrets.getValue(\"{secret}\")>"))
}

fn inner(around: &Surroundings, own: &ListField) -> Surroundings {
    let own = list(own);
    let empty = own.as_array().is_some_and(Vec::is_empty);
    Surroundings {
        selectors: if empty { around.selectors.clone() } else { own },
        variables: around.variables.clone(),
    }
}

/// The steps of known types with their paths, in groups and parallel blocks too.
fn steps_of(nodes: &[StepNode], path: &dyn Fn(&str) -> NodePath) -> Vec<(StepType, NodePath)> {
    let mut found = Vec::new();
    for node in nodes {
        match node {
            StepNode::Step(step) => {
                let known = StepType::from_name(&step.step_type.value);
                found.extend(known.map(|known| (known, path(&step.identifier.value))));
            }
            StepNode::Group(group) => {
                let group_path = path(&group.identifier.value);
                found.extend(steps_of(&group.steps, &|id| group_path.child(id)));
            }
            StepNode::Parallel(members) => found.extend(steps_of(members, path)),
        }
    }
    found
}

/// What undoes a deployment or a swap runs only when one of the stage began. What looks at its own execution's alone also
/// runs when a step began whose changes are undone first: then there is nothing else to do.
fn guard_rollbacks(nodes: &mut [workflow::Node], steps: &[(StepType, NodePath)]) {
    for node in nodes {
        match node {
            workflow::Node::Step(step) => {
                let own = StepType::from_name(&step.step_type);
                let Some(undone) = own.and_then(StepType::undoes) else {
                    continue;
                };
                let undoes_changes = matches!(
                    own,
                    Some(StepType::RollingRollback | StepType::SwapServices)
                );
                let undone = steps
                    .iter()
                    .filter(|(kind, _)| *kind == undone || undoes_changes && kind.notes_changes());
                step.only_if_reached = undone.map(|(_, path)| path.clone()).collect();
            }
            workflow::Node::Group(group) => guard_rollbacks(&mut group.steps, steps),
            workflow::Node::Parallel { members } => guard_rollbacks(members, steps),
        }
    }
}

fn strategies(strategies: &[FailureStrategy]) -> Vec<workflow::FailureStrategy> {
    strategies
        .iter()
        .filter_map(|strategy| {
            let action = match &strategy.action {
                FailureAction::Ignore => workflow::FailureAction::Ignore,
                FailureAction::MarkAsSuccess => workflow::FailureAction::MarkAsSuccess,
                FailureAction::MarkAsFailure => workflow::FailureAction::MarkAsFailure,
                FailureAction::Abort => workflow::FailureAction::Abort,
                FailureAction::StageRollback => workflow::FailureAction::StageRollback,
                FailureAction::Unsupported(_) => return None,
            };
            let errors = errors(&strategy.errors)?;
            Some(workflow::FailureStrategy { errors, action })
        })
        .collect()
}

/// The failures of a strategy; `None` when it answers none that steps have today.
fn errors(types: &[sortie_model::pipeline::FailureType]) -> Option<workflow::Errors> {
    use sortie_model::pipeline::FailureType as Written;
    use workflow::FailureType as Known;
    if types.contains(&Written::AllErrors) {
        return Some(workflow::Errors::All);
    }
    let known: Vec<_> = types
        .iter()
        .filter_map(|written| {
            Some(match written {
                Written::Unknown => Known::Unknown,
                Written::Authentication => Known::Authentication,
                Written::Connectivity => Known::Connectivity,
                Written::Timeout => Known::Timeout,
                Written::Authorization => Known::Authorization,
                Written::Verification => Known::Verification,
                Written::DelegateProvisioning => Known::DelegateProvisioning,
                Written::PolicyEvaluationFailure => Known::PolicyEvaluationFailure,
                Written::InputTimeoutError => Known::InputTimeoutError,
                Written::ApprovalRejection => Known::ApprovalRejection,
                Written::DelegateRestart => Known::DelegateRestart,
                Written::UserMarkedFailure => Known::UserMarkedFailure,
                Written::AllErrors
                | Written::InfrastructureFailure
                | Written::PluginImageFailure
                | Written::ResourceLimitsFailure
                | Written::ConfigurationFailure
                | Written::RetryableTransientFailure => return None,
            })
        })
        .collect();
    (!known.is_empty()).then_some(workflow::Errors::Of(known))
}

/// A finding about the stored pipeline, or, without a position, about the run.
pub(super) fn finding(
    code: &str,
    path: &str,
    position: Option<Position>,
    message: String,
) -> Finding {
    Finding {
        severity: "error".to_owned(),
        file: None,
        line: position.map(|position| position.line),
        column: position.map(|position| position.column),
        path: path.to_owned(),
        code: code.to_owned(),
        message,
    }
}

/// Plain data of ours always has a JSON form.
fn to_value(parameters: &impl serde::Serialize) -> Value {
    serde_json::to_value(parameters).unwrap_or_default()
}
