//! The Common Expression Language, as far as a rule about the health of one object needs it.
//!
//! Rules come from manifests and ConfigMaps, so all is bounded: the text, its depth, and the steps of an evaluation, in which
//! work on large values costs as many steps as it takes. The libraries that exist bound none of the last, which is why
//! this is here (see ARCHITECTURE.md).
//!
//! Beyond the specification, `has(a.b.c)` is false, not an error, when `a.b` is not there. Not supported: bytes,
//! timestamps, durations, messages, optional values; their use is an error when the rule is read.

mod evaluate;
mod functions;
mod lex;
mod parse;
mod syntax;
mod value;

pub(crate) use evaluate::{Fault, evaluate};
pub(crate) use parse::parse;
pub(crate) use syntax::Node;
pub(crate) use value::Value;

/// Longest text of an expression, in bytes.
const TEXT: usize = 8 * 1024;
/// Deepest expression.
const DEPTH: usize = 48;
/// Steps of one evaluation: some milliseconds.
const STEPS: usize = 100_000;
/// Longest text that an evaluation makes, in bytes.
const MADE_TEXT: usize = 64 * 1024;

/// What is wrong with an expression, and where in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wrong {
    /// Characters before it.
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Wrong {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests;
