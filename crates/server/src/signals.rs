//! When the process is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first SIGTERM or SIGINT and says which it was.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn asked_to_stop() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
