//! How long trouble may last before it counts as failure.

use jiff::{SignedDuration, Timestamp};

/// Patience per kind of trouble. Times run from when the trouble was first *seen*, never from clocks of the cluster,
/// so that a clock that differs from ours ends nothing early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Budgets {
    /// Restarts of a container after which a crash loop is a failure. Default 2.
    pub crash_restarts: u32,
    /// A container that ends sooner than this after its start, twice, has failed at once. Default 10 s.
    pub quick_exit: SignedDuration,
    /// For image pulls that may still succeed: time-outs, rate limits, 5xx. Default 60 s.
    pub image_pull: SignedDuration,
    /// For a registry that is not there: its name does not resolve, it refuses the connection or has a certificate that
    /// the node does not trust. Default 15 s.
    pub registry_unreachable: SignedDuration,
    /// For a ConfigMap, Secret, key or service account that does not exist; an operator may be about to make it.
    /// Default 10 s.
    pub config_missing: SignedDuration,
    /// For containers that the runtime cannot create and that may recover. Default 30 s.
    pub container_refused: SignedDuration,
    /// For an exceeded quota while pods may still go away and free some. Default 30 s.
    pub quota: SignedDuration,
    /// For an exceeded quota when the rollout itself can free none. Default 10 s.
    pub quota_stuck: SignedDuration,
    /// For pods that admission refuses for good, such as by Pod Security. Default 5 s.
    pub pod_refused: SignedDuration,
    /// For constraints that no node can meet, unless an autoscaler reacts. Default 60 s.
    pub unschedulable: SignedDuration,
    /// For containers that run but do not listen yet, or whose probe has not said anything. Default 120 s.
    pub slow_start: SignedDuration,
    /// Nothing changes at all. Default 5 min.
    pub no_activity: SignedDuration,
    /// For failures that a kind without pods reports of itself. Default 30 s.
    pub degraded: SignedDuration,
    /// How long a good status of a custom resource is not believed that was there before our write and does not tell the
    /// generation which it is about. Default 3 s.
    pub settle: SignedDuration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            crash_restarts: 2,
            quick_exit: SignedDuration::from_secs(10),
            image_pull: SignedDuration::from_secs(60),
            registry_unreachable: SignedDuration::from_secs(15),
            config_missing: SignedDuration::from_secs(10),
            container_refused: SignedDuration::from_secs(30),
            quota: SignedDuration::from_secs(30),
            quota_stuck: SignedDuration::from_secs(10),
            pod_refused: SignedDuration::from_secs(5),
            unschedulable: SignedDuration::from_secs(60),
            slow_start: SignedDuration::from_secs(120),
            no_activity: SignedDuration::from_secs(300),
            degraded: SignedDuration::from_secs(30),
            settle: SignedDuration::from_secs(3),
        }
    }
}

/// `start` and `duration` later, at most the end of time.
pub(crate) fn after(start: Timestamp, duration: SignedDuration) -> Timestamp {
    start.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Seconds from an object, which may hold anything: between zero and a year.
pub(crate) fn seconds(value: i64) -> SignedDuration {
    SignedDuration::from_secs(value.clamp(0, 31_536_000))
}
