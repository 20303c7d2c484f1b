//! The path of a field inside a document, written as people and the API server write it:
//! `spec.containers[name=web].env[0].value`, and `labels["app.kubernetes.io/name"]` for a key that is
//! not a plain word.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A key of a map.
    Key(Cow<'a, str>),
    /// A position in a list.
    Index(usize),
    /// An item of a list by what identifies it, as made by [`identity`].
    Item(String),
}

impl<'a> Step<'a> {
    pub(crate) fn key(key: &'a str) -> Self {
        Self::Key(Cow::Borrowed(key))
    }
}

/// Writes a path.
pub(crate) fn write(steps: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in steps {
        match step {
            Step::Key(key) if is_plain(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Key(key) => bracketed(&quoted(key), &mut out),
            Step::Index(index) => bracketed(&index.to_string(), &mut out),
            Step::Item(identity) => bracketed(identity, &mut out),
        }
    }
    out
}

/// Reads what [`write`] wrote, or gives `None` for another text.
pub(crate) fn read(text: &str) -> Option<Vec<Step<'static>>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = closing(inner)?;
            let (step, after) = (&inner[..end], &inner[end + 1..]);
            steps.push(if step.starts_with('"') {
                Step::Key(Cow::Owned(serde_json::from_str(step).ok()?))
            } else if step.bytes().all(|b| b.is_ascii_digit()) {
                Step::Index(step.parse().ok()?)
            } else {
                Step::Item(step.to_owned())
            });
            rest = after;
        } else {
            if !steps.is_empty() {
                rest = rest.strip_prefix('.')?;
            }
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let key = &rest[..end];
            steps.push(is_plain(key).then(|| Step::Key(Cow::Owned(key.to_owned())))?);
            rest = &rest[end..];
        }
    }
    Some(steps)
}

/// What tells an item of a list from its neighbours: `name=web`, `containerPort=53,protocol=UDP`.
/// Text that could be taken for something else is quoted.
pub(crate) fn identity<'v>(fields: impl Iterator<Item = (&'v str, &'v Value)>) -> String {
    let mut out = String::new();
    for (field, value) in fields {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(field);
        out.push('=');
        match value {
            Value::String(text) if is_word(text) => out.push_str(text),
            // A map is never an identity; numbers and texts are written as JSON.
            value => drop(write!(out, "{value}")),
        }
    }
    out
}

fn bracketed(text: &str, out: &mut String) {
    out.push('[');
    out.push_str(text);
    out.push(']');
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$'))
}

/// A text that is no number and no other word of JSON, and holds nothing that ends it.
fn is_word(text: &str) -> bool {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '*');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '*'))
        && text.chars().all(plain)
        && !["true", "false", "null"].contains(&text)
}

/// The `]` that is not inside quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_look_as_people_write_them() {
        let identity = identity(
            [
                ("containerPort", &Value::from(53)),
                ("protocol", &Value::from("UDP")),
            ]
            .into_iter(),
        );
        let steps = [
            Step::key("spec"),
            Step::key("a.b/c"),
            Step::Index(3),
            Step::Item(identity),
            Step::key("x"),
        ];
        assert_eq!(
            write(&steps),
            "spec[\"a.b/c\"][3][containerPort=53,protocol=UDP].x"
        );
        for bad in [
            ".",
            "a.",
            "a..b",
            "a[",
            "a[\"x]",
            "[0]x",
            "a b",
            "a[\"\\x\"]",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_path_is_read_back(
            steps in prop::collection::vec((0..3_usize, prop_oneof!["[a-z]{0,3}", "\\PC{0,6}", "[\\[\\]\",=.0-9\\\\]{0,5}"], any::<i32>()), 0..6),
        ) {
            let identities: Vec<String> = steps.iter().map(|(_, text, number)| {
                identity([("name", &Value::from(text.as_str())), ("port", &Value::from(*number))].into_iter())
            }).collect();
            let steps: Vec<_> = steps.iter().zip(identities).map(|((kind, text, number), identity)| match kind {
                0 => Step::key(text),
                1 => Step::Index(number.unsigned_abs() as usize),
                _ => Step::Item(identity),
            }).collect();
            let text = write(&steps);
            prop_assert_eq!(read(&text), Some(steps), "{}", text);
        }
    }
}
