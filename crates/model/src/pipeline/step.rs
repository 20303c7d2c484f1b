//! Steps, groups of steps and parallel blocks.

use std::time::Duration;

use super::failure::FailureStrategy;
use super::spec::StepSpec;
use crate::field::{Field, ListField};
use crate::position::{Located, Position};
use crate::variable::Variable;

/// One item of `steps`.
#[derive(Clone, Debug)]
pub enum StepNode {
    /// `step:`
    Step(Box<Step>),
    /// `stepGroup:`
    Group(Box<StepGroup>),
    /// `parallel:`
    Parallel(Vec<Self>),
}

/// A step.
#[derive(Clone, Debug)]
pub struct Step {
    /// `identifier`
    pub identifier: Located<String>,
    /// `name`
    pub name: String,
    /// `type` as written.
    pub step_type: Located<String>,
    /// The typed `spec`.
    pub spec: StepSpec,
    /// Limit for the step; Harness uses ten minutes when there is none.
    pub timeout: Option<Located<Field<Duration>>>,
    /// What to do when it fails.
    pub failure_strategies: Vec<FailureStrategy>,
    /// Delegates that may run it.
    pub delegate_selectors: ListField,
    /// The whole `spec` as JSON, with its expressions.
    pub parameters: serde_json::Value,
    /// Path of the step in the document.
    pub path: String,
    /// Where it starts.
    pub position: Position,
}

/// A group of steps, run one after the other.
#[derive(Clone, Debug)]
pub struct StepGroup {
    /// `identifier`
    pub identifier: Located<String>,
    /// `name`
    pub name: String,
    /// Its steps; at least one.
    pub steps: Vec<StepNode>,
    /// What to do when a step in it fails and does not say so itself.
    pub failure_strategies: Vec<FailureStrategy>,
    /// Variables of the group.
    pub variables: Vec<Variable>,
    /// Delegates that may run its steps.
    pub delegate_selectors: ListField,
    /// Path of the group in the document.
    pub path: String,
    /// Where it starts.
    pub position: Position,
}
