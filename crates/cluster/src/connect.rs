//! The connection to one cluster.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::access::{self, Access, ConnectError, Credentials, Impersonation};
use crate::discovery::Discovery;
use crate::watch::Watches;

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
    /// As whom to act; wins over what a kubeconfig says of it.
    pub impersonate: Option<Impersonation>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("sortie/", env!("CARGO_PKG_VERSION")).to_owned(),
            request_timeout: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            concurrency: 16,
            impersonate: None,
        }
    }
}

/// A connection to one cluster. A cheap handle: clones share connections, discovery and watches.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
    /// When momentary failures are not tried again any more, however patient the options are.
    pub(crate) deadline: Option<Instant>,
}

pub(crate) struct Inner {
    pub(crate) client: kube::Client,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) options: Options,
    pub(crate) server: String,
    pub(crate) discovery: Discovery,
    pub(crate) watches: Watches,
}

impl Cluster {
    /// Prepares a connection. Sends nothing: the server need not be reachable yet.
    pub async fn connect(access: &Access, options: Options) -> Result<Self, ConnectError> {
        let endpoint = access.resolve(options.impersonate.as_ref()).await?;
        let server = endpoint.server();
        let (client, credentials) = access::client(endpoint, &options.user_agent)?;
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                credentials,
                options,
                server,
                discovery: Discovery::default(),
                watches: Watches::default(),
            }),
            deadline: None,
        })
    }

    /// The same connection for a work that ends at `deadline`: what fails for the moment then is an error that says so,
    /// and not tried again while nobody waits for it any more.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            deadline: Some(deadline),
        }
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
