//! Objects as the API server wrote them, kept as text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::MANAGER;
use super::mark::{Owned, without_mark};
use crate::resource::Resource;

/// An object as the API server wrote it. Text takes a tenth of the memory of the parsed value, and
/// most objects of a set are never looked at.
#[derive(Clone)]
pub struct Document {
    text: Bytes,
    /// Items of a list do not say what they are.
    kind: Option<(String, String)>,
}

impl Document {
    /// The text of one object.
    pub(super) fn new(text: Bytes) -> Self {
        Self { text, kind: None }
    }

    /// The text of an object in a list.
    pub(super) fn item(text: Bytes, resource: &Resource) -> Self {
        let kind = Some((resource.api_version(), resource.kind.clone()));
        Self { text, kind }
    }

    /// The object without its managed fields and without [`super::MARK`].
    pub fn value(&self) -> Value {
        let mut value = self.whole();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        without_mark(&mut value);
        value
    }

    /// The object with everything.
    pub fn whole(&self) -> Value {
        // It has been read in part before, so it is JSON.
        let mut value: Value = serde_json::from_slice(&self.text).unwrap_or_default();
        if let (Some((api_version, kind)), Some(fields)) = (&self.kind, value.as_object_mut()) {
            fields.insert("apiVersion".to_owned(), api_version.as_str().into());
            fields.insert("kind".to_owned(), kind.as_str().into());
        }
        value
    }

    /// Keeps only what decides how the object is written: its version, and who owns what.
    pub(super) fn forget_content(&mut self) {
        let mut value = self.whole();
        let metadata = value.get_mut("metadata").map(Value::take);
        let Some(Value::Object(mut metadata)) = metadata else {
            return;
        };
        metadata
            .retain(|key, _| matches!(key.as_str(), "name" | "resourceVersion" | "managedFields"));
        let kept = serde_json::json!({"metadata": metadata});
        self.text = kept.to_string().into();
    }

    /// What decides about it, without reading the rest.
    pub(super) fn outline(&self) -> Result<Outline<'_>, serde_json::Error> {
        serde_json::from_slice(&self.text)
    }
}

impl fmt::Debug for Document {
    /// Without the text: it may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// What of an object decides whether and how it is written.
#[derive(Deserialize)]
pub(super) struct Outline<'a> {
    #[serde(borrow)]
    pub(super) metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) resource_version: Cow<'a, str>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(borrow, default)]
    managed_fields: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(default)]
    subresource: Option<IgnoredAny>,
    #[serde(borrow, rename = "fieldsV1")]
    fields: Option<&'a RawValue>,
}

impl Outline<'_> {
    /// Whether it is being deleted.
    pub(super) const fn is_ending(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The fields that our applies own.
    pub(super) fn owned(&self) -> Option<Owned> {
        let ours = self.metadata.managed_fields.iter().find(|entry| {
            entry.manager == MANAGER && entry.operation == "Apply" && entry.subresource.is_none()
        })?;
        Some(Owned::read(ours.fields?.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_read_in_part_and_shows_no_value() {
        let value = json!({
            "metadata": {
                "name": "web", "resourceVersion": "7", "labels": {"a": "b"},
                "managedFields": [
                    {"manager": "sortie", "operation": "Update", "fieldsV1": {"f:data": {}}},
                    {"manager": "sortie", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {}}},
                    {"manager": "sortie", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
                ],
            },
            "data": {"password": "aHVudGVyMg=="},
        });
        let document = Document::new(value.to_string().into());
        let outline = document.outline().unwrap();
        assert_eq!(outline.metadata.name, "web");
        assert!(!outline.is_ending());
        assert_eq!(outline.owned(), Some(Owned::read(r#"{"f:spec":{}}"#)));
        assert!(document.value()["metadata"].get("managedFields").is_none());
        assert!(!format!("{document:?}").contains("aHVudGVyMg"));
    }

    #[test]
    fn without_its_content_a_document_still_decides_how_it_is_written() {
        let value = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "web", "resourceVersion": "7", "annotations": {"text": "long"},
                "managedFields": [{"manager": "sortie", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}, ".": {}}}}],
            },
            "data": {"a": "aHVudGVyMg=="},
        });
        let document = Document::new(value.to_string().into());
        let mut short = document.clone();
        short.forget_content();
        let (before, after) = (document.outline().unwrap(), short.outline().unwrap());
        assert_eq!(after.owned(), before.owned());
        assert_eq!(after.metadata.resource_version, "7");
        assert_eq!(after.metadata.name, "web");
        assert!(after.metadata.annotations.is_empty());
        assert!(short.value().get("data").is_none());
    }

    #[test]
    fn an_item_of_a_list_is_told_what_it_is() {
        let text = Bytes::from_static(b"{\"metadata\":{\"name\":\"a\"}}");
        let document = Document::item(text, &Resource::secrets());
        assert_eq!(document.value()["kind"], "Secret");
        assert_eq!(document.value()["apiVersion"], "v1");
    }
}
