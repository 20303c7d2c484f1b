//! Counters of the server. A small set: what one needs to see that it works and how busy it is.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Counters of the server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    /// Executions started since the start of the process.
    pub executions_started: Counter,
    /// Executions ended since the start of the process, by status.
    pub executions_ended: Family<StatusLabel, Counter>,
    /// Executions under way.
    pub executions_running: Gauge,
    /// From a task's place in the queue to its stored acceptance by a delegate.
    pub task_acceptance: Histogram,
    /// Log lines stored.
    pub log_lines: Counter<u64, AtomicU64>,
}

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    status: u16,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// The status in words.
    pub status: String,
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sortie_server");
        let requests = Family::default();
        registry.register(
            "http_requests",
            "Requests to the web side",
            requests.clone(),
        );
        let request_seconds = Histogram::new([0.005, 0.025, 0.1, 0.5, 2.5, 10.0]);
        registry.register_with_unit(
            "http_request_duration",
            "Time until a response begins",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let executions_started = Counter::default();
        registry.register(
            "executions_started",
            "Executions started",
            executions_started.clone(),
        );
        let executions_ended = Family::default();
        registry.register(
            "executions_ended",
            "Executions ended, by status",
            executions_ended.clone(),
        );
        let executions_running = Gauge::default();
        registry.register(
            "executions_running",
            "Executions under way",
            executions_running.clone(),
        );
        let task_acceptance = Histogram::new([0.005, 0.02, 0.1, 0.2, 1.0, 5.0, 30.0]);
        registry.register_with_unit(
            "task_acceptance",
            "Time from queueing a task to its acceptance by a delegate",
            Unit::Seconds,
            task_acceptance.clone(),
        );
        let log_lines = Counter::default();
        registry.register("log_lines", "Log lines stored", log_lines.clone());
        Self {
            registry,
            requests,
            request_seconds,
            executions_started,
            executions_ended,
            executions_running,
            task_acceptance,
            log_lines,
        }
    }

    /// Counts a request. Unknown methods share one label, so that a caller cannot make many.
    pub fn request(&self, method: &str, status: u16, elapsed: Duration) {
        let method = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"]
            .into_iter()
            .find(|known| *known == method)
            .unwrap_or("other");
        self.requests
            .get_or_create(&RequestLabels { method, status })
            .inc();
        self.request_seconds.observe(elapsed.as_secs_f64());
    }

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _infallible = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
