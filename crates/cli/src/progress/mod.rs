//! How an execution, or a deployment from here, is shown while it goes on: as a tree on a terminal, as lines elsewhere.

mod labels;
mod lines;
mod naming;
mod narration;
mod screen;
mod status;
mod summary;
mod tree;

pub use labels::Labels;
pub use lines::{Changes, LogLines, logged};
pub use naming::{Named, find, shortest};
pub use narration::Narrator;
pub use screen::Screen;
pub use status::State;
pub(crate) use summary::failed;
pub use summary::{abort, cause, exit_of, summary};
pub use tree::{Line, tree};
