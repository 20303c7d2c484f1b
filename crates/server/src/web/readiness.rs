//! Whether the server can do its work: whether its store takes writes.

use std::time::Duration;

use sortie_store::Store;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::problem::chain;

/// An answer holds that long. Everybody may ask, and each check writes to the disk.
const FRESH: Duration = Duration::from_secs(1);

/// Longest time for a check; shorter than a prober waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// What the last check found, and when.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    /// Whether the store takes writes.
    pub(super) async fn check(&self, store: &dyn Store) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, writable)) = *last
            && at.elapsed() < FRESH
        {
            return writable;
        }
        let before = last.is_none_or(|(_, writable)| writable);
        let writable = match tokio::time::timeout(PATIENCE, store.check_writable()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(error = %chain(&error), "the database takes no writes");
                false
            }
            Err(_) => {
                tracing::error!("the database took no write for {} s", PATIENCE.as_secs());
                false
            }
        };
        if writable && !before {
            tracing::info!("the database takes writes again");
        }
        *last = Some((Instant::now(), writable));
        writable
    }
}
