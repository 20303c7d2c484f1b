//! A tree as JSON, for the roots of expressions.

use serde_json::{Map, Number, Value};

use super::{Content, Key, Node, Scalar};
use crate::position::Position;

/// Converts a tree. A plain scalar becomes a number only when it prints as it was written, so that
/// a version `1.10` or a mode `0644` stays what the user sees.
pub(crate) fn to_json(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(scalar) => scalar_to_json(scalar),
        Content::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Content::Map(pairs) => {
            let entries = pairs
                .iter()
                .map(|(key, value)| (key.text.clone(), to_json(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// The tree of a value that [`to_json`] made; its places say nothing.
pub(crate) fn from_json(value: &Value) -> Node {
    let scalar = |text: String, plain: bool| {
        Content::Scalar(Scalar {
            text,
            plain,
            block: false,
        })
    };
    let content = match value {
        Value::String(text) => scalar(text.clone(), false),
        Value::Null | Value::Bool(_) | Value::Number(_) => scalar(value.to_string(), true),
        Value::Array(items) => Content::List(items.iter().map(from_json).collect()),
        Value::Object(entries) => Content::Map(
            entries
                .iter()
                .map(|(key, value)| {
                    let key = Key {
                        text: key.clone(),
                        position: Position::START,
                        end: 0,
                    };
                    (key, from_json(value))
                })
                .collect(),
        ),
    };
    Node {
        content,
        position: Position::START,
        end: 0,
        shared: true,
    }
}

fn scalar_to_json(scalar: &Scalar) -> Value {
    let text = scalar.text.as_str();
    if !scalar.plain {
        return Value::String(text.to_owned());
    }
    if scalar.is_null() {
        return Value::Null;
    }
    if let Some(truth) = scalar.truth() {
        return Value::Bool(truth);
    }
    let number = text
        .parse::<i64>()
        .map(Number::from)
        .ok()
        .or_else(|| text.parse::<u64>().map(Number::from).ok())
        .or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
    match number {
        Some(number) if number.to_string() == text => Value::Number(number),
        _ => Value::String(text.to_owned()),
    }
}
