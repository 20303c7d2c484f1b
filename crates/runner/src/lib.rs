//! The runner: runs users' scripts in a container of its own, away from everything that the delegate holds.
//!
//! ```text
//! delegate ──(Unix socket: frame)──► service ──► script (bash, processes, output) ──► folder (taken back, cleared)
//! ```
//!
//! The delegate listens, and the runner dials: one connection per start. Scripts come one at a time; whatever a script
//! leaves behind, processes and files, is gone before the next one begins. Where that cannot be done the runner ends,
//! and everything in its container with it.

pub mod folder;
pub mod frame;
mod output;
mod processes;
pub mod script;
pub mod service;
