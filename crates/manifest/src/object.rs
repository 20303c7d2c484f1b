use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// One Kubernetes object of a manifest, with the place it came from.
///
/// A value of this type always has a well-formed `apiVersion` and `kind`, a `metadata` map with a
/// usable `name`, and `labels` and `annotations` that are absent or maps of strings. Everything
/// else is as the author wrote it; the API server judges it. Copies share their content: a copy costs next to nothing.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Shared with the copies of the object until one of them changes.
    value: Arc<Map<String, Value>>,
    origin: Origin,
}

/// What identifies an object in a cluster, whatever version of its API is used.
///
/// Displayed as `Deployment/shop/web` (kind, namespace, name), or `Namespace/shop` without a
/// namespace. The group is part of the identity but not of the display.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind in CamelCase, such as `Deployment`.
    pub kind: String,
    /// Namespace, or `None` for a cluster-scoped object and for one whose manifest leaves the
    /// namespace to the deployment (see [`ObjectId::in_namespace`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

/// Where an object was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Name of the file as the user knows it.
    pub file: Arc<str>,
    /// Number of the document in the file, from 1; empty documents count.
    pub document: usize,
    /// Line on which it starts, from 1: the document's content, or the item of a list in YAML; 0 for what is in no file.
    pub line: usize,
    /// Column in characters on which it starts, from 1; 0 for what is in no file.
    pub column: usize,
}

/// Why a value is not a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// The value is a scalar or a list.
    #[error("expected a Kubernetes object (a map), found {found}")]
    NotAMap {
        /// What was found, such as `a list`.
        found: &'static str,
    },
    /// A field that every object needs is absent or empty.
    #[error("{field} is missing or empty; every Kubernetes object needs it")]
    Missing {
        /// Path of the field, such as `metadata.name`.
        field: &'static str,
    },
    /// A field has a form that no API server accepts.
    #[error("{field} is not valid: {reason}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Object {
    /// Checks that `value` has the shape described at [`Object`].
    pub fn from_value(value: Value, origin: Origin) -> Result<Self, ObjectError> {
        let Value::Object(value) = value else {
            return Err(ObjectError::NotAMap {
                found: type_name(&value),
            });
        };
        check_api_version(text(&value, "apiVersion", "apiVersion")?)?;
        check_kind(text(&value, "kind", "kind")?)?;
        let metadata = match value.get("metadata") {
            None | Some(Value::Null) => return Err(ObjectError::Missing { field: "metadata" }),
            Some(Value::Object(metadata)) => metadata,
            Some(_) => return Err(invalid("metadata", "it must be a map")),
        };
        if metadata.get("name").is_none_or(is_empty) && metadata.contains_key("generateName") {
            return Err(invalid(
                "metadata.generateName",
                "an object that is deployed again must keep its name; set metadata.name",
            ));
        }
        check_name(text(metadata, "name", "metadata.name")?)?;
        match metadata.get("namespace") {
            None | Some(Value::Null) => {}
            Some(Value::String(namespace)) => check_namespace(namespace)?,
            Some(_) => return Err(invalid("metadata.namespace", "it must be text")),
        }
        check_string_map(metadata, "labels")?;
        check_string_map(metadata, "annotations")?;
        Ok(Self {
            value: Arc::new(value),
            origin,
        })
    }

    /// `apiVersion` as written, such as `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.value
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version()
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// API version without the group, such as `v1`.
    pub fn version(&self) -> &str {
        self.api_version().rsplit('/').next().unwrap_or_default()
    }

    /// Kind, such as `Deployment`.
    pub fn kind(&self) -> &str {
        self.value
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.metadata_text("name").unwrap_or_default()
    }

    /// `metadata.namespace` when the manifest names one.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata_text("namespace")
            .filter(|namespace| !namespace.is_empty())
    }

    /// Identity as the manifest states it; the namespace is absent when the manifest leaves it out.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            group: self.group().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().map(str::to_owned),
            name: self.name().to_owned(),
        }
    }

    /// Value of a label on the object.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.value
            .get("metadata")?
            .get("labels")?
            .get(key)?
            .as_str()
    }

    /// Value of an annotation on the object.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.value
            .get("metadata")?
            .get("annotations")?
            .get(key)?
            .as_str()
    }

    /// The whole document.
    pub fn value(&self) -> &Map<String, Value> {
        &self.value
    }

    /// The document by value.
    pub fn into_value(self) -> Value {
        Value::Object(Arc::unwrap_or_clone(self.value))
    }

    /// Where it was written.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Gives the object another name.
    pub fn set_name(&mut self, name: &str) -> Result<(), ObjectError> {
        check_name(name)?;
        self.metadata_mut()
            .insert("name".to_owned(), Value::String(name.to_owned()));
        Ok(())
    }

    /// Puts the object in a namespace.
    pub fn set_namespace(&mut self, namespace: &str) -> Result<(), ObjectError> {
        check_namespace(namespace)?;
        self.metadata_mut()
            .insert("namespace".to_owned(), Value::String(namespace.to_owned()));
        Ok(())
    }

    /// Sets a label on the object.
    pub fn set_label(&mut self, key: &str, value: &str) {
        set_in(self.metadata_mut(), "labels", key, value);
    }

    /// Sets an annotation on the object.
    pub fn set_annotation(&mut self, key: &str, value: &str) {
        set_in(self.metadata_mut(), "annotations", key, value);
    }

    /// Changes anything in the document; the change is refused, and the object left as it was,
    /// when the result is no longer an object of the same API version, kind and shape.
    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) -> Result<(), ObjectError> {
        let mut value = self.clone().into_value();
        change(&mut value);
        let edited = Self::from_value(value, self.origin.clone())?;
        if edited.api_version() != self.api_version() || edited.kind() != self.kind() {
            return Err(invalid(
                "kind",
                "an edit may not turn an object into one of another kind",
            ));
        }
        *self = edited;
        Ok(())
    }

    /// The field at `path`, for this crate's own edits below `spec` and `data`.
    pub(crate) fn value_mut(&mut self) -> &mut Map<String, Value> {
        Arc::make_mut(&mut self.value)
    }

    fn metadata_text(&self, key: &str) -> Option<&str> {
        self.value.get("metadata")?.get(key)?.as_str()
    }

    fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        map_at(self.value_mut(), "metadata")
    }
}

impl fmt::Debug for Object {
    /// Shows identity and origin only: a Secret's content must not reach a log through `{:?}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("api_version", &self.api_version())
            .field("id", &self.id())
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl ObjectId {
    /// The same identity with `namespace` filled in where the manifest left it out.
    ///
    /// Call it for namespaced kinds only; whether a kind is namespaced is known to discovery.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace.get_or_insert_with(|| namespace.to_owned());
        self
    }

    /// `Deployment/web`, for places where the namespace is plain from the context.
    pub fn short(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

impl Origin {
    /// That of an object which is in no file; `what` is shown instead, such as `the cluster`.
    #[must_use]
    pub fn outside(what: impl Into<Arc<str>>) -> Self {
        Self {
            file: what.into(),
            document: 1,
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Origin {
    /// `web.yaml:12:1`, or `the cluster`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match (self.line, self.column) {
            (0, _) => Ok(()),
            (line, column) => write!(f, ":{line}:{column}"),
        }
    }
}

impl ObjectError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAMap { .. } => "SRT-M008",
            Self::Missing { .. } => "SRT-M009",
            Self::Invalid { .. } => "SRT-M010",
        }
    }
}

/// The map under `key`, made when it is absent or of another type.
pub(crate) fn map_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(inner) => inner,
        _ => unreachable!("the slot was made a map above"),
    }
}

/// What a JSON value is, in words for an error message.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn set_in(metadata: &mut Map<String, Value>, field: &str, key: &str, value: &str) {
    map_at(metadata, field).insert(key.to_owned(), Value::String(value.to_owned()));
}

fn text<'a>(
    map: &'a Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<&'a str, ObjectError> {
    match map.get(key) {
        None | Some(Value::Null) => Err(ObjectError::Missing { field }),
        Some(Value::String(text)) if text.is_empty() => Err(ObjectError::Missing { field }),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(invalid(field, "it must be text; put quotes around it")),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

fn invalid(field: impl Into<String>, reason: &'static str) -> ObjectError {
    ObjectError::Invalid {
        field: field.into(),
        reason,
    }
}

fn check_api_version(text: &str) -> Result<(), ObjectError> {
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    let has_group = text.contains('/');
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good_group = !has_group
        || (is_dns_label_like(group, 253) && group.chars().all(|c| word(c) || "-.".contains(c)));
    let good_version = !version.is_empty() && version.len() <= 63 && version.chars().all(word);
    if good_group && good_version {
        Ok(())
    } else {
        Err(invalid("apiVersion", "it must look like v1 or apps/v1"))
    }
}

fn check_kind(kind: &str) -> Result<(), ObjectError> {
    let good = kind.len() <= 63
        && kind.starts_with(|c: char| c.is_ascii_alphabetic())
        && kind.chars().all(|c| c.is_ascii_alphanumeric());
    if good {
        Ok(())
    } else {
        Err(invalid("kind", "it must be a name such as Deployment"))
    }
}

/// The rule of the API server for any name that becomes a segment of a request path; kinds with
/// stricter rules are left to the server.
fn check_name(name: &str) -> Result<(), ObjectError> {
    let field = "metadata.name";
    if name.is_empty() {
        return Err(ObjectError::Missing { field });
    }
    if name.len() > 253 {
        return Err(invalid(field, "it is longer than 253 bytes"));
    }
    if name == "." || name == ".." || name.contains(['/', '%']) {
        return Err(invalid(
            field,
            "it may not be '.' or '..' nor contain '/' or '%'",
        ));
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid(
            field,
            "it may not contain spaces or control characters",
        ));
    }
    Ok(())
}

fn check_namespace(namespace: &str) -> Result<(), ObjectError> {
    let good = namespace.is_empty()
        || (is_dns_label_like(namespace, 63)
            && namespace
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    if good {
        Ok(())
    } else {
        Err(invalid(
            "metadata.namespace",
            "it must be at most 63 lower-case letters, digits and '-', with a letter or digit at both ends",
        ))
    }
}

fn is_dns_label_like(text: &str, limit: usize) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty() && text.len() <= limit && text.starts_with(edge) && text.ends_with(edge)
}

fn check_string_map(metadata: &Map<String, Value>, field: &str) -> Result<(), ObjectError> {
    match metadata.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(map)) => match map.iter().find(|(_, value)| !value.is_string()) {
            None => Ok(()),
            Some((key, _)) => Err(invalid(
                format!("metadata.{field}.{key}"),
                "it must be text; put quotes around it",
            )),
        },
        Some(_) => Err(invalid(
            format!("metadata.{field}"),
            "it must be a map of text to text",
        )),
    }
}
