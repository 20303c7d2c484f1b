//! What a journal entry tells the one who carries on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON, kept as text: of a large set its values would take ten times the memory, most of it is never read, and a copy
/// costs nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Notes(Option<Arc<str>>);

impl Notes {
    /// Notes of a value. One that JSON cannot hold, such as a map whose keys are no texts, leaves none.
    pub fn of(value: &impl Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(text) if text != "null" => Self(Some(text.into())),
            _ => Self(None),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of it. `None`: there are none, or they are of another form.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.0.as_deref()?).ok()
    }

    /// One field of a map. `None`: it is not there, or it is of another form.
    pub fn field<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let text = self.0.as_deref()?;
        // Most have no such field, and to look for its name is quick.
        if !text.contains(key) {
            return None;
        }
        let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
        serde_json::from_str(fields.get(key)?.get()).ok()
    }
}

impl Serialize for Notes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: Option<&RawValue> = match &self.0 {
            Some(text) => serde_json::from_str(text).map_err(serde::ser::Error::custom)?,
            None => None,
        };
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(match raw.get() {
            "null" => Self(None),
            text => Self(Some(text.into())),
        })
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("null"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn notes_come_back_as_they_were_and_field_by_field() {
        let value = json!({"a": [1, {"b": "c \u{e9} \"q\""}], "n\"1": null});
        let notes = Notes::of(&value);
        assert_eq!(notes.read::<Value>(), Some(value.clone()));
        assert_eq!(notes.field::<Value>("a").as_ref(), value.get("a"));
        assert_eq!(notes.field::<Vec<u8>>("a"), None);
        // A name that stands in a value is no field.
        assert_eq!(notes.field::<Value>("b"), None);
        assert_eq!(Notes::of(&json!([1])).field::<Value>("1"), None);
        for notes in [notes, Notes::default(), Notes::of(&Value::Null)] {
            let text = serde_json::to_string(&notes).unwrap();
            assert_eq!(serde_json::from_str::<Notes>(&text).unwrap(), notes);
            assert_eq!(notes.is_empty(), text == "null");
        }
    }
}
