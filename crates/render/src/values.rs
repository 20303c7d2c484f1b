//! Values files, merged into one map.

use serde_json::{Map, Value};
use sortie_manifest::{Limits, ParseError, yaml};
use thiserror::Error;

use crate::source::SourceFile;

/// Why values files could not be merged.
#[derive(Debug, Error)]
pub enum ValuesError {
    /// A file is not YAML.
    #[error("cannot read the values file {path}")]
    Read {
        /// The file.
        path: String,
        /// Where and why.
        #[source]
        source: Box<ParseError>,
    },
    /// A file holds something else than a map.
    #[error("the values file {path} must hold one map of names to values")]
    NotAMap {
        /// The file.
        path: String,
    },
}

impl ValuesError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "SRT-R030",
            Self::NotAMap { .. } => "SRT-R031",
        }
    }
}

/// Merged values, and what was odd about the merge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// The merged map.
    pub map: Map<String, Value>,
    /// Paths such as `image.tag` at which one file has a map and another does not; the later file
    /// has won.
    pub clashes: Vec<String>,
}

/// Merges files in order: maps are merged key by key, and where two files disagree the later one
/// wins; scalars and lists are replaced whole. Empty files count as empty maps.
pub fn merge(files: &[SourceFile]) -> Result<Values, ValuesError> {
    let mut values = Values::default();
    for file in files {
        let map = read(file)?;
        merge_map(&mut values.map, map, "", &mut values.clashes);
    }
    Ok(values)
}

/// The value at a dotted path, if every part of it is there.
pub fn lookup<'a>(values: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(values.get(*first)?, |value, key| value.get(*key))
}

fn read(file: &SourceFile) -> Result<Map<String, Value>, ValuesError> {
    let documents =
        yaml::documents(&file.path, &file.content, &Limits::default()).map_err(|source| {
            ValuesError::Read {
                path: file.path.clone(),
                source: Box::new(source),
            }
        })?;
    let mut values: Vec<Value> = documents
        .into_iter()
        .map(|document| document.value)
        .filter(|value| !value.is_null())
        .collect();
    match (values.pop(), values.len()) {
        (None, _) => Ok(Map::new()),
        (Some(Value::Object(map)), 0) => Ok(map),
        _ => Err(ValuesError::NotAMap {
            path: file.path.clone(),
        }),
    }
}

fn merge_map(
    into: &mut Map<String, Value>,
    from: Map<String, Value>,
    path: &str,
    clashes: &mut Vec<String>,
) {
    for (key, new) in from {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match (into.get_mut(&key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => merge_map(old, new, &path, clashes),
            (old, new) => {
                let differs = |old: &Value| old.is_object() != new.is_object();
                if old.is_some_and(|old| !old.is_null() && !new.is_null() && differs(old)) {
                    clashes.push(path);
                }
                into.insert(key, new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(texts: &[&str]) -> Result<Values, ValuesError> {
        let files: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(at, text)| SourceFile::new(format!("{at}.yaml"), *text))
            .collect();
        merge(&files)
    }

    #[test]
    fn later_files_win_key_by_key() {
        let table: &[(&[&str], Value, &[&str])] = &[
            (&[], json!({}), &[]),
            (&["", "# nothing\n"], json!({}), &[]),
            (
                &["a: 1\nb: {c: 1, d: 2}", "b: {c: 3}\ne: 4"],
                json!({"a": 1, "b": {"c": 3, "d": 2}, "e": 4}),
                &[],
            ),
            (&["a: [1, 2]", "a: [3]"], json!({"a": [3]}), &[]),
            (
                &["a: {b: {c: 1}}", "a: {b: 2}"],
                json!({"a": {"b": 2}}),
                &["a.b"],
            ),
            (&["a: 1", "a: {b: 2}", "a: 3"], json!({"a": 3}), &["a", "a"]),
            (&["a: {b: 1}", "a: null"], json!({"a": null}), &[]),
            (&["a: null", "a: {b: 1}"], json!({"a": {"b": 1}}), &[]),
            (
                &["mode: 0644\non: yes"],
                json!({"mode": 420, "on": true}),
                &[],
            ),
        ];
        for (texts, expected, clashes) in table {
            let values = merged(texts).unwrap();
            assert_eq!(Value::Object(values.map), *expected, "{texts:?}");
            assert_eq!(values.clashes, *clashes, "{texts:?}");
        }
    }

    #[test]
    fn files_that_hold_no_map_are_named() {
        for text in ["- a", "a", "a: 1\n---\nb: 2"] {
            let error = merged(&["", text]).unwrap_err();
            assert_eq!(error.code(), "SRT-R031", "{text}");
            assert!(error.to_string().contains("1.yaml"), "{error}");
        }
        let error = merged(&["a: ["]).unwrap_err();
        assert_eq!(error.code(), "SRT-R030");
    }

    #[test]
    fn paths_are_looked_up_whole() {
        let Value::Object(map) = json!({"a": {"b": null, "c": {"d": 1}}}) else {
            unreachable!()
        };
        assert_eq!(lookup(&map, &["a", "c", "d"]), Some(&json!(1)));
        assert_eq!(lookup(&map, &["a", "b"]), Some(&json!(null)));
        assert_eq!(lookup(&map, &["a", "x"]), None);
        assert_eq!(lookup(&map, &["a", "b", "c"]), None);
        assert_eq!(lookup(&map, &[]), None);
    }
}
