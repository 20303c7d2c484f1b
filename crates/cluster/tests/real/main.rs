//! Against a real API server: what pure tests cannot know.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod applying;
mod deleting;
mod fencing;
mod fixture;
mod leasing;
mod owning;
mod reading;
mod recording;
mod refusing;
mod replacing;
mod surviving;
mod unchanged;
mod watching;
