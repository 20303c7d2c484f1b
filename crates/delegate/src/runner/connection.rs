//! Frames over the socket.

use std::time::Duration;

use sortie_runner::frame::{self, FrameError, LENGTH, Order, Report};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::received::Excess;

/// How long the runner may take to take one order.
const TAKE: Duration = Duration::from_secs(30);

/// Bytes that are kept for the next frames. A large one is rare, and an idle delegate is small.
const KEPT: usize = 64 * 1024;

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
    /// The runner does not do its part in time.
    #[error("the runner takes too long")]
    Late,
    /// The runner sends more than it may.
    #[error("the runner keeps no bounds")]
    Excess(#[from] Excess),
}

impl Lost {
    /// Whether the process of the runner has let go of the connection, and not this one.
    pub(super) const fn is_gone(&self) -> bool {
        matches!(self, Self::Closed | Self::Broken(_))
    }
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
        match tokio::time::timeout(TAKE, self.stream.write_all(&frame)).await {
            Ok(sent) => sent.map_err(Lost::Broken),
            Err(_) => Err(Lost::Late),
        }
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
        self.read.shrink_to(KEPT);
        Ok(Some(report))
    }
}

#[cfg(test)]
mod tests {
    use sortie_runner::frame::{End, File};

    use super::*;

    #[tokio::test]
    async fn a_large_frame_leaves_no_large_buffer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours);
        let file = Report::File(File {
            path: "large".to_owned(),
            content: vec![0; 4 * 1024 * 1024],
        });
        let end = Report::Ended(End::Exit { code: 0 });
        let sent = [file.encode(), end.encode()].concat();
        let sending = async {
            theirs.write_all(&sent).await.unwrap();
        };
        let receiving = async {
            assert_eq!(connection.next().await.unwrap(), file);
            assert_eq!(connection.next().await.unwrap(), end);
        };
        tokio::join!(sending, receiving);
        assert!(connection.read.capacity() <= KEPT);
    }
}
