//! The log of the process: its form, and its level, which can be changed while it runs.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Registry, fmt, registry};

use crate::config::LogFormat;

/// Changes the log level of the running process.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

/// The log could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is no filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// There is a log already.
    #[error("could not install the log")]
    Install(#[source] TryInitError),
    /// The log is gone.
    #[error("could not change the level of the log")]
    Change(#[source] reload::Error),
}

/// A text is no log filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{filter}` is not a log filter; use a level such as `info`, or `info,sortie_server=debug`"
)]
pub struct FilterError {
    /// What was given, shortened.
    filter: String,
    /// Why not, unless it is a name where a level should stand.
    #[source]
    source: Option<ParseError>,
}

/// Reads a filter. A lone word that is no level is refused: it would name a part of the program to
/// log alone, and is a misspelt level.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, FilterError> {
    let refused = |source| FilterError {
        filter: text.chars().take(100).collect(),
        source,
    };
    let lone = |part: &str| !part.contains(['=', '[']);
    let mut parts = text.split(',').map(str::trim);
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    if parts.any(|part| lone(part) && !is_level(part)) {
        return Err(refused(None));
    }
    EnvFilter::try_new(text).map_err(|source| refused(Some(source)))
}

/// Installs the log for the whole process, on standard error.
pub fn install(format: LogFormat, text: &str) -> Result<LogLevel, Error> {
    let (levels, handle) = reload::Layer::new(filter(text)?);
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
    .map_err(Error::Install)?;
    Ok(LogLevel(handle))
}

impl LogLevel {
    /// Uses this filter from now on.
    pub fn set(&self, text: &str) -> Result<(), Error> {
        self.0.reload(filter(text)?).map_err(Error::Change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_told_from_misspelt_ones() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,sortie_server=debug",
            "sortie_server::web=trace",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "inof",
            "info,",
            "debug,sortie_server",
            "sortie_server=loud",
            "a=b=c",
        ] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
