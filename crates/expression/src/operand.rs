//! What expressions yield, and why they do not.

use serde_json::Value;

use crate::error::{Error, Reason};
use crate::syntax::Span;

/// Why an evaluation stops.
#[derive(Debug)]
pub(crate) enum Stop {
    Error(Error),
    /// A name has no value yet.
    Deferred(Error),
    /// The code makes no sense as an expression but may be text around nested expressions.
    Text(Error),
}

impl Stop {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Error(error) | Self::Deferred(error) | Self::Text(error) => error,
        }
    }

    pub(crate) fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        match self {
            Self::Error(error) => Self::Error(change(error)),
            Self::Deferred(error) => Self::Deferred(change(error)),
            Self::Text(error) => Self::Text(change(error)),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What an expression yields.
#[derive(Debug)]
pub(crate) enum Operand {
    Value(Value),
    Undefined { name: String },
}

impl Operand {
    /// The value; an undefined name is an error.
    pub(crate) fn value(self, text: &str, span: &Span) -> Result<Value, Stop> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Undefined { name } => Err(Stop::Error(undefined(text, span, &name))),
        }
    }

    /// The value; an undefined name is null.
    pub(crate) fn or_null(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Undefined { .. } => Value::Null,
        }
    }
}

pub(crate) fn undefined(text: &str, span: &Span, name: &str) -> Error {
    let message = format!("{name} is not defined");
    Error::at(text, span.start, Reason::Undefined, message).named(name)
}

/// A value as text; null has none.
pub(crate) fn readable(value: &Value, text: &str, span: &Span) -> Result<String, Stop> {
    match value {
        Value::Null => {
            let written = text.get(span.clone()).unwrap_or("");
            let written: String = written.chars().take(60).collect();
            let message = format!("`{written}` has no value");
            Err(Error::at(text, span.start, Reason::Undefined, message).into())
        }
        Value::String(text) => Ok(text.clone()),
        other => Ok(other.to_string()),
    }
}

/// What a value is, for messages. Values themselves are not shown: they may be long or private.
pub(crate) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Steps that a value costs: one for every 64 bytes of text and every element.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() / 64,
        Value::Array(list) => list.len() + list.iter().map(weight).sum::<usize>(),
        Value::Object(map) => map.len() + map.values().map(weight).sum::<usize>(),
        _ => 0,
    }
}
