//! What the delegate counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sortie_proto::v1::task_result;

/// All metrics of a delegate, under the prefix `sortie_delegate`.
#[derive(Debug, Default)]
pub struct Metrics {
    /// 1 while there is a session.
    pub session_up: Gauge,
    /// Sessions established.
    pub sessions: Counter,
    /// Tries to connect that failed.
    pub connect_failures: Counter,
    /// Tasks running now.
    pub running: Gauge,
    /// End of the certificate, seconds since the Unix epoch.
    pub certificate_not_after: Gauge<f64, AtomicU64>,
    /// Log lines that the buffer had to drop.
    pub log_lines_dropped: Counter,
    tasks: Family<TaskLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    outcome: TaskOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
enum TaskOutcome {
    succeeded,
    failed,
    aborted,
}

impl Metrics {
    /// New metrics, and a registry that has them.
    #[must_use]
    pub fn registered() -> (Self, Registry) {
        let metrics = Self::default();
        let mut registry = Registry::with_prefix("sortie_delegate");
        registry.register(
            "session_up",
            "1 while there is a session",
            metrics.session_up.clone(),
        );
        registry.register("sessions", "Sessions established", metrics.sessions.clone());
        registry.register(
            "connect_failures",
            "Tries to connect to the control plane that failed",
            metrics.connect_failures.clone(),
        );
        registry.register(
            "tasks_running",
            "Tasks running now",
            metrics.running.clone(),
        );
        registry.register("tasks", "Tasks ended, by outcome", metrics.tasks.clone());
        registry.register(
            "certificate_not_after_seconds",
            "End of the certificate, seconds since the Unix epoch",
            metrics.certificate_not_after.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Log lines that the buffer had to drop",
            metrics.log_lines_dropped.clone(),
        );
        (metrics, registry)
    }

    /// A task ended.
    pub(crate) fn ended(&self, outcome: &task_result::Outcome) {
        let outcome = match outcome {
            task_result::Outcome::Succeeded(_) => TaskOutcome::succeeded,
            task_result::Outcome::Failed(_) => TaskOutcome::failed,
            task_result::Outcome::Aborted(_) => TaskOutcome::aborted,
        };
        self.tasks.get_or_create(&TaskLabels { outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_shown_under_their_names() {
        let (metrics, registry) = Metrics::registered();
        metrics.session_up.set(1);
        metrics.ended(&task_result::Outcome::Aborted(
            sortie_proto::v1::Aborted::default(),
        ));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "sortie_delegate_session_up 1",
            "sortie_delegate_tasks_total{outcome=\"aborted\"} 1",
            "sortie_delegate_log_lines_dropped_total 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
