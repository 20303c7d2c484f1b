//! A delegate's link with a scripted runner and its identity in a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sortie_delegate::identity::{FileStore, IdentityStore as _, Stored, TokenSource};
use sortie_delegate::link::{self, Standing};
use sortie_delegate::metrics::Metrics;
use sortie_link::backoff::Backoff;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::control::PATIENCE;
use super::runner::Scripted;

/// What can differ between delegates.
pub struct Setup {
    pub server: String,
    pub folder: PathBuf,
    pub instance: String,
    pub capacity: u32,
    pub proxy: Option<String>,
    pub drain: Duration,
}

impl Setup {
    pub fn new(server: SocketAddr, folder: &Path) -> Self {
        Self {
            server: format!("https://{server}"),
            folder: folder.to_owned(),
            instance: "pod-1".to_owned(),
            capacity: 10,
            proxy: None,
            drain: Duration::from_secs(20),
        }
    }

    /// The token's file is `token` in the folder; without it there is no token.
    pub fn token(self, token: &str) -> Self {
        std::fs::write(self.folder.join("token"), token).unwrap();
        self
    }

    pub fn instance(mut self, instance: &str) -> Self {
        self.instance = instance.to_owned();
        self
    }

    pub fn capacity(mut self, capacity: u32) -> Self {
        self.capacity = capacity;
        self
    }

    pub fn start(&self) -> Delegate {
        let store = FileStore::new(self.folder.join("identity"));
        let gate = Arc::new(Semaphore::new(0));
        let runner = Scripted {
            gate: Arc::clone(&gate),
        };
        let (metrics, _) = Metrics::registered();
        let metrics = Arc::new(metrics);
        let (sender, standing) = watch::channel(Standing::default());
        let stop = CancellationToken::new();
        let options = link::Options {
            server: self.server.clone(),
            https_proxy: self.proxy.clone(),
            no_proxy: None,
            name: "edge".to_owned(),
            tags: vec!["edge".to_owned()],
            capacity: self.capacity,
            instance: self.instance.clone(),
            join_token: TokenSource::File(self.folder.join("token")),
            drain: self.drain,
            session: sortie_link::Settings::default(),
            backoff: Backoff {
                base: Duration::from_millis(20),
                cap: Duration::from_millis(200),
            },
        };
        let mut running = JoinSet::new();
        let (identity, counted, token) =
            (Arc::new(store.clone()), Arc::clone(&metrics), stop.clone());
        running.spawn(async move {
            link::run(options, identity, Arc::new(runner), counted, sender, token).await
        });
        Delegate {
            store,
            gate,
            metrics,
            standing,
            stop,
            running,
        }
    }
}

/// A running link.
pub struct Delegate {
    pub store: FileStore,
    pub gate: Arc<Semaphore>,
    pub metrics: Arc<Metrics>,
    pub standing: watch::Receiver<Standing>,
    pub stop: CancellationToken,
    running: JoinSet<Result<(), link::Error>>,
}

impl Delegate {
    pub async fn up(&mut self) {
        self.until("a session", |standing| standing.is_up).await;
    }

    pub async fn down(&mut self) {
        self.until("the session's end", |standing| !standing.is_up)
            .await;
    }

    /// Waits for a trouble whose code or text has `part`.
    pub async fn trouble(&mut self, part: &str) -> String {
        let has = |standing: &Standing| {
            standing
                .trouble
                .as_ref()
                .is_some_and(|(code, text)| *code == part || text.contains(part))
        };
        self.until(&format!("the trouble {part}"), has).await;
        self.standing.borrow().trouble.clone().unwrap().1
    }

    async fn until(&mut self, what: &str, mut fits: impl FnMut(&Standing) -> bool) {
        let waiting = self.standing.wait_for(|standing| fits(standing));
        let found = tokio::time::timeout(PATIENCE, waiting).await.map(drop);
        if found.is_err() {
            panic!("{what} did not come: {:?}", self.standing.borrow());
        }
    }

    pub async fn identity(&self) -> Stored {
        self.store.load().await.unwrap().expect("an identity")
    }

    pub async fn id(&self) -> String {
        self.identity()
            .await
            .identity
            .enrolment
            .expect("a certificate")
            .delegate
    }

    /// Asks it to stop and waits for the end of its drain.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.ended().await;
    }

    pub async fn ended(&mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        ended.expect("it stops").unwrap().unwrap().unwrap();
    }

    /// As `kill -9` would.
    pub async fn kill(mut self) {
        self.running.abort_all();
        while self.running.join_next().await.is_some() {}
    }
}
