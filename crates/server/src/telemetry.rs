//! The log of the process.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{fmt, registry};

use crate::config::LogFormat;

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is no filter.
    #[error(
        "`{filter}` is not a log filter; use a level such as `info`, or `info,sortie_server=debug`"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// Why not.
        #[source]
        source: ParseError,
    },
    /// There is a log already.
    #[error("could not install the log")]
    Install(#[source] TryInitError),
}

/// Installs the log for the whole process, on standard error.
pub fn install(format: LogFormat, filter: &str) -> Result<(), Error> {
    let levels = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let registry = registry().with(levels);
    match format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Human => registry
            .with(
                fmt::layer()
                    .with_target(false)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    }
    .map_err(Error::Install)
}
