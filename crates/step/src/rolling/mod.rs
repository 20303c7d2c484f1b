//! Rolling deployments and their undoing.

mod behind;
mod closing;
mod decision;
pub(crate) mod deploy;
mod earlier;
mod hook_runs;
mod namespace;
mod opening;
mod prune;
mod removals;
pub(crate) mod rollback;

pub(crate) use deploy::{learn, render, render_sources};
pub(crate) use earlier::{noted, opened};
pub(crate) use opening::{Rendered, accepted, close_interrupted, gone, recorded, sequence};
pub(crate) use prune::{by_label, forbidden, foresee, tracked};

/// The unit under which a step's end is journalled.
const RESULT: &str = "Result";
