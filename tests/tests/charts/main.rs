//! The Helm charts: what they refuse, what they render, and that every right they give is needed and enough.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking and print what they saw"
)]

mod account;
mod admission;
mod beside;
mod helm;
mod hooks;
mod install;
mod network;
mod programs;
mod rendering;
mod rights;
mod schema;
mod steps;
