//! A world for planners without a cluster: controllers that make pods late, endpoints that follow late, a router that accepts
//! late and serves later. Chance is given from outside, so that each run can be run again.

use std::time::Duration;

use jiff::Timestamp;

use crate::progressive::{Action, Observation, Route, Workload};
use crate::replicas::{Pair, Side, Sides, Slack};

/// Numbers that stand for chance.
#[derive(Clone, Debug)]
pub struct Luck {
    state: u64,
}

impl Luck {
    /// Chance that comes out the same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u32) -> u32 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (mixed ^ (mixed >> 31)) >> 33;
        u32::try_from(number % u64::from(end.max(1))).unwrap_or(0)
    }
}

/// Pods of one side.
#[derive(Clone, Copy, Debug, Default)]
struct Pods {
    wanted: u32,
    starting: u32,
    ready: u32,
    ending: u32,
    /// Ready pods that the endpoints show.
    endpoints: u32,
}

impl Pods {
    fn exist(self) -> u32 {
        self.starting + self.ready + self.ending
    }

    fn tick(&mut self, luck: &mut Luck) {
        let live = self.starting + self.ready;
        if live < self.wanted {
            self.starting += (self.wanted - live).min(luck.below(5));
        } else {
            let surplus = live - self.wanted;
            let idle = surplus.min(self.starting);
            self.starting -= idle;
            self.ready -= surplus - idle;
            // Endpoints lose a pod when its end begins.
            self.endpoints = self.endpoints.min(self.ready);
            self.ending += surplus;
        }
        let started = luck.below(self.starting + 1);
        self.starting -= started;
        self.ready += started;
        self.endpoints += luck.below(self.ready - self.endpoints + 1);
        self.ending -= luck.below(self.ending + 1);
    }

    fn seen(self) -> Side {
        Side {
            wanted: self.wanted,
            pods: self.exist(),
            ready: self.ready,
            available: self.endpoints.min(self.ready),
        }
    }
}

#[derive(Clone, Debug)]
struct Simulated {
    replicas: u32,
    slack: Slack,
    canary: Pods,
    stable: Pods,
}

#[derive(Clone, Copy, Debug)]
struct Router {
    said: u32,
    is_accepted: bool,
    serves: u32,
    /// Follows what was accepted at this time at the latest.
    follows: Timestamp,
}

/// Workloads and perhaps a router.
#[derive(Clone, Debug)]
pub struct World {
    /// The present time.
    pub now: Timestamp,
    workloads: Vec<Simulated>,
    router: Option<Router>,
    lag: Duration,
    luck: Luck,
}

impl World {
    /// Workloads that all run in their stable version, with (wanted pods, slack); a router that serves the new weights at the
    /// latest `lag` after it accepted them.
    pub fn new(workloads: &[(u32, Slack)], lag: Option<Duration>, luck: Luck) -> Self {
        let workload = |(replicas, slack): &(u32, Slack)| Simulated {
            replicas: *replicas,
            slack: *slack,
            canary: Pods::default(),
            stable: Pods {
                wanted: *replicas,
                ready: *replicas,
                endpoints: *replicas,
                ..Pods::default()
            },
        };
        let now = Timestamp::UNIX_EPOCH;
        let router = lag.map(|_| Router {
            said: 0,
            is_accepted: true,
            serves: 0,
            follows: now,
        });
        Self {
            now,
            workloads: workloads.iter().map(workload).collect(),
            router,
            lag: lag.unwrap_or_default(),
            luck,
        }
    }

    /// Time passes, and everything moves by chance.
    pub fn tick(&mut self) {
        let step = Duration::from_millis(u64::from(self.luck.below(3_000)));
        self.now = self.now.saturating_add(step).unwrap_or(Timestamp::MAX);
        for one in &mut self.workloads {
            one.canary.tick(&mut self.luck);
            one.stable.tick(&mut self.luck);
        }
        let Some(router) = &mut self.router else {
            return;
        };
        if !router.is_accepted && self.luck.below(3) == 0 {
            router.is_accepted = true;
            router.follows = self.now.saturating_add(self.lag).unwrap_or(Timestamp::MAX);
        }
        let follows = router.is_accepted && (self.now >= router.follows || self.luck.below(3) == 0);
        if follows {
            router.serves = router.said;
        }
    }

    /// The clock jumps ahead, and nothing else happens.
    pub fn jump(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time).unwrap_or(Timestamp::MAX);
        if let Some(router) = &mut self.router {
            router.serves = if router.is_accepted {
                router.said
            } else {
                router.serves
            };
        }
    }

    /// Some pods of a side stop being ready.
    pub fn strike(&mut self, workload: usize, canary: bool) {
        let luck = &mut self.luck;
        if let Some(one) = self.workloads.get_mut(workload) {
            let side = if canary {
                &mut one.canary
            } else {
                &mut one.stable
            };
            let struck = luck.below(side.ready + 1);
            side.ready -= struck;
            side.starting += struck;
            side.endpoints = side.endpoints.min(side.ready);
        }
    }

    /// Somebody else writes other weights.
    pub fn meddle(&mut self, canary: u32) {
        if let Some(router) = &mut self.router {
            router.said = canary.min(100);
            router.is_accepted = false;
        }
    }

    /// Carry an action out.
    pub fn act(&mut self, action: &Action) {
        match action {
            Action::Scale { workload, to } => {
                if let Some(one) = self.workloads.get_mut(*workload) {
                    one.canary.wanted = to.canary;
                    one.stable.wanted = to.stable;
                }
            }
            Action::Weigh { canary } => {
                if let Some(router) = &mut self.router
                    && router.said != *canary
                {
                    router.said = *canary;
                    router.is_accepted = false;
                }
            }
        }
    }

    /// What an executor sees.
    pub fn seen(&self) -> Observation {
        let workload = |(number, one): (usize, &Simulated)| Workload {
            name: format!("w{number}"),
            replicas: one.replicas,
            slack: one.slack,
            sides: Sides {
                canary: one.canary.seen(),
                stable: one.stable.seen(),
            },
            ready: Pair {
                canary: one.canary.endpoints,
                stable: one.stable.endpoints,
            },
        };
        Observation {
            workloads: self.workloads.iter().enumerate().map(workload).collect(),
            route: self.router.map(|router| Route {
                canary: router.said,
                is_accepted: router.is_accepted,
            }),
        }
    }

    /// The canary's percentage that is served now: by the router, or none without one.
    pub fn serves(&self) -> Option<u32> {
        self.router.map(|router| router.serves)
    }
}
