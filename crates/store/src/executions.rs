//! Executions: runs of pipelines, persisted before anything is done about them.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{EntityKey, EntityVersion, Result, Scope};

/// Runs of pipelines.
#[async_trait]
pub trait Executions {
    /// Stores a new execution at version 1 and gives it the pipeline's next sequence number.
    async fn create_execution(&self, new: &NewExecution) -> Result<Execution>;

    /// An execution.
    async fn execution(&self, id: &str) -> Result<Option<Execution>>;

    /// Executions, newest first.
    async fn list_executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionHead>>;

    /// Ids of all executions that have not ended, oldest first.
    async fn unfinished_executions(&self) -> Result<Vec<String>>;

    /// Moves an execution on: its new state and the events that led to it, in one transaction, if
    /// it is still at `expected_version`; else [`crate::Error::Conflict`]. Returns the new version.
    async fn advance_execution(
        &self,
        id: &str,
        expected_version: i64,
        advance: &Advance,
        now: Timestamp,
    ) -> Result<i64>;

    /// Events with a sequence number above `after`, in order.
    async fn execution_events(
        &self,
        id: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ExecutionEvent>>;

    /// The version of an entity that this execution uses: the one it used first, or the current
    /// one, which it then keeps using. `None` when there is no such entity.
    async fn pin_entity(&self, execution: &str, key: &EntityKey) -> Result<Option<EntityVersion>>;
}

/// An execution to store.
#[derive(Debug, Clone)]
pub struct NewExecution {
    /// Sortable id (UUID version 7).
    pub id: String,
    /// Scope of the pipeline.
    pub scope: Scope,
    /// Identifier of the pipeline.
    pub pipeline: String,
    /// Version of the pipeline entity that was compiled.
    pub pipeline_version: i64,
    /// The compiled plan, JSON.
    pub plan: String,
    /// Inputs and variables of this run, JSON.
    pub inputs: String,
    /// First state, JSON.
    pub state: String,
    /// Its status in words.
    pub status: String,
    /// Events that led to the state, JSON each.
    pub events: Vec<String>,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A run of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// What a list shows.
    pub head: ExecutionHead,
    /// The compiled plan, JSON.
    pub plan: String,
    /// Inputs and variables of this run, JSON.
    pub inputs: String,
    /// Current state, JSON.
    pub state: String,
}

/// A run of a pipeline, without the large parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionHead {
    /// Sortable id (UUID version 7).
    pub id: String,
    /// Scope of the pipeline.
    pub scope: Scope,
    /// Identifier of the pipeline.
    pub pipeline: String,
    /// Version of the pipeline entity that was compiled.
    pub pipeline_version: i64,
    /// Run number of this pipeline, from 1.
    pub sequence: i64,
    /// Status in words.
    pub status: String,
    /// Why it failed or was aborted, in one line.
    pub message: Option<String>,
    /// Stable code of the error that `message` tells.
    pub code: Option<String>,
    /// Version of the state, for compare-and-set.
    pub version: i64,
    /// Who asked.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl std::ops::Deref for Execution {
    type Target = ExecutionHead;

    fn deref(&self) -> &ExecutionHead {
        &self.head
    }
}

/// A step forward of an execution.
#[derive(Debug, Clone)]
pub struct Advance {
    /// Events that led to the state, JSON each.
    pub events: Vec<String>,
    /// The new state, JSON.
    pub state: String,
    /// Its status in words.
    pub status: String,
    /// Why it failed or was aborted, in one line.
    pub message: Option<String>,
    /// Stable code of the error that `message` tells.
    pub code: Option<String>,
    /// Whether the execution is over.
    pub ended: bool,
}

/// One event of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionEvent {
    /// Counted from 1 within the execution.
    pub seq: i64,
    /// When it was stored.
    pub at: Timestamp,
    /// JSON.
    pub event: String,
}

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    /// Exactly this scope.
    pub scope: Scope,
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only older than this id.
    pub before: Option<String>,
    /// At most so many.
    pub limit: u32,
}
