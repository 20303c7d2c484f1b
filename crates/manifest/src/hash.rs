//! Hashes of values that do not depend on the order of keys.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest as sha};
use serde_json::{Map, Value};

use crate::object::Object;

/// SHA-256 of a set of objects, as 64 hexadecimal digits: of their own digests, sorted. Neither the order of the objects
/// nor that of the keys counts, and where they were written does not either.
pub fn manifest(objects: &[Object]) -> String {
    let values = objects.iter().map(|object| Cow::Borrowed(object.value()));
    of_all(values)
}

/// As [`manifest`] of objects that are meant for `namespace`: whether they name it or leave it out does not count.
pub fn manifest_in(objects: &[Object], namespace: &str) -> String {
    let left_out = |object: &Object| {
        let mut value = object.value().clone();
        if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
            metadata.remove("namespace");
        }
        value
    };
    let values = objects.iter().map(|object| match object.namespace() {
        Some(named) if named == namespace => Cow::Owned(left_out(object)),
        _ => Cow::Borrowed(object.value()),
    });
    of_all(values)
}

fn of_all<'a>(values: impl ExactSizeIterator<Item = Cow<'a, Map<String, Value>>>) -> String {
    let mut text = Vec::new();
    let mut digests: Vec<Digest> = Vec::with_capacity(values.len());
    for value in values {
        text.clear();
        write_map(&value, &mut text);
        digests.push(sha(&SHA256, &text));
    }
    digests.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    let mut all = Context::new(&SHA256);
    for digest in digests {
        all.update(digest.as_ref());
    }
    hexadecimal(&all.finish())
}

/// SHA-256 of one value, as 64 hexadecimal digits.
pub fn value(value: &Value) -> String {
    let mut text = Vec::new();
    write_value(value, &mut text);
    digest(&text)
}

/// JSON without spaces and with sorted keys.
pub fn canonical(value: &Value) -> String {
    let mut text = Vec::new();
    write_value(value, &mut text);
    // It was made of texts.
    String::from_utf8(text).unwrap_or_default()
}

/// SHA-256 as 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&sha(&SHA256, bytes))
}

fn hexadecimal(digest: &Digest) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let digits = digest.as_ref().iter().flat_map(digits);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => write_map(map, out),
        Value::Array(list) => {
            out.push(b'[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_map(map: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_scalar(key, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_scalar(scalar: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Nothing can fail: the memory takes everything, and a text or a number is always JSON.
    drop(serde_json::to_writer(out, scalar));
}
