//! The one place that talks to Kubernetes.
//!
//! A [`Cluster`] is a connection: it finds out which kinds are served, applies objects by
//! server-side apply, deletes them, watches them, reads logs, and keeps two things of ours in the
//! cluster: the [lease](lease) that says who may write to a release, and the [record] of what each
//! release was. Every write goes through one function, which checks the lease as the last act
//! before sending and has a name at which a test may kill the process ([`fault`]).

pub mod access;
pub mod apply;
pub mod clock;
mod connect;
pub mod delete;
mod discovery;
mod error;
pub mod fault;
pub mod inventory;
pub mod lease;
mod logs;
mod named;
pub mod patch;
mod quoted;
mod rbac;
mod read;
pub mod record;
mod request;
mod resource;
pub mod secrets;
mod status;
pub mod watch;

pub use access::{Access, ConnectError};
pub use connect::{Cluster, Options};
pub use error::{Cause, Error, Problem, Retry};
pub use logs::LogRequest;
pub use resource::Resource;
