//! Kubernetes documents as JSON values: parse, order, label, version, hash, mask and compare.
//!
//! Everything here is pure: text and values come in, values and errors go out. There is no input
//! or output, no clock and no runtime, so that the same rules hold in the delegate, in the command
//! line and under property tests. What enters is hostile: every size, depth and count is bounded
//! by [`Limits`], and nothing a manifest says can make this crate panic.

mod error;
mod limits;
mod object;
mod stream;
pub mod yaml;

pub use error::{ParseError, Place};
pub use limits::Limits;
pub use object::{Object, ObjectError, ObjectId, Origin};
pub use stream::parse;
