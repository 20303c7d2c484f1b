//! Stages of a pipeline.

use std::time::Duration;

use super::failure::FailureStrategy;
use super::step::StepNode;
use crate::field::{Field, ListField, TextField};
use crate::position::{Located, Position};
use crate::reference::RefField;
use crate::service::DeploymentType;
use crate::variable::Variable;

/// One item of `stages`.
#[derive(Clone, Debug)]
pub enum StageNode {
    /// `stage:`
    Stage(Box<Stage>),
    /// `parallel:`, which cannot be run yet.
    Parallel(Vec<Self>),
}

/// A stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `identifier`
    pub identifier: Located<String>,
    /// `name`
    pub name: String,
    /// `type` and `spec`
    pub spec: StageSpec,
    /// `<+stage.variables.…>`
    pub variables: Vec<Variable>,
    /// What to do when a step fails and neither it nor its groups say so; the first match wins.
    pub failure_strategies: Vec<FailureStrategy>,
    /// Limit for the stage.
    pub timeout: Option<Located<Field<Duration>>>,
    /// Delegates that may run its steps.
    pub delegate_selectors: ListField,
    /// Path of the stage in the document, such as `pipeline.stages[0].stage`.
    pub path: String,
    /// Where it starts.
    pub position: Position,
}

/// The stages that Sortie runs.
#[derive(Clone, Debug)]
pub enum StageSpec {
    /// `Deployment`
    Deployment(Box<DeploymentStage>),
    /// A type that exists in Harness, or a stage template: cannot be run yet.
    Unsupported {
        /// `type`, or `template`
        stage_type: String,
    },
}

/// A stage that deploys a service to an infrastructure.
#[derive(Clone, Debug)]
pub struct DeploymentStage {
    /// `deploymentType`
    pub deployment_type: DeploymentType,
    /// `service.serviceRef`; absent only when the stage cannot be run yet.
    pub service: Option<RefField>,
    /// `environment`; absent only when the stage cannot be run yet.
    pub environment: Option<EnvironmentChoice>,
    /// What is done, in order; at least one.
    pub steps: Vec<StepNode>,
    /// What StageRollback runs, in order.
    pub rollback_steps: Vec<StepNode>,
}

/// `environment` of a deployment stage.
#[derive(Clone, Debug)]
pub struct EnvironmentChoice {
    /// `environmentRef`
    pub environment: RefField,
    /// Identifiers of the infrastructures of that environment; exactly one can be run yet.
    pub infrastructures: Vec<TextField>,
}
