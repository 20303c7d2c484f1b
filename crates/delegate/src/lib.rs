//! The delegate: a small daemon in the target cluster that runs deployment tasks for a control plane.
//!
//! [`app::run`] is the whole program; `sortie dev` embeds it. Inside:
//!
//! ```text
//! identity (one Secret) ──► link (enrol, renew, session, logs, blobs) ──► tasks ──► step_runner ──► sortie_step
//! ```
//!
//! Nothing here may be lost with the process: the identity, release records and leases are in the cluster, and what the
//! control plane has not stored yet is offered to the next holder of the task.

pub mod admin;
pub mod app;
mod clock;
pub mod config;
pub mod control;
pub mod convert;
pub mod identity;
pub mod link;
pub mod metrics;
pub mod runner;
mod scratch;
pub mod step_runner;
pub mod tasks;
pub mod telemetry;
