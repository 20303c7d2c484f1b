//! A control plane's agent side on a real store, with a recorder in the engine's place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sortie_proto::v1;
use sortie_server::agent::{Agent, Error, Options};
use sortie_server::delegates::{DelegateAdmin as _, NewJoinToken};
use sortie_server::keys::MasterKey;
use sortie_server::tasks::{
    Dispatcher as _, Handover, Resolution, Resolver, TaskEventError, TaskEvents, TaskOutcome,
    TaskRequest,
};
use sortie_store::{Blobs as _, Scope, SqliteStore};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Longest time a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn options() -> Options {
    Options {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        certificate_lifetime: Duration::from_secs(3600),
        task_lease: Duration::from_secs(60),
        drain: Duration::from_millis(500),
        link: sortie_link::Settings::default(),
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Accepted(String, String),
    Finished(String, TaskOutcome),
    Progress(u64),
    Log(String, Vec<String>),
    ChangedHands(u64, Handover),
}

/// Remembers what the engine would hear.
#[derive(Default)]
pub(crate) struct Recorder {
    heard: Mutex<Vec<Heard>>,
    count: watch::Sender<usize>,
    /// The next end of a task cannot be stored.
    pub fails: AtomicBool,
    pub values: Mutex<HashMap<String, Resolution>>,
}

impl Recorder {
    fn note(&self, heard: Heard) {
        let mut all = self.heard.lock().unwrap();
        all.push(heard);
        self.count.send_replace(all.len());
    }

    pub(crate) fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until something that was heard fits.
    pub(crate) async fn wait<T>(&self, fits: impl Fn(&Heard) -> Option<T>) -> T {
        let mut count = self.count.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = self.all().iter().find_map(&fits) {
                    return found;
                }
                count.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("not heard; so far: {:?}", self.all()))
    }

    pub(crate) async fn outcome(&self, task: &str) -> TaskOutcome {
        self.wait(|heard| match heard {
            Heard::Finished(id, outcome) if id == task => Some(outcome.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) fn ends(&self, task: &str) -> usize {
        let is_end = |heard: &&Heard| matches!(heard, Heard::Finished(id, _) if id == task);
        self.all().iter().filter(is_end).count()
    }
}

#[async_trait]
impl TaskEvents for Recorder {
    async fn accepted(
        &self,
        task: &str,
        delegate: &str,
        _: Duration,
    ) -> Result<(), TaskEventError> {
        self.note(Heard::Accepted(task.to_owned(), delegate.to_owned()));
        Ok(())
    }

    async fn finished(&self, task: &str, outcome: TaskOutcome) -> Result<(), TaskEventError> {
        if self.fails.swap(false, Ordering::SeqCst) {
            let source = sortie_store::Error::NotFound {
                what: "patience".to_owned(),
            };
            return Err(TaskEventError {
                task: task.to_owned(),
                source,
            });
        }
        self.note(Heard::Finished(task.to_owned(), outcome));
        Ok(())
    }

    async fn changed_hands(
        &self,
        _task: &str,
        epoch: u64,
        handover: &Handover,
    ) -> Result<(), TaskEventError> {
        self.note(Heard::ChangedHands(epoch, handover.clone()));
        Ok(())
    }

    async fn progress(&self, progress: v1::Progress) -> Result<(), TaskEventError> {
        self.note(Heard::Progress(progress.revision));
        Ok(())
    }

    async fn resources(&self, _: v1::ResourceStatuses) -> Result<(), TaskEventError> {
        Ok(())
    }

    async fn log(
        &self,
        task: &str,
        _epoch: u64,
        lines: Vec<v1::LogLine>,
    ) -> Result<(), TaskEventError> {
        let lines = lines.into_iter().map(|line| line.text).collect();
        self.note(Heard::Log(task.to_owned(), lines));
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
pub(crate) struct Control {
    pub agent: Agent,
    pub store: SqliteStore,
    pub recorder: Arc<Recorder>,
    stop: CancellationToken,
    running: JoinSet<Result<(), Error>>,
}

impl Control {
    /// Starts on a data folder, which may have been used before.
    pub(crate) async fn start(folder: &Path, options: Options) -> Self {
        let store = SqliteStore::open(folder).await.unwrap();
        let keys = MasterKey::load(folder, None, &store).await.unwrap();
        let agent = Agent::open(options, Arc::new(store.clone()), &keys)
            .await
            .unwrap();
        let recorder = Arc::new(Recorder::default());
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let (run, events, token) = (agent.clone(), Arc::clone(&recorder), stop.clone());
        running.spawn(async move { run.run(events.clone(), events, token).await });
        Self {
            agent,
            store,
            recorder,
            stop,
            running,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.agent.address()
    }

    /// Stops as on SIGTERM.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        ended.expect("it stops").unwrap().unwrap().unwrap();
        self.store.close().await;
    }

    pub(crate) async fn token(&self, scope: Scope, max_uses: u32) -> String {
        self.token_until(scope, max_uses, jiff::SignedDuration::from_hours(1))
            .await
    }

    pub(crate) async fn token_until(
        &self,
        scope: Scope,
        max_uses: u32,
        life: jiff::SignedDuration,
    ) -> String {
        self.token_of(scope, None, max_uses, life).await
    }

    /// For one delegate of the project `shop`, under this name only.
    pub(crate) async fn token_for(&self, name: &str) -> String {
        let life = jiff::SignedDuration::from_hours(1);
        self.token_of(shop(), Some(name.to_owned()), 1, life).await
    }

    async fn token_of(
        &self,
        scope: Scope,
        delegate_name: Option<String>,
        max_uses: u32,
        life: jiff::SignedDuration,
    ) -> String {
        let made = self
            .agent
            .create_join_token(NewJoinToken {
                scope,
                delegate_name,
                label: "for a test".to_owned(),
                max_uses,
                expires_at: now().checked_add(life).unwrap(),
                by: "admin".to_owned(),
            })
            .await
            .unwrap();
        made.token.to_string()
    }

    pub(crate) async fn enqueue(&self, request: TaskRequest) {
        self.agent.enqueue(request).await.unwrap();
    }

    pub(crate) async fn blob(&self, bytes: &[u8]) -> v1::BlobRef {
        let hash = self.store.put_blob(bytes).await.unwrap();
        v1::BlobRef {
            sha256: hash.to_string(),
            size: bytes.len() as u64,
        }
    }
}

pub(crate) fn shop() -> Scope {
    Scope::project("acme", "shop")
}

/// A resumable rollback task of the project `shop`.
pub(crate) fn task(id: &str) -> TaskRequest {
    TaskRequest {
        id: id.to_owned(),
        scope: shop(),
        selectors: Vec::new(),
        resumable: true,
        deadline: now()
            .checked_add(jiff::SignedDuration::from_mins(10))
            .unwrap(),
        task: v1::Task {
            id: id.to_owned(),
            step: Some(v1::task::Step::KubernetesRollingRollback(
                v1::KubernetesRollingRollback::default(),
            )),
            ..v1::Task::default()
        },
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests deal with real certificates"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

pub(crate) fn secret(text: &str) -> Resolution {
    Resolution::Secret(Zeroizing::new(text.as_bytes().to_vec()))
}
