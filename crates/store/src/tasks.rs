//! Tasks for delegates: the durable side of the queue.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{Result, Scope};

/// Tasks for delegates.
#[async_trait]
pub trait Tasks {
    /// Stores a task unless its id is known; returns the one that is there now.
    async fn insert_task(&self, task: &NewTask) -> Result<TaskRecord>;

    /// A task, whatever its state.
    async fn task(&self, id: &str) -> Result<Option<TaskRecord>>;

    /// Tasks that have not ended or whose end has not been told, oldest first.
    async fn untold_tasks(&self) -> Result<Vec<TaskRecord>>;

    /// Replaces who holds a task, by compare-and-set; returns the new version.
    ///
    /// # Errors
    /// [`crate::Error::Conflict`] when the version is not the stored one.
    async fn update_task(&self, change: &TaskChange) -> Result<i64>;

    /// The end of this task was told; its payload is no longer kept.
    async fn task_told(&self, id: &str, now: Timestamp) -> Result<()>;
}

/// A task to queue.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// UUID.
    pub id: String,
    /// Project of the execution.
    pub scope: Scope,
    /// What a delegate's tags must contain.
    pub selectors: Vec<String>,
    /// The task, encoded.
    pub payload: Vec<u8>,
    /// Who holds it, JSON.
    pub record: String,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// When it was queued.
    pub created_at: Timestamp,
}

/// A change of a task.
#[derive(Debug, Clone)]
pub struct TaskChange {
    /// The task.
    pub id: String,
    /// The version that is replaced.
    pub version: i64,
    /// Who holds it now, JSON.
    pub record: String,
    /// Whether it has ended.
    pub ended: bool,
    /// To which delegate it was offered last; `None` leaves the stored one.
    pub delegate: Option<String>,
    /// Its result, encoded.
    pub outcome: Option<Vec<u8>>,
}

/// A task as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// UUID.
    pub id: String,
    /// For compare-and-set, from 1.
    pub version: i64,
    /// Project of the execution.
    pub scope: Scope,
    /// What a delegate's tags must contain.
    pub selectors: Vec<String>,
    /// The task, encoded; empty once told.
    pub payload: Vec<u8>,
    /// Who holds it, JSON.
    pub record: String,
    /// To which delegate it was offered last.
    pub delegate: Option<String>,
    /// Its result, encoded.
    pub outcome: Option<Vec<u8>>,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether its end was told.
    pub told: bool,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// When it was queued.
    pub created_at: Timestamp,
}
