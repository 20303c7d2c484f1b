//! What is sent to the API server for an object.

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
            // Sent as `stringData`, a key that the manifest stops naming would stay, and a value that somebody else changed
            // would not be taken out of our fields.
            traceable = secrets::encode(secret);
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
