//! One Lease per release: who may write to it, and how long.
//!
//! A holder renews the Lease and stops writing once it has not done so for two thirds of its
//! duration; every request it has sent by then times out inside the last third. Whoever wants to
//! take the Lease waits until it has seen no change of it for a full duration, by its own clock:
//! wall clocks are never compared. Each taking raises `leaseTransitions`, which is the fence that
//! the release record carries. The Lease is given back by naming no holder, and deleted only when it has none and the
//! release is no more.
//!
//! [`state`] decides, without I/O; [`driver`](acquire) carries out; [`Guard`] is what every write
//! is checked against.

mod driver;
mod guard;
mod holder;
mod removal;
pub mod state;

pub use driver::{Claim, Glance, Held, Waiting, acquire, acquire_since, glance};
pub use guard::{Guard, Lost};
pub use holder::Holder;
pub use removal::remove;
pub use state::Terms;
