//! Kubernetes documents as JSON values: parse, order, label, version, hash, mask and compare.
//!
//! Everything here is pure: text and values come in, values and errors go out. There is no input
//! or output, no clock and no runtime, so that the same rules hold in the delegate, in the command
//! line and under property tests. What enters is hostile: every size, depth and count is bounded
//! by [`Limits`], and nothing a manifest says can make this crate panic.

pub mod annotations;
mod binary;
pub mod diff;
mod error;
pub mod hash;
pub mod labels;
mod limits;
mod object;
pub mod order;
mod path;
mod pattern;
pub mod references;
pub mod secrets;
pub mod selector;
mod stream;
pub mod tracking;
pub mod versioning;
pub mod workload;
pub mod yaml;

pub use error::{ParseError, ParseErrors, Place};
pub use limits::Limits;
pub use object::{Object, ObjectError, ObjectId, Origin};
pub use stream::{Stream, parse, read};
