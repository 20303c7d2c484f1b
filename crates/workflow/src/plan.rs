//! The compiled pipeline: what one execution runs, fixed at its start.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::place::{Item, places};
use crate::{FailureStrategy, NodePath};

/// A compiled pipeline. Stored with the execution and never changed while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// [`crate::FORMAT`] of the build that compiled it.
    pub format: u32,
    /// Identifier and name of the pipeline.
    pub pipeline: NodeInfo,
    /// What the driver needs to know about the pipeline as a whole (variables, tags); opaque to the engine.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    /// Run one after the other.
    pub stages: Vec<Stage>,
}

impl Plan {
    /// The step at a path.
    pub fn step(&self, node: &NodePath) -> Option<&Step> {
        self.steps()
            .into_iter()
            .find(|(path, _)| path == node)
            .map(|(_, step)| step)
    }

    /// The stage that a node is or belongs to.
    pub fn stage(&self, node: &NodePath) -> Option<&Stage> {
        let id = node.stage_id()?;
        self.stages.iter().find(|stage| stage.info.id == id)
    }

    /// Every step with its path, in the order in which they run; rollback steps after the steps of their stage.
    pub fn steps(&self) -> Vec<(NodePath, &Step)> {
        let mut steps = Vec::new();
        for place in places(self) {
            if let Item::Step(step) = place.item {
                steps.push((place.path, step));
            }
        }
        steps
    }
}

/// Identifier and display name of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// Identifier, unique among its siblings (members of parallel blocks count as siblings of the block).
    pub id: String,
    /// Name shown to people.
    pub name: String,
}

/// A stage: `steps`, and `rollback_steps` for when a failure strategy asks for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Identifier and name.
    #[serde(flatten)]
    pub info: NodeInfo,
    /// The type written in YAML, such as `Deployment`; shown to people.
    pub stage_type: String,
    /// Service, environment and the like; opaque to the engine.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    /// Run one after the other.
    pub steps: Vec<Node>,
    /// Run one after the other after a failure with action `StageRollback`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollback_steps: Vec<Node>,
    /// Apply to every step of the stage, `rollback_steps` excluded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_strategies: Vec<FailureStrategy>,
    /// At which pipeline status the stage runs; by default [`When::Success`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// An entry of a list of steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Node {
    /// A step that a delegate or the control plane executes.
    Step(Step),
    /// A step group: its children run one after the other.
    Group(Group),
    /// A parallel block: its members start together, and what follows it waits for all of them. It has no
    /// identifier and no path element, as in Harness YAML.
    Parallel {
        /// Steps and groups; a parallel block cannot directly hold another one.
        members: Vec<Self>,
    },
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Identifier and name.
    #[serde(flatten)]
    pub info: NodeInfo,
    /// The type written in YAML, such as `K8sRollingDeploy`.
    pub step_type: String,
    /// How long the step may take from being started by the engine, time in queues included. In milliseconds
    /// when serialised.
    #[serde(rename = "timeoutMs", with = "millis")]
    pub timeout: Duration,
    /// Override those of the group and the stage, per failure type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_strategies: Vec<FailureStrategy>,
    /// At which stage status the step runs; by default [`When::Success`], in rollback steps [`When::Failure`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// When not empty, the step is skipped unless one of these steps reached a delegate. A rolling rollback
    /// names the rolling deployments of its stage here: what never began needs no rollback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_if_reached: Vec<NodePath>,
    /// The step's `spec` as written, expressions unresolved; opaque to the engine.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// A step group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Identifier and name.
    #[serde(flatten)]
    pub info: NodeInfo,
    /// Run one after the other.
    pub steps: Vec<Node>,
    /// Override those of the stage, per failure type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_strategies: Vec<FailureStrategy>,
    /// At which stage status the group runs; the default is that of [`Step::when`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// The status part of a `when` condition. For steps and groups it looks at the stage, for stages at the
/// pipeline, each as it is so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// Nothing failed so far, ignored failures aside.
    Success,
    /// Something failed.
    Failure,
    /// In both cases. Written `All` in YAML.
    All,
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
