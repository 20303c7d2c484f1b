//! Steps of executions that were handed to a delegate: what was asked, under which task, and how
//! far it is.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{BlobHash, Result};

/// Steps that were handed out.
#[async_trait]
pub trait Steps {
    /// Stores what a step asks for, once per (execution, node, attempt). When it is there already
    /// the stored one is returned, so that a repeated start asks for the same.
    async fn record_step(&self, step: &NewStep) -> Result<StepRecord>;

    /// The step behind a task.
    async fn step_of_task(&self, task: &str) -> Result<Option<StepRecord>>;

    /// All steps of an execution in the order they were handed out.
    async fn steps_of_execution(&self, execution: &str) -> Result<Vec<StepRecord>>;

    /// Replaces the progress of a step (JSON; the last one wins). Returns whether the step exists.
    async fn put_step_progress(&self, task: &str, progress: &str) -> Result<bool>;
}

/// A step to hand out.
#[derive(Debug, Clone)]
pub struct NewStep {
    /// Id of the task.
    pub task: String,
    /// Id of the execution.
    pub execution: String,
    /// Path of the node in the plan.
    pub node: String,
    /// Attempt, from 1.
    pub attempt: i64,
    /// What is asked for, JSON.
    pub request: String,
    /// The blobs that it refers to; they stay as long as the step.
    pub blobs: Vec<BlobHash>,
    /// When.
    pub created_at: Timestamp,
}

/// A step that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Id of the task.
    pub task: String,
    /// Id of the execution.
    pub execution: String,
    /// Path of the node in the plan.
    pub node: String,
    /// Attempt, from 1.
    pub attempt: i64,
    /// What is asked for, JSON.
    pub request: String,
    /// Last progress, JSON.
    pub progress: Option<String>,
    /// When it was first handed out.
    pub created_at: Timestamp,
}
