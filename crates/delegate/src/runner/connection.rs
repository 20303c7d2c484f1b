//! Frames over the socket.

use sortie_runner::frame::{self, FrameError, LENGTH, Order, Report};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Why there is no further report.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The runner is gone.
    #[error("the runner hung up")]
    Closed,
    /// The socket cannot be used.
    #[error("cannot talk to the runner")]
    Broken(#[source] std::io::Error),
    /// The runner talks nonsense.
    #[error("the runner cannot be understood")]
    Nonsense(#[from] FrameError),
}

/// A connected runner.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// What was read and is no whole frame yet.
    read: Vec<u8>,
}

impl Connection {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, order: &Order) -> Result<(), Lost> {
        let frame = order.encode();
        self.stream.write_all(&frame).await.map_err(Lost::Broken)
    }

    /// The next report. May be dropped at any moment: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Report, Lost> {
        loop {
            if let Some(report) = self.whole()? {
                return Ok(report);
            }
            let read = self.stream.read_buf(&mut self.read).await;
            if read.map_err(Lost::Broken)? == 0 {
                return Err(Lost::Closed);
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Report>, FrameError> {
        let Some((head, rest)) = self.read.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = frame::length(*head)?;
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let report = Report::decode(body)?;
        self.read.drain(..LENGTH + length);
        Ok(Some(report))
    }
}
