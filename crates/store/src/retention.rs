//! What is old and may go. Everything goes in small pieces: a long delete would keep other writers
//! waiting.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{BlobHash, Result};

/// What is old and may go.
#[async_trait]
pub trait Retention {
    /// Executions that ended before a time, oldest first, with ids above `after`.
    async fn ended_executions(
        &self,
        before: Timestamp,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EndedExecution>>;

    /// Deletes up to `limit` log lines of an execution that has ended, and when there are none left
    /// the execution with its events, pins and steps. Returns whether all of it is gone.
    async fn delete_execution(&self, id: &str, limit: u32) -> Result<bool>;

    /// Deletes up to `limit` tasks whose end was told before a time. Returns how many.
    async fn delete_told_tasks(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// Deletes up to `limit` delegates that were revoked before a time, but none that a token still counts for which
    /// it joined with: without the delegate, the same token and key would make a new one. Returns how many.
    async fn delete_revoked_delegates(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<u64>;

    /// Deletes the blobs that were last kept before a time, but none of `used` and none that a stored step refers to.
    /// Who keeps a blob and then refers to it never loses it, if that takes less time than has passed since `before`.
    /// Returns how many.
    async fn delete_unused_blobs(&self, before: Timestamp, used: &HashSet<BlobHash>)
    -> Result<u64>;
}

/// An execution that may be old enough to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedExecution {
    /// Its id.
    pub id: String,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How many later runs its pipeline has had.
    pub later_runs: i64,
}
