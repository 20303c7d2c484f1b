//! How many pods two sides of a workload have, and how they get there within the bounds of a rollout.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A number of pods, or a share of the wanted ones: what `maxSurge` and `maxUnavailable` hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Amount {
    /// Reads `3` or `"25%"`, as the Kubernetes API writes them; `None` for anything else.
    pub fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Self::Count(number.as_u64()?.try_into().ok()?)),
            Value::String(text) => {
                let digits = text.strip_suffix('%')?;
                let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                Some(Self::Percent(is_number.then(|| digits.parse().ok())??))
            }
            _ => None,
        }
    }

    fn of(self, replicas: u32, rounded_up: bool) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let hundredths = u64::from(percent) * u64::from(replicas);
                let pods = if rounded_up {
                    hundredths.div_ceil(100)
                } else {
                    hundredths / 100
                };
                pods.try_into().unwrap_or(u32::MAX)
            }
        }
    }
}

/// How far a rollout may leave the wanted number of pods, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slack {
    /// Pods above the wanted number.
    pub surge: u32,
    /// Pods below it.
    pub unavailable: u32,
}

impl Slack {
    /// As the Deployment controller reads the two settings: surge is rounded up, unavailable down; when both come out as
    /// nothing, one pod may be missing, because no pod could be exchanged otherwise.
    pub fn of(surge: Amount, unavailable: Amount, replicas: u32) -> Self {
        let surge = surge.of(replicas, true);
        let mut unavailable = unavailable.of(replicas, false).min(replicas);
        if surge == 0 && unavailable == 0 {
            unavailable = 1.min(replicas);
        }
        Self { surge, unavailable }
    }

    /// For two sides that exchange their pods: a single pod is exchanged only beside another, because without surge there
    /// would be a gap.
    #[must_use]
    pub fn beside(self, replicas: u32) -> Self {
        match replicas {
            1 => Self {
                surge: self.surge.max(1),
                unavailable: 0,
            },
            _ => self,
        }
    }

    /// What a Deployment that says nothing has: a quarter, both ways.
    pub fn default_of(replicas: u32) -> Self {
        Self::of(Amount::Percent(25), Amount::Percent(25), replicas)
    }
}

/// Pods of the two sides of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Pods of the new version.
    pub canary: u32,
    /// Pods of the old version.
    pub stable: u32,
}

impl Pair {
    /// Pods of both.
    pub fn total(self) -> u32 {
        self.canary.saturating_add(self.stable)
    }
}

/// The pair whose share of canary pods is nearest to `percent`, for a workload that wants `replicas` pods.
///
/// The total is `replicas`, or one more where surge allows it and the share comes out nearer; at equal distance the smaller
/// total and then the larger canary wins. Between 1 and 99 % both sides have a pod, except for a single pod without surge,
/// which can only be on one side: the nearer one. The canary never shrinks and stable never grows when `percent` rises.
pub fn pair(replicas: u32, percent: u32, slack: Slack) -> Pair {
    let whole = |canary| Pair {
        canary,
        stable: replicas - canary,
    };
    match (replicas, percent) {
        (0, _) | (_, 0) => return whole(0),
        (_, 100..) => return whole(replicas),
        (1, _) if slack.surge == 0 => return whole(u32::from(percent >= 50)),
        _ => {}
    }
    let totals = [Some(replicas), replicas.checked_add(1)];
    let allowed = if slack.surge == 0 { 1 } else { 2 };
    let mut nearest: Option<(Pair, u64, u64)> = None;
    for total in totals.into_iter().take(allowed).flatten() {
        if total < 2 {
            continue;
        }
        let share = u64::from(percent) * u64::from(total);
        let floor = u32::try_from(share / 100).unwrap_or(total);
        for canary in [floor.saturating_add(1), floor] {
            let canary = canary.clamp(1, total - 1);
            let off = (u64::from(canary) * 100).abs_diff(share);
            // Distances of shares, compared without fractions: off / total.
            let total = u64::from(total);
            if nearest.is_none_or(|(_, best, of)| off * of < best * total) {
                let stable = u32::try_from(total).unwrap_or(u32::MAX) - canary;
                nearest = Some((Pair { canary, stable }, off, total));
            }
        }
    }
    nearest.map_or_else(|| whole(0), |(pair, ..)| pair)
}

/// Pods that a side needs to serve `weight` percent of the traffic of `replicas` pods: at least one where it serves any.
pub fn needed(replicas: u32, weight: u32) -> u32 {
    let pods = (u64::from(replicas) * u64::from(weight.min(100))).div_ceil(100);
    u32::try_from(pods).unwrap_or(u32::MAX)
}

/// The most traffic, in percent, that a side with so many ready pods may get: the inverse of [`needed`].
pub fn carried(replicas: u32, ready: u32) -> u32 {
    if replicas == 0 {
        return 100;
    }
    let percent = u64::from(ready) * 100 / u64::from(replicas);
    u32::try_from(percent.min(100)).unwrap_or(100)
}

/// One side of a workload as it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Pods that are asked for: `spec.replicas`.
    pub wanted: u32,
    /// Pods that exist, those that end included.
    pub pods: u32,
    /// Pods that are ready by themselves, whether or not requests reach them yet.
    pub ready: u32,
    /// Pods that are available: requests reach them.
    pub available: u32,
}

impl Side {
    /// Pods that exist or are about to.
    fn present(self) -> u32 {
        self.wanted.max(self.pods)
    }

    /// All that are asked for are there, and no others.
    pub fn is_settled(self) -> bool {
        self.pods == self.wanted && self.available >= self.wanted
    }
}

/// Both sides as they were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// The new version.
    pub canary: Side,
    /// The old version.
    pub stable: Side,
}

impl Sides {
    /// What is asked for.
    pub fn wanted(self) -> Pair {
        Pair {
            canary: self.canary.wanted,
            stable: self.stable.wanted,
        }
    }
}

/// The numbers to ask for next on the way to `goal`, for a workload that wants `replicas` pods; equal to what is asked for
/// when there is nothing to do but wait.
///
/// Growing comes first, stable before canary, within `replicas + surge` pods that exist. A side shrinks by its pods that are
/// not ready, which cost nothing, and by as many available ones as leave `replicas - unavailable` of both sides; never
/// below `keep`, what the traffic it gets asks for.
pub fn next(sides: Sides, goal: Pair, keep: Pair, replicas: u32, slack: Slack) -> Pair {
    let Sides { canary, stable } = sides;
    let mut asked = sides.wanted();
    let present = canary.present().saturating_add(stable.present());
    let mut room = replicas.saturating_add(slack.surge).saturating_sub(present);
    for (asked, goal) in [
        (&mut asked.stable, goal.stable),
        (&mut asked.canary, goal.canary),
    ] {
        let more = goal.saturating_sub(*asked).min(room);
        *asked += more;
        room -= more;
    }
    let available = canary.available.saturating_add(stable.available);
    let least = replicas.saturating_sub(slack.unavailable);
    let mut spare = available.saturating_sub(least);
    for (asked, side, goal, keep) in [
        (&mut asked.canary, canary, goal.canary, keep.canary),
        (&mut asked.stable, stable, goal.stable, keep.stable),
    ] {
        let surplus = side.wanted.saturating_sub(goal.max(keep));
        let idle = side.wanted.saturating_sub(side.ready).min(surplus);
        let serving = (surplus - idle).min(spare);
        spare -= serving;
        *asked -= idle + serving;
    }
    asked
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
