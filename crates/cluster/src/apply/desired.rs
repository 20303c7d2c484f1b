//! What is sent to the API server for an object.

use base64::Engine as _;
use serde_json::{Map, Value};
use sortie_manifest::secrets;

use super::Target;
use super::mark::{MARK, Owned, mark, no_mark};

/// An object as it should be.
pub(super) struct Desired {
    value: Value,
    /// Whether what the API server keeps of it is under the names that the manifest uses.
    traceable: bool,
}

impl Desired {
    /// What the manifest says; without `spec.replicas` when somebody else decides about it.
    pub(super) fn of(target: &Target, replicas_are_ours: bool) -> Self {
        let mut value = Value::Object(target.object.value().clone());
        let mut traceable = true;
        if let Some(secret) = value.as_object_mut().filter(|map| secrets::is_secret(map)) {
            traceable = encode(secret);
        }
        if !replicas_are_ours
            && let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.shift_remove("replicas");
        }
        Self { value, traceable }
    }

    /// Whether a live object with this mark, in which we own these fields, is it already.
    pub(super) fn is_marked(&self, found: &str, owned: &Owned) -> bool {
        self.traceable && mark(&self.value, owned) == found
    }

    /// With the mark for a set of fields, once that is known.
    pub(super) fn marked(&self, owned: Option<&Owned>) -> Value {
        let text = owned.map_or_else(no_mark, |owned| mark(&self.value, owned));
        let mut value = self.value.clone();
        let annotations = &mut value["metadata"]["annotations"];
        if annotations.is_null() {
            *annotations = Value::Object(Map::new());
        }
        annotations[MARK] = text.into();
        value
    }
}

/// Moves a Secret's `stringData` to `data`, as the API server does.
///
/// Sent as `stringData`, a key that the manifest stops naming would stay, and a value that somebody
/// else changed would not be taken out of our fields. `false` when it is malformed, which the API
/// server will say.
fn encode(secret: &mut Map<String, Value>) -> bool {
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
