//! What must hold at any time: used by the planners' tests, by the simulator and by debug assertions of an executor.

use crate::progressive::{Observation, keep};
use crate::replicas::{Pair, Slack};
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
        let Slack { surge, unavailable } = one.slack;
        let (canary, stable) = (one.sides.canary, one.sides.stable);
        let (pods, most) = (
            canary.pods.saturating_add(stable.pods),
            one.replicas.saturating_add(surge),
        );
        let workload = one.name.clone();
        if pods > most {
            return Err(Violation::TooMany {
                workload,
                pods,
                most,
            });
        }
        let available = canary.available.saturating_add(stable.available);
        let least = one.replicas.saturating_sub(unavailable);
        if available < least {
            return Err(Violation::Unavailable {
                workload,
                available,
                least,
            });
        }
    }
    Ok(())
}
