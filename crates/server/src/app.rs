//! The server as a whole: opened, bound, run, drained.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sortie_store::{SqliteStore, Store, User};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::engine::Engine;
use crate::hub::Hub;
use crate::keys::{self, MasterKey};
use crate::metrics::Metrics;
use crate::sealing::AtRest;
use crate::tasks::Dispatcher;
use crate::web::{self, Auth, Web};
use crate::{clock, tokens};

/// A server that is bound and not yet serving.
pub struct App {
    store: SqliteStore,
    keys: Arc<MasterKey>,
    engine: Engine,
    web: Web,
    listener: web::Listener,
    first_token: Option<Zeroizing<String>>,
    stopping: CancellationToken,
}

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be made.
    #[error("could not make the data folder {}", path.display())]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
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

impl App {
    /// Opens the store with its master key and binds the web address.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        let folder = &config.data_dir;
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|source| Error::DataFolder {
                path: folder.clone(),
                source,
            })?;
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
        let first_token = first_token(&store).await?;
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
        let web = Web {
            store: shared,
            engine: engine.clone(),
            keys: Arc::clone(&keys) as Arc<dyn AtRest>,
            hub,
            metrics,
            auth: Arc::new(Auth::default()),
            stopping: stopping.clone(),
        };
        Ok(Self {
            store,
            keys,
            engine,
            web,
            listener,
            first_token,
            stopping,
        })
    }

    /// The first admin token, only at the very first start of a data folder.
    pub fn take_first_token(&mut self) -> Option<Zeroizing<String>> {
        self.first_token.take()
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

    /// Serves until `shutdown`, then drains.
    pub async fn run(
        self,
        dispatcher: Arc<dyn Dispatcher>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Self {
            store,
            keys: _,
            engine,
            web,
            listener,
            first_token: _,
            stopping,
        } = self;
        engine
            .resume(dispatcher)
            .await
            .map_err(|source| Error::Store {
                operation: "carry unfinished executions on",
                source,
            })?;
        let serving = web::serve(listener, web::router(web), stopping.clone());
        let stop = async {
            shutdown.cancelled().await;
            stopping.cancel();
        };
        tokio::join!(serving, stop);
        engine.stop().await;
        store.close().await;
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

/// Makes the first user and a token when there is no user yet.
async fn first_token(store: &dyn Store) -> Result<Option<Zeroizing<String>>, Error> {
    let now = clock::now();
    let user = User {
        id: uuid::Uuid::now_v7().to_string(),
        name: "admin".to_owned(),
        role: "admin".to_owned(),
        created_at: now,
    };
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
