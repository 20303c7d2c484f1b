//! Hashes of values that do not depend on the order of keys.

use aws_lc_rs::digest::{SHA256, digest as sha};
use serde_json::Value;

use crate::object::Object;

/// SHA-256 of a set of objects, as 64 hexadecimal digits. Neither the order of the objects nor that
/// of the keys counts, and where they were written does not either.
pub fn manifest(objects: &[Object]) -> String {
    let mut texts: Vec<String> = objects
        .iter()
        .map(|object| canonical_map(object.value()))
        .collect();
    texts.sort_unstable();
    digest(texts.join("\n").as_bytes())
}

/// SHA-256 of one value, as 64 hexadecimal digits.
pub fn value(value: &Value) -> String {
    digest(canonical(value).as_bytes())
}

/// JSON without spaces and with sorted keys.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

/// SHA-256 as 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    sha(&SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn canonical_map(map: &serde_json::Map<String, Value>) -> String {
    let mut out = String::new();
    write_map(map, &mut out);
    out
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => write_map(map, out),
        Value::Array(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_map(map: &serde_json::Map<String, Value>, out: &mut String) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Value::String(key.clone()).to_string());
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}
