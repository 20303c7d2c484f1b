//! The server as a whole: opened, bound, run, drained.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sortie_store::{SqliteStore, Store};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::delegates::DelegateAdmin;
use crate::engine::Engine;
use crate::hub::Hub;
use crate::keys::{self, MasterKey};
use crate::metrics::Metrics;
use crate::retention::{self, Retention};
use crate::sealing::AtRest;
use crate::tasks::Dispatcher;
use crate::telemetry::LogLevel;
use crate::web::{self, Auth, Readiness, Web};
use crate::{admin_token, clock, tokens};

/// A server that is bound and not yet serving.
pub struct App {
    store: SqliteStore,
    keys: Arc<MasterKey>,
    engine: Engine,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    listener: web::Listener,
    retention: Retention,
    log_level: Option<LogLevel>,
    stopping: CancellationToken,
    /// Held for as long as the data folder is in use.
    lock: std::fs::File,
}

/// The agent side, as the rest of the server uses it.
#[derive(Clone)]
pub struct AgentSide {
    /// Hands tasks to delegates.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// Join tokens and delegates.
    pub delegates: Arc<dyn DelegateAdmin>,
}

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be made or written.
    #[error("could not use the data folder {}", path.display())]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another server runs on the data folder.
    #[error("another server is using the data folder {}; stop it first", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The store failed.
    #[error("could not {operation}")]
    Store {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: sortie_store::Error,
    },
    /// The master key cannot be used.
    #[error("could not use the master key")]
    Key(#[source] keys::Error),
    /// No random numbers for the first token.
    #[error("could not make the first token")]
    Token(#[source] tokens::RandomError),
    /// The web address cannot be bound.
    #[error("could not start the web side")]
    Bind(#[source] web::BindError),
}

impl Error {
    /// Stable code of the error, explained in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DataFolder { .. } => "SRT-S124",
            Self::InUse { .. } => "SRT-S125",
            Self::Bind(_) => "SRT-S126",
            Self::Token(_) => "SRT-S120",
            Self::Key(error) => error.code(),
            Self::Store { source, .. } => source.code(),
        }
    }
}

impl App {
    /// Opens the store with its master key and binds the web address.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        let folder = &config.data_dir;
        // The database holds everybody's entities: nobody else's to read.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| Error::DataFolder {
                path: folder.clone(),
                source,
            })?;
        let lock = lock(folder)?;
        let store = SqliteStore::open(folder)
            .await
            .map_err(|source| Error::Store {
                operation: "open the store",
                source,
            })?;
        let key_file = config.master_key_file.as_deref();
        let keys = MasterKey::load(folder, key_file, &store)
            .await
            .map_err(Error::Key)?;
        let keys = Arc::new(keys);
        let listener = web::Listener::bind(config.web_address)
            .await
            .map_err(Error::Bind)?;
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let hub = Arc::new(Hub::default());
        let metrics = Arc::new(Metrics::new());
        let stopping = CancellationToken::new();
        let engine = Engine::new(
            Arc::clone(&shared),
            Arc::clone(&keys) as Arc<dyn AtRest>,
            Arc::clone(&hub),
            Arc::clone(&metrics),
            stopping.clone(),
        );
        Ok(Self {
            store,
            keys,
            engine,
            hub,
            metrics,
            listener,
            retention: config.retention,
            log_level: None,
            stopping,
            lock,
        })
    }

    /// Lets the level of the process's log be changed over the web side.
    #[must_use]
    pub fn with_log_level(mut self, log_level: LogLevel) -> Self {
        self.log_level = Some(log_level);
        self
    }

    /// Makes the first user with a token when there is no user yet: at the first start of a data
    /// folder. To be called when nothing else can fail before the token is shown: one that is
    /// stored and never shown would lock everybody out.
    pub async fn first_token(&self) -> Result<Option<Zeroizing<String>>, Error> {
        first_token(&self.store).await
    }

    /// The web address with its real port.
    #[must_use]
    pub fn web_address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The store, for the agent side.
    #[must_use]
    pub fn store(&self) -> SqliteStore {
        self.store.clone()
    }

    /// The master key, for the agent side.
    #[must_use]
    pub fn keys(&self) -> Arc<MasterKey> {
        Arc::clone(&self.keys)
    }

    /// The engine, for the agent side to report to.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine.clone()
    }

    /// Serves until `shutdown`, then drains. `beside` is what else uses the store (the agent side);
    /// it is awaited before the store is closed.
    pub async fn run(
        self,
        agent: AgentSide,
        beside: impl Future<Output = ()>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Self {
            store,
            keys,
            engine,
            hub,
            metrics,
            listener,
            retention,
            log_level,
            stopping,
            lock,
        } = self;
        let AgentSide {
            dispatcher,
            delegates,
        } = agent;
        engine
            .resume(dispatcher)
            .await
            .map_err(|source| Error::Store {
                operation: "carry unfinished executions on",
                source,
            })?;
        let web = Web {
            store: Arc::new(store.clone()),
            engine: engine.clone(),
            delegates,
            keys,
            hub,
            metrics,
            auth: Arc::new(Auth::default()),
            readiness: Arc::new(Readiness::default()),
            log_level,
            stopping: stopping.clone(),
        };
        let serving = web::serve(listener, web::router(web), stopping.clone());
        let stop = async {
            shutdown.cancelled().await;
            stopping.cancel();
        };
        let sweeping = retention::run(retention, &store, stopping.clone());
        tokio::join!(serving, stop, beside, sweeping);
        engine.stop().await;
        store.close().await;
        drop(lock);
        Ok(())
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("App")
            .field("web_address", &self.web_address())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AgentSide {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AgentSide").finish_non_exhaustive()
    }
}

/// Takes the data folder for this process: two servers on one folder would both drive the same
/// executions.
fn lock(folder: &Path) -> Result<std::fs::File, Error> {
    let path = folder.join("server.lock");
    let failed = |source| Error::DataFolder {
        path: folder.to_owned(),
        source,
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse {
            path: folder.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the first user and a token when there is no user yet.
async fn first_token(store: &dyn Store) -> Result<Option<Zeroizing<String>>, Error> {
    let now = clock::now();
    let user = admin_token::admin(now);
    let minted = tokens::mint().map_err(Error::Token)?;
    let token = tokens::record(&minted, &user, "first token", now);
    let made = store
        .create_first_user(&user, &token)
        .await
        .map_err(|source| Error::Store {
            operation: "store the first token",
            source,
        })?;
    Ok(made.then_some(minted.token))
}
