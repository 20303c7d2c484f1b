//! The session protocol between a delegate and the control plane, without I/O.
//!
//! Two machines, one per side, are fed with what happened and answer with what to do:
//!
//! - [`delegate::Session`] lives as long as the delegate process. It survives any number of streams and any number of
//!   server restarts, and keeps what the server has not stored yet.
//! - [`server::Session`] lives as long as the server process knows a boot of a delegate instance.
//!
//! Beside them [`task`] is the server's record of who holds a task, [`selection`] chooses a delegate for it, [`lane`] is
//! the numbered, acknowledged queue both machines use, and [`backoff`] says how long to wait before the next try.
//!
//! Nothing here reads a clock, draws a random number, or knows gRPC: time comes in as a [`std::time::Duration`] since any
//! fixed origin, random numbers as arguments, payloads as bytes.
//!
//! # What holds, whatever is lost, repeated, reordered or restarted
//!
//! 1. A result that a delegate process reported reaches the server's store exactly once, unless the task had moved on to
//!    a later epoch; then it never counts.
//! 2. A delegate starts a task only after the server has stored that it accepted it, and once per epoch.
//! 3. At most one (instance, boot, epoch) is the holder of a task; a message of any other is refused as stale.
//! 4. A task that is lost or handed back is offered again (resumable) or ends as failed (once); no task is forgotten,
//!    and none is lost for ever: after [`task::MAX_LOSSES`] it fails.

pub mod backoff;
pub mod delegate;
mod error;
mod identity;
pub mod lane;
mod message;
pub mod selection;
pub mod server;
mod settings;
pub mod task;
mod version;

pub use self::error::Error;
pub use self::identity::{
    BootId, DelegateId, Holder, InstanceId, TaskId, TaskRef, is_delegate_name,
};
pub use self::message::{
    CancelReason, DelegateControl, End, FromDelegate, FromServer, GoAwayReason, Hello, Outcome,
    Payload, RefusalReason, ServerControl, State, StateKind, Welcome,
};
pub use self::settings::Settings;
pub use self::version::{VERSION, VERSION_MIN, negotiate};
