//! The server's record of a task: who holds it, and what becomes of it when the holder is gone.
//!
//! ```text
//! queued ──offer──► offered ──accepted──► accepted ──progressed──► running ──finished──► succeeded | failed | aborted
//!   ▲                  │                      │                       │
//!   └──refused, lost───┘                      └── lost, handed back ──┘  resumable: back to queued, next epoch
//!                                                                        once: failed (delegate restart)
//! ```
//!
//! A dead stream loses nothing. A task is lost when another boot of the holder's instance says hello, or when the instance
//! has been away for the task lease; until then its holder goes on under its epoch and its result counts. A holder that
//! shuts down stops at a safe place and hands the task back: nobody waits for the task lease then.
//!
//! A task that loses one holder after another may be what kills them: after [`MAX_LOSSES`] it fails.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{End, Holder, RefusalReason};

/// So many holders of a resumable task may be lost before it fails. Handing back is no loss.
pub const MAX_LOSSES: u32 = 5;

/// What becomes of a task whose holder is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Its journal is in the cluster: the next holder goes on.
    Resumable,
    /// It may have had its effect already, or half of it: it ends as failed.
    Once,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standing {
    /// Waits for a delegate. Leaves by offer, cancel or its deadline.
    Queued,
    /// Sent to a delegate that has not answered; it has not been started. Leaves by accept, refuse, or loss of the holder.
    Offered {
        /// To whom.
        holder: Holder,
    },
    /// The holder has it and may start. Leaves by progress, finish, being handed back, or loss of the holder.
    Accepted {
        /// Who.
        holder: Holder,
    },
    /// The holder has shown progress. Leaves by finish, being handed back, or loss of the holder.
    Running {
        /// Who.
        holder: Holder,
    },
    /// Over. Nothing leaves this.
    Ended {
        /// How.
        end: Ending,
    },
}

/// How a task's record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The holder reported success.
    Succeeded,
    /// The holder reported failure.
    Failed,
    /// The holder stopped on request, or nobody held it when it was cancelled.
    Aborted,
    /// A task that may run only once lost its holder (failure type DelegateRestart).
    Lost,
    /// A resumable task lost [`MAX_LOSSES`] holders (failure type DelegateRestart).
    GivenUp,
    /// No delegate took it before its deadline.
    Expired,
    /// A delegate's own policy forbids it.
    Forbidden,
}

impl From<End> for Ending {
    fn from(end: End) -> Self {
        match end {
            End::Succeeded => Self::Succeeded,
            End::Failed => Self::Failed,
            End::Aborted => Self::Aborted,
        }
    }
}

/// A task as the server records it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// What becomes of it when its holder is lost.
    pub recovery: Recovery,
    /// Number of the last offer; 0 before the first.
    pub epoch: u64,
    /// Somebody asked to stop it.
    pub is_cancelled: bool,
    /// How often it was accepted.
    #[serde(default)]
    pub attempts: u32,
    /// Holders lost after they had accepted it.
    #[serde(default)]
    pub losses: u32,
    /// Where it stands.
    pub standing: Standing,
}

impl Task {
    /// A new task, queued.
    pub fn new(recovery: Recovery) -> Self {
        Self {
            recovery,
            epoch: 0,
            is_cancelled: false,
            attempts: 0,
            losses: 0,
            standing: Standing::Queued,
        }
    }

    /// Who has it, if anybody.
    pub fn holder(&self) -> Option<&Holder> {
        match &self.standing {
            Standing::Offered { holder }
            | Standing::Accepted { holder }
            | Standing::Running { holder } => Some(holder),
            Standing::Queued | Standing::Ended { .. } => None,
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended { .. })
    }

    /// Whether this claim counts. A claim in a hello that does not is answered with cancel, superseded.
    pub fn is_held_by(&self, holder: &Holder, epoch: u64) -> bool {
        self.epoch == epoch && self.holder() == Some(holder)
    }
}

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A delegate was chosen.
    Offer {
        /// Which.
        holder: Holder,
    },
    /// A delegate accepts.
    Accepted {
        /// Which.
        holder: Holder,
        /// The epoch it names.
        epoch: u64,
    },
    /// A delegate refuses.
    Refused {
        /// Which.
        holder: Holder,
        /// The epoch it names.
        epoch: u64,
        /// Why.
        reason: RefusalReason,
    },
    /// A delegate shows state.
    Progressed {
        /// Which.
        holder: Holder,
        /// The epoch it names.
        epoch: u64,
    },
    /// A delegate reports the end.
    Finished {
        /// Which.
        holder: Holder,
        /// The epoch it names.
        epoch: u64,
        /// How.
        end: End,
    },
    /// A delegate has stopped at a safe place, and leaves the rest to another.
    HandedBack {
        /// Which.
        holder: Holder,
        /// The epoch it names.
        epoch: u64,
    },
    /// Somebody wants it stopped.
    Cancel,
    /// The instance that holds it said hello, with this boot.
    Greeted {
        /// Who.
        holder: Holder,
        /// The epoch under which the hello lists this task, if it does.
        held: Option<u64>,
    },
    /// The instance that holds it has been away for the task lease.
    Away {
        /// Which boot was expected back.
        holder: Holder,
    },
    /// The time for a delegate to take it is over.
    Expired,
}

/// What to do about it, after the new record is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send the task to its holder.
    Assign,
    /// Tell its holder to run it.
    Start,
    /// Ask its holder to stop it.
    Cancel,
    /// Tell the sender of the event that it is not the holder (any more): cancel, superseded.
    Supersede,
    /// Find a delegate.
    Place,
    /// Tell whoever asked for the task how it ended.
    Deliver,
}

/// What an event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It changed the record, or asks for an action.
    Applied,
    /// It was known already.
    Repeated,
    /// It comes from somebody who is not the holder, or comes too late. Nothing of it counts.
    Stale,
}

/// The record after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The new record.
    pub task: Task,
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// What the event was.
    pub verdict: Verdict,
}

/// Applies an event to a task's record.
pub fn apply(task: &Task, event: &Event) -> Transition {
    let change = match event {
        Event::Offer { holder } => offer(task, holder),
        Event::Accepted { holder, epoch } => accepted(task, holder, *epoch),
        Event::Refused {
            holder,
            epoch,
            reason,
        } => refused(task, holder, *epoch, *reason),
        Event::Progressed { holder, epoch } => progressed(task, holder, *epoch),
        Event::Finished { holder, epoch, end } => finished(task, holder, *epoch, *end),
        Event::HandedBack { holder, epoch } => handed_back(task, holder, *epoch),
        Event::Cancel => cancel(task),
        Event::Greeted { holder, held } => greeted(task, holder, *held),
        Event::Away { holder } => away(task, holder),
        Event::Expired => expired(task),
    };
    match change {
        Ok((task, actions)) => Transition {
            task,
            actions,
            verdict: Verdict::Applied,
        },
        Err(verdict) => {
            // Whoever accepts in vain waits for an answer.
            let waits = matches!(event, Event::Accepted { .. }) && verdict == Verdict::Stale;
            let actions = if waits {
                vec![Action::Supersede]
            } else {
                Vec::new()
            };
            Transition {
                task: task.clone(),
                actions,
                verdict,
            }
        }
    }
}

type Change = Result<(Task, Vec<Action>), Verdict>;

fn offer(task: &Task, holder: &Holder) -> Change {
    match task.standing {
        Standing::Queued => Ok((
            Task {
                epoch: task.epoch + 1,
                standing: Standing::Offered {
                    holder: holder.clone(),
                },
                ..task.clone()
            },
            vec![Action::Assign],
        )),
        _ => Err(Verdict::Stale),
    }
}

fn accepted(task: &Task, holder: &Holder, epoch: u64) -> Change {
    if !task.is_held_by(holder, epoch) {
        return Err(Verdict::Stale);
    }
    match &task.standing {
        Standing::Offered { holder } => {
            let standing = Standing::Accepted {
                holder: holder.clone(),
            };
            Ok((
                Task {
                    attempts: task.attempts.saturating_add(1),
                    standing,
                    ..task.clone()
                },
                vec![Action::Start],
            ))
        }
        _ => Err(Verdict::Repeated),
    }
}

fn refused(task: &Task, holder: &Holder, epoch: u64, reason: RefusalReason) -> Change {
    if !task.is_held_by(holder, epoch) {
        return Err(Verdict::Stale);
    }
    match (&task.standing, reason) {
        (Standing::Offered { .. }, _) if task.is_cancelled => ended(task, Ending::Aborted),
        (Standing::Offered { .. }, RefusalReason::Policy) => ended(task, Ending::Forbidden),
        (Standing::Offered { .. }, _) => queued(task),
        _ => Err(Verdict::Stale),
    }
}

fn progressed(task: &Task, holder: &Holder, epoch: u64) -> Change {
    if !task.is_held_by(holder, epoch) {
        return Err(late(task, epoch));
    }
    match &task.standing {
        Standing::Accepted { holder } => {
            let standing = Standing::Running {
                holder: holder.clone(),
            };
            Ok((
                Task {
                    standing,
                    ..task.clone()
                },
                Vec::new(),
            ))
        }
        Standing::Running { .. } => Err(Verdict::Repeated),
        _ => Err(Verdict::Stale),
    }
}

fn finished(task: &Task, holder: &Holder, epoch: u64, end: End) -> Change {
    if task.is_held_by(holder, epoch) {
        ended(task, end.into())
    } else {
        Err(late(task, epoch))
    }
}

fn handed_back(task: &Task, holder: &Holder, epoch: u64) -> Change {
    if task.is_held_by(holder, epoch) {
        without_holder(task)
    } else {
        Err(Verdict::Stale)
    }
}

fn cancel(task: &Task) -> Change {
    match task.standing {
        Standing::Queued => ended(task, Ending::Aborted),
        Standing::Ended { .. } => Err(Verdict::Stale),
        _ if task.is_cancelled => Err(Verdict::Repeated),
        _ => Ok((
            Task {
                is_cancelled: true,
                ..task.clone()
            },
            vec![Action::Cancel],
        )),
    }
}

fn greeted(task: &Task, greeter: &Holder, held: Option<u64>) -> Change {
    let Some(holder) = task.holder() else {
        return Err(Verdict::Stale);
    };
    if !holder.is_same_instance(greeter) {
        return Err(Verdict::Stale);
    }
    if holder.boot != greeter.boot {
        return lost(task);
    }
    let is_held = held == Some(task.epoch);
    let mut actions = Vec::new();
    match (&task.standing, is_held) {
        (Standing::Offered { .. }, false) => actions.push(Action::Assign),
        (Standing::Offered { .. }, true) => {}
        (_, true) => actions.push(Action::Start),
        (_, false) => return lost(task),
    }
    if task.is_cancelled {
        actions.push(Action::Cancel);
    }
    if actions.is_empty() {
        Err(Verdict::Repeated)
    } else {
        Ok((task.clone(), actions))
    }
}

fn away(task: &Task, holder: &Holder) -> Change {
    if task.holder() == Some(holder) {
        lost(task)
    } else {
        Err(Verdict::Stale)
    }
}

fn expired(task: &Task) -> Change {
    match task.standing {
        Standing::Queued => ended(task, Ending::Expired),
        _ => Err(Verdict::Stale),
    }
}

fn lost(task: &Task) -> Change {
    if matches!(task.standing, Standing::Offered { .. }) {
        return without_holder(task);
    }
    let counted = Task {
        losses: task.losses.saturating_add(1),
        ..task.clone()
    };
    let may_go_on = !task.is_cancelled && task.recovery == Recovery::Resumable;
    if may_go_on && counted.losses >= MAX_LOSSES {
        return ended(&counted, Ending::GivenUp);
    }
    without_holder(&counted)
}

fn without_holder(task: &Task) -> Change {
    match (&task.standing, task.recovery) {
        _ if task.is_cancelled => ended(task, Ending::Aborted),
        // Never started: a delegate starts only what the server has stored as accepted.
        (Standing::Offered { .. }, _) | (_, Recovery::Resumable) => queued(task),
        (_, Recovery::Once) => ended(task, Ending::Lost),
    }
}

fn queued(task: &Task) -> Change {
    Ok((
        Task {
            standing: Standing::Queued,
            ..task.clone()
        },
        vec![Action::Place],
    ))
}

fn ended(task: &Task, end: Ending) -> Change {
    Ok((
        Task {
            standing: Standing::Ended { end },
            ..task.clone()
        },
        vec![Action::Deliver],
    ))
}

/// A message under the present epoch of a task that is over is a repeat; any other is stale.
fn late(task: &Task, epoch: u64) -> Verdict {
    if task.is_ended() && task.epoch == epoch {
        Verdict::Repeated
    } else {
        Verdict::Stale
    }
}
