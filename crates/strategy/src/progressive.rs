//! The progressive canary: a second copy of each workload grows while the first shrinks, in batches that stay within
//! `maxSurge` and `maxUnavailable`, and the weights of a router follow.
//!
//! | State | Entered | Left |
//! |---|---|---|
//! | `Shifting` | at the start; `to` is the percentage asked for, 0 to go back | both sides of all workloads are as [`pair`] says and available, and the router serves `to`: to `Done` |
//! | `Done` | `to` is reached | never |
//! | `Failed` | the router does not follow within `patience` | never; going back is another run, to 0 |
//!
//! What comes at the end is the executor's: at 100 % the stable workloads get the new version and a run to 0 follows, and
//! at 0 the canary's objects go. So is the health of what grows: a run whose pods cannot start is given up with the evidence.
//!
//! Numbers of pods are never stored: they are read from the cluster each time, so that whoever goes on after a crash goes on
//! from what there is. What a router was asked for is stored before it is asked.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decision::{Decision, after};
use crate::replicas::{Pair, Sides, Slack, carried, next, pair};

/// What is asked for. It does not change while the planner runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Share of the canary in percent, 0 to 100.
    pub to: u32,
    /// How long the weights before the last change may still be in use.
    pub settle: Duration,
    /// How long a router may take to accept weights.
    pub patience: Duration,
}

/// Where the planner is: small, and kept in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Which part of the way.
    pub phase: Phase,
    /// What the router was asked for last; `None`: nothing by this run.
    pub asked: Option<Asked>,
}

/// The parts of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// On the way to the share.
    Shifting,
    /// The end.
    Done,
    /// The end, and why it came before the goal.
    Failed(String),
}

/// Weights that the router was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The canary's percentage.
    pub canary: u32,
    /// What it was before: in use until the new one has settled.
    pub before: u32,
    /// When it was asked for.
    pub at: Timestamp,
    /// When the router had accepted it.
    pub accepted: Option<Timestamp>,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Each workload.
    pub workloads: Vec<Workload>,
    /// The router; `None` where pods alone make the shares.
    pub route: Option<Route>,
}

/// One workload and its canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name, for messages.
    pub name: String,
    /// Pods that it wants in all: the manifest's number, or its autoscaler's.
    pub replicas: u32,
    /// How far it may leave that number, as [`Slack::beside`] says.
    pub slack: Slack,
    /// The pods.
    pub sides: Sides,
    /// Endpoints that are ready.
    pub ready: Pair,
}

/// The router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The canary's percentage that its objects say.
    pub canary: u32,
    /// The router has accepted what its objects say.
    pub is_accepted: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for so many pods of both sides of a workload.
    Scale {
        /// Index of the workload.
        workload: usize,
        /// The numbers.
        to: Pair,
    },
    /// Ask the router for this percentage for the canary and the rest for stable.
    Weigh {
        /// The canary's percentage.
        canary: u32,
    },
}

impl State {
    /// The beginning.
    pub fn new() -> Self {
        Self {
            phase: Phase::Shifting,
            asked: None,
        }
    }

    /// How whoever comes later goes on from here; `None` after a failure, which the next run does not inherit. A router gets
    /// its time anew.
    #[must_use]
    pub fn resumed(mut self, now: Timestamp) -> Option<Self> {
        if matches!(self.phase, Phase::Failed(_)) {
            return None;
        }
        if let Some(asked) = &mut self.asked
            && asked.accepted.is_none()
        {
            asked.at = now;
        }
        Some(self)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Asked {
    /// From when on the percentage before it is in use no more.
    fn settled(self, plan: &Plan) -> Timestamp {
        match self.accepted {
            Some(accepted) if self.before == self.canary => accepted,
            Some(accepted) => after(accepted, plan.settle),
            None => Timestamp::MAX,
        }
    }

    /// The canary's percentages that a router may be using.
    pub(crate) fn in_use(self, plan: &Plan, now: Timestamp) -> Vec<u32> {
        if now >= self.settled(plan) {
            vec![self.canary]
        } else {
            vec![self.before, self.canary]
        }
    }
}

/// Decide what comes next.
pub fn decide(
    plan: &Plan,
    state: State,
    seen: &Observation,
    now: Timestamp,
) -> Decision<State, Action> {
    let to = plan.to.min(100);
    match state.phase {
        Phase::Shifting => shift(plan, state, seen, to, now),
        Phase::Done | Phase::Failed(_) => Decision::wait(state),
    }
}

/// One round on the way to a share.
fn shift(
    plan: &Plan,
    state: State,
    seen: &Observation,
    to: u32,
    now: Timestamp,
) -> Decision<State, Action> {
    let Some(route) = seen.route else {
        let decision = scale(state, seen, to, &[]);
        return if decision.actions.is_empty() && is_reached(seen, to) {
            done(decision.state.asked)
        } else {
            decision
        };
    };
    let (state, in_use, wake) = match traffic(plan, state, seen, route, to, now) {
        Traffic::Decided(decision) => return decision,
        Traffic::InUse {
            state,
            shares,
            wake,
        } => (state, shares, wake),
    };
    let decision = scale(state, seen, to, &in_use);
    if let ([share], true) = (&in_use[..], decision.actions.is_empty()) {
        if *share == to && is_reached(seen, to) {
            return done(decision.state.asked);
        }
        // Without surge the last pods of a side go before those of the other come: their traffic goes first, to pods that
        // serve for one that may be missing.
        let wanted = supported(seen, *share, to, 1);
        if is_standing(seen) && wanted != *share {
            return weigh(decision.state, *share, wanted, now);
        }
    }
    match wake {
        Some(time) => decision.until(time),
        None => decision,
    }
}

fn done(asked: Option<Asked>) -> Decision<State, Action> {
    let phase = Phase::Done;
    Decision::wait(State { phase, asked })
}

/// What the router does.
enum Traffic {
    /// Something about the router comes first.
    Decided(Decision<State, Action>),
    /// These percentages of the canary may be in use: pods may move within what they need.
    InUse {
        state: State,
        shares: Vec<u32>,
        wake: Option<Timestamp>,
    },
}

/// Take the router one step further on the way to `to`.
fn traffic(
    plan: &Plan,
    mut state: State,
    seen: &Observation,
    route: Route,
    to: u32,
    now: Timestamp,
) -> Traffic {
    // Somebody else changed it, or what was asked for did not arrive: it is asked for from what is there.
    if state.asked.is_none_or(|asked| asked.canary != route.canary) {
        if let Some(asked) = state.asked
            && asked.before == route.canary
            && asked.accepted.is_none()
            && !is_served_by_nobody(seen, asked.canary)
        {
            let decision = Decision::wait(state).with(Action::Weigh {
                canary: asked.canary,
            });
            return Traffic::Decided(decision);
        }
        state.asked = Some(Asked {
            canary: route.canary,
            before: route.canary,
            at: now,
            accepted: None,
        });
    }
    let Some(mut asked) = state.asked else {
        return Traffic::Decided(Decision::wait(state));
    };
    let wanted = supported(seen, asked.canary, to, 0);
    let away = is_served_by_nobody(seen, asked.canary);
    if asked.accepted.is_none() {
        if route.is_accepted {
            asked.accepted = Some(now);
            state.asked = Some(asked);
        } else if !away || wanted == asked.canary {
            let end = after(asked.at, plan.patience);
            if now >= end {
                let text = format!(
                    "the router has not accepted {} % for the canary",
                    asked.canary
                );
                let phase = Phase::Failed(text);
                return Traffic::Decided(Decision::wait(State { phase, ..state }));
            }
            return Traffic::InUse {
                state,
                shares: asked.in_use(plan, now),
                wake: Some(end),
            };
        }
    }
    let settled = asked.settled(plan);
    if wanted != asked.canary && (now >= settled || away) {
        return Traffic::Decided(weigh(state, asked.canary, wanted, now));
    }
    Traffic::InUse {
        state,
        shares: asked.in_use(plan, now),
        wake: (now < settled).then_some(settled),
    }
}

fn weigh(mut state: State, before: u32, canary: u32, now: Timestamp) -> Decision<State, Action> {
    state.asked = Some(Asked {
        canary,
        before,
        at: now,
        accepted: None,
    });
    Decision::wait(state).with(Action::Weigh { canary })
}

/// The canary's percentage, on the way from `from` to `to`, that the ready endpoints of all workloads can serve, each of them
/// with so many more pods as may be missing of it, `missing` at most.
fn supported(seen: &Observation, from: u32, to: u32, missing: u32) -> u32 {
    let mut nearest = to;
    for one in &seen.workloads {
        let goal = pair(one.replicas, to, one.slack);
        let missing = missing.min(one.slack.unavailable);
        if to >= from {
            let most = if one.ready.canary >= goal.canary {
                to
            } else {
                carried(one.replicas, one.ready.canary + missing).min(to)
            };
            nearest = nearest.min(most);
        } else {
            let most = if one.ready.stable >= goal.stable {
                100 - to
            } else {
                carried(one.replicas, one.ready.stable + missing).min(100 - to)
            };
            nearest = nearest.max(100 - most);
        }
    }
    let nobody = |side: fn(Pair) -> u32| {
        let mut all = seen.workloads.iter();
        all.any(|one| one.replicas > 0 && side(one.ready) == 0)
    };
    match (nobody(|ready| ready.canary), nobody(|ready| ready.stable)) {
        // Traffic leaves a side without endpoints at once.
        (true, false) => 0,
        (false, true) => 100,
        _ if to >= from => nearest.max(from),
        _ => nearest.min(from),
    }
}

/// A side that gets traffic has no endpoint, and the other has.
fn is_served_by_nobody(seen: &Observation, canary: u32) -> bool {
    seen.workloads.iter().any(|one| {
        (canary > 0 && one.ready.canary == 0 && one.ready.stable > 0)
            || (canary < 100 && one.ready.stable == 0 && one.ready.canary > 0)
    })
}

/// Ask for the next numbers of pods; no action when all are asked for. `in_use` are the canary's percentages that a router
/// may be using; none without a router.
fn scale(state: State, seen: &Observation, to: u32, in_use: &[u32]) -> Decision<State, Action> {
    let mut decision = Decision::wait(state);
    for (workload, one) in seen.workloads.iter().enumerate() {
        let goal = pair(one.replicas, to, one.slack);
        let keep = keep(one.replicas, one.slack, in_use);
        let next = next(one.sides, goal, keep, one.replicas, one.slack);
        if next != one.sides.wanted() {
            decision.actions.push(Action::Scale { workload, to: next });
        }
    }
    decision
}

/// The least of both sides that serves the shares in use, within one percent and the pods that may be missing.
pub(crate) fn keep(replicas: u32, slack: Slack, in_use: &[u32]) -> Pair {
    let mut keep = Pair::default();
    for share in in_use {
        let fewer = pair(replicas, share.saturating_sub(1), slack).canary;
        let canary = fewer
            .saturating_sub(slack.unavailable)
            .max(u32::from(*share > 0));
        let fewer = pair(replicas, (share + 1).min(100), slack).stable;
        let stable = fewer
            .saturating_sub(slack.unavailable)
            .max(u32::from(*share < 100));
        keep.canary = keep.canary.max(canary);
        keep.stable = keep.stable.max(stable);
    }
    keep
}

/// Nothing comes, goes or starts.
fn is_standing(seen: &Observation) -> bool {
    seen.workloads.iter().all(|one| {
        let Sides { canary, stable } = one.sides;
        canary.is_settled()
            && stable.is_settled()
            && one.ready.canary >= canary.wanted
            && one.ready.stable >= stable.wanted
    })
}

fn is_reached(seen: &Observation, to: u32) -> bool {
    seen.workloads.iter().all(|one| {
        let goal = pair(one.replicas, to, one.slack);
        one.sides.wanted() == goal
    }) && is_standing(seen)
}

#[cfg(test)]
#[path = "progressive_tests.rs"]
pub(crate) mod tests;
