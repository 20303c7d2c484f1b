//! Where an execution stands.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CancelReason, FailureType, NodePath, Status};

/// The state of one execution. Opaque to the driver, which stores it whole; read it through the methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub(crate) format: u32,
    /// Nodes without an entry have not started.
    pub(crate) nodes: BTreeMap<NodePath, NodeState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) abort: Option<Abort>,
}

/// The state of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// What it is doing or how it ended.
    pub status: Status,
    /// The number of the current or last attempt; 0 for nodes that are not steps, and for skipped steps.
    #[serde(default)]
    pub attempt: u32,
    /// When it started; for skipped nodes the time of skipping.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// When the running attempt must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Whether a delegate accepted the step, in any attempt.
    #[serde(default)]
    pub reached: bool,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it was told to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<CancelReason>,
    /// The failure types of the step, or of all broken children.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureType>,
    /// Why it failed or was skipped, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The stable code of the error that `message` tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the step published.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub outputs: Value,
    /// For stages: whether a failure strategy asked for the rollback steps.
    #[serde(default)]
    pub rolling_back: bool,
    /// For stages: whether a broken rollback step ended the rollback.
    #[serde(default)]
    pub rollback_broken: bool,
}

/// Who ended the execution early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// The person, or the step whose failure strategy says `Abort`.
    pub by: String,
    /// Why, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Display for Abort {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "aborted by {}", self.by)?;
        match &self.reason {
            Some(reason) => write!(formatter, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl NodeState {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            status: Status::NotStarted,
            attempt: 0,
            started: now,
            ended: None,
            deadline: None,
            reached: false,
            by: None,
            cancelled: None,
            failures: Vec::new(),
            message: None,
            code: None,
            outputs: Value::Null,
            rolling_back: false,
            rollback_broken: false,
        }
    }
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            format: crate::FORMAT,
            nodes: BTreeMap::new(),
            abort: None,
        }
    }

    /// The status of the execution.
    pub fn status(&self) -> Status {
        self.node_status(&NodePath::pipeline())
    }

    /// Why the execution failed or was aborted, in one line, and the stable code of that error.
    pub fn cause(&self) -> (Option<&str>, Option<&str>) {
        let whole = self.nodes.get(&NodePath::pipeline());
        let text =
            |field: fn(&NodeState) -> Option<&String>| whole.and_then(field).map(String::as_str);
        (
            text(|node| node.message.as_ref()),
            text(|node| node.code.as_ref()),
        )
    }

    /// The status of a node; [`Status::NotStarted`] for one that is not known.
    pub fn node_status(&self, node: &NodePath) -> Status {
        self.nodes
            .get(node)
            .map_or(Status::NotStarted, |n| n.status)
    }

    /// What is known about a node that has started or was skipped.
    pub fn node(&self, node: &NodePath) -> Option<&NodeState> {
        self.nodes.get(node)
    }

    /// Who ended the execution early, if somebody did.
    pub fn abort(&self) -> Option<&Abort> {
        self.abort.as_ref()
    }
}
