//! The swap of blue-green: Services exchange the colour that their selectors name, all of them or none.
//!
//! | State | Entered | Left |
//! |---|---|---|
//! | `Waiting` | at the start; nothing has been written | every Service that gets traffic has enough ready pods of its new colour: to `Swapping`; not within `patience`: to `Failed`; a Service names neither colour: to `Refused` |
//! | `Swapping` | one Service after the other is written | all name their new colour: to `Checking`; one names neither: to `Undoing` |
//! | `Checking` | all are written | the endpoints show the new colour and nothing else: to `Settling`; not within `patience`: to `Undoing` |
//! | `Settling` | clients may still be on their way to the old colour | `settle` is over: to `Done`; the new colour has no ready pod any more: to `Undoing` |
//! | `Undoing` | something is wrong after the first write | no Service names its new colour: to `Undone`; one that gets traffic would lose all its ready pods by going back, and that lasts for `patience`: to `Stranded` |
//! | `Done`, `Undone`, `Stranded`, `Failed`, `Refused` | | never |
//!
//! A write is one compare-and-set of one key of a selector. Which Services are swapped is read from the cluster each time.
//! Whoever must not wait any longer asks [`stop`] for another state, and goes on until the end.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::{Decision, after};

/// What is exchanged. It does not change while the planner runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The Services, in the order in which they are written: those that get traffic first.
    pub exchanges: Vec<Exchange>,
    /// How long clients may still be on their way to the old colour.
    pub settle: Duration,
    /// How long pods and endpoints may take.
    pub patience: Duration,
}

/// One Service and its colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Its name, for messages.
    pub service: String,
    /// The colour it names now.
    pub from: String,
    /// The colour it shall name.
    pub to: String,
    /// Ready pods of its new colour that must be there first; 0: it may be left without.
    pub needs: u32,
}

/// Where the planner is: small, and kept in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Which part of the way.
    pub phase: Phase,
    /// When it was entered.
    pub since: Timestamp,
}

/// The parts of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// For pods of the new colour.
    Waiting,
    /// Service after Service.
    Swapping,
    /// That endpoints follow.
    Checking,
    /// Until nobody is on the way to the old colour.
    Settling,
    /// Service after Service, back, and why.
    Undoing(String),
    /// The end: all have their new colour.
    Done,
    /// The end: none has, after some had. Why.
    Undone(String),
    /// The end: some have, because the old colour has no ready pod to go back to. Why they should have gone back.
    Stranded(String),
    /// The end: nothing was written, because the new colour was not ready in time. What was missing.
    Failed(String),
    /// The end: nothing was written, because a Service names neither colour. Which one.
    Refused(String),
}

/// One Service as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The colour that its selector names; `None` when it names none or is gone.
    pub selects: Option<String>,
    /// Ready pods of its new colour, that its selector would match.
    pub ready: u32,
    /// Ready pods of its old colour.
    pub ready_before: u32,
    /// Its endpoints are pods of the new colour, of which there is one at least, and no others.
    pub is_followed: bool,
}

/// What to do: let a selector name another colour, if it still names `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// Index of the exchange.
    pub exchange: usize,
    /// The colour that must be there.
    pub from: String,
    /// The colour to write.
    pub to: String,
}

impl State {
    /// The beginning.
    pub fn new(now: Timestamp) -> Self {
        let phase = Phase::Waiting;
        Self { phase, since: now }
    }

    /// Whether nothing comes after it.
    pub const fn is_end(&self) -> bool {
        matches!(
            self.phase,
            Phase::Done
                | Phase::Undone(_)
                | Phase::Stranded(_)
                | Phase::Failed(_)
                | Phase::Refused(_)
        )
    }
}

impl Phase {
    /// Its name, for a journal.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Swapping => "swapping",
            Self::Checking => "checking",
            Self::Settling => "settling",
            Self::Undoing(_) => "undoing",
            Self::Done => "done",
            Self::Undone(_) => "undone",
            Self::Stranded(_) => "stranded",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
        }
    }
}

/// The state of one who must not wait any longer: from it on, [`decide`] waits for nothing before its end. What is not
/// known to be followed by the endpoints goes back; what only settles stays.
pub fn stop(plan: &Plan, state: State, why: &str, now: Timestamp) -> State {
    let why = why.to_owned();
    match state.phase {
        Phase::Waiting => State {
            phase: Phase::Failed(why),
            since: now,
        },
        Phase::Settling => State {
            phase: Phase::Done,
            since: now,
        },
        Phase::Swapping | Phase::Checking => undoing_at_once(plan, why, now),
        Phase::Undoing(why) => undoing_at_once(plan, why, now),
        _ => state,
    }
}

fn undoing_at_once(plan: &Plan, why: String, now: Timestamp) -> State {
    let phase = Phase::Undoing(why);
    let since = now.saturating_sub(plan.patience);
    let since = since.unwrap_or(Timestamp::MIN);
    State { phase, since }
}

/// Decide what comes next. `seen` has one entry for each exchange of the plan, in its order.
pub fn decide(plan: &Plan, state: State, seen: &[Seen], now: Timestamp) -> Decision<State, Select> {
    let end = after(state.since, plan.patience);
    match &state.phase {
        Phase::Waiting => {
            if let Some(service) = foreign(plan, seen) {
                return enter(Phase::Refused(service), now);
            }
            match lacking(plan, seen) {
                None => then(Phase::Swapping, plan, seen, now),
                Some(why) if now >= end => enter(Phase::Failed(why), now),
                Some(_) => Decision::wait(state).until(end),
            }
        }
        Phase::Swapping => {
            if let Some(why) = foreign(plan, seen).or_else(|| deserted(plan, seen)) {
                return then(Phase::Undoing(why), plan, seen, now);
            }
            let mut all = plan.exchanges.iter().zip(seen);
            match all.position(|(one, seen)| !selects(seen, &one.to)) {
                Some(index) => {
                    let Exchange { from, to, .. } = &plan.exchanges[index];
                    Decision::wait(state).with(select(index, from, to))
                }
                None => then(Phase::Checking, plan, seen, now),
            }
        }
        Phase::Checking => match changed(plan, seen).or_else(|| deserted(plan, seen)) {
            Some(why) => then(Phase::Undoing(why), plan, seen, now),
            None => match unfollowed(plan, seen) {
                None => enter(Phase::Settling, now).until(after(now, plan.settle)),
                Some(why) if now >= end => then(Phase::Undoing(why), plan, seen, now),
                Some(_) => Decision::wait(state).until(end),
            },
        },
        Phase::Settling => match changed(plan, seen).or_else(|| deserted(plan, seen)) {
            Some(why) => then(Phase::Undoing(why), plan, seen, now),
            None => {
                let end = after(state.since, plan.settle);
                if now >= end {
                    enter(Phase::Done, now)
                } else {
                    Decision::wait(state).until(end)
                }
            }
        },
        Phase::Undoing(why) => {
            let mut all = plan.exchanges.iter().zip(seen);
            if all.any(|(one, seen)| is_stranded(one, seen)) {
                return if now >= end {
                    enter(Phase::Stranded(why.clone()), now)
                } else {
                    Decision::wait(state).until(end)
                };
            }
            let mut all = plan.exchanges.iter().zip(seen);
            match all.rposition(|(one, seen)| selects(seen, &one.to)) {
                Some(index) => {
                    let Exchange { from, to, .. } = &plan.exchanges[index];
                    Decision::wait(state).with(select(index, to, from))
                }
                None => enter(Phase::Undone(why.clone()), now),
            }
        }
        Phase::Done
        | Phase::Undone(_)
        | Phase::Stranded(_)
        | Phase::Failed(_)
        | Phase::Refused(_) => Decision::wait(state),
    }
}

fn enter(phase: Phase, now: Timestamp) -> Decision<State, Select> {
    Decision::wait(State { phase, since: now })
}

fn then(phase: Phase, plan: &Plan, seen: &[Seen], now: Timestamp) -> Decision<State, Select> {
    decide(plan, State { phase, since: now }, seen, now)
}

fn select(exchange: usize, from: &str, to: &str) -> Select {
    let (from, to) = (from.to_owned(), to.to_owned());
    Select { exchange, from, to }
}

fn selects(seen: &Seen, color: &str) -> bool {
    seen.selects.as_deref() == Some(color)
}

/// Whether a Service that gets traffic would lose all its ready pods by going back.
fn is_stranded(exchange: &Exchange, seen: &Seen) -> bool {
    exchange.needs > 0 && selects(seen, &exchange.to) && seen.ready > 0 && seen.ready_before == 0
}

/// A Service that names neither of its colours.
fn foreign(plan: &Plan, seen: &[Seen]) -> Option<String> {
    let mut all = plan.exchanges.iter().zip(seen);
    let (exchange, seen) =
        all.find(|(one, seen)| !selects(seen, &one.from) && !selects(seen, &one.to))?;
    let Exchange {
        service, from, to, ..
    } = exchange;
    Some(match &seen.selects {
        Some(color) => format!("{service} selects {color}, neither {from} nor {to}"),
        None => format!("{service} selects no colour"),
    })
}

/// A Service that somebody else gave another colour.
fn changed(plan: &Plan, seen: &[Seen]) -> Option<String> {
    let mut all = plan.exchanges.iter().zip(seen);
    let (exchange, seen) = all.find(|(one, seen)| !selects(seen, &one.to))?;
    let color = seen.selects.as_deref().unwrap_or("no colour");
    Some(format!(
        "somebody else has let {} select {color}",
        exchange.service
    ))
}

/// A Service whose new colour has too few ready pods to begin.
fn lacking(plan: &Plan, seen: &[Seen]) -> Option<String> {
    let mut all = plan.exchanges.iter().zip(seen);
    let (exchange, seen) = all.find(|(one, seen)| seen.ready < one.needs)?;
    let Exchange {
        service, to, needs, ..
    } = exchange;
    Some(format!(
        "{service} needs {needs} ready pods of {to}, and there are {}",
        seen.ready
    ))
}

/// A Service that gets traffic, whose new colour has no ready pod any more, while the old one has.
fn deserted(plan: &Plan, seen: &[Seen]) -> Option<String> {
    let mut all = plan.exchanges.iter().zip(seen);
    let (exchange, _) =
        all.find(|(one, seen)| one.needs > 0 && seen.ready == 0 && seen.ready_before > 0)?;
    Some(format!(
        "no pod of {} is ready any more behind {}",
        exchange.to, exchange.service
    ))
}

/// A Service that gets traffic, whose endpoints do not show its new colour alone.
fn unfollowed(plan: &Plan, seen: &[Seen]) -> Option<String> {
    let mut all = plan.exchanges.iter().zip(seen);
    let (exchange, _) = all.find(|(one, seen)| one.needs > 0 && !seen.is_followed)?;
    Some(format!(
        "the endpoints of {} do not show {} alone",
        exchange.service, exchange.to
    ))
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
