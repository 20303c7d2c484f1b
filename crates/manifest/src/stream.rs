use std::sync::Arc;

use serde_json::{Map, Value};

use crate::binary;
use crate::error::{ParseError, ParseErrors, Place};
use crate::limits::Limits;
use crate::object::{Object, ObjectError, Origin};
use crate::path::{self, Step};
use crate::yaml::{self, Document, KeyNote};

/// What a stream of Kubernetes objects holds.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The objects, in the order of the text.
    pub objects: Vec<Object>,
    /// Keys of which kubectl makes something else: worth a warning. The first 20.
    pub keys: Vec<KeyNote>,
}

/// Reads a stream of Kubernetes objects: YAML or JSON, one document or many.
///
/// # Errors
/// As [`read`].
pub fn parse(file: &str, text: &[u8], limits: &Limits) -> Result<Vec<Object>, ParseErrors> {
    read(file, text, limits).map(|stream| stream.objects)
}

/// As [`parse`], with what is worth a warning.
///
/// Empty documents are skipped; `List` and typed lists such as `ServiceList` are replaced by their
/// items. `file` is the name that errors and [`Origin`]s show; it is not opened.
///
/// # Errors
/// All that is wrong: one error for each document, or item of a list, that is no object.
pub fn read(file: &str, text: &[u8], limits: &Limits) -> Result<Stream, ParseErrors> {
    let file: Arc<str> = Arc::from(file);
    let (mut objects, mut keys) = (Vec::new(), Vec::new());
    let mut faults = Faults::default();
    for document in yaml::each(&file, text, limits) {
        let mut document = match document {
            Ok(document) => document,
            Err(error) => {
                if faults.count() {
                    faults.kept.push(error);
                }
                continue;
            }
        };
        keys.append(&mut document.keys);
        let value = document.value.take();
        if value.is_null() {
            continue;
        }
        Expansion {
            file: &file,
            limits,
            text,
            document: &document,
            trail: Vec::new(),
            objects: &mut objects,
            faults: &mut faults,
        }
        .add(value);
        if faults.full {
            break;
        }
    }
    faults.instead_of(Stream { objects, keys })
}

/// What was found wrong so far.
#[derive(Default)]
struct Faults {
    kept: Vec<ParseError>,
    more: usize,
    /// There are more objects than are read.
    full: bool,
}

impl Faults {
    /// Counts one more. Gives whether it is to be kept: to find a place costs more than to find a fault.
    fn count(&mut self) -> bool {
        let room = self.kept.len() < ParseErrors::KEPT;
        self.more += usize::from(!room);
        room
    }

    fn instead_of(self, stream: Stream) -> Result<Stream, ParseErrors> {
        let mut kept = self.kept.into_iter();
        match kept.next() {
            None => Ok(stream),
            Some(first) => Err(ParseErrors {
                first: Box::new(first),
                others: kept.collect(),
                more: self.more,
            }),
        }
    }
}

struct Expansion<'a> {
    file: &'a Arc<str>,
    limits: &'a Limits,
    text: &'a [u8],
    document: &'a Document,
    /// Where the present item stands in the document.
    trail: Vec<Step<'static>>,
    objects: &'a mut Vec<Object>,
    faults: &'a mut Faults,
}

impl Expansion<'_> {
    /// Adds an object, or the objects of a list.
    fn add(&mut self, value: Value) {
        let list = match value {
            Value::Object(map) if is_list(&map) => map,
            value => return self.add_object(value),
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
            return;
        };
        let outside = self.trail.len();
        for (index, mut item) in items.into_iter().enumerate() {
            self.trail.extend([Step::key("items"), Step::Index(index)]);
            if expected.is_empty() || self.complete(&mut item, &api_version, &kind, &expected) {
                self.add(item);
            }
            self.trail.truncate(outside);
            if self.faults.full {
                return;
            }
        }
    }

    /// Items of a typed list may leave out what the list already says, and hold only its kind. Gives
    /// whether this one does.
    fn complete(
        &mut self,
        item: &mut Value,
        api_version: &str,
        list: &str,
        expected: &str,
    ) -> bool {
        let Value::Object(map) = item else {
            return true;
        };
        for (key, text) in [("apiVersion", api_version), ("kind", expected)] {
            if map.get(key).is_none_or(Value::is_null) {
                map.insert(key.to_owned(), Value::String(text.to_owned()));
            }
        }
        match map.get("kind").and_then(Value::as_str) {
            Some(found) if found != expected => {
                if self.faults.count() {
                    let error = ParseError::ForeignListItem {
                        place: self.place("kind"),
                        item: self.item(),
                        list: list.to_owned(),
                        found: found.to_owned(),
                    };
                    self.faults.kept.push(error);
                }
                false
            }
            _ => true,
        }
    }

    fn add_object(&mut self, value: Value) {
        if self.objects.len() >= self.limits.documents {
            let limit = self.limits.documents;
            self.faults.full = true;
            if self.faults.count() {
                let place = self.place("");
                let error = ParseError::TooManyDocuments { place, limit };
                self.faults.kept.push(error);
            }
            return;
        }
        let Document {
            number: document,
            line,
            column,
            items,
            ..
        } = self.document;
        // An item of a list in a list stands where that list does.
        let item = match self.trail.get(1) {
            Some(Step::Index(index)) => items.get(*index),
            _ => None,
        };
        let (line, column) = *item.unwrap_or(&(*line, *column));
        let origin = Origin {
            file: Arc::clone(self.file),
            document: *document,
            line,
            column,
        };
        let object = Object::from_value(value, origin);
        let object = object.and_then(|object| binary::check(object.value()).map(|()| object));
        match object {
            Ok(object) => self.objects.push(object),
            Err(source) if self.faults.count() => {
                let error = ParseError::Object {
                    place: self.place(match &source {
                        ObjectError::NotAMap { .. } => "",
                        ObjectError::Missing { field } => field,
                        ObjectError::Invalid { field, .. } => field,
                    }),
                    item: self.item(),
                    source,
                };
                self.faults.kept.push(error);
            }
            Err(_) => {}
        }
    }

    fn item(&self) -> String {
        match path::write(&self.trail) {
            path if path.is_empty() => "the document".to_owned(),
            path => path,
        }
    }

    /// The place of a field of the present item, or of what is there of it.
    fn place(&self, field: &str) -> Place {
        let mut steps = self.trail.clone();
        // Keys of labels, annotations and data have dots of their own.
        let depth = if field.starts_with("metadata.") { 3 } else { 2 };
        let keys = field.splitn(depth, '.');
        steps.extend(keys.filter(|key| !key.is_empty()).map(Step::key));
        let text = std::str::from_utf8(self.text).ok();
        let found = text.and_then(|text| yaml::locate(text, self.document.line, &steps));
        let (line, column) = found.unwrap_or((self.document.line, self.document.column));
        Place {
            file: Arc::clone(self.file),
            document: self.document.number,
            line,
            column,
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
