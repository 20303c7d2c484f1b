//! What the driver has to do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{NodePath, Status};

/// An order to the driver. Each may be given again after a restart, and performing it twice must do no harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Action {
    /// Resolve the step's parameters and hand it out. Answered by one `StepFinished` with the same attempt.
    StartStep {
        /// The step; [`crate::Plan::step`] has its definition.
        node: NodePath,
        /// Counts from 1. (node, attempt) is the idempotency key.
        attempt: u32,
        /// When it must have ended.
        deadline: Timestamp,
    },
    /// Tell whoever runs the step to stop. Answered by `StepFinished`; the engine goes on without it after a grace.
    CancelStep {
        /// The step.
        node: NodePath,
        /// The attempt to stop.
        attempt: u32,
        /// Why.
        reason: CancelReason,
    },
    /// Send `TimerFired` at that time (at once if it has passed). Setting a timer again moves it.
    SetTimer {
        /// The timer.
        timer: TimerId,
        /// When.
        at: Timestamp,
    },
    /// Forget the timer.
    ClearTimer {
        /// The timer.
        timer: TimerId,
    },
    /// Tell followers that a node's status changed. Given once, never again after a restart.
    Changed {
        /// The node.
        node: NodePath,
        /// Its new status.
        status: Status,
    },
    /// The execution has ended. Always the last action.
    Finish {
        /// How.
        status: Status,
    },
}

/// Why a step is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CancelReason {
    /// It took longer than its timeout.
    Timeout,
    /// The execution is being aborted.
    Abort,
}

/// Names a timer. There is at most one of each kind per attempt of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimerId {
    /// The step.
    pub node: NodePath,
    /// Its attempt.
    pub attempt: u32,
    /// What it is for.
    pub kind: TimerKind,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimerKind {
    /// The step's timeout.
    Timeout,
    /// How long a cancelled step has to answer.
    Grace,
}
