//! Deployments of all shapes and rollbacks on the real cluster that tests share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking; what a step says is shown with a failed test"
)]

mod adopting;
mod applying;
mod asking;
mod attending;
mod autoscaling;
mod canarying;
mod collecting;
mod coloring;
mod crashing;
mod deleting;
mod deploying;
mod following;
mod hooking;
mod irreversible;
mod judging;
mod leaving;
mod masking;
mod patching;
mod progressing;
mod pruning;
mod racing;
mod recording;
mod refusing;
mod renewing;
mod replacing;
mod restoring;
mod returning;
mod revising;
mod routing;
mod ruling;
mod scaling;
mod sequencing;
mod sets;
mod sharing;
mod stopping;
mod swapping;
mod trying;
mod uninstalling;
mod waiting;
mod world;
