//! Renews the certificate at two thirds of its life, and notices when somebody else changes the identity.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::credentials::{Credentials, Enrolled};
use crate::clock;
use crate::metrics::Metrics;
use crate::telemetry::chain;

/// Bounds of the wait after a renewal that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Between tries to watch the identity.
const WATCH_PAUSE: Duration = Duration::from_secs(60);

/// Runs for as long as it is polled. `other` hears when the identity has become another delegate's.
pub(super) async fn keep(
    credentials: Arc<Credentials>,
    mut enrolled: Enrolled,
    metrics: Arc<Metrics>,
    other: mpsc::Sender<()>,
) {
    loop {
        #[expect(clippy::cast_precision_loss, reason = "seconds fit")]
        metrics
            .certificate_not_after
            .set(enrolled.enrolment.not_after.as_second() as f64);
        let watching = async {
            if let Err(error) = credentials.store.changed(&enrolled.version).await {
                tracing::debug!(error = chain(&error), "identity not watched");
                tokio::time::sleep(WATCH_PAUSE).await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(until_renewal(&enrolled)) => {}
            () = watching => {}
        }
        match credentials.current(false).await {
            Ok(now) => {
                let is_other = now.enrolment.delegate != enrolled.enrolment.delegate;
                enrolled = now;
                if is_other && other.send(()).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    code = error.code(),
                    "identity cannot be kept"
                );
                tokio::time::sleep(RETRY.1 / 10).await;
            }
        }
    }
}

/// Replicas draw different times, so that mostly one of them does it.
fn until_renewal(enrolled: &Enrolled) -> Duration {
    let now = clock::now();
    let span = |to: jiff::Timestamp| Duration::try_from(to.duration_since(now)).unwrap_or_default();
    let due = span(enrolled.enrolment.renew_at);
    let left = span(enrolled.enrolment.not_after);
    let spread = left
        .saturating_sub(due)
        .mul_f64(rand::random::<f64>() * 0.2);
    if due.is_zero() {
        // It was tried and failed.
        (left / 4).clamp(RETRY.0, RETRY.1)
    } else {
        due + spread
    }
}
