//! What must hold at any time: used by the planners' tests, by the simulator and by debug assertions of an executor.

use jiff::Timestamp;

use crate::progressive::{Action, Observation, Plan, State, Workload, keep};
use crate::replicas::{Pair, Side};
use crate::swap::{Exchange, Seen, Select};

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A side gets traffic and no endpoint of it is ready.
    NobodyServes {
        /// The workload.
        workload: String,
        /// The canary's percentage.
        canary: u32,
    },
    /// A Service is about to leave a colour with ready pods for one without.
    Deserted {
        /// The Service.
        service: String,
        /// The colour that it is about to select.
        color: String,
    },
    /// A side has too few pods for its traffic.
    TooFew {
        /// The workload.
        workload: String,
        /// What it has.
        has: Pair,
        /// What it needs.
        needs: Pair,
    },
    /// More pods than wanted and surge allow.
    TooMany {
        /// The workload.
        workload: String,
        /// How many.
        pods: u32,
        /// The most allowed.
        most: u32,
    },
    /// Fewer pods available than wanted and `maxUnavailable` allow.
    Unavailable {
        /// The workload.
        workload: String,
        /// How many are available.
        available: u32,
        /// The fewest allowed.
        least: u32,
    },
    /// A side that is to have a share has lost its last pod.
    Abandoned {
        /// The workload.
        workload: String,
        /// Pods before.
        before: Pair,
        /// Pods after.
        after: Pair,
    },
    /// Weights that do not make a hundred.
    Weights {
        /// Their sum.
        sum: u64,
    },
}

/// Weights sum to 100.
pub fn weights(weights: &[u32]) -> Result<(), Violation> {
    let sum = weights.iter().copied().map(u64::from).sum();
    if sum == 100 {
        Ok(())
    } else {
        Err(Violation::Weights { sum })
    }
}

/// Whoever gets traffic has a ready endpoint, with these percentages of the canary in use.
pub fn served(seen: &Observation, in_use: &[u32]) -> Result<(), Violation> {
    for one in &seen.workloads {
        for share in in_use {
            let nobody =
                (*share > 0 && one.ready.canary == 0) || (*share < 100 && one.ready.stable == 0);
            if nobody && one.replicas > 0 {
                let workload = one.name.clone();
                return Err(Violation::NobodyServes {
                    workload,
                    canary: *share,
                });
            }
        }
    }
    Ok(())
}

/// No Service that gets traffic leaves a colour with ready pods for one without.
pub fn never_deserted(exchange: &Exchange, seen: &Seen, select: &Select) -> Result<(), Violation> {
    let (at, left) = if select.to == exchange.to {
        (seen.ready, seen.ready_before)
    } else {
        (seen.ready_before, seen.ready)
    };
    if exchange.needs > 0 && at == 0 && left > 0 {
        return Err(Violation::Deserted {
            service: exchange.service.clone(),
            color: select.to.clone(),
        });
    }
    Ok(())
}

/// Both sides keep the pods that the percentages of the canary in use ask for.
pub fn carried(seen: &Observation, in_use: &[u32]) -> Result<(), Violation> {
    for one in &seen.workloads {
        let needs = keep(one.replicas, one.slack, in_use);
        let has = one.ready;
        if one.replicas > 0 && (has.canary < needs.canary || has.stable < needs.stable) {
            let workload = one.name.clone();
            return Err(Violation::TooFew {
                workload,
                has,
                needs,
            });
        }
    }
    Ok(())
}

/// The number of pods stays within surge, and of available ones within `maxUnavailable`.
pub fn bounded(seen: &Observation) -> Result<(), Violation> {
    for one in &seen.workloads {
        let (canary, stable) = (one.sides.canary, one.sides.stable);
        not_too_many(one, canary.pods.saturating_add(stable.pods))?;
        enough(one, canary.available.saturating_add(stable.available))?;
    }
    Ok(())
}

fn not_too_many(one: &Workload, pods: u32) -> Result<(), Violation> {
    let most = one.replicas.saturating_add(one.slack.surge);
    if pods <= most {
        return Ok(());
    }
    let workload = one.name.clone();
    Err(Violation::TooMany {
        workload,
        pods,
        most,
    })
}

fn enough(one: &Workload, available: u32) -> Result<(), Violation> {
    let least = one.replicas.saturating_sub(one.slack.unavailable);
    if available >= least {
        return Ok(());
    }
    let workload = one.name.clone();
    Err(Violation::Unavailable {
        workload,
        available,
        least,
    })
}

/// On the way to this percentage no side that keeps a share loses its last pod: between 1 and 99 % of at least two pods.
pub fn shared(
    one: &Workload,
    (before, after): (Pair, Pair),
    percent: u32,
) -> Result<(), Violation> {
    let is_lost = |side: fn(Pair) -> u32| side(before) > 0 && side(after) == 0;
    let is_meant = one.replicas >= 2 && (1..100).contains(&percent);
    if is_meant && (is_lost(|pair| pair.canary) || is_lost(|pair| pair.stable)) {
        let workload = one.name.clone();
        return Err(Violation::Abandoned {
            workload,
            before,
            after,
        });
    }
    Ok(())
}

/// What the planner of the progressive canary asks for breaks nothing, whatever the controllers do of it first, by what was
/// seen. `state` is that of its decision.
pub fn permitted(
    (plan, state): (&Plan, &State),
    (seen, now): (&Observation, Timestamp),
    action: &Action,
) -> Result<(), Violation> {
    match action {
        Action::Weigh { canary } => {
            // Where some workload has no pods at all, no weight is better than another.
            let is_avoidable = [0, 100].iter().any(|share| served(seen, &[*share]).is_ok());
            if is_avoidable {
                served(seen, &[*canary])
            } else {
                Ok(())
            }
        }
        Action::Scale { workload, to } => {
            let asked = state.asked.filter(|_| seen.route.is_some());
            let in_use = asked.map_or_else(Vec::new, |asked| asked.in_use(plan, now));
            match seen.workloads.get(*workload) {
                Some(one) => scaled(one, *to, (plan.to, &in_use)),
                None => Ok(()),
            }
        }
    }
}

/// Numbers of pods may be asked for.
fn scaled(one: &Workload, to: Pair, (percent, in_use): (u32, &[u32])) -> Result<(), Violation> {
    let (canary, stable) = (one.sides.canary, one.sides.stable);
    let from = one.sides.wanted();
    shared(one, (from, to), percent)?;
    if to.canary > from.canary || to.stable > from.stable {
        let pods = canary.pods.max(from.canary.max(to.canary));
        not_too_many(
            one,
            pods.saturating_add(stable.pods.max(from.stable.max(to.stable))),
        )?;
    }
    let lost = lost(canary, to.canary).saturating_add(lost(stable, to.stable));
    if lost > 0 {
        let available = canary.available.saturating_add(stable.available);
        enough(one, available.saturating_sub(lost))?;
    }
    let needs = keep(one.replicas, one.slack, in_use);
    let is_missed = |from: u32, to: u32, needs: u32| to < from && to < needs;
    if is_missed(from.canary, to.canary, needs.canary)
        || is_missed(from.stable, to.stable, needs.stable)
    {
        let workload = one.name.clone();
        return Err(Violation::TooFew {
            workload,
            has: to,
            needs,
        });
    }
    Ok(())
}

/// Ready pods that a side loses when it is to have so many: those that are not ready go first.
fn lost(side: Side, to: u32) -> u32 {
    let idle = side.wanted.saturating_sub(side.ready);
    side.wanted.saturating_sub(to).saturating_sub(idle)
}

#[cfg(test)]
#[path = "invariant_tests.rs"]
mod tests;
