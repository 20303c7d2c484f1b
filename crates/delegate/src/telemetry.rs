//! The log: form and level, changeable while running.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::config::LogFormat;

/// Changes the log level of the running process.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

/// Why a log level was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not a filter.
    #[error(
        "`{filter}` is not a log filter; use a level such as `info`, or `info,sortie_delegate=debug`"
    )]
    Parse {
        /// What was given.
        filter: String,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// The subscriber is gone.
    #[error("cannot change the log level")]
    Reload(#[source] reload::Error),
}

impl Error {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "SRT-D004"
    }
}

/// Install the log for the whole process; to be called once, first thing.
///
/// # Errors
/// `filter` is not a log filter.
pub fn install(format: LogFormat, filter: &str) -> Result<LogLevel, Error> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            )
            .init(),
        LogFormat::Human => {
            let ansi = std::io::stdout().is_terminal();
            registry
                .with(fmt::layer().with_target(false).with_ansi(ansi))
                .init();
        }
    }
    Ok(LogLevel(handle))
}

impl LogLevel {
    /// Use `filter` from now on.
    ///
    /// # Errors
    /// It is not a log filter.
    pub fn set(&self, filter: &str) -> Result<(), Error> {
        self.0.reload(parse(filter)?).map_err(Error::Reload)
    }
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(filter).map_err(|source| Error::Parse {
        filter: filter.to_owned(),
        source,
    })
}

/// An error and each cause behind it, on one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some libraries repeat their source.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text.replace(['\n', '\r'], " ")
}

/// Log where a panic happens, without its message: that may hold anything.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panic: this is a defect, please report it");
    }));
}
