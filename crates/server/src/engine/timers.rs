//! Timers of executions. They live in memory; after a restart the engine sets them again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sortie_workflow::TimerId;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;

type Key = (String, TimerId);

/// Timers of all executions.
#[derive(Debug, Default)]
pub(super) struct Timers(Mutex<HashMap<Key, AbortHandle>>);

impl Timers {
    /// Sets a timer; one that is set already moves. `fire` runs at that time, at once if it has
    /// passed, unless the server stops before.
    pub(super) fn set(
        &self,
        tracker: &TaskTracker,
        stopping: &CancellationToken,
        execution: &str,
        timer: TimerId,
        at: Timestamp,
        fire: impl Future<Output = ()> + Send + 'static,
    ) {
        let wait = Duration::try_from(at.duration_since(clock::now())).unwrap_or_default();
        let stopping = stopping.clone();
        let task = tracker.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = tokio::time::sleep(wait) => fire.await,
            }
        });
        let mut timers = self.timers();
        timers.retain(|_, handle| !handle.is_finished());
        let before = timers.insert((execution.to_owned(), timer), task.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Forgets a timer. One that is firing this moment finishes; the engine ignores it.
    pub(super) fn clear(&self, execution: &str, timer: &TimerId) {
        // Only forgotten, not aborted: it may be the very task that calls this.
        let key = (execution.to_owned(), timer.clone());
        let _forgotten = self.timers().remove(&key).filter(|handle| {
            let sleeping = !handle.is_finished() && tokio::task::try_id() != Some(handle.id());
            if sleeping {
                handle.abort();
            }
            sleeping
        });
    }

    /// Forgets all timers of an execution.
    pub(super) fn clear_execution(&self, execution: &str) {
        let own = tokio::task::try_id();
        self.timers().retain(|(of, _), handle| {
            if of == execution && own != Some(handle.id()) {
                handle.abort();
            }
            of != execution
        });
    }

    /// Forgets everything.
    pub(super) fn clear_all(&self) {
        for (_, handle) in self.timers().drain() {
            handle.abort();
        }
    }

    fn timers(&self) -> MutexGuard<'_, HashMap<Key, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
