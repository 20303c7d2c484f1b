//! YAML and JSON text as JSON values, read the way Kubernetes tooling reads it.
//!
//! This is the one place that decides how a scalar is understood. It reads parser events itself
//! instead of going through a typed deserializer, because the types of scalars, the order of merge
//! keys, the cost of aliases and the position of a duplicate key all have to be ours.

mod json;
mod locate;
mod scalar;
mod tree;
mod write;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{ParseError, Place};
use crate::limits::Limits;

pub(crate) use locate::locate;
pub use write::write;

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its value; `Null` when the document is empty.
    pub value: Value,
    /// Its number in the stream, from 1.
    pub number: usize,
    /// Line on which its content starts, from 1.
    pub line: usize,
    /// Column in characters on which it starts, from 1.
    pub column: usize,
    /// Line and column of each item of its top-level `items`, as far as they are known: not in JSON.
    pub(crate) items: Vec<(usize, usize)>,
    /// Keys that kubectl reads otherwise, at most [`KeyNote::KEPT`] in a text.
    pub(crate) keys: Vec<KeyNote>,
}

/// A key that is kept as it is written, though kubectl makes something else of it: by YAML 1.1, `on` is true and `1.50`
/// is 1.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNote {
    /// Where the key stands.
    pub place: Place,
    /// The key, shortened when it is long.
    pub key: String,
    /// What kubectl makes of it. `None`: it refuses the text.
    pub by_kubectl: Option<String>,
}

impl KeyNote {
    /// Keys that are noted in one text.
    pub(crate) const KEPT: usize = 20;
}

impl fmt::Display for KeyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            key,
            by_kubectl,
        } = self;
        write!(
            f,
            "{place}: the key {key} is taken as it is written, and kubectl "
        )?;
        match by_kubectl {
            Some(other) => write!(f, "makes {other} of it")?,
            None => f.write_str("refuses it")?,
        }
        f.write_str("; put it in quotes to have the same everywhere")
    }
}

/// Reads every document of a YAML stream, or of a stream of JSON values.
///
/// Anchors, aliases and merge keys are resolved; scalars are read as kubectl and the API server
/// read them (`0644` is 420, `yes` is true); keys are the text that was written (`1: x` has the key
/// `"1"`, `on: x` the key `"on"`). A duplicate key is an error, an explicit key wins over a merged one wherever it stands.
/// `file` is only used to name places in errors.
pub fn documents(file: &str, text: &[u8], limits: &Limits) -> Result<Vec<Document>, ParseError> {
    each(&Arc::from(file), text, limits).into_iter().collect()
}

/// As [`documents`], with all errors: after one, reading goes on with the next document.
pub(crate) fn each(
    file: &Arc<str>,
    text: &[u8],
    limits: &Limits,
) -> Vec<Result<Document, ParseError>> {
    let text = match readable(file, text, limits) {
        Ok(text) => text,
        Err(error) => return vec![Err(error)],
    };
    if text.trim_start().starts_with('{')
        && let Some(read) = json::documents(file, text, limits)
    {
        return read;
    }
    tree::documents(file, text, limits)
}

/// The text without its byte order mark, if it is text of a size that is read.
fn readable<'t>(file: &Arc<str>, text: &'t [u8], limits: &Limits) -> Result<&'t str, ParseError> {
    let start = Place {
        file: Arc::clone(file),
        document: 1,
        line: 1,
        column: 0,
    };
    if text.len() > limits.bytes {
        return Err(ParseError::TooLarge {
            place: start,
            limit: limits.bytes,
        });
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = &text[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ParseError::NotUtf8 {
            place: Place { line, ..start },
        }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A key short enough for a message.
fn shorten(key: &str) -> String {
    const LONGEST: usize = 80;
    match key.char_indices().nth(LONGEST) {
        None => key.to_owned(),
        Some((at, _)) => format!("{}…", &key[..at]),
    }
}
