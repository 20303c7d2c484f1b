//! Messages of a session. The wire's own types are converted to these at the edge.
//!
//! Payloads (tasks, outcomes, progress, resolved values) are bytes that this crate never reads.

use std::sync::Arc;

use crate::{BootId, DelegateId, Holder, InstanceId, TaskRef};

/// Encoded content that the protocol carries and never reads.
pub type Payload = Arc<[u8]>;

/// Sent by the delegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromDelegate {
    /// First on every stream.
    Hello(Hello),
    /// Control lane.
    Control {
        /// Number on the delegate's control lane.
        seq: u64,
        /// What it says.
        body: DelegateControl,
    },
    /// Everything of the server's control lane up to here is handled.
    Ack {
        /// Last number handled.
        up_to: u64,
    },
    /// Still there.
    Heartbeat {
        /// Counts up per stream.
        number: u64,
        /// Tasks running now.
        running: u32,
    },
    /// State lane.
    State(State),
}

impl FromDelegate {
    /// The kind of message, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Control { .. } => "control message",
            Self::Ack { .. } => "acknowledgement",
            Self::Heartbeat { .. } => "heartbeat",
            Self::State(_) => "state",
        }
    }
}

/// Sent by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromServer {
    /// First on every stream.
    Welcome(Welcome),
    /// Control lane.
    Control {
        /// Number on the server's control lane.
        seq: u64,
        /// What it says.
        body: ServerControl,
    },
    /// Everything of the delegate's control lane up to here is stored.
    Ack {
        /// Last number stored.
        up_to: u64,
    },
    /// Still there.
    Heartbeat {
        /// Counts up per stream.
        number: u64,
    },
    /// Open another stream; this one ends soon.
    GoAway(GoAwayReason),
}

impl FromServer {
    /// The kind of message, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Control { .. } => "control message",
            Self::Ack { .. } => "acknowledgement",
            Self::Heartbeat { .. } => "heartbeat",
            Self::GoAway(_) => "go-away",
        }
    }
}

/// How a delegate introduces a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Lowest protocol version spoken.
    pub version_min: u32,
    /// Highest protocol version spoken.
    pub version_max: u32,
    /// The delegate; must equal the certificate's.
    pub delegate: DelegateId,
    /// The replica.
    pub instance: InstanceId,
    /// The process.
    pub boot: BootId,
    /// Version of the program, for people.
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
    /// The server's control lane that `received` counts; empty on the first stream of a boot.
    pub server_origin: String,
    /// Last number of the server's control lane handled.
    pub received: u64,
    /// Lowest number of the own control lane still kept, or the next to be used.
    pub oldest_kept: u64,
    /// Tasks held.
    pub held: Vec<TaskRef>,
    /// Counts the streams of the boot, from 1; 0: not counted.
    pub stream: u64,
}

impl Hello {
    /// Who speaks.
    pub fn holder(&self) -> Holder {
        Holder {
            delegate: self.delegate.clone(),
            instance: self.instance.clone(),
            boot: self.boot.clone(),
        }
    }
}

/// How the server answers a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Protocol version of this stream.
    pub version: u32,
    /// Names the stream in logs.
    pub session: String,
    /// Names the server's control lane: changes when the server has no memory of this boot.
    pub server_origin: String,
    /// Last number of the delegate's control lane stored.
    pub received: u64,
    /// Milliseconds between heartbeats.
    pub heartbeat_ms: u32,
    /// Milliseconds of silence after which either side gives the stream up.
    pub dead_after_ms: u32,
}

/// Control lane, delegate to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DelegateControl {
    /// Will run the task when told to start.
    Accept(TaskRef),
    /// Will not run it.
    Refuse {
        /// The task offered.
        task: TaskRef,
        /// Why, for the server.
        reason: RefusalReason,
        /// Why, for people.
        message: String,
    },
    /// The end of a task.
    Result {
        /// The task.
        task: TaskRef,
        /// How it ended.
        outcome: Outcome,
    },
    /// Asks for values.
    Resolve {
        /// The task that needs them.
        task: TaskRef,
        /// Unique within the boot.
        request: String,
        /// Names asked for.
        names: Vec<String>,
    },
    /// Stopped the task at a safe place and does not end it: somebody else may go on with it at once.
    HandBack(TaskRef),
    /// Takes no new task.
    Draining,
}

/// Control lane, server to delegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerControl {
    /// Offers a task.
    Assign {
        /// The task.
        task: TaskRef,
        /// The encoded task.
        payload: Payload,
    },
    /// The acceptance is stored: run the task.
    Start(TaskRef),
    /// Asks to stop a task.
    Cancel {
        /// The task.
        task: TaskRef,
        /// Why.
        reason: CancelReason,
    },
    /// Answers a resolve request.
    Resolved {
        /// The task that asked.
        task: TaskRef,
        /// The request answered.
        request: String,
        /// The encoded answer.
        payload: Payload,
    },
    /// Take no new task.
    Drain,
}

/// How a task ended, with what it reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The kind of end.
    pub end: End,
    /// The encoded result.
    pub payload: Payload,
}

/// The kinds of end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Did what it was asked to do.
    Succeeded,
    /// Did not, and says why.
    Failed,
    /// Was stopped on request.
    Aborted,
}

/// State lane: replaces the last state of the same task and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The task.
    pub task: TaskRef,
    /// Which of its states.
    pub kind: StateKind,
    /// Counts up per (task, epoch, kind).
    pub revision: u64,
    /// The encoded state.
    pub payload: Payload,
}

/// What a task shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    /// Units.
    Progress,
    /// Resources.
    Resources,
}

/// Why a delegate refuses a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// Runs as many as it may.
    Capacity,
    /// Memory pressure.
    Memory,
    /// Does not know the task type.
    UnknownType,
    /// Its own policy forbids the task.
    Policy,
    /// Shuts down.
    Draining,
    /// Has seen this epoch or a later one already.
    Stale,
    /// Cannot read the task.
    Malformed,
}

/// Why a task should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// Somebody asked for it.
    Requested,
    /// The task went to another epoch; no result is wanted.
    Superseded,
}

/// Why the server wants a stream to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoAwayReason {
    /// The server shuts down.
    Shutdown,
    /// The stream is old, or its certificate ends.
    Age,
    /// The same instance opened another stream.
    Replaced,
}
