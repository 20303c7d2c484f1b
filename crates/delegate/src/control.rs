//! The control socket: changes the level of the log of a running delegate.
//!
//! It lies in a folder that the delegate's container alone has. Scripts share the pod's network, loopback included, and
//! not that folder. Who connects writes a log filter and ends; the answer is `ok`, or why not.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::telemetry::{LogLevel, chain};

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a filter.
const MAX_FILTER: u64 = 1024;
/// Bytes of an answer.
const MAX_ANSWER: u64 = 4096;
/// The answer when the filter was taken.
const DONE: &str = "ok";

/// The running delegate could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers there.
    #[error(
        "no delegate answers on the control socket {}; run this in the container of a running delegate, with its settings",
        path.display()
    )]
    Ask {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says no.
    #[error("the delegate did not change its log level: {answer}")]
    Refused {
        /// What it says, at most 4 KiB.
        answer: String,
    },
}

impl Error {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "SRT-D008"
    }
}

/// Listen at `path`, where a former process may have left its socket. For the own user alone.
pub(crate) fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serve one after the other until `stop`.
///
/// # Errors
/// The listener fails.
pub(crate) async fn serve(
    listener: UnixListener,
    log_level: LogLevel,
    stop: CancellationToken,
) -> std::io::Result<()> {
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = stop.cancelled() => return Ok(()),
        };
        let answered = tokio::time::timeout(PATIENCE, answer(stream, &log_level)).await;
        if let Ok(Err(error)) = answered {
            tracing::debug!(%error, "nobody waits for the answer of the control socket");
        }
    }
}

async fn answer(mut stream: UnixStream, log_level: &LogLevel) -> std::io::Result<()> {
    let mut filter = String::new();
    let mut bounded = (&mut stream).take(MAX_FILTER + 1);
    bounded.read_to_string(&mut filter).await?;
    let answer = change(&filter, log_level);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closed with something unread, the connection would be reset and the answer lost.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

fn change(filter: &str, log_level: &LogLevel) -> String {
    if filter.len() as u64 > MAX_FILTER {
        return format!("the filter has more than {MAX_FILTER} bytes");
    }
    let filter = filter.trim();
    match log_level.set(filter) {
        Ok(()) => {
            tracing::info!(filter, "log level changed");
            DONE.to_owned()
        }
        Err(error) => format!("{}: {}", error.code(), chain(&error)),
    }
}

/// Ask the delegate that listens at `socket` to log by `filter` from now on. Blocks, for seconds at most.
///
/// # Errors
/// There is none, or it does not take the filter.
pub fn set_log_level(socket: &Path, filter: &str) -> Result<(), Error> {
    let answer = ask(socket, filter).map_err(|source| Error::Ask {
        path: socket.to_owned(),
        source,
    })?;
    match answer.as_str() {
        DONE => Ok(()),
        _ => Err(Error::Refused { answer }),
    }
}

fn ask(socket: &Path, filter: &str) -> std::io::Result<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(filter.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
