//! Where and why an evaluation failed.

use thiserror::Error;

/// An error in an expression, with its place in the text that was given.
///
/// An error inside a *value* (a variable whose text holds expressions) points at the expression that named it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}{hint}", hint = self.reason.hint())]
pub struct Error {
    /// The kind of error.
    pub reason: Reason,
    /// What is wrong, without what to do about it.
    pub message: String,
    /// Bytes from the start of the text.
    pub offset: usize,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The name that is undefined, not known yet, or refers to itself.
    pub name: Option<String>,
}

/// The kinds of errors, each with a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The expression cannot be read.
    Syntax,
    /// A name has no value.
    Undefined,
    /// An operator or function got a value that it cannot work on.
    Type,
    /// There is no such function or method.
    UnknownFunction,
    /// Expressions nest too deeply, or a value refers to itself.
    Nesting,
    /// The evaluation takes too many steps or its result is too large.
    TooLarge,
    /// The name will have a value later, and the caller needs it now.
    Deferred,
    /// A secret is used where its value would have to be known, or where none may stand.
    Secret,
    /// `<+` without its `>`.
    Unclosed,
    /// A function refused its arguments or failed.
    Function,
}

impl Error {
    /// The stable code, such as `SRT-X002`.
    pub fn code(&self) -> &'static str {
        self.reason.code()
    }

    pub(crate) fn at(
        text: &str,
        offset: usize,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            reason,
            message: message.into(),
            offset,
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
            name: None,
        }
    }

    pub(crate) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Reason {
    /// The stable code, such as `SRT-X002`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Syntax => "SRT-X001",
            Self::Undefined => "SRT-X002",
            Self::Type => "SRT-X003",
            Self::UnknownFunction => "SRT-X004",
            Self::Nesting => "SRT-X005",
            Self::TooLarge => "SRT-X006",
            Self::Deferred => "SRT-X007",
            Self::Secret => "SRT-X008",
            Self::Unclosed => "SRT-X009",
            Self::Function => "SRT-X010",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Undefined => "; check its spelling, or give a default: <+<+name> ?: \"default\">",
            Self::Unclosed => "; close it with `>`",
            _ => "",
        }
    }
}
