//! Typed reading of trees: every fault is noted with its place, and reading goes on.

pub(crate) mod context;
pub(crate) mod fields;

pub(crate) use context::Context;
pub(crate) use fields::Fields;
