//! The connection to one cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::{BoxError, ServiceBuilder};

use crate::discovery::Discovery;
use crate::watch::Watches;

/// How to find the cluster and who we are there.
#[derive(Clone, Debug)]
pub enum Access {
    /// The service account of the pod that we run in.
    InCluster,
    /// A kubeconfig file.
    Kubeconfig {
        /// The file; without it, `KUBECONFIG` and then `~/.kube/config`, as kubectl does.
        path: Option<PathBuf>,
        /// The context; without it, the file's current one.
        context: Option<String>,
    },
}

/// Settings of a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the API server's audit log shows.
    pub user_agent: String,
    /// Longest time one request may take. Default 30 s.
    pub request_timeout: Duration,
    /// How long a request is tried again while the server is busy or away. Default 60 s.
    pub patience: Duration,
    /// Requests in flight at once in operations on whole sets. Default 16.
    pub concurrency: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("sortie/", env!("CARGO_PKG_VERSION")).to_owned(),
            request_timeout: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            concurrency: 16,
        }
    }
}

/// A connection to one cluster. A cheap handle: clones share connections, discovery and watches.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: kube::Client,
    pub(crate) options: Options,
    pub(crate) server: String,
    pub(crate) discovery: Discovery,
    pub(crate) watches: Watches,
}

/// Why no connection could be set up. Reaching the server is tried by the first request only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No kubeconfig, or an unusable one.
    #[error("cannot use the kubeconfig{}", path_clause(.path.as_deref()))]
    ReadKubeconfig {
        /// The file that was asked for.
        path: Option<PathBuf>,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Not in a pod, or the pod has no service account token.
    #[error("cannot use the pod's service account")]
    ReadServiceAccount {
        /// What is missing.
        #[source]
        source: kube::config::InClusterError,
    },
    /// Certificates, credentials or address do not make a client.
    #[error("cannot set up a client for {server}")]
    BuildClient {
        /// Address of the API server.
        server: String,
        /// What does not fit.
        #[source]
        source: BoxError,
    },
}

impl ConnectError {
    /// Stable code with a page in the error reference.
    pub const fn code(&self) -> &'static str {
        "SRT-C001"
    }

    /// What the person who asked can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::ReadKubeconfig { .. } => {
                "Name a readable kubeconfig and one of its contexts; `kubectl config get-contexts` lists them."
            }
            Self::ReadServiceAccount { .. } => {
                "Run inside a pod with a service account token, or name a kubeconfig."
            }
            Self::BuildClient { .. } => {
                "Check certificates, credentials and address in the kubeconfig."
            }
        }
    }
}

impl Cluster {
    /// Prepares a connection. Sends nothing: the server need not be reachable yet.
    pub async fn connect(access: &Access, options: Options) -> Result<Self, ConnectError> {
        let config = match access {
            Access::InCluster => kube::Config::incluster()
                .map_err(|source| ConnectError::ReadServiceAccount { source })?,
            Access::Kubeconfig { path, context } => {
                kubeconfig(path.clone(), context.clone()).await?
            }
        };
        let server = config.cluster_url.to_string();
        let client = client(&config, &options).map_err(|source| ConnectError::BuildClient {
            server: server.clone(),
            source,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                options,
                server,
                discovery: Discovery::default(),
                watches: Watches::default(),
            }),
        })
    }

    /// Namespace of the kubeconfig's context, or the one our pod runs in.
    pub fn default_namespace(&self) -> &str {
        self.inner.client.default_namespace()
    }

    /// Address of the API server.
    pub fn server(&self) -> &str {
        &self.inner.server
    }

    /// Settings of this connection.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.inner.server)
            .finish_non_exhaustive()
    }
}

async fn kubeconfig(
    path: Option<PathBuf>,
    context: Option<String>,
) -> Result<kube::Config, ConnectError> {
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let config = match &path {
        None => kube::Config::from_kubeconfig(&options).await,
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(file) => kube::Config::from_custom_kubeconfig(file, &options).await,
            Err(error) => Err(error),
        },
    };
    config.map_err(|source| ConnectError::ReadKubeconfig {
        path,
        source: Box::new(source),
    })
}

/// The HTTP stack: one multiplexed connection that notices a dead peer, and no retries below ours,
/// because the lease must be checked before every single attempt.
fn client(config: &kube::Config, options: &Options) -> Result<kube::Client, BoxError> {
    if let Some(proxy) = &config.proxy_url {
        let host = proxy.host().unwrap_or_default();
        return Err(format!("proxy-url ({host}) in a kubeconfig is not supported").into());
    }
    // Installing fails only when a provider is there already, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    let builder = match &config.tls_server_name {
        Some(name) => {
            let name = rustls::pki_types::ServerName::try_from(name.clone())?;
            builder.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name))
        }
        None => builder,
    };
    let https = builder.enable_http1().enable_http2().wrap_connector(tcp);
    let http: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_keep_alive_while_idle(true)
            .http2_adaptive_window(true)
            .build(https);
    let mut config = config.clone();
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_str(&options.user_agent)?));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace))
}

fn path_clause(path: Option<&std::path::Path>) -> String {
    path.map(|path| format!(" {}", path.display()))
        .unwrap_or_default()
}
