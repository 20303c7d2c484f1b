//! Reading fields of untyped objects: absent, of another type, and hostile values are all "not there".

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

/// Text at a JSON pointer; empty text counts as absent, as Kubernetes leaves out empty fields.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// Bytes of the last words of a container that the kubelet keeps of its log; of a file twice as many.
const LAST_WORDS: usize = 2048;

/// What a container said before its end. Of more than the kubelet keeps, that is the end: it may begin in the middle of
/// anything, and begins with "…".
pub(crate) fn last_message(end: &Value) -> Option<Cow<'_, str>> {
    let message = text(end, "/message")?;
    if message.len() < LAST_WORDS {
        return Some(message.into());
    }
    // The first character may have been cut as well.
    let message = message.trim_start_matches('\u{fffd}');
    Some(format!("…{message}").into())
}

/// Whole number at a JSON pointer.
pub(crate) fn int(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// A count at a JSON pointer: absent means zero, as in Kubernetes statuses.
pub(crate) fn count(object: &Value, pointer: &str) -> i64 {
    int(object, pointer).unwrap_or(0)
}

/// Truth at a JSON pointer; absent means false.
pub(crate) fn flag(object: &Value, pointer: &str) -> bool {
    object
        .pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// Elements of the array at a JSON pointer, none if there is no array.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Is there anything at the JSON pointer?
pub(crate) fn has(object: &Value, pointer: &str) -> bool {
    object
        .pointer(pointer)
        .is_some_and(|value| !value.is_null())
}

/// RFC 3339 time at a JSON pointer.
pub(crate) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer)?.parse().ok()
}

/// A member whose key may hold slashes or dots, such as a label or annotation, of the map at `pointer`.
pub(crate) fn member<'a>(object: &'a Value, pointer: &str, key: &str) -> Option<&'a str> {
    object.pointer(pointer)?.get(key)?.as_str()
}

/// The name of the object.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or("?")
}

/// The kind of the object.
pub(crate) fn kind(object: &Value) -> &str {
    text(object, "/kind").unwrap_or("")
}

/// The UID of the object.
pub(crate) fn uid(object: &Value) -> Option<&str> {
    text(object, "/metadata/uid")
}

/// API group of the object, empty for the core group.
pub(crate) fn group(object: &Value) -> &str {
    text(object, "/apiVersion")
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group)
}

/// Is the object being deleted?
pub(crate) fn deleting(object: &Value) -> bool {
    has(object, "/metadata/deletionTimestamp")
}

/// Is `owner` (by UID) the controller of `object`, or at least one of its owners?
pub(crate) fn owned_by(object: &Value, owner: &str) -> bool {
    list(object, "/metadata/ownerReferences")
        .iter()
        .any(|reference| text(reference, "/uid") == Some(owner))
}

/// One entry of `status.conditions`.
#[derive(Clone, Copy)]
pub(crate) struct Condition<'a>(&'a Value);

/// The condition of that type, unless it was written for an older generation than the object has.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    let generation = int(object, "/metadata/generation").unwrap_or(0);
    condition_in(list(object, "/status/conditions"), kind, generation)
}

/// The condition of that type in a list, unless it was written for an older generation.
pub(crate) fn condition_in<'a>(
    conditions: &'a [Value],
    kind: &str,
    generation: i64,
) -> Option<Condition<'a>> {
    conditions
        .iter()
        .find(|entry| text(entry, "/type") == Some(kind))
        .filter(|entry| {
            int(entry, "/observedGeneration").is_none_or(|observed| observed >= generation)
        })
        .map(Condition)
}

impl<'a> Condition<'a> {
    pub(crate) fn is_true(self) -> bool {
        text(self.0, "/status") == Some("True")
    }

    pub(crate) fn is_false(self) -> bool {
        text(self.0, "/status") == Some("False")
    }

    pub(crate) fn reason(self) -> &'a str {
        text(self.0, "/reason").unwrap_or("")
    }

    pub(crate) fn message(self) -> &'a str {
        text(self.0, "/message").unwrap_or("")
    }

    /// "Reason: message", or whichever of the two there is, or the condition's type.
    pub(crate) fn explain(self) -> String {
        match (self.reason(), self.message()) {
            ("", "") => {
                let state = text(self.0, "/status").unwrap_or("Unknown");
                format!(
                    "condition {} is {state}",
                    text(self.0, "/type").unwrap_or("?")
                )
            }
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_last_words_may_begin_anywhere() {
        let said = |message: &str| {
            let end = json!({ "message": message });
            last_message(&end).map(Cow::into_owned)
        };
        assert_eq!(said(""), None);
        assert_eq!(said("boom").unwrap(), "boom");
        let long = format!("\u{fffd}{}", "x".repeat(LAST_WORDS));
        assert_eq!(said(&long).unwrap(), format!("…{}", "x".repeat(LAST_WORDS)));
    }
}
