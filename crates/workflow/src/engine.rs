//! The transitions: start, events, and what is outstanding after a restart.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use crate::machine::Machine;
use crate::place::{Item, places};
use crate::{
    Action, Event, EventRecord, FORMAT, NodePath, Plan, PlanError, State, Status, TimerId,
    TimerKind,
};

/// How long a cancelled step has to answer before the engine goes on without it. Longer than the time after
/// which the task of an absent delegate counts as lost, so that a delegate that comes back is still heard.
pub const CANCEL_GRACE: Duration = Duration::from_secs(150);

/// Why an event cannot be applied. The state stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejected {
    /// The plan has no such step.
    #[error("the plan has no step {node}")]
    UnknownStep {
        /// What the event names.
        node: NodePath,
    },
    /// The step, or this attempt of it, was never started.
    #[error("attempt {attempt} of {node} was never started")]
    NeverStarted {
        /// The step.
        node: NodePath,
        /// What the event names.
        attempt: u32,
    },
    /// The state or the event was written by a build with another format.
    #[error("the stored execution has format {found}, and this build runs format {FORMAT}")]
    Format {
        /// The format found.
        found: u32,
    },
}

impl Rejected {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownStep { .. } => "SRT-W020",
            Self::NeverStarted { .. } => "SRT-W021",
            Self::Format { .. } => "SRT-W022",
        }
    }
}

/// Starts an execution.
///
/// # Errors
/// The plan cannot run; see [`Plan::check`].
pub fn start(plan: &Plan, now: Timestamp) -> Result<(State, Vec<Action>), PlanError> {
    plan.check()?;
    let mut machine = Machine::new(plan, State::new(), now);
    machine.begin();
    Ok(machine.done())
}

/// Applies one event. An event that changes nothing (repeated, late, or after the end) gives the same state and
/// no actions.
///
/// # Errors
/// The event does not fit the plan or the state: a fault of the driver, or of a sender that must not be trusted.
pub fn apply(
    plan: &Plan,
    state: &State,
    event: &Event,
    now: Timestamp,
) -> Result<(State, Vec<Action>), Rejected> {
    if state.format != FORMAT {
        return Err(Rejected::Format {
            found: state.format,
        });
    }
    let mut machine = Machine::new(plan, state.clone(), now);
    machine.apply(event)?;
    Ok(machine.done())
}

/// Computes the state again from the log of an execution: when it was started, and every event since.
///
/// # Errors
/// An event of another format, or one that does not fit.
pub fn replay<'r>(
    plan: &Plan,
    started: Timestamp,
    records: impl IntoIterator<Item = &'r EventRecord>,
) -> Result<State, Rejected> {
    let mut machine = Machine::new(plan, State::new(), started);
    machine.begin();
    let (mut state, _) = machine.done();
    for record in records {
        if record.format != FORMAT {
            return Err(Rejected::Format {
                found: record.format,
            });
        }
        (state, _) = apply(plan, &state, &record.event, record.at)?;
    }
    Ok(state)
}

/// What a driver has to perform that has just loaded this state: hand out or find again every step that is
/// under way, repeat cancellations, set the timers; for a finished execution, finish it.
pub fn outstanding(plan: &Plan, state: &State) -> Vec<Action> {
    if state.status().is_final() {
        return vec![Action::Finish {
            status: state.status(),
        }];
    }
    let mut actions = Vec::new();
    for place in places(plan) {
        let (Item::Step(_), Some(node)) = (place.item, state.node(&place.path)) else {
            continue;
        };
        let (path, attempt) = (place.path, node.attempt);
        let Some(deadline) = node.deadline.filter(|_| !node.status.is_final()) else {
            continue;
        };
        let kind = match (node.status, node.cancelled) {
            (Status::Discontinuing, Some(reason)) => {
                actions.push(Action::CancelStep {
                    node: path.clone(),
                    attempt,
                    reason,
                });
                TimerKind::Grace
            }
            _ => {
                actions.push(Action::StartStep {
                    node: path.clone(),
                    attempt,
                    deadline,
                });
                TimerKind::Timeout
            }
        };
        let timer = TimerId {
            node: path,
            attempt,
            kind,
        };
        actions.push(Action::SetTimer {
            timer,
            at: deadline,
        });
    }
    actions
}
