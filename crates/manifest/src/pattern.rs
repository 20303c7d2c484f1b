//! Places in a document that a short text describes: `spec.volumes[].secret.secretName`.
//!
//! Keys are separated by dots; `[]` after a key stands for every item of the list under it. The last
//! key holds text, or with `[]` a list of texts.

use serde_json::{Map, Value};

/// Most steps of a place that is not built in.
const LONGEST: usize = 32;

/// Gives the text at a place, and the map in which it stands, another text, or leaves it.
pub(crate) type Change<'c> = dyn FnMut(&Map<String, Value>, &str) -> Option<String> + 'c;

/// Calls `found` with every text at the place, and the map in which it stands.
pub(crate) fn read<'a>(
    map: &'a Map<String, Value>,
    place: &str,
    found: &mut dyn FnMut(&'a Map<String, Value>, &'a str),
) {
    let (step, rest) = split(place);
    let (key, each) = key(step);
    match (map.get(key), rest) {
        (Some(Value::Object(inner)), Some(rest)) if !each => read(inner, rest, found),
        (Some(Value::Array(items)), Some(rest)) if each => items
            .iter()
            .filter_map(Value::as_object)
            .for_each(|inner| read(inner, rest, found)),
        (Some(Value::String(text)), None) if !each => found(map, text),
        (Some(Value::Array(items)), None) if each => items
            .iter()
            .filter_map(Value::as_str)
            .for_each(|text| found(map, text)),
        _ => {}
    }
}

/// Calls `change` as [`read`] does, and puts what it returns in the text's stead.
pub(crate) fn rewrite(map: &mut Map<String, Value>, place: &str, change: &mut Change<'_>) {
    let (step, rest) = split(place);
    let (key, each) = key(step);
    if let Some(rest) = rest {
        match map.get_mut(key) {
            Some(Value::Object(inner)) if !each => rewrite(inner, rest, change),
            Some(Value::Array(items)) if each => items
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|inner| rewrite(inner, rest, change)),
            _ => {}
        }
        return;
    }
    let texts: Vec<Option<String>> = match map.get(key) {
        Some(Value::String(text)) if !each => vec![change(map, text)],
        Some(Value::Array(items)) if each => items
            .iter()
            .map(|item| item.as_str().and_then(|text| change(map, text)))
            .collect(),
        _ => return,
    };
    let slots = match map.get_mut(key) {
        Some(Value::Array(items)) => items.as_mut_slice(),
        Some(text) => std::slice::from_mut(text),
        None => return,
    };
    for (slot, text) in slots.iter_mut().zip(texts) {
        if let Some(text) = text {
            *slot = Value::String(text);
        }
    }
}

/// Whether a text from outside describes a place, and does so within bounds.
pub(crate) fn is_place(text: &str) -> bool {
    text.split('.').count() <= LONGEST
        && text.split('.').all(|step| {
            let (key, _) = key(step);
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            !key.is_empty() && key.chars().all(good)
        })
}

fn split(place: &str) -> (&str, Option<&str>) {
    match place.split_once('.') {
        Some((step, rest)) => (step, Some(rest)),
        None => (place, None),
    }
}

fn key(step: &str) -> (&str, bool) {
    match step.strip_suffix("[]") {
        Some(key) => (key, true),
        None => (step, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_read_and_rewritten() {
        let document = json!({
            "one": "a",
            "deep": {"list": [{"name": "b"}, {"other": "c"}, 3, {"name": "d"}, {"name": 5}]},
            "texts": ["e", 6, "f"],
            "map": {"one": "g"},
        });
        let table = [
            ("one", vec!["a"]),
            ("deep.list[].name", vec!["b", "d"]),
            ("texts[]", vec!["e", "f"]),
            ("map.one", vec!["g"]),
            ("map", vec![]),
            ("texts", vec![]),
            ("one[]", vec![]),
            ("one.more", vec![]),
            ("deep.list.name", vec![]),
            ("nowhere[].name", vec![]),
        ];
        for (place, expected) in table {
            let mut map = document.as_object().unwrap().clone();
            let mut found = Vec::new();
            read(&map, place, &mut |_, text| found.push(text.to_owned()));
            assert_eq!(found, expected, "{place}");
            rewrite(&mut map, place, &mut |_, text| {
                (text != "d").then(|| format!("{text}!"))
            });
            let mut changed = Vec::new();
            read(&map, place, &mut |_, text| changed.push(text.to_owned()));
            let expected: Vec<_> = expected
                .iter()
                .map(|text| match *text {
                    "d" => "d".to_owned(),
                    text => format!("{text}!"),
                })
                .collect();
            assert_eq!(changed, expected, "{place}");
        }
    }

    #[test]
    fn places_from_outside_are_bounded() {
        for good in [
            "a",
            "spec.tls[].secretName",
            "a-b.c_d[]",
            &["a"; 32].join("."),
        ] {
            assert!(is_place(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            "a..b",
            "[]",
            "a[0]",
            "a[][]",
            "a b",
            "a[name=x]",
            &["a"; 33].join("."),
        ] {
            assert!(!is_place(bad), "{bad}");
        }
    }
}
