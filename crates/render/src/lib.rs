//! Sources in, manifests out: fetch files with git, merge values, and run Go templates through Helm.
//!
//! Nothing of a source is trusted. Each job has a private folder ([`Workspace`]); git and helm run as
//! child processes with a bare environment, in a process group of their own that dies with the
//! call, under limits of time, memory, files and output. Repositories are never checked out: files
//! are read from the object store of a bare repository, so that no hook, filter, symbolic link or
//! submodule of theirs takes effect.

pub mod expressions;
pub mod git;
pub mod memory;
pub mod plain;
mod process;
mod source;
pub mod template;
pub mod tools;
pub mod values;
mod workspace;

pub use process::ProcessError;
pub use source::SourceFile;
pub use workspace::{Workspace, WorkspaceError};
