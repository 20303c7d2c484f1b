//! How long a container may stay unready before its readiness probe counts as failing.

use jiff::SignedDuration;
use serde_json::Value;

use super::budget::seconds;
use crate::read::int;

/// The timing fields of a probe with the defaults of the Kubernetes API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    initial_delay: i64,
    period: i64,
    timeout: i64,
    failures: i64,
    successes: i64,
}

impl Probe {
    /// The probe of that field of a container's spec, if there is one.
    pub(crate) fn of(container: &Value, field: &str) -> Option<Self> {
        let probe = container.get(field).filter(|probe| probe.is_object())?;
        let bounded = |field: &str, default: i64, least: i64| {
            int(probe, field).unwrap_or(default).clamp(least, 86_400)
        };
        Some(Self {
            initial_delay: bounded("/initialDelaySeconds", 0, 0),
            period: bounded("/periodSeconds", 10, 1),
            timeout: bounded("/timeoutSeconds", 1, 1),
            failures: bounded("/failureThreshold", 3, 1),
            successes: bounded("/successThreshold", 1, 1),
        })
    }

    /// Time between two probes.
    pub(crate) fn period(self) -> SignedDuration {
        seconds(self.period)
    }

    /// Time from the start of the container to the first probe.
    pub(crate) fn initial_delay(self) -> SignedDuration {
        seconds(self.initial_delay)
    }

    /// The longest that a startup probe lets a container start.
    pub(crate) fn startup(self) -> SignedDuration {
        seconds(self.startup_seconds())
    }

    const fn startup_seconds(self) -> i64 {
        self.period
            + self.initial_delay
            + (self.failures + self.successes - 1) * self.period
            + self.timeout
    }

    /// How long readiness may fail after the start of a container, or after its startup probe has succeeded:
    /// `D + 2·timeout + (failureThreshold + successThreshold − 3)·period + period/2`, where `D` is
    /// `period + initialDelay`, less what a startup probe may take of it but at least `period` if that is all of it.
    /// 27 s for the defaults.
    pub(crate) fn grace(self, startup: Option<Self>) -> SignedDuration {
        let first = self.period + self.initial_delay;
        let delay = match startup.map(|startup| startup.startup_seconds() + self.period) {
            None => first,
            Some(starting) if starting > first => self.period,
            Some(starting) => first - starting,
        };
        let halves = 2
            * (delay + 2 * self.timeout + (self.failures + self.successes - 3) * self.period)
            + self.period;
        SignedDuration::from_millis(halves.max(0).saturating_mul(500))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(fields: &Value) -> Option<Probe> {
        Probe::of(&json!({ "readinessProbe": fields }), "readinessProbe")
    }

    #[test]
    fn grace_follows_the_timing_of_the_probe() {
        let startup = json!({"periodSeconds": 5, "failureThreshold": 30});
        for (readiness, startup, milliseconds) in [
            (json!({}), None, 27_000),
            (json!({"periodSeconds": 1}), None, 4_500),
            (json!({"initialDelaySeconds": 60}), None, 87_000),
            (
                json!({"periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 1}),
                None,
                3_000,
            ),
            // The startup probe may take longer than the first readiness probe is away.
            (json!({}), Some(startup.clone()), 27_000),
            (
                json!({"initialDelaySeconds": 600}),
                Some(startup),
                (610 - 166 + 17) * 1000,
            ),
            (
                json!({"periodSeconds": i64::MAX, "failureThreshold": i64::MAX}),
                None,
                -1,
            ),
        ] {
            let grace = probe(&readiness)
                .unwrap()
                .grace(startup.map(|startup| probe(&startup).unwrap()));
            if milliseconds >= 0 {
                assert_eq!(grace.as_millis(), milliseconds, "{readiness}");
            }
            assert!(grace >= SignedDuration::ZERO);
        }
        assert_eq!(probe(&Value::Null), None);
    }
}
