//! Steps, groups of steps and parallel blocks.

use std::time::Duration;

use super::failure::FailureStrategy;
use crate::field::{Field, FlagField, ListField, TextField};
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
    /// The whole `spec` as JSON, with its expressions.
    pub parameters: serde_json::Value,
    /// Path of the step in the document.
    pub path: String,
    /// Where it starts.
    pub position: Position,
}

/// The steps that Sortie runs.
#[derive(Clone, Debug)]
pub enum StepSpec {
    /// `K8sRollingDeploy`
    RollingDeploy(RollingDeploy),
    /// `K8sRollingRollback`
    RollingRollback(RollingRollback),
    /// A type of the published schema that cannot be run yet.
    Unsupported,
}

/// Options of `K8sRollingDeploy`.
#[derive(Clone, Debug)]
pub struct RollingDeploy {
    /// Do not ask the server for a dry run first.
    pub skip_dry_run: Option<FlagField>,
    /// Delete objects that the release no longer holds.
    pub pruning_enabled: Option<FlagField>,
    /// How many objects pruning may delete: a number.
    pub prune_limit: Option<TextField>,
    /// Take over objects that belong to another release.
    pub adopt: Option<FlagField>,
    /// Delete objects and make them anew where a field changes that cannot change.
    pub replace: Option<FlagField>,
    /// Do not wait for the end of Jobs.
    pub skip_job_wait: Option<FlagField>,
    /// Delegates that may run it.
    pub delegate_selectors: ListField,
}

/// Options of `K8sRollingRollback`.
#[derive(Clone, Debug)]
pub struct RollingRollback {
    /// Bring back what the failed deployment pruned, and remove what it added.
    pub pruning_enabled: Option<FlagField>,
    /// Also remove volumes, claims, definitions and namespaces that the failed deployment added.
    pub delete_storage: Option<FlagField>,
    /// Delegates that may run it.
    pub delegate_selectors: ListField,
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
