//! Values of an evaluation. What is in the object is borrowed from it.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    /// A list of the object.
    Array(&'a [Json]),
    /// A map of the object.
    Object(&'a Map<String, Json>),
    /// A list that the evaluation made.
    List(Rc<[Self]>),
    /// A map that the evaluation made.
    Map(Rc<[(Self, Self)]>),
}

impl<'a> Value<'a> {
    pub(crate) fn of(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(it) => Self::Bool(*it),
            Json::Number(it) => it
                .as_i64()
                .map(Self::Int)
                .or_else(|| it.as_f64().map(Self::Double))
                .unwrap_or(Self::Null),
            Json::String(it) => Self::Text(Cow::Borrowed(it)),
            Json::Array(it) => Self::Array(it),
            Json::Object(it) => Self::Object(it),
        }
    }

    /// The type's name, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Double(_) => "a number",
            Self::Text(_) => "text",
            Self::Array(_) | Self::List(_) => "a list",
            Self::Object(_) | Self::Map(_) => "a map",
        }
    }

    /// Elements of a list.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        match self {
            Self::Array(it) => Some(it.iter().map(Value::of).collect()),
            Self::List(it) => Some(it.to_vec()),
            _ => None,
        }
    }

    /// Entries of a map.
    pub(super) fn entries(&self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Object(it) => Some(
                it.iter()
                    .map(|(key, value)| (Self::Text(Cow::Borrowed(key)), Self::of(value)))
                    .collect(),
            ),
            Self::Map(it) => Some(it.to_vec()),
            _ => None,
        }
    }

    /// How many characters, elements or entries.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            Self::Text(it) => Some(it.chars().count()),
            Self::Array(it) => Some(it.len()),
            Self::Object(it) => Some(it.len()),
            Self::List(it) => Some(it.len()),
            Self::Map(it) => Some(it.len()),
            _ => None,
        }
    }
}
