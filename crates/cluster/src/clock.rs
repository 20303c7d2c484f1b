//! The only place of this crate that reads a clock.

use std::time::Duration;

/// A point on the clock that also runs while the machine sleeps (`CLOCK_BOOTTIME`).
///
/// Comparable only with others of the same boot of the same machine; never written to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boottime(Duration);

impl Boottime {
    /// The point `since_boot` after the machine started.
    pub const fn new(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// The point `span` later.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long after `earlier` this point is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Now, on the clock that leases are measured by.
pub fn boottime() -> Boottime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Boottime(Duration::new(seconds, nanos))
}

/// Wall-clock time, for what people read in records and leases; never for decisions.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the crate's clock"
)]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
