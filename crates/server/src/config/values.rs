//! What values settings may have. Each function answers, when it refuses, what the value must be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;
use jiff::{Span, SpanRelativeTo};

use super::LogFormat;

/// Shortest and longest duration.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A folder, which need not be there yet.
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    if text.trim().is_empty() {
        return Err("a folder, such as /data".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "an IP address with a port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all of the machine's";
    text.parse().map_err(|_| expected.to_owned())
}

/// The two listeners cannot share a port; port 0 is any free one.
pub(super) fn clash(web: SocketAddr, agent: SocketAddr) -> Option<String> {
    let one_host =
        web.ip() == agent.ip() || web.ip().is_unspecified() || agent.ip().is_unspecified();
    (one_host && web.port() == agent.port() && web.port() != 0).then(|| {
        format!("another port: web.address is {web} and agent.address is {agent}, and each needs its own")
    })
}

/// The file with the master key; it must be there and hold one.
pub(super) fn key_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    crate::keys::check_file(&path).map_err(|error| {
        format!(
            "a file with 32 random bytes as base64, as `openssl rand -base64 32` makes one ({})",
            crate::problem::chain(&error)
        )
    })?;
    Ok(path)
}

/// A duration between a second and ten years; a day is 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "a duration from 1s to ten years, such as 90s, 2m, 24h or 90d".to_owned();
    let span: Span = text.parse().map_err(|_| expected())?;
    let signed = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| expected())?;
    let duration = Duration::try_from(signed).map_err(|_| expected())?;
    if (SHORTEST..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err(expected())
    }
}

/// A duration as [`duration`] reads it.
pub(super) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// How many runs of a pipeline are always kept; the last one counts on, so it stays.
pub(super) fn runs(text: &str) -> Result<u32, String> {
    let runs = text.parse().ok();
    runs.filter(|runs| (1..=1_000_000).contains(runs))
        .ok_or_else(|| "a number of runs from 1 to 1000000".to_owned())
}

/// The form of the log.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    LogFormat::from_str(text, true).map_err(|_| "`json` or `human`".to_owned())
}

/// The form of the log in words.
pub(super) fn log_format_text(format: LogFormat) -> String {
    match format {
        LogFormat::Json => "json",
        LogFormat::Human => "human",
    }
    .to_owned()
}

/// A filter of the log.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    crate::telemetry::filter(text).map_err(|_| {
        "a log level (error, warn, info, debug or trace), or a filter such as info,sortie_server=debug"
            .to_owned()
    })?;
    Ok(text.to_owned())
}
