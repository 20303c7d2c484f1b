//! How long to wait before the next try: exponential with full jitter.
//!
//! Full jitter (a wait drawn evenly between nothing and the exponential ceiling) spreads the return of thousands of
//! delegates after a server restart better than a wait with a small random part.

use std::time::Duration;

/// Bounds of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub base: Duration,
    /// Ceiling of every wait.
    pub cap: Duration,
}

impl Default for Backoff {
    /// 500 ms doubling to 30 s.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The longest wait before try number `attempt`, counted from 0.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 2_u32.checked_pow(attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The wait before try number `attempt`, counted from 0. `random` is drawn evenly from all of `u64`.
    pub fn wait(&self, attempt: u32, random: u64) -> Duration {
        let ceiling = u64::try_from(self.ceiling(attempt).as_nanos()).unwrap_or(u64::MAX);
        // The high half of the product maps `random` evenly to 0..ceiling.
        let share = (u128::from(random) * u128::from(ceiling)) >> 64;
        Duration::from_nanos(u64::try_from(share).unwrap_or(ceiling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ceiling_doubles_to_the_cap() {
        let backoff = Backoff::default();
        let seconds = [0, 1, 2, 6, 7, 31, 32, u32::MAX].map(|n| backoff.ceiling(n).as_secs_f64());
        assert_eq!(seconds, [0.5, 1.0, 2.0, 30.0, 30.0, 30.0, 30.0, 30.0]);
    }

    #[test]
    fn jitter_covers_the_whole_range() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(3, 0), Duration::ZERO);
        assert_eq!(backoff.wait(3, 1 << 63), Duration::from_secs(2));
        assert!(backoff.wait(3, u64::MAX) > Duration::from_millis(3_999));
    }

    proptest! {
        #[test]
        fn never_beyond_the_ceiling(attempt: u32, random: u64) {
            let backoff = Backoff::default();
            prop_assert!(backoff.wait(attempt, random) <= backoff.ceiling(attempt));
        }
    }
}
