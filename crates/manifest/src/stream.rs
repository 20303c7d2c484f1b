use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{ParseError, Place};
use crate::limits::Limits;
use crate::object::{Object, Origin};
use crate::yaml::{self, Document};

/// Reads a stream of Kubernetes objects: YAML or JSON, one document or many.
///
/// Empty documents are skipped; `List` and typed lists such as `ServiceList` are replaced by their
/// items. `file` is the name that errors and [`Origin`]s show; it is not opened.
pub fn parse(file: &str, text: &[u8], limits: &Limits) -> Result<Vec<Object>, ParseError> {
    let file: Arc<str> = Arc::from(file);
    let mut objects = Vec::new();
    for document in yaml::documents(&file, text, limits)? {
        if document.value.is_null() {
            continue;
        }
        Expansion {
            file: &file,
            limits,
            document: &document,
            objects: &mut objects,
        }
        .add(document.value.clone(), "")?;
    }
    Ok(objects)
}

struct Expansion<'a> {
    file: &'a Arc<str>,
    limits: &'a Limits,
    document: &'a Document,
    objects: &'a mut Vec<Object>,
}

impl Expansion<'_> {
    /// Adds an object, or the objects of a list. `path` is where it stands in the document.
    fn add(&mut self, value: Value, path: &str) -> Result<(), ParseError> {
        let list = match value {
            Value::Object(map) if is_list(&map) => map,
            value => return self.add_object(value, path),
        };
        let word = |key: &str| {
            list.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind) = (word("apiVersion"), word("kind"));
        let expected = kind.strip_suffix("List").unwrap_or_default().to_owned();
        let Some(Value::Array(items)) = list
            .into_iter()
            .find_map(|(key, value)| (key == "items").then_some(value))
        else {
            return Ok(());
        };
        for (index, mut item) in items.into_iter().enumerate() {
            let path = format!("{path}items[{index}]");
            if !expected.is_empty() {
                self.complete(&mut item, &api_version, &kind, &expected, &path)?;
            }
            self.add(item, &(path + "."))?;
        }
        Ok(())
    }

    /// Items of a typed list may leave out what the list already says, and hold only its kind.
    fn complete(
        &self,
        item: &mut Value,
        api_version: &str,
        list: &str,
        expected: &str,
        path: &str,
    ) -> Result<(), ParseError> {
        let Value::Object(map) = item else {
            return Ok(());
        };
        for (key, text) in [("apiVersion", api_version), ("kind", expected)] {
            if map.get(key).is_none_or(Value::is_null) {
                map.insert(key.to_owned(), Value::String(text.to_owned()));
            }
        }
        match map.get("kind").and_then(Value::as_str) {
            Some(found) if found != expected => Err(ParseError::ForeignListItem {
                place: self.place(),
                item: self.item(path),
                list: list.to_owned(),
                found: found.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn add_object(&mut self, value: Value, path: &str) -> Result<(), ParseError> {
        if self.objects.len() >= self.limits.documents {
            let limit = self.limits.documents;
            return Err(ParseError::TooManyDocuments {
                place: self.place(),
                limit,
            });
        }
        let origin = Origin {
            file: Arc::clone(self.file),
            document: self.document.number,
            line: self.document.line,
        };
        let object = Object::from_value(value, origin).map_err(|source| ParseError::Object {
            place: self.place(),
            item: self.item(path.trim_end_matches('.')),
            source,
        })?;
        self.objects.push(object);
        Ok(())
    }

    fn item(&self, path: &str) -> String {
        match path {
            "" => format!("document {}", self.document.number),
            path => format!("{path} of document {}", self.document.number),
        }
    }

    fn place(&self) -> Place {
        Place {
            file: Arc::clone(self.file),
            document: self.document.number,
            line: self.document.line,
            column: 0,
        }
    }
}

/// `List`, or a kind that ends in `List`, has items and no name of its own: a custom resource of a
/// kind such as `AllowList` with a name is an object.
fn is_list(map: &Map<String, Value>) -> bool {
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    let named = map
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .is_some();
    kind == "List"
        || (kind.ends_with("List") && !named && map.get("items").is_some_and(Value::is_array))
}
