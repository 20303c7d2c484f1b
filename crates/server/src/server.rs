//! Both sides of the control plane in one: what `sortie-server` runs, and `sortie dev` beside a
//! delegate.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::agent::{self, Agent};
use crate::app::{self, AgentSide, App};
use crate::config::Config;
use crate::telemetry::LogLevel;

/// A control plane that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    app: App,
    agent: Agent,
}

/// The control plane could not start or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store, the keys or the web side.
    #[error(transparent)]
    App(#[from] app::Error),
    /// The agent side.
    #[error(transparent)]
    Agent(#[from] agent::Error),
}

impl Error {
    /// Stable code of the error, explained in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::App(error) => error.code(),
            Self::Agent(error) => error.code(),
        }
    }
}

impl Server {
    /// Opens the data folder and binds both addresses.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        let app = App::open(config).await?;
        let options = agent::Options::new(config);
        let agent = Agent::open(options, Arc::new(app.store()), app.keys().as_ref()).await?;
        Ok(Self { app, agent })
    }

    /// Lets the level of the process's log be changed over the web side.
    #[must_use]
    pub fn with_log_level(mut self, log_level: LogLevel) -> Self {
        self.app = self.app.with_log_level(log_level);
        self
    }

    /// The first admin token, only at the first start of a data folder. Show it: it is kept as a
    /// hash only.
    pub async fn first_token(&self) -> Result<Option<Zeroizing<String>>, Error> {
        Ok(self.app.first_token().await?)
    }

    /// The web address with its real port.
    #[must_use]
    pub fn web_address(&self) -> SocketAddr {
        self.app.web_address()
    }

    /// The agent address with its real port.
    #[must_use]
    pub fn agent_address(&self) -> SocketAddr {
        self.agent.address()
    }

    /// Serves until `shutdown`, then drains.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { app, agent } = self;
        let engine = Arc::new(app.engine());
        let side = AgentSide {
            dispatcher: Arc::new(agent.clone()),
            delegates: Arc::new(agent.clone()),
        };
        let mut served = Ok(());
        let agent = async {
            served = agent
                .run(Arc::clone(&engine) as _, engine, shutdown.clone())
                .await;
            // One side alone is of no use.
            shutdown.cancel();
        };
        app.run(side, agent, shutdown.clone()).await?;
        Ok(served?)
    }
}
