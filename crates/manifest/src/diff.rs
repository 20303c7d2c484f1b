//! What differs between two states of an object, for people and for programs.

use serde::Serialize;
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

use crate::path::Path;
use crate::secrets;
use crate::yaml;

/// What stands for a secret value before the change, where it changed.
pub const MASK_BEFORE: &str = "*** (before)";
/// What stands for a secret value after the change, where it changed.
pub const MASK_AFTER: &str = "*** (after)";

/// The differences between two states of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Every changed field, in the order of the document.
    pub changes: Vec<Change>,
    /// Unified diff of the YAML texts; empty when nothing changed.
    pub text: String,
}

/// One changed field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Path such as `spec.template.spec.containers[name=web].image`; empty for the whole object.
    pub path: String,
    /// Value before; absent when the field is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Value after; absent when the field is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Compares two states of an object; `None` means that it does not exist.
///
/// Fields that the API server keeps for itself (status, managed fields, versions, ids and times of
/// metadata) and empty values do not count, and neither does the order of keys. Values of Secrets are
/// never shown: a changed one reads [`MASK_BEFORE`] and [`MASK_AFTER`], an unchanged one
/// [`secrets::MASK`].
pub fn diff(before: Option<&Value>, after: Option<&Value>) -> Diff {
    let mut before = before.map(comparable);
    let mut after = after.map(comparable);
    mask(before.as_mut(), after.as_mut());
    let mut changes = Vec::new();
    match (&before, &after) {
        (Some(before), Some(after)) => compare(before, after, &Path::default(), &mut changes),
        (None, None) => {}
        (before, after) => changes.push(Change {
            path: String::new(),
            before: before.clone(),
            after: after.clone(),
        }),
    }
    let text = if changes.is_empty() {
        String::new()
    } else {
        unified(before.as_ref(), after.as_ref())
    };
    Diff { changes, text }
}

/// A copy with sorted keys and without what only the server writes.
pub fn comparable(value: &Value) -> Value {
    let mut copy = sorted(value);
    if let Value::Object(map) = &mut copy {
        map.remove("status");
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            for key in [
                "managedFields",
                "resourceVersion",
                "uid",
                "generation",
                "creationTimestamp",
                "selfLink",
            ] {
                metadata.remove(key);
            }
        }
    }
    copy
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        scalar => scalar.clone(),
    }
}

/// Hides the values of a Secret, but not whether they changed.
fn mask(before: Option<&mut Value>, after: Option<&mut Value>) {
    fn secret(value: &mut Value) -> Option<&mut Map<String, Value>> {
        value.as_object_mut().filter(|map| secrets::is_secret(map))
    }
    let mut before = before.and_then(secret);
    let mut after = after.and_then(secret);
    if let (Some(before), Some(after)) = (&mut before, &mut after) {
        for field in ["data", "stringData"] {
            let (Some(Value::Object(old)), Some(Value::Object(new))) =
                (before.get_mut(field), after.get_mut(field))
            else {
                continue;
            };
            for (key, old) in old.iter_mut() {
                let Some(new) = new.get_mut(key) else {
                    continue;
                };
                if old != new {
                    *old = Value::String(MASK_BEFORE.to_owned());
                    *new = Value::String(MASK_AFTER.to_owned());
                }
            }
        }
    }
    let mut hide = |value: &mut Value| {
        if value != MASK_BEFORE && value != MASK_AFTER {
            *value = Value::String(secrets::MASK.to_owned());
        }
    };
    for side in [before, after].into_iter().flatten() {
        secrets::each_hidden(side, &mut hide);
    }
}

fn compare(before: &Value, after: &Value, path: &Path, changes: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                match new.get(key) {
                    Some(other) => compare(value, other, &path.key(key), changes),
                    None => push(path.key(key), Some(value), None, changes),
                }
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                push(path.key(key), None, Some(value), changes);
            }
        }
        (Value::Array(old), Value::Array(new)) => compare_lists(old, new, path, changes),
        _ if before == after => {}
        _ => push(path.clone(), Some(before), Some(after), changes),
    }
}

/// Lists of named maps (containers, variables, volumes, ports) are compared by name, others by
/// position.
fn compare_lists(old: &[Value], new: &[Value], path: &Path, changes: &mut Vec<Change>) {
    let (Some(old_names), Some(new_names)) = (names(old), names(new)) else {
        for index in 0..old.len().max(new.len()) {
            let path = path.index(index);
            match (old.get(index), new.get(index)) {
                (Some(before), Some(after)) => compare(before, after, &path, changes),
                (before, after) => push(path, before, after, changes),
            }
        }
        return;
    };
    let unordered = changes.len();
    for (name, before) in old_names.iter().zip(old) {
        match new_names.iter().position(|other| other == name) {
            Some(at) => compare(before, &new[at], &path.named(name), changes),
            None => push(path.named(name), Some(before), None, changes),
        }
    }
    for (name, after) in new_names.iter().zip(new) {
        if !old_names.contains(name) {
            push(path.named(name), None, Some(after), changes);
        }
    }
    if unordered == changes.len() && old_names != new_names {
        // Only the order changed, and order can count: init containers run in it.
        push(
            path.clone(),
            Some(&Value::from(old_names)),
            Some(&Value::from(new_names)),
            changes,
        );
    }
}

/// The names of the items, when every item has one of its own.
fn names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = list
        .iter()
        .map(|item| item.get("name").and_then(Value::as_str))
        .collect::<Option<_>>()?;
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    (unique.len() == names.len() && names.len() <= 1000).then_some(names)
}

fn push(path: Path, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    changes.push(Change {
        path: path.into_string(),
        before: before.cloned(),
        after: after.cloned(),
    });
}

/// Comparing lines costs the product of what differs; beyond this many pairs of lines the text shows
/// the old document removed and the new one added.
const LARGEST: usize = 25_000_000;

fn unified(before: Option<&Value>, after: Option<&Value>) -> String {
    let [old, new] = [before, after].map(|side| side.map(yaml::write).unwrap_or_default());
    let same_head = old
        .lines()
        .zip(new.lines())
        .take_while(|(a, b)| a == b)
        .count();
    let rest = |text: &str| text.lines().count() - same_head;
    if rest(&old).saturating_mul(rest(&new)) > LARGEST {
        let all = |sign: char, text: &str| -> String {
            text.lines().map(|line| format!("{sign}{line}\n")).collect()
        };
        return all('-', &old) + &all('+', &new);
    }
    let diff = TextDiff::from_lines(&old, &new);
    let mut out = String::new();
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        out.push_str(&format!("{}\n", hunk.header()));
        for change in hunk.iter_changes() {
            out.push(match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            });
            out.push_str(change.value());
            if !change.value().ends_with('\n') {
                out.push('\n');
            }
        }
    }
    out
}
