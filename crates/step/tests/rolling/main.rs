//! Rolling deployments and rollbacks on the real cluster that tests share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod crashing;
mod deploying;
mod refusing;
mod restoring;
mod sets;
mod waiting;
mod world;
