//! Pipelines.

pub mod failure;
mod reading;
pub mod spec;
pub mod stage;
pub mod step;
mod step_reading;
mod step_type;

pub use failure::{FailureAction, FailureStrategy, FailureType};
pub use spec::StepSpec;
pub use stage::{DeploymentStage, EnvironmentChoice, Stage, StageNode, StageSpec};
pub use step::{Step, StepGroup, StepNode};
pub use step_type::StepType;

use std::time::Duration;

use crate::field::{Field, ListField};
use crate::position::Located;
use crate::variable::Variable;

/// A pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Stages, one after the other.
    pub stages: Vec<StageNode>,
    /// `<+pipeline.variables.…>`
    pub variables: Vec<Variable>,
    /// Limit for the whole execution.
    pub timeout: Option<Located<Field<Duration>>>,
    /// Delegates that may run its steps, unless a stage or step says otherwise.
    pub delegate_selectors: ListField,
}
