//! The agent side over real TLS and a real store: joining, renewing, working, and everything that can go wrong between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod client;
mod control;
mod delegate;
mod handing;
mod hostile;
mod joining;
mod proxy;
mod tasks;
