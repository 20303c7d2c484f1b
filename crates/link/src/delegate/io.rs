//! What goes into a delegate's session and what comes out.

#[cfg(doc)]
use crate::delegate::Session;
use crate::{
    CancelReason, Error, FromDelegate, FromServer, GoAwayReason, Holder, Outcome, Payload,
    RefusalReason, State, TaskRef, Welcome,
};

/// What a delegate says of itself in each hello.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// Delegate, instance and boot.
    pub holder: Holder,
    /// Version of the program.
    pub software_version: String,
    /// Task types it runs.
    pub task_types: Vec<String>,
    /// Features beyond task types.
    pub capabilities: Vec<String>,
    /// Tasks at once.
    pub capacity: u32,
    /// What selectors may ask for.
    pub tags: Vec<String>,
    /// HPKE public key of this boot; empty: takes no secrets.
    pub sealing_key: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A stream is open; nothing was sent on it.
    Opened,
    /// The server said something on the present stream.
    Received(FromServer),
    /// The present stream is gone.
    Closed,
    /// The program has something to say.
    Command(Command),
    /// Time passed; due at [`Session::deadline`], harmless at any other time.
    Tick,
}

/// What the program says.
#[derive(Debug, Clone)]
pub enum Command {
    /// Answer to [`Output::Offered`]: will run it. [`Output::Start`] follows, or [`Output::Withdrawn`].
    Accept(TaskRef),
    /// Answer to [`Output::Offered`]: will not.
    Refuse {
        /// The task offered.
        task: TaskRef,
        /// Why, for the server.
        reason: RefusalReason,
        /// Why, for people.
        message: String,
    },
    /// A started task ended.
    Finish {
        /// The task.
        task: TaskRef,
        /// How.
        outcome: Outcome,
    },
    /// An accepted or started task was stopped at a safe place before its end: somebody else is to go on with it.
    HandBack(TaskRef),
    /// A started task needs values; [`Output::Resolved`] follows.
    Resolve {
        /// The task.
        task: TaskRef,
        /// Unique within the boot.
        request: String,
        /// Names asked for.
        names: Vec<String>,
    },
    /// A started task shows its newest state.
    State(State),
    /// No new tasks from now on.
    Drain,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Put this on the present stream.
    Send(FromDelegate),
    /// Give the present stream up. [`Input::Closed`] is not needed after it.
    Close(Error),
    /// The session stands.
    Established(Welcome),
    /// Decide on this task: [`Command::Accept`] or [`Command::Refuse`].
    Offered {
        /// The task.
        task: TaskRef,
        /// The encoded task.
        payload: Payload,
    },
    /// The server has stored the acceptance: run it.
    Start(TaskRef),
    /// Stop this started task. A result is wanted unless the reason is [`CancelReason::Superseded`]. May be repeated.
    Cancel {
        /// The task.
        task: TaskRef,
        /// Why.
        reason: CancelReason,
    },
    /// An accepted task will not start: forget it.
    Withdrawn(TaskRef),
    /// The server has stored the result, or that the task was handed back: forget the task.
    Stored(TaskRef),
    /// The answer to a resolve request.
    Resolved {
        /// The task.
        task: TaskRef,
        /// The request.
        request: String,
        /// The encoded answer.
        payload: Payload,
    },
    /// The server wants this delegate to take no new task.
    Drain,
    /// The server wants the stream to end: open another one, then close this one.
    GoAway(GoAwayReason),
}
