//! Wakes whoever follows an execution. A wake-up carries nothing: followers read the store again,
//! so one that is missed or repeated does no harm.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Wakes followers of executions.
#[derive(Debug, Default)]
pub struct Hub {
    topics: Mutex<HashMap<String, Arc<Topic>>>,
}

#[derive(Debug)]
struct Topic {
    state: watch::Sender<u64>,
    log: watch::Sender<u64>,
}

/// A follower of one execution.
#[derive(Debug)]
pub struct Follower {
    state: watch::Receiver<u64>,
    log: watch::Receiver<u64>,
}

impl Hub {
    /// Starts to follow an execution. Read the store after this call, not before.
    pub fn follow(&self, execution: &str) -> Follower {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.entry(execution.to_owned()).or_insert_with(|| {
            Arc::new(Topic {
                state: watch::Sender::new(0),
                log: watch::Sender::new(0),
            })
        });
        Follower {
            state: topic.state.subscribe(),
            log: topic.log.subscribe(),
        }
    }

    /// The state or the progress of the execution changed.
    pub fn state_changed(&self, execution: &str) {
        if let Some(topic) = self.topic(execution) {
            topic.state.send_modify(|count| *count += 1);
        }
    }

    /// The execution has new log lines.
    pub fn log_grew(&self, execution: &str) {
        if let Some(topic) = self.topic(execution) {
            topic.log.send_modify(|count| *count += 1);
        }
    }

    /// The topic if anybody follows it; forgotten when nobody does.
    fn topic(&self, execution: &str) -> Option<Arc<Topic>> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.get(execution)?;
        if topic.state.receiver_count() == 0 {
            topics.remove(execution);
            return None;
        }
        Some(Arc::clone(topic))
    }
}

impl Follower {
    /// Waits until the state changed since the last call. The hub outlives its followers only in
    /// a running server; when it is gone this never returns.
    pub async fn state_changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the state changed or the log grew since the last call.
    pub async fn anything(&mut self) {
        let changed = tokio::select! {
            changed = self.state.changed() => changed,
            changed = self.log.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_follower_is_woken_once_for_many_changes_and_topics_are_forgotten() {
        let hub = Hub::default();
        hub.state_changed("e1");
        let mut follower = hub.follow("e1");
        hub.log_grew("e1");
        hub.log_grew("e1");
        hub.state_changed("e2");
        follower.anything().await;
        let mut state = Box::pin(follower.state_changed());
        assert!(futures::poll!(&mut state).is_pending());
        hub.state_changed("e1");
        state.await;
        drop(follower);
        hub.state_changed("e1");
        assert!(hub.topics.lock().unwrap().is_empty());
    }
}
