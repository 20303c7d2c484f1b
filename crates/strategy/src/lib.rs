//! Planners of the strategies: what to do next, decided from what was seen, without input or output.
//!
//! Each planner is a state machine `(state, observation, now) → (state, actions)`. Nothing here knows Kubernetes' API or has
//! a clock: an executor looks, asks, carries out and journals the state. What must hold at any time is in [`replicas`] and
//! the planners' own checks, used by their tests, by the simulator and by debug assertions.

pub mod copy;
mod decision;
pub mod invariant;
pub mod progressive;
pub mod replicas;
pub mod routing;
pub mod simulator;
pub mod swap;
pub mod weights;
pub mod writer;

pub use decision::Decision;
