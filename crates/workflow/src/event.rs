//! What happens to an execution.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FailureType, NodePath, TimerId};

/// Something that happened. Events about steps carry the attempt they belong to; a repeated event, or one of an
/// earlier attempt, changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Event {
    /// A delegate has accepted the step. Must be sent before the outcome of a step that reached a delegate:
    /// a step that failed without it (say, because its parameters could not be resolved) counts as never begun.
    StepStarted {
        /// The step.
        node: NodePath,
        /// From [`crate::Action::StartStep`].
        attempt: u32,
        /// Who runs it, shown to people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The step ended.
    StepFinished {
        /// The step.
        node: NodePath,
        /// From [`crate::Action::StartStep`].
        attempt: u32,
        /// How.
        outcome: Outcome,
    },
    /// A timer that was set by [`crate::Action::SetTimer`] went off. One that was cleared meanwhile is harmless.
    TimerFired {
        /// The timer.
        timer: TimerId,
    },
    /// A person wants the execution to end now, without rollback.
    AbortRequested {
        /// Who, shown to people.
        by: String,
        /// Why, if they said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
pub enum Outcome {
    /// It did what it should.
    Succeeded {
        /// What later expressions read as `<+….output.x>`; an object, or null for none.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        outputs: Value,
    },
    /// It did not.
    Failed(Failure),
    /// It stopped because it was told to.
    Aborted,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Choose the failure strategy; empty means [`FailureType::Unknown`].
    #[serde(default)]
    pub types: Vec<FailureType>,
    /// One line for people, without secrets.
    pub message: String,
    /// The stable code of the error, such as `SRT-T004`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Outputs that the step published before it failed; an object, or null for none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub outputs: Value,
}

/// An event as it is stored: one line of an execution's log, from which its state can be computed again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// [`crate::FORMAT`] of the build that wrote it.
    pub format: u32,
    /// The time that was given to the engine with the event.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}
