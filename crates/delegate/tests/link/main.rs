//! The delegate's link against the real agent side of a control plane, over loopback and real TLS, with a scripted runner.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod control;
mod delegate;
mod identity;
mod network;
mod runner;
mod tasks;
