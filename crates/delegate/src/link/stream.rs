//! One stream of a session: what is sent, what is read, and the logs beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sortie_proto::v1;
use sortie_proto::v1::link_client::LinkClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::logs::{self, LogBuffer};

/// Largest message of a session, with room for its frame.
const MAX_MESSAGE: usize = 1024 * 1024 + 64 * 1024;

/// Between tries to open the log stream on the same connection.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// What happens on a stream, with the stream's number.
pub(super) type Event = (u64, Happened);

/// What happens on a stream.
#[derive(Debug)]
pub(super) enum Happened {
    /// A message came.
    Message(Box<v1::ServerMessage>),
    /// It ended; `None`: without a reason.
    Ended(Option<Status>),
}

/// A stream. Dropped, it is closed with its connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub channel: Channel,
    /// What the connection has not taken yet.
    queue: VecDeque<v1::DelegateMessage>,
    outgoing: mpsc::Sender<v1::DelegateMessage>,
    work: JoinSet<()>,
}

impl Stream {
    /// Opens a stream on a connection; what happens on it goes to `events` under `number`.
    pub(super) fn open(channel: Channel, number: u64, events: mpsc::Sender<Event>) -> Self {
        let (outgoing, messages) = mpsc::channel(16);
        let mut work = JoinSet::new();
        work.spawn(read(channel.clone(), messages, number, events));
        Self {
            channel,
            queue: VecDeque::new(),
            outgoing,
            work,
        }
    }

    /// Ships logs beside the session from now on.
    pub(super) fn ship_logs(&mut self, buffer: Arc<LogBuffer>, open: v1::LogsOpen) {
        let channel = self.channel.clone();
        self.work.spawn(async move {
            loop {
                if let Err(status) = logs::ship(channel.clone(), &buffer, open.clone()).await {
                    tracing::debug!(reason = status.message(), "log stream ended");
                }
                tokio::time::sleep(LOG_PAUSE).await;
            }
        });
    }

    pub(super) fn push(&mut self, message: v1::DelegateMessage) {
        self.queue.push_back(message);
    }

    /// Whether the connection has taken everything.
    pub(super) fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }

    /// Hands the next message to the connection. Never returns when there is none.
    pub(super) async fn send_next(&mut self) {
        if self.queue.is_empty() {
            return std::future::pending().await;
        }
        match self.outgoing.reserve().await {
            Ok(slot) => {
                if let Some(message) = self.queue.pop_front() {
                    slot.send(message);
                }
            }
            // It ended; the reader says why.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn read(
    channel: Channel,
    messages: mpsc::Receiver<v1::DelegateMessage>,
    number: u64,
    events: mpsc::Sender<Event>,
) {
    let mut client = LinkClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let reason = match client.session(ReceiverStream::new(messages)).await {
        Err(status) => Some(status),
        Ok(answer) => {
            let mut incoming = answer.into_inner();
            loop {
                match incoming.message().await {
                    Ok(Some(message)) => {
                        let event = (number, Happened::Message(Box::new(message)));
                        if events.send(event).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break None,
                    Err(status) => break Some(status),
                }
            }
        }
    };
    // Nobody listens when the delegate has ended.
    drop(events.send((number, Happened::Ended(reason))).await);
}
