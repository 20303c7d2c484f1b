//! The delegate: a small daemon in the target cluster that runs deployment tasks for a control plane.

pub mod admin;
mod clock;
pub mod config;
pub mod convert;
pub mod identity;
pub mod link;
pub mod metrics;
pub mod tasks;
pub mod telemetry;
