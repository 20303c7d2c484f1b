//! The pipeline engine as a pure state machine: (plan, state, event, now) → (state, actions).
//!
//! The driver compiles a pipeline into a [`Plan`], which never changes afterwards, and feeds [`Event`]s to the
//! machine. Each answer is a new [`State`] and the [`Action`]s to perform; the driver stores event, state and
//! actions in one transaction *before* it performs anything. After a restart it loads the state and performs
//! what is still outstanding; every action may therefore be performed more than once and must be idempotent
//! under its (node, attempt) key.
//!
//! The machine reads no clock and keeps no hidden state: the same events give the same state, and an event
//! that was already applied changes nothing. Parameters of nodes are opaque here.

mod action;
mod check;
mod engine;
mod event;
mod failure;
mod machine;
mod path;
mod place;
mod plan;
mod respond;
mod state;
mod status;
mod view;

pub use action::{Action, CancelReason, TimerId, TimerKind};
pub use check::PlanError;
pub use engine::{CANCEL_GRACE, Rejected, apply, outstanding, replay, start};
pub use event::{Event, EventRecord, Failure, Outcome};
pub use failure::{Errors, FailureAction, FailureStrategy, FailureType};
pub use path::NodePath;
pub use plan::{Group, Node, NodeInfo, Plan, Stage, Step, When};
pub use state::{Abort, NodeState, State};
pub use status::Status;
pub use view::{NodeKind, NodeView, tree};

/// The format of plans, states and event records that this build writes, and the only one it reads.
pub const FORMAT: u32 = 1;
