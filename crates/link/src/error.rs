//! What a peer can do wrong.

/// A peer broke the protocol; the stream ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The two programs are too far apart.
    #[error(
        "agree on a protocol version: the peer speaks {peer_min} to {peer_max}, this side {min} to {max}; update the older program",
        min = crate::VERSION_MIN, max = crate::VERSION
    )]
    NoCommonVersion {
        /// The peer's oldest.
        peer_min: u32,
        /// The peer's newest.
        peer_max: u32,
    },
    /// A message that has no place here, for example anything before the hello.
    #[error("read a session message: {message} is not allowed {state}")]
    Unexpected {
        /// The kind of message.
        message: &'static str,
        /// Where the session stood.
        state: &'static str,
    },
    /// The peer acknowledges or remembers more than was ever sent.
    #[error("resume the control lane: the peer has number {claimed}, the last one sent is {sent}")]
    AheadOfSender {
        /// What the peer says it has.
        claimed: u64,
        /// What was sent.
        sent: u64,
    },
    /// The peer wants messages again that it had acknowledged.
    #[error(
        "resume the control lane: the peer has number {claimed}, what follows it is gone up to {oldest}"
    )]
    BehindRetained {
        /// What the peer says it has.
        claimed: u64,
        /// The oldest number kept.
        oldest: u64,
    },
    /// A number far beyond what can be in flight.
    #[error("receive on the control lane: number {seq} is too far beyond {expected}")]
    TooFarAhead {
        /// The number received.
        seq: u64,
        /// The number expected next.
        expected: u64,
    },
    /// The peer takes messages without acknowledging them.
    #[error("send on the control lane: {kept} messages are not acknowledged")]
    OutboxFull {
        /// How many are kept.
        kept: usize,
    },
    /// The welcome did not come.
    #[error("open a session: no welcome within {seconds} s of the hello")]
    NoWelcome {
        /// How long it was awaited.
        seconds: u64,
    },
    /// Nothing was heard for too long.
    #[error("keep a session: nothing heard for {seconds} s")]
    Silent {
        /// How long.
        seconds: u64,
    },
    /// A hello for another delegate, instance or boot than the session's.
    #[error("read a hello: it names {claimed}, this session belongs to {expected}")]
    OtherPeer {
        /// What the hello says.
        claimed: String,
        /// What it should say.
        expected: String,
    },
}

impl Error {
    /// Stable code, with a page of its own in the documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCommonVersion { .. } => "SRT-L001",
            Self::Unexpected { .. } => "SRT-L002",
            Self::AheadOfSender { .. } => "SRT-L003",
            Self::BehindRetained { .. } => "SRT-L004",
            Self::TooFarAhead { .. } => "SRT-L005",
            Self::OutboxFull { .. } => "SRT-L006",
            Self::NoWelcome { .. } => "SRT-L007",
            Self::Silent { .. } => "SRT-L008",
            Self::OtherPeer { .. } => "SRT-L009",
        }
    }
}
