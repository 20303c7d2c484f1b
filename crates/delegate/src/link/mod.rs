//! The link to the control plane: identity, connection, session, logs and blobs.
//!
//! The rules of the session are in `sortie_link`; here are its sockets and its clock.

mod blobs;
mod credentials;
mod dial;
mod driver;
mod error;
mod keeper;
mod logs;
mod sealing;
mod stream;
mod tls;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use sortie_link::backoff::Backoff;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use blobs::{BlobError, Blobs};
pub use error::Error;
pub(crate) use logs::LogBuffer;
pub(crate) use sealing::SealingKey;

use self::credentials::Credentials;
use self::dial::Dialer;
use self::driver::Driver;
use crate::identity::{IdentityStore, TokenSource};
use crate::metrics::Metrics;
use crate::tasks::TaskRunner;

/// Settings of the link.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://HOST:PORT` of the control plane's agent listener.
    pub server: String,
    /// HTTP proxy on the way there.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without it, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// Name of the delegate.
    pub name: String,
    /// What tasks' selectors may ask for.
    pub tags: Vec<String>,
    /// Tasks at a time.
    pub capacity: u32,
    /// Identifies this replica over restarts of its process.
    pub instance: String,
    /// For the first start.
    pub join_token: TokenSource,
    /// How long running tasks may go on after the delegate is told to stop; then they are handed back.
    pub drain: Duration,
    /// Time-outs of a session.
    pub session: sortie_link::Settings,
    /// Between tries to connect.
    pub backoff: Backoff,
}

/// How the link stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether there is a session.
    pub is_up: bool,
    /// Why there is none, or why a renewal fails: code and text.
    pub trouble: Option<(&'static str, String)>,
}

/// Whether there can be a way to the control plane `server` by these settings, without going it.
///
/// # Errors
/// An address is of the wrong form.
pub fn check_route(
    server: &str,
    https_proxy: Option<&str>,
    no_proxy: Option<&str>,
) -> Result<(), Error> {
    Dialer::new(server, https_proxy, no_proxy).map(drop)
}

/// Keeps a session with the control plane, and runs the tasks that come over it, until `stop` and the drain after it.
///
/// # Errors
/// The settings cannot work. Everything else is tried again and told by `standing` and the log.
pub async fn run(
    options: Options,
    store: Arc<dyn IdentityStore>,
    runner: Arc<dyn TaskRunner>,
    metrics: Arc<Metrics>,
    standing: watch::Sender<Standing>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let dialer = Dialer::new(
        &options.server,
        options.https_proxy.as_deref(),
        options.no_proxy.as_deref(),
    )?;
    let credentials = Credentials {
        store,
        dialer,
        name: options.name.clone(),
        token: options.join_token.clone(),
    };
    let key = SealingKey::generate().map_err(|_| Error::SealingKey)?;
    Driver::new(options, credentials, runner, metrics, standing, key)
        .run(stop)
        .await;
    Ok(())
}
