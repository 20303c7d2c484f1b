//! Hiding the content of Secrets where manifests are shown.

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
        each_hidden(map, &mut |hidden| *hidden = Value::String(MASK.to_owned()));
        return;
    }
    let holds_secrets = map.get("kind").and_then(Value::as_str) == Some("SecretList");
    if let Some(Value::Array(items)) = map.get_mut("items") {
        for item in items {
            // Items of a typed list need not say their kind.
            match item {
                Value::Object(item) if holds_secrets => {
                    each_hidden(item, &mut |hidden| *hidden = Value::String(MASK.to_owned()));
                }
                item => mask(item),
            }
        }
    }
}

/// Whether the object is a Secret of the core API, in any version.
pub fn is_secret(map: &Map<String, Value>) -> bool {
    let word = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    word("kind") == "Secret" && !word("apiVersion").contains('/')
}

/// Calls `change` for every value of a Secret that must not be shown.
pub(crate) fn each_hidden(secret: &mut Map<String, Value>, change: &mut dyn FnMut(&mut Value)) {
    for field in ["data", "stringData"] {
        match secret.get_mut(field) {
            Some(Value::Object(entries)) => entries.values_mut().for_each(&mut *change),
            // A malformed field may still hold a secret.
            Some(Value::Null) | None => {}
            Some(other) => change(other),
        }
    }
    let annotations = secret
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(copy) = annotations.and_then(|annotations| annotations.get_mut(LAST_APPLIED)) {
        change(copy);
    }
}
