//! What differs between two states of an object, for people and for programs.

mod changes;
mod lists;

use serde::Serialize;
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

pub use changes::{Change, apply};

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
    let changes = match (&before, &after) {
        (Some(before), Some(after)) => changes::changes(before, after),
        (None, None) => Vec::new(),
        (before, after) => vec![Change {
            path: String::new(),
            before: before.clone(),
            after: after.clone(),
            index: None,
            reordered: false,
        }],
    };
    let text = if changes.is_empty() {
        String::new()
    } else {
        unified(before.as_ref(), after.as_ref())
    };
    Diff { changes, text }
}

/// A copy with sorted keys and without what only the server writes. A Secret's `stringData` is moved to
/// `data`, as the server does.
pub fn comparable(value: &Value) -> Value {
    let mut copy = sorted(value);
    if let Value::Object(map) = &mut copy {
        if secrets::is_secret(map) && secrets::encode(map) {
            tidy_data(map);
        }
        map.shift_remove("status");
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            for key in [
                "managedFields",
                "resourceVersion",
                "uid",
                "generation",
                "creationTimestamp",
                "selfLink",
            ] {
                metadata.shift_remove(key);
            }
        }
    }
    copy
}

/// In the order of everything else, and absent when it holds nothing.
fn tidy_data(secret: &mut Map<String, Value>) {
    match secret.get_mut("data").and_then(Value::as_object_mut) {
        Some(data) if data.is_empty() => drop(secret.shift_remove("data")),
        Some(data) => data.sort_keys(),
        None => {}
    }
    secret.sort_keys();
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
    let mut sides = [before, after];
    let [old, new] = sides.each_mut().map(|side| {
        let secret = side.as_deref_mut().and_then(Value::as_object_mut);
        secret.filter(|map| secrets::is_secret(map))
    });
    if let (Some(old), Some(new)) = (old, new) {
        let mut before = secrets::hidden(old);
        let after = secrets::hidden(new);
        for (path, new) in after {
            match before.remove(&path) {
                Some(old) if old != new => {
                    *old = Value::from(MASK_BEFORE);
                    *new = Value::from(MASK_AFTER);
                }
                Some(old) => {
                    *old = Value::from(secrets::MASK);
                    *new = Value::from(secrets::MASK);
                }
                None => *new = Value::from(secrets::MASK),
            }
        }
        for old in before.into_values() {
            *old = Value::from(secrets::MASK);
        }
        return;
    }
    for side in sides.into_iter().flatten() {
        secrets::mask(side);
    }
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
