//! Against a real API server: what pure tests cannot know.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod admitting;
mod answering;
mod applying;
mod deleting;
mod enduring;
mod fencing;
mod fixture;
mod identifying;
mod issuing;
mod leasing;
mod owning;
mod parties;
mod reading;
mod recording;
mod refusing;
mod replacing;
mod skewing;
mod surviving;
mod unchanged;
mod watching;
