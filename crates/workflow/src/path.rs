//! Where a node stands in the pipeline.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The full name of a node as Harness expressions write it, for example
/// `pipeline.stages.deploy.spec.execution.steps.canary.steps.roll`. Parallel blocks add no element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodePath(String);

impl NodePath {
    /// The pipeline itself.
    pub fn pipeline() -> Self {
        Self("pipeline".to_owned())
    }

    /// A stage.
    pub fn stage(id: &str) -> Self {
        Self(format!("pipeline.stages.{id}"))
    }

    /// The child `id` of this stage's `execution.steps`.
    pub fn step(&self, id: &str) -> Self {
        Self(format!("{}.spec.execution.steps.{id}", self.0))
    }

    /// The child `id` of this stage's `execution.rollbackSteps`.
    pub fn rollback_step(&self, id: &str) -> Self {
        Self(format!("{}.spec.execution.rollbackSteps.{id}", self.0))
    }

    /// The child `id` of this step group.
    pub fn child(&self, id: &str) -> Self {
        Self(format!("{}.steps.{id}", self.0))
    }

    /// Whether it stands among the rollback steps of its stage.
    pub fn is_rollback(&self) -> bool {
        self.0.contains(".spec.execution.rollbackSteps.")
    }

    /// A path read from a request or a store. Whether such a node exists is for the plan to say.
    pub fn parse(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last element: the node's own identifier.
    pub fn id(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or(&self.0)
    }

    /// The identifier of the stage that this node is or belongs to; `None` for the pipeline.
    pub fn stage_id(&self) -> Option<&str> {
        self.0.strip_prefix("pipeline.stages.")?.split('.').next()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
