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
    let now = jiff::Timestamp::now();
    #[cfg(feature = "fault-injection")]
    let now = skewed(now);
    now
}

/// In test builds the variable `SORTIE_CLOCK_SKEW` puts this clock ahead by so many seconds, or back.
#[cfg(feature = "fault-injection")]
fn skewed(now: jiff::Timestamp) -> jiff::Timestamp {
    use std::sync::LazyLock;

    static SKEW: LazyLock<Option<i64>> = LazyLock::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "only test builds have this feature"
        )]
        let text = std::env::var("SORTIE_CLOCK_SKEW").ok()?;
        text.parse().ok()
    });
    let skew = SKEW.map(jiff::SignedDuration::from_secs);
    skew.and_then(|skew| now.checked_add(skew).ok())
        .unwrap_or(now)
}

/// Times that pass as `CLOCK_BOOTTIME` does, for deadlines that people read: whoever sets the wall clock meanwhile moves
/// none of them.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    began: jiff::Timestamp,
    at: Boottime,
}

impl Course {
    /// Begins at what the wall clock shows now.
    pub fn begin() -> Self {
        Self {
            began: now(),
            at: boottime(),
        }
    }

    /// Now.
    pub fn now(&self) -> jiff::Timestamp {
        self.then(boottime())
    }

    fn then(&self, moment: Boottime) -> jiff::Timestamp {
        let passed = moment.since(self.at);
        self.began
            .checked_add(passed)
            .unwrap_or(jiff::Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_knows_only_how_much_time_has_passed() {
        let course = Course {
            began: jiff::Timestamp::UNIX_EPOCH,
            at: Boottime::new(Duration::from_secs(500)),
        };
        for (boottime, second) in [(500, 0), (507, 7), (400, 0)] {
            let moment = Boottime::new(Duration::from_secs(boottime));
            assert_eq!(course.then(moment).as_second(), second);
        }
        let end = Boottime::new(Duration::MAX);
        assert_eq!(course.then(end), jiff::Timestamp::MAX);
        assert!(course.now() >= course.began);
    }
}
