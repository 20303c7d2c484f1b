//! The roots that expressions of an execution start from (`pipeline`, `stage`, `service`, `env`,
//! `infra`, …).
//!
//! Values keep the expressions they were written with: the evaluator resolves them when something
//! uses them, so that a field that nothing uses cannot fail.

use serde_json::{Map, Value, json};
use sortie_expression::{Context, Lookup};
use sortie_store::{Execution, Scope};
use sortie_workflow::{Node, NodePath, Plan, Stage, State, Step};

use super::fault::Fault;
use super::parameters::{PipelineParameters, StageParameters, StepParameters, VariableParameter};

/// The roots of one step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Roots(Map<String, Value>);

impl Roots {
    /// What is known before any entity is read.
    pub(super) fn of_execution(execution: &Execution, plan: &Plan, state: &State) -> Self {
        let mut roots = Map::new();
        roots.insert(
            "account".to_owned(),
            json!({"identifier": "account", "name": "account"}),
        );
        let Scope { org, project } = &execution.scope;
        for (root, identifier) in [("org", org), ("project", project)] {
            if let Some(identifier) = identifier {
                roots.insert(
                    root.to_owned(),
                    json!({"identifier": identifier, "name": identifier}),
                );
            }
        }
        let parameters: PipelineParameters = parameters(&plan.parameters);
        let stages: Map<String, Value> = plan
            .stages
            .iter()
            .map(|stage| (stage.info.id.clone(), stage_value(stage, state)))
            .collect();
        roots.insert(
            "pipeline".to_owned(),
            json!({
                "identifier": plan.pipeline.id,
                "name": plan.pipeline.name,
                "description": parameters.description,
                "tags": parameters.tags,
                "variables": variables(&parameters.variables),
                "executionId": execution.id,
                "sequenceId": execution.sequence,
                "startTs": execution.created_at.as_millisecond(),
                "triggerType": "MANUAL",
                "triggeredBy": {"name": execution.requested_by},
                "executionMode": "NORMAL",
                "orgIdentifier": org,
                "projectIdentifier": project,
                "stages": stages,
            }),
        );
        Self(roots)
    }

    /// Adds what is around the step: `stage`, `execution`, `steps`, `stepGroup`, `step`.
    pub(super) fn enter(&mut self, stage: &Stage, step: &Step, node: &NodePath, state: &State) {
        let value = stage_value(stage, state);
        let execution = value.pointer("/spec/execution").cloned();
        let execution = execution.unwrap_or_default();
        let list = if node.is_rollback() {
            "rollbackSteps"
        } else {
            "steps"
        };
        let (steps, group) = steps_in_reach(&execution, list, node);
        self.set("execution", execution);
        self.set("steps", steps);
        self.set("stage", value);
        let parameters: StepParameters = parameters(&step.parameters);
        if let Some(mut group) = group {
            if let Some(group) = group.as_object_mut() {
                group.insert(
                    "variables".to_owned(),
                    variables(&parameters.group_variables),
                );
            }
            self.set("stepGroup", group);
        }
        self.set(
            "step",
            json!({
                "identifier": step.info.id,
                "name": step.info.name,
                "type": step.step_type,
                "spec": parameters.spec,
            }),
        );
    }

    /// Sets a root.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Resolves a text; `field` names it in errors.
    pub(super) fn text(&self, field: &str, text: &str) -> Result<String, Fault> {
        if !sortie_expression::has_expressions(text) {
            return Ok(text.to_owned());
        }
        sortie_expression::evaluate_text(text, self)
            .map_err(|error| Fault::expression(field, &error))
    }

    /// Resolves a field that is true or false; absent is false.
    pub(super) fn flag(&self, field: &str, value: Option<&Value>) -> Result<bool, Fault> {
        let resolved = match value {
            None | Some(Value::Null) => return Ok(false),
            Some(Value::String(text)) => sortie_expression::evaluate_typed(text, self)
                .map_err(|error| Fault::expression(field, &error))?,
            Some(value) => value.clone(),
        };
        match resolved {
            Value::Bool(flag) => Ok(flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Fault::mismatch(format!("{field} must be true or false"))),
        }
    }

    /// Resolves a field that is a whole number from 0; absent is `None`.
    pub(super) fn count(&self, field: &str, value: Option<&Value>) -> Result<Option<u32>, Fault> {
        let resolved = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => sortie_expression::evaluate_typed(text, self)
                .map_err(|error| Fault::expression(field, &error))?,
            Some(value) => value.clone(),
        };
        let number = match &resolved {
            Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let wrong = || Fault::mismatch(format!("{field} must be a whole number from 0"));
        number.map(Some).ok_or_else(wrong)
    }

    /// Resolves a list of texts, which may be one expression.
    pub(super) fn list(&self, field: &str, value: &Value) -> Result<Vec<String>, Fault> {
        let wrong = || Fault::mismatch(format!("{field} must be a list of texts"));
        let items = match value {
            Value::Null => return Ok(Vec::new()),
            Value::Array(items) => items.clone(),
            Value::String(text) => {
                let resolved = sortie_expression::evaluate_typed(text, self)
                    .map_err(|error| Fault::expression(field, &error))?;
                match resolved {
                    Value::Array(items) => items,
                    _ => return Err(wrong()),
                }
            }
            _ => return Err(wrong()),
        };
        items
            .iter()
            .map(|item| match item {
                Value::String(text) => self.text(field, text),
                _ => Err(wrong()),
            })
            .collect()
    }

    /// The roots as the snapshot a delegate works with.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        // A map of plain JSON values always has a text.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// Roots from a snapshot.
    pub(super) fn from_snapshot(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().map(Self)
    }
}

impl Context for Roots {
    fn resolve(&self, path: &[String]) -> Lookup {
        let Some((root, rest)) = path.split_first() else {
            return Lookup::Undefined;
        };
        match self.0.get(root) {
            Some(value) => Lookup::within(value, rest),
            None => Lookup::Undefined,
        }
    }
}

/// Variables as a map.
pub(super) fn variables(variables: &[VariableParameter]) -> Value {
    variables
        .iter()
        .map(|variable| (variable.name.clone(), variable.value.clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// What the plan keeps for the driver; an older plan may lack fields.
pub(super) fn parameters<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}

/// The steps that `<+steps.…>` reaches from a node (those of its own group first, then of the groups
/// around it, then of the stage), and its innermost group.
fn steps_in_reach(execution: &Value, list: &str, node: &NodePath) -> (Value, Option<Value>) {
    let none = Map::new();
    let mut level = execution.get(list).and_then(Value::as_object);
    let mut reach = level.unwrap_or(&none).clone();
    let mut group = None;
    let below = node.as_str().split_once(&format!(".execution.{list}."));
    let (_, below) = below.unwrap_or_default();
    let mut elements: Vec<_> = below.split(".steps.").collect();
    elements.pop();
    for identifier in elements {
        let inner = level.and_then(|level| level.get(identifier));
        group = inner;
        level = inner.and_then(|inner| inner.get("steps")?.as_object());
        reach.extend(level.unwrap_or(&none).clone());
    }
    (reach.into(), group.cloned())
}

fn stage_value(stage: &Stage, state: &State) -> Value {
    let path = NodePath::stage(&stage.info.id);
    let parameters: StageParameters = parameters(&stage.parameters);
    let steps = steps_value(&stage.steps, state, &|id| path.step(id));
    let rollback = steps_value(&stage.rollback_steps, state, &|id| path.rollback_step(id));
    let mut value = node_value(
        &stage.info.id,
        &stage.info.name,
        &stage.stage_type,
        &path,
        state,
    );
    value.insert("variables".to_owned(), variables(&parameters.variables));
    value.insert(
        "spec".to_owned(),
        json!({
            "service": {"serviceRef": parameters.service},
            "environment": {"environmentRef": parameters.environment},
            "execution": {"steps": steps, "rollbackSteps": rollback},
        }),
    );
    value.into()
}

fn steps_value(nodes: &[Node], state: &State, path: &dyn Fn(&str) -> NodePath) -> Value {
    let mut steps = Map::new();
    for node in nodes {
        match node {
            Node::Step(step) => {
                let path = path(&step.info.id);
                let value = node_value(
                    &step.info.id,
                    &step.info.name,
                    &step.step_type,
                    &path,
                    state,
                );
                steps.insert(step.info.id.clone(), value.into());
            }
            Node::Group(group) => {
                let path = path(&group.info.id);
                let mut value =
                    node_value(&group.info.id, &group.info.name, "StepGroup", &path, state);
                let children = steps_value(&group.steps, state, &|id| path.child(id));
                value.insert("steps".to_owned(), children);
                steps.insert(group.info.id.clone(), value.into());
            }
            Node::Parallel { members } => {
                if let Value::Object(members) = steps_value(members, state, path) {
                    steps.extend(members);
                }
            }
        }
    }
    steps.into()
}

fn node_value(
    id: &str,
    name: &str,
    kind: &str,
    path: &NodePath,
    state: &State,
) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("identifier".to_owned(), id.into());
    value.insert("name".to_owned(), name.into());
    value.insert("type".to_owned(), kind.into());
    let Some(known) = state.node(path) else {
        return value;
    };
    value.insert("status".to_owned(), json!(known.status));
    value.insert("currentStatus".to_owned(), json!(known.status));
    value.insert("startTs".to_owned(), known.started.as_millisecond().into());
    if let Some(ended) = known.ended {
        value.insert("endTs".to_owned(), ended.as_millisecond().into());
    }
    if known.outputs.is_object() {
        value.insert("output".to_owned(), known.outputs.clone());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_the_own_group_are_nearest() {
        let execution = json!({"steps": {
            "a": {"is": "stage"},
            "b": {"is": "stage"},
            "outer": {"is": "outer", "steps": {
                "b": {"is": "outer"},
                "inner": {"is": "inner", "steps": {"c": {"is": "inner"}, "a": {"is": "inner"}}},
            }},
        }});
        let stage = NodePath::stage("s");
        let check = |node: NodePath, expected: [&str; 2], group: Option<&str>| {
            let (steps, found) = steps_in_reach(&execution, "steps", &node);
            let is = |step: &str| steps[step]["is"].as_str().map(str::to_owned);
            assert_eq!(
                [is("a"), is("b")],
                expected.map(|text| Some(text.to_owned())),
                "{node}"
            );
            assert_eq!(
                found.as_ref().and_then(|group| group["is"].as_str()),
                group,
                "{node}"
            );
        };
        check(stage.step("a"), ["stage", "stage"], None);
        let outer = stage.step("outer");
        check(outer.child("b"), ["stage", "outer"], Some("outer"));
        check(
            outer.child("inner").child("c"),
            ["inner", "outer"],
            Some("inner"),
        );
        let (steps, group) = steps_in_reach(&execution, "rollbackSteps", &stage.rollback_step("r"));
        assert_eq!((steps, group), (json!({}), None));
    }
}
