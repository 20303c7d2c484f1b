//! Keeping the values of Secrets out of error messages.
//!
//! The API server quotes a malformed value in its refusal.

use base64::Engine as _;
use serde_json::Value;
use sortie_manifest::{Object, secrets};

use crate::error::{Cause, Error, Problem};

/// Removes the object's values from an error's words when the object is a Secret.
pub(super) fn scrub(error: Error, object: &Object) -> Error {
    if !secrets::is_secret(object.value()) {
        return error;
    }
    without(error, &values(object))
}

/// Removes every value of a patch of a Secret from an error's words.
pub(crate) fn scrub_patch(error: Error, patch: &Value) -> Error {
    let mut values = Vec::new();
    collect(patch, &mut values);
    without(error, &longest_first(values))
}

fn without(error: Error, values: &[String]) -> Error {
    error.map_cause(|cause| match cause {
        Cause::Invalid { problems } => Cause::Invalid {
            problems: clean_all(problems, values),
        },
        Cause::Immutable { problems, others } => Cause::Immutable {
            problems: clean_all(problems, values),
            others: clean_all(others, values),
        },
        Cause::Forbidden { message } => Cause::Forbidden {
            message: clean(&message, values),
        },
        Cause::Denied { by, message } => Cause::Denied {
            by,
            message: clean(&message, values),
        },
        Cause::Conflict { message } => Cause::Conflict {
            message: clean(&message, values),
        },
        Cause::Server { status, message } => Cause::Server {
            status,
            message: clean(&message, values),
        },
        other => other,
    })
}

fn clean_all(problems: Vec<Problem>, values: &[String]) -> Vec<Problem> {
    let cleaned = |problem: Problem| Problem {
        message: clean(&problem.message, values),
        field: problem.field,
    };
    problems.into_iter().map(cleaned).collect()
}

/// Cuts off where the server begins to quote, and masks what is quoted elsewhere.
fn clean(message: &str, values: &[String]) -> String {
    let message = message
        .split_once(", got ")
        .map_or(message, |(before, _)| before);
    let message = message
        .split_once("Invalid value: ")
        .map_or(message, |(before, _)| before);
    let mut text = message.to_owned();
    for value in values {
        text = text.replace(value.as_str(), secrets::MASK);
    }
    if text.trim().is_empty() {
        "a value has the wrong form (not shown, it is secret)".to_owned()
    } else {
        text
    }
}

/// Every scalar in the Secret's data, the longest first. Very short ones are words of any message.
fn values(object: &Object) -> Vec<String> {
    let mut values = Vec::new();
    for key in ["data", "stringData"] {
        if let Some(value) = object.value().get(key) {
            collect(value, &mut values);
        }
    }
    if let Some(Value::Object(texts)) = object.value().get("stringData") {
        let engine = base64::engine::general_purpose::STANDARD;
        // They are sent as data.
        values.extend(
            texts
                .values()
                .filter_map(Value::as_str)
                .map(|text| engine.encode(text)),
        );
    }
    longest_first(values)
}

fn longest_first(mut values: Vec<String>) -> Vec<String> {
    values.retain(|value| value.len() >= 3);
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.values().for_each(|value| collect(value, into)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, into)),
        Value::String(text) => {
            into.push(text.clone());
            into.extend(text.lines().map(str::to_owned));
        }
        scalar => into.push(scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quoted_value_is_cut_off() {
        let value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
                           "stringData": {"pin": 123_456, "word": "hunter2"}});
        let origin = sortie_manifest::Origin::outside("s.yaml");
        let object = Object::from_value(value, origin).unwrap();
        let message =
            "hunter2: .stringData.pin: expected string, got &value.valueUnstructured{Value:123456}";
        let problems = vec![Problem {
            field: String::new(),
            message: message.to_owned(),
        }];
        let error = Error::new("apply", "Secret/a/s", Cause::Invalid { problems });
        let text = scrub(error, &object).to_string();
        assert!(
            text.ends_with("***: .stringData.pin: expected string"),
            "{text}"
        );
    }
}
