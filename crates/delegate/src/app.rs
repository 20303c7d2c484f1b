//! The delegate as a whole: bound, connected, drained.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sortie_cluster::{Access, Cluster, ConnectError};
use sortie_link::backoff::Backoff;
use sortie_render::git::Network;
use sortie_render::tools::Search;
use sortie_step::Renderer;
use sortie_step::scripts::Scripts;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::config::Config;
use crate::control;
use crate::identity::{IdentityStore, SecretStore, TokenSource};
use crate::link;
use crate::metrics::Metrics;
use crate::runner::Runner;
use crate::scratch;
use crate::step_runner::StepRunner;
use crate::telemetry::{LogLevel, chain};

/// How long what serves beside the link may take to end.
const CLOSING: Duration = Duration::from_secs(1);

/// What the program that embeds the delegate brings along.
#[derive(Debug)]
pub struct Parts {
    /// The cluster it works on.
    pub cluster: Cluster,
    /// Where the identity lies.
    pub identity: Arc<dyn IdentityStore>,
    /// Where the join token comes from.
    pub join_token: TokenSource,
    /// For the control socket; `None`: the program that embeds the delegate owns the log.
    pub log_level: Option<LogLevel>,
}

/// The delegate could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No client for the cluster.
    #[error(transparent)]
    Cluster(ConnectError),
    /// The admin address cannot be bound.
    #[error("cannot listen on the admin address {address}; choose another with `adminAddress`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control socket cannot be made.
    #[error(
        "cannot listen on the control socket {}; choose a path with `controlSocket` in a folder that it can write to",
        path.display()
    )]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The settings of the link cannot work.
    #[error(transparent)]
    Link(link::Error),
}

impl Error {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cluster(error) => error.code(),
            Self::Bind { .. } => "SRT-D005",
            Self::Control { .. } => "SRT-D007",
            Self::Link(error) => error.code(),
        }
    }
}

impl Parts {
    /// As in a pod: the cluster around it, the identity in a Secret, the token in a mounted file.
    ///
    /// # Errors
    /// No client for the cluster can be made.
    pub async fn from_config(config: &Config) -> Result<Self, Error> {
        let access = match &config.kubeconfig {
            None => Access::InCluster,
            Some(path) => Access::Kubeconfig {
                path: Some(path.clone()),
                context: None,
            },
        };
        let options = sortie_cluster::Options {
            user_agent: concat!("sortie-delegate/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..sortie_cluster::Options::default()
        };
        let cluster = Cluster::connect(&access, options)
            .await
            .map_err(Error::Cluster)?;
        let identity = SecretStore::new(
            cluster.clone(),
            config.namespace.clone(),
            config.identity_secret.clone(),
            config.pod_name.clone(),
        );
        let join_token = config
            .join_token_file
            .clone()
            .map_or(TokenSource::None, TokenSource::File);
        Ok(Self {
            cluster,
            identity: Arc::new(identity),
            join_token,
            log_level: None,
        })
    }
}

/// Runs a delegate until `stop` and the drain after it.
///
/// # Errors
/// It cannot start: the admin address is taken, or a setting cannot work.
pub async fn run(config: Config, parts: Parts, stop: CancellationToken) -> Result<(), Error> {
    let Parts {
        cluster,
        identity,
        join_token,
        log_level,
    } = parts;
    let (metrics, registry) = Metrics::registered();
    let (standing, observed) = watch::channel(link::Standing::default());
    let admin = Admin {
        standing: observed,
        cluster: cluster.clone(),
        registry,
    };
    let mut beside = Beside::default();
    let address = beside.serve_admin(config.admin_address, admin).await?;
    if let (Some(socket), Some(log_level)) = (&config.control_socket, log_level) {
        beside.serve_control(socket, log_level)?;
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        name = config.name,
        server = config.server,
        cluster = cluster.server(),
        admin = %address,
        "delegate started"
    );
    let scripts = config
        .runner_socket
        .as_ref()
        .map(|socket| beside.serve_runner(socket.clone()));
    let _scratch = scratch::prepare(&config.scratch_dir).await;
    let (options, runner) = arranged(config, cluster, join_token, scripts);
    let result = link::run(
        options,
        identity,
        runner.shared(),
        Arc::new(metrics),
        standing,
        stop,
    )
    .await;
    beside.end().await;
    match &result {
        Ok(()) => tracing::info!("delegate stopped"),
        Err(error) => tracing::error!(error = chain(error), code = error.code(), "delegate failed"),
    }
    result.map_err(Error::Link)
}

/// What serves beside the link as long as there is one.
#[derive(Debug, Default)]
struct Beside {
    serving: JoinSet<std::io::Result<()>>,
    stop: CancellationToken,
}

impl Beside {
    /// Where it listens.
    async fn serve_admin(
        &mut self,
        address: SocketAddr,
        admin: Admin,
    ) -> Result<SocketAddr, Error> {
        let bind = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let bound = listener.local_addr().map_err(bind)?;
        self.serving
            .spawn(admin::serve(listener, admin, self.stop.clone()));
        Ok(bound)
    }

    fn serve_control(&mut self, socket: &Path, log_level: LogLevel) -> Result<(), Error> {
        let listener = control::bind(socket).map_err(|source| Error::Control {
            path: socket.to_owned(),
            source,
        })?;
        self.serving
            .spawn(control::serve(listener, log_level, self.stop.clone()));
        Ok(())
    }

    fn serve_runner(&mut self, socket: PathBuf) -> Arc<dyn Scripts> {
        let (runner, host) = Runner::at(socket);
        let served = host.serve(self.stop.clone());
        self.serving.spawn(async move {
            served.await;
            Ok(())
        });
        Arc::new(runner)
    }

    /// A probe that hangs must not hold the process.
    async fn end(mut self) {
        self.stop.cancel();
        let closing = async { while self.serving.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::debug!("admin port not closed in time");
        }
    }
}

/// What the settings say to the link and to the steps.
fn arranged(
    config: Config,
    cluster: Cluster,
    join_token: TokenSource,
    scripts: Option<Arc<dyn Scripts>>,
) -> (link::Options, StepRunner) {
    let runner = StepRunner {
        cluster,
        renderer: renderer(&config),
        policy: config.policy,
        scripts,
        holder: format!("delegate {} ({})", config.name, config.pod_name),
        namespace: config.namespace,
    };
    let options = link::Options {
        server: config.server,
        https_proxy: config.https_proxy,
        no_proxy: config.no_proxy,
        name: config.name,
        tags: config.tags,
        capacity: config.capacity,
        instance: config
            .instance
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        join_token,
        drain: config.drain,
        session: sortie_link::Settings::default(),
        backoff: Backoff::default(),
    };
    (options, runner)
}

fn renderer(config: &Config) -> Renderer {
    Renderer {
        search: Search::from_environment(),
        scratch: config.scratch_dir.clone(),
        ca_file: config.extra_ca_file.clone(),
        network: Network {
            http_proxy: config.http_proxy.clone(),
            https_proxy: config.https_proxy.clone(),
            no_proxy: config.no_proxy.clone(),
        },
    }
}
