use std::fmt;

use serde_json::{Map, Value};

use crate::values;

/// A value that a template prints and no values file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownValue {
    /// The template.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// The value, such as `image.tag`.
    pub value: String,
}

impl fmt::Display for UnknownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: no values file has {}",
            self.path, self.line, self.value
        )
    }
}

/// Words that say that an action deals with a missing value itself.
const GUARDS: &[&str] = &[
    "default", "if", "with", "range", "coalesce", "empty", "hasKey", "ternary", "required", "dig",
    "and", "or", "not", "get", "kindIs", "define", "template", "block",
];

/// The values that actions of the template use without any guard and that are not there; each once.
pub(super) fn unknown_values(
    path: &str,
    text: &str,
    map: &Map<String, Value>,
) -> Vec<UnknownValue> {
    let mut unknown: Vec<UnknownValue> = Vec::new();
    for action in actions(text) {
        if is_guarded(action.text) {
            continue;
        }
        for parts in references(action.text) {
            let value = parts.join(".");
            if values::lookup(map, &parts).is_some()
                || unknown.iter().any(|known| known.value == value)
            {
                continue;
            }
            let line = 1 + text[..action.start]
                .bytes()
                .filter(|byte| *byte == b'\n')
                .count();
            unknown.push(UnknownValue {
                path: path.to_owned(),
                line,
                value,
            });
        }
    }
    unknown
}

struct Action<'t> {
    start: usize,
    text: &'t str,
}

/// What stands between `{{` and `}}`, without comments. Quoted text may hold `}}`.
fn actions(text: &str) -> Vec<Action<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{") {
        let start = at + open + 2;
        let body = text[start..].trim_start_matches(['-', ' ']);
        let end = if body.starts_with("/*") {
            text[start..].find("*/").map(|end| start + end + 2)
        } else {
            let end = close(&text[start..]).map(|end| start + end);
            if let Some(end) = end {
                found.push(Action {
                    start,
                    text: &text[start..end],
                });
            }
            end
        };
        match end {
            Some(end) => at = end,
            None => break,
        }
    }
    found
}

/// Where the action ends: the first `}}` outside quotes.
fn close(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(b'"') if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'`' => quote = Some(byte),
            None if text.as_bytes()[at..].starts_with(b"}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn is_guarded(action: &str) -> bool {
    action
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_')
        .any(|word| GUARDS.contains(&word))
}

/// The paths after `.Values.` and `$.Values.`.
fn references(action: &str) -> Vec<Vec<&str>> {
    const ROOT: &str = ".Values.";
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in action.match_indices(ROOT) {
        if action[..at].ends_with(|c: char| word(c) || c == '.' || c == ')') {
            continue;
        }
        let path = &action[at + ROOT.len()..];
        let end = path
            .find(|c: char| !word(c) && c != '.')
            .unwrap_or(path.len());
        let parts: Vec<&str> = path[..end]
            .split('.')
            .filter(|part| !part.is_empty())
            .collect();
        if !parts.is_empty() {
            found.push(parts);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn found(text: &str) -> Vec<(usize, String)> {
        let Value::Object(map) = json!({"image": {"tag": "1"}, "n": null}) else {
            unreachable!()
        };
        unknown_values("t.yaml", text, &map)
            .into_iter()
            .map(|unknown| (unknown.line, unknown.value))
            .collect()
    }

    #[test]
    fn unguarded_values_that_are_missing_are_found() {
        let table: &[(&str, &[(usize, &str)])] = &[
            ("a: {{ .Values.image.tag }}", &[]),
            ("a: {{ .Values.n }}", &[]),
            (
                "a\nb: {{- .Values.image.name | quote -}}\nc: {{ $.Values.x }}",
                &[(2, "image.name"), (3, "x")],
            ),
            ("{{ .Values.x }} {{ .Values.x }}", &[(1, "x")]),
            (
                "{{ .Values.x | default 1 }}{{ if .Values.x }}{{ end }}{{ with .Values.y }}{{ . }}{{ end }}",
                &[],
            ),
            ("{{/* .Values.x */}}{{- /* .Values.y }} */ -}}", &[]),
            ("{{ printf \"}} %s\" .Values.x }}", &[(1, "x")]),
            ("{{ printf `\\` .Values.x }}", &[(1, "x")]),
            (
                "{{ $x.Values.y }}{{ .a.Values.b }}{{ (index .x 0).Values.y }}",
                &[],
            ),
            (
                "{{ printf \"%s-%s\" .Values.a .Values.b.c }}",
                &[(1, "a"), (1, "b.c")],
            ),
            ("{{ .Values.defaults }}", &[(1, "defaults")]),
            (".Values.x {{ unclosed .Values.x", &[]),
            ("{{ .Values }}{{ .Values. }}", &[]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected
                .iter()
                .map(|(line, value)| (*line, (*value).to_owned()))
                .collect();
            assert_eq!(found(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned(text in "[{}\"`\\\\/*.Vx \\-é\n]{0,60}") {
            found(&text);
            found(&format!("{{{{{text}.Values.{text}}}}}"));
        }
    }
}
