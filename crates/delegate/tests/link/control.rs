//! A control plane's agent side, with a recorder in the engine's place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sortie_proto::v1;
use sortie_server::agent::{Agent, Options};
use sortie_server::delegates::{DelegateAdmin as _, NewJoinToken};
use sortie_server::keys::MasterKey;
use sortie_server::tasks::{
    Dispatcher as _, Resolution, Resolver, TaskEventError, TaskEvents, TaskOutcome, TaskRequest,
};
use sortie_store::{Blobs as _, Scope, SqliteStore};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest wait for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn options() -> Options {
    Options {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        certificate_lifetime: Duration::from_secs(3600),
        task_lease: Duration::from_secs(60),
        drain: Duration::from_millis(300),
        link: sortie_link::Settings::default(),
    }
}

/// What the engine would hear.
#[derive(Default)]
pub struct Recorder {
    pub heard: watch::Sender<Heard>,
    pub values: Mutex<HashMap<String, Resolution>>,
}

#[derive(Default)]
pub struct Heard {
    pub accepted: Vec<String>,
    pub ended: Vec<(String, TaskOutcome)>,
    pub progress: Vec<v1::Progress>,
    pub resources: Vec<v1::ResourceStatuses>,
    pub lines: Vec<v1::LogLine>,
}

impl Recorder {
    /// Waits until `find` finds something in what was heard.
    pub async fn wait<T>(&self, what: &str, mut find: impl FnMut(&Heard) -> Option<T>) -> T {
        let mut heard = self.heard.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = find(&heard.borrow_and_update()) {
                    return found;
                }
                heard.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        found.unwrap_or_else(|_| panic!("{what} was not heard"))
    }

    pub async fn outcome(&self, task: &str) -> TaskOutcome {
        let of_task = |heard: &Heard| {
            heard
                .ended
                .iter()
                .find(|(id, _)| id == task)
                .map(|(_, outcome)| outcome.clone())
        };
        self.wait(&format!("the end of {task}"), of_task).await
    }

    /// The outputs of a task that must have succeeded.
    pub async fn outputs(&self, task: &str) -> serde_json::Value {
        match self.outcome(task).await {
            TaskOutcome::Succeeded(succeeded) => {
                serde_json::from_str(&succeeded.outputs_json).unwrap()
            }
            other => panic!("{task} ended with {other:?}"),
        }
    }

    pub fn ends(&self, task: &str) -> usize {
        self.heard
            .borrow()
            .ended
            .iter()
            .filter(|(id, _)| id == task)
            .count()
    }
}

#[async_trait]
impl TaskEvents for Recorder {
    async fn accepted(&self, task: &str, _: &str, _: Duration) -> Result<(), TaskEventError> {
        self.heard
            .send_modify(|heard| heard.accepted.push(task.to_owned()));
        Ok(())
    }

    async fn finished(&self, task: &str, outcome: TaskOutcome) -> Result<(), TaskEventError> {
        self.heard
            .send_modify(|heard| heard.ended.push((task.to_owned(), outcome)));
        Ok(())
    }

    async fn progress(&self, progress: v1::Progress) -> Result<(), TaskEventError> {
        self.heard
            .send_modify(|heard| heard.progress.push(progress));
        Ok(())
    }

    async fn resources(&self, resources: v1::ResourceStatuses) -> Result<(), TaskEventError> {
        self.heard
            .send_modify(|heard| heard.resources.push(resources));
        Ok(())
    }

    async fn log(
        &self,
        _: &str,
        _: u64,
        mut lines: Vec<v1::LogLine>,
    ) -> Result<(), TaskEventError> {
        self.heard
            .send_modify(|heard| heard.lines.append(&mut lines));
        Ok(())
    }
}

#[async_trait]
impl Resolver for Recorder {
    async fn resolve(&self, _: &str, names: &[String]) -> Vec<Resolution> {
        let values = self.values.lock().unwrap();
        names
            .iter()
            .map(|name| values.get(name).cloned().unwrap_or(Resolution::Undefined))
            .collect()
    }
}

/// A running agent side.
pub struct Control {
    pub agent: Agent,
    pub recorder: Arc<Recorder>,
    store: SqliteStore,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Control {
    /// On a data folder that may have been used before. The recorder outlives a restart if it is handed on.
    pub async fn start_with(folder: &Path, options: Options, recorder: Arc<Recorder>) -> Self {
        // Shown with a test that fails. There is one log for all tests of the process.
        let filter = "info,sortie_delegate=debug,sortie_server=debug,sortie_link=debug";
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer();
        drop(log.try_init());
        let store = SqliteStore::open(folder).await.unwrap();
        let keys = MasterKey::load(folder, None, &store).await.unwrap();
        let agent = Agent::open(options, Arc::new(store.clone()), &keys)
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let (run, events, token) = (agent.clone(), Arc::clone(&recorder), stop.clone());
        running.spawn(async move { run.run(events.clone(), events, token).await.unwrap() });
        Self {
            agent,
            recorder,
            store,
            stop,
            running,
        }
    }

    pub async fn start(folder: &Path, options: Options) -> Self {
        Self::start_with(folder, options, Arc::default()).await
    }

    pub fn address(&self) -> SocketAddr {
        self.agent.address()
    }

    /// As on SIGTERM.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        ended.expect("it stops").unwrap().unwrap();
        self.store.close().await;
    }

    pub async fn token(&self, max_uses: u32) -> String {
        self.token_until(max_uses, jiff::SignedDuration::from_hours(1))
            .await
    }

    pub async fn token_until(&self, max_uses: u32, life: jiff::SignedDuration) -> String {
        let request = NewJoinToken {
            scope: Scope::project("acme", "shop"),
            delegate_name: None,
            label: "for a test".to_owned(),
            max_uses,
            expires_at: now().checked_add(life).unwrap(),
            by: "admin".to_owned(),
        };
        self.agent
            .create_join_token(request)
            .await
            .unwrap()
            .token
            .to_string()
    }

    pub async fn enqueue(&self, task: v1::Task) {
        let request = TaskRequest {
            id: task.id.clone(),
            scope: Scope::project("acme", "shop"),
            selectors: Vec::new(),
            resumable: true,
            deadline: now()
                .checked_add(jiff::SignedDuration::from_mins(10))
                .unwrap(),
            task,
        };
        self.agent.enqueue(request).await.unwrap();
    }

    pub async fn blob(&self, bytes: &[u8]) -> v1::BlobRef {
        let hash = self.store.put_blob(bytes).await.unwrap();
        v1::BlobRef {
            sha256: hash.to_string(),
            size: bytes.len() as u64,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests deal with real certificates"
)]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
