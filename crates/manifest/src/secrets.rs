//! The content of Secrets: hidden where manifests are shown, and in the one form that the API server keeps.

use std::collections::HashMap;

use base64::Engine as _;
use serde_json::{Map, Value};

/// What stands in place of a secret value. It says nothing about the value, not even its length.
pub const MASK: &str = "***";

/// The annotation in which client-side apply keeps a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A copy for display: in a Secret, and in Secrets inside a list, every value is replaced by
/// [`MASK`]; names of keys stay. Other objects are returned as they are.
pub fn masked(value: &Value) -> Value {
    let mut copy = value.clone();
    mask(&mut copy);
    copy
}

/// Replaces secret values in place; see [`masked`].
pub fn mask(value: &mut Value) {
    let Value::Object(map) = value else { return };
    if is_secret(map) {
        hide(map);
        return;
    }
    let holds_secrets = map.get("kind").and_then(Value::as_str) == Some("SecretList");
    if let Some(Value::Array(items)) = map.get_mut("items") {
        for item in items {
            // Items of a typed list need not say their kind.
            match item {
                Value::Object(item) if holds_secrets => hide(item),
                item => mask(item),
            }
        }
    }
}

fn hide(secret: &mut Map<String, Value>) {
    for value in hidden(secret).into_values() {
        *value = Value::from(MASK);
    }
}

/// Whether the object is a Secret of the core API, in any version.
pub fn is_secret(map: &Map<String, Value>) -> bool {
    let word = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    word("kind") == "Secret" && !word("apiVersion").contains('/')
}

/// Moves a Secret's `stringData` to `data`, where it wins, as the API server does.
///
/// `false`, and nothing is changed, when it is malformed; the API server will say how.
pub fn encode(secret: &mut Map<String, Value>) -> bool {
    let texts = match secret.get("stringData") {
        None => return true,
        Some(Value::Object(texts)) if texts.values().all(Value::is_string) => texts.clone(),
        Some(_) => return false,
    };
    let mut data = match secret.get("data") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data.clone(),
        Some(_) => return false,
    };
    let engine = base64::engine::general_purpose::STANDARD;
    for (key, text) in texts {
        let encoded = engine.encode(text.as_str().unwrap_or_default());
        data.insert(key, Value::String(encoded));
    }
    secret.shift_remove("stringData");
    secret.insert("data".to_owned(), Value::Object(data));
    true
}

/// Every value of a Secret that must not be shown, by where it stands.
pub(crate) fn hidden(
    secret: &mut Map<String, Value>,
) -> HashMap<(String, Option<String>), &mut Value> {
    let mut found = HashMap::new();
    for (field, value) in secret {
        match (field.as_str(), value) {
            ("data" | "stringData", Value::Object(entries)) => {
                let entries = entries.iter_mut();
                found.extend(
                    entries.map(|(key, value)| ((field.clone(), Some(key.clone())), value)),
                );
            }
            // A malformed field may still hold a secret.
            ("data" | "stringData", value) if !value.is_null() => {
                found.insert((field.clone(), None), value);
            }
            ("metadata", metadata) => {
                let annotations = metadata.get_mut("annotations");
                if let Some(copy) = annotations.and_then(|all| all.get_mut(LAST_APPLIED)) {
                    found.insert((LAST_APPLIED.to_owned(), None), copy);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encoded(secret: Value) -> (Value, bool) {
        let Value::Object(mut map) = secret else {
            panic!("a map")
        };
        let good = encode(&mut map);
        (Value::Object(map), good)
    }

    #[test]
    fn texts_become_data_and_win_over_it() {
        let secret = json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "z"}});
        let (secret, good) = encoded(secret);
        assert!(good);
        assert_eq!(secret, json!({"data": {"a": "eA==", "b": "eg=="}}));
    }

    #[test]
    fn what_is_malformed_is_left_to_the_server() {
        for secret in [
            json!({"stringData": {"pin": 1234}}),
            json!({"stringData": "x"}),
            json!({"data": [], "stringData": {"a": "b"}}),
        ] {
            assert_eq!(encoded(secret.clone()), (secret, false));
        }
    }
}
