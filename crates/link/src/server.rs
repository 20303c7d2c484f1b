//! The server's side of a session.
//!
//! A [`Session`] belongs to one boot of one delegate instance and to one server process. Streams come and go and each has
//! an id: whatever arrives for a stream that is no longer the present one is ignored, so that an old stream's clean-up
//! cannot touch a new one. Acknowledgements follow [`Input::Committed`], which the program says once the effect of a
//! message is stored.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::lane::{Inbox, Outbox};
use crate::{
    DelegateControl, Error, FromDelegate, FromServer, GoAwayReason, Hello, Holder, ServerControl,
    Settings, State, Welcome,
};

/// Names a stream, unique in the server process.
pub type StreamId = u64;

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A stream said hello. It becomes the present stream; the one before is closed.
    Hello {
        /// The stream.
        stream: StreamId,
        /// What it said.
        hello: Hello,
    },
    /// The delegate said something else on a stream.
    Received {
        /// The stream.
        stream: StreamId,
        /// What it said.
        message: FromDelegate,
    },
    /// A stream is gone.
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// The effect of everything delivered up to `seq` is stored.
    Committed {
        /// As in [`Output::Deliver`].
        seq: u64,
    },
    /// Storing failed: the present stream is given up, and everything not committed will come again.
    CommitFailed,
    /// Say this on the control lane, now or when the delegate is back.
    Command(ServerControl),
    /// Ask the delegate to open another stream.
    GoAway(GoAwayReason),
    /// Time passed; due at [`Session::deadline`], harmless at any other time.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Put this on the stream.
    Send {
        /// The stream.
        stream: StreamId,
        /// What to say.
        message: FromServer,
    },
    /// End the stream.
    Close {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: CloseReason,
    },
    /// Store the effect of this message, then say [`Input::Committed`]. In order.
    Deliver {
        /// Number on the delegate's control lane.
        seq: u64,
        /// The message.
        body: DelegateControl,
    },
    /// The newest state of a task.
    State(State),
    /// The stream is the present one now: compare `hello.held` with the store. Comes before the welcome, so that a delegate
    /// that is welcomed is known to whoever asks the server.
    Attached {
        /// What the delegate said.
        hello: Hello,
    },
    /// No stream any more: the instance is away since now.
    Detached,
}

/// Why a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The delegate broke the protocol, or fell silent.
    Error(Error),
    /// A newer stream took over.
    Replaced,
    /// The effect of a message could not be stored.
    NotStored,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    id: StreamId,
    heard: Duration,
    beat: Duration,
    beats: u64,
    /// Last time the delegate acknowledged something, or something was sent with nothing waiting.
    progressed: Duration,
}

/// The server's side of the protocol.
#[derive(Debug)]
pub struct Session {
    holder: Holder,
    origin: String,
    settings: Settings,
    outbox: Outbox<ServerControl>,
    inbox: Option<Inbox<DelegateControl>>,
    stream: Option<Stream>,
    /// The delegate's count of its streams, as of the last hello.
    greeted: u64,
}

impl Session {
    /// A session with `holder`. `origin` names this session's control lane: a value never used before, so that a delegate
    /// that knew an earlier session starts counting anew.
    pub fn new(holder: Holder, origin: impl Into<String>, settings: Settings) -> Self {
        Self {
            holder,
            origin: origin.into(),
            settings,
            outbox: Outbox::default(),
            inbox: None,
            stream: None,
            greeted: 0,
        }
    }

    /// Who is at the other end.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The present stream.
    pub fn stream(&self) -> Option<StreamId> {
        self.stream.map(|stream| stream.id)
    }

    /// Takes what happened at `now` (time since any fixed origin, never going back) and says what to do, in order.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Hello { stream, hello } => {
                if let Err(error) = self.hello(stream, hello, now, &mut out) {
                    out.push(Output::Close {
                        stream,
                        reason: CloseReason::Error(error),
                    });
                }
            }
            Input::Received { stream, message } => {
                if self.stream() == Some(stream)
                    && let Err(error) = self.receive(message, now, &mut out)
                {
                    self.detach(CloseReason::Error(error), &mut out);
                }
            }
            Input::Closed { stream } => {
                if self.stream() == Some(stream) {
                    self.stream = None;
                    out.push(Output::Detached);
                }
            }
            Input::Committed { seq } => self.committed(seq, &mut out),
            Input::CommitFailed => {
                if let Some(inbox) = &mut self.inbox {
                    inbox.rewind();
                }
                self.detach(CloseReason::NotStored, &mut out);
            }
            Input::Command(body) => {
                self.outbox.push(body);
            }
            Input::GoAway(reason) => self.send(FromServer::GoAway(reason), &mut out),
            Input::Tick => self.tick(now, &mut out),
        }
        self.flush(now, &mut out);
        out
    }

    /// When [`Input::Tick`] is due next, if ever.
    pub fn deadline(&self) -> Option<Duration> {
        let stream = self.stream?;
        let mut at =
            (stream.heard + self.settings.dead_after).min(stream.beat + self.settings.heartbeat);
        if !self.outbox.is_empty() {
            at = at.min(stream.progressed + self.settings.resend_after);
        }
        Some(at)
    }

    fn hello(
        &mut self,
        id: StreamId,
        hello: Hello,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let version = crate::negotiate(hello.version_min, hello.version_max)?;
        if hello.holder() != self.holder {
            return Err(Error::OtherPeer {
                claimed: hello.holder().to_string(),
                expected: self.holder.to_string(),
            });
        }
        if hello.oldest_kept == 0 {
            return Err(Error::Unexpected {
                message: "hello",
                state: "with number 0",
            });
        }
        if hello.stream != 0 && hello.stream <= self.greeted {
            // It was under way while a later stream came up, and what it says is out of date.
            out.push(Output::Close {
                stream: id,
                reason: CloseReason::Replaced,
            });
            return Ok(());
        }
        if hello.server_origin == self.origin {
            self.outbox.resume(hello.received)?;
        } else {
            self.outbox.resume(0)?;
        }
        if let Some(inbox) = &mut self.inbox {
            if inbox.committed() + 1 < hello.oldest_kept {
                return Err(Error::BehindRetained {
                    claimed: inbox.committed(),
                    oldest: hello.oldest_kept,
                });
            }
            inbox.rewind();
        }
        let inbox = self
            .inbox
            .get_or_insert_with(|| Inbox::after(hello.oldest_kept - 1));
        let received = inbox.committed();
        if let Some(old) = self.stream.take() {
            out.push(Output::Close {
                stream: old.id,
                reason: CloseReason::Replaced,
            });
        }
        self.greeted = hello.stream;
        self.stream = Some(Stream {
            id,
            heard: now,
            beat: now,
            beats: 0,
            progressed: now,
        });
        let welcome = Welcome {
            version,
            session: id.to_string(),
            server_origin: self.origin.clone(),
            received,
            heartbeat_ms: milliseconds(self.settings.heartbeat),
            dead_after_ms: milliseconds(self.settings.dead_after),
        };
        // First: a delegate that is welcomed is known to the whole server.
        out.push(Output::Attached { hello });
        self.send(FromServer::Welcome(welcome), out);
        Ok(())
    }

    fn receive(
        &mut self,
        message: FromDelegate,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        if let Some(stream) = &mut self.stream {
            stream.heard = now;
        }
        match message {
            FromDelegate::Hello(_) => Err(Error::Unexpected {
                message: "hello",
                state: "after the hello",
            }),
            FromDelegate::Heartbeat { .. } => Ok(()),
            FromDelegate::State(state) => {
                out.push(Output::State(state));
                Ok(())
            }
            FromDelegate::Ack { up_to } => {
                self.outbox.acknowledge(up_to)?;
                if let Some(stream) = &mut self.stream {
                    stream.progressed = now;
                }
                Ok(())
            }
            FromDelegate::Control { seq, body } => {
                let inbox = self.inbox.get_or_insert_default();
                let turn = inbox.receive(seq, body)?;
                if turn.is_empty() {
                    // A repeat: the acknowledgement may have been lost.
                    let up_to = inbox.committed();
                    self.send(FromServer::Ack { up_to }, out);
                }
                out.extend(
                    turn.into_iter()
                        .map(|(seq, body)| Output::Deliver { seq, body }),
                );
                Ok(())
            }
        }
    }

    fn committed(&mut self, seq: u64, out: &mut Vec<Output>) {
        if let Some(inbox) = &mut self.inbox
            && inbox.commit(seq)
        {
            let up_to = inbox.committed();
            self.send(FromServer::Ack { up_to }, out);
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if now >= stream.heard + self.settings.dead_after {
            let seconds = self.settings.dead_after.as_secs();
            self.detach(CloseReason::Error(Error::Silent { seconds }), out);
            return;
        }
        if !self.outbox.is_empty() && now >= stream.progressed + self.settings.resend_after {
            stream.progressed = now;
            self.outbox.rewind();
        }
        if now >= stream.beat + self.settings.heartbeat {
            stream.beat = now;
            stream.beats += 1;
            let number = stream.beats;
            self.send(FromServer::Heartbeat { number }, out);
        }
    }

    fn flush(&mut self, now: Duration, out: &mut Vec<Output>) {
        if self.outbox.len() > self.settings.outbox_limit {
            let kept = self.outbox.len();
            self.detach(CloseReason::Error(Error::OutboxFull { kept }), out);
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        let batch = self.outbox.unsent();
        if !batch.is_empty() && batch.len() == self.outbox.len() {
            stream.progressed = now;
        }
        let id = stream.id;
        out.extend(batch.into_iter().map(|(seq, body)| Output::Send {
            stream: id,
            message: FromServer::Control { seq, body },
        }));
    }

    fn send(&self, message: FromServer, out: &mut Vec<Output>) {
        if let Some(stream) = self.stream() {
            out.push(Output::Send { stream, message });
        }
    }

    fn detach(&mut self, reason: CloseReason, out: &mut Vec<Output>) {
        if let Some(stream) = self.stream.take() {
            out.push(Output::Close {
                stream: stream.id,
                reason,
            });
            out.push(Output::Detached);
        }
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
