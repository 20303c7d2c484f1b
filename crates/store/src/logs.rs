//! Logs of steps, line by line in the order they arrived.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Result;

/// Logs of steps.
#[async_trait]
pub trait Logs {
    /// Appends lines. A (task, epoch, seq) that is there already is skipped, so that a delegate may send
    /// again what it is not sure of. Returns how many were new.
    async fn append_log(&self, lines: &[NewLogLine]) -> Result<u64>;

    /// Lines of an execution behind `after`, in order of arrival, of one node and what is below it
    /// if given.
    async fn log_lines(
        &self,
        execution: &str,
        node: Option<&str>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<LogLine>>;
}

/// A line to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogLine {
    /// Id of the execution.
    pub execution: String,
    /// Path of the node in the plan.
    pub node: String,
    /// Id of the task.
    pub task: String,
    /// Which holder of the task wrote it.
    pub epoch: i64,
    /// Number of the line within task and epoch, given by the delegate; a gap shows as a gap.
    pub seq: i64,
    /// Command unit, e.g. `Apply`.
    pub unit: String,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// When the delegate wrote it.
    pub at: Timestamp,
    /// The text, secrets already masked.
    pub text: String,
}

/// A stored line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Place in the log of the server; grows, with gaps. Read on from here.
    pub position: i64,
    /// The line.
    pub line: NewLogLine,
}
