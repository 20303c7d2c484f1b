use serde_json::Value;

/// Writes a value as one YAML document that every YAML 1.1 and 1.2 reader reads back the same.
///
/// Text that any reader could take for something else is quoted; text of several lines becomes a
/// literal block. The result ends with a line break.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                pad(indent, out);
                text(key, indent, Place::Key, out);
                out.push(':');
                child(value, indent, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for item in list {
                pad(indent, out);
                out.push('-');
                item_of_list(item, indent, out);
            }
        }
        _ => {
            pad(indent, out);
            inline(value, indent, out);
            out.push('\n');
        }
    }
}

/// What follows `key:`.
fn child(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        // Lists stand at the level of their key, as kubectl prints them.
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        _ => {
            out.push(' ');
            inline(value, indent, out);
            out.push('\n');
        }
    }
}

/// What follows `-`: the first key of a map stands on the same line.
fn item_of_list(item: &Value, indent: usize, out: &mut String) {
    match item {
        Value::Object(map) if !map.is_empty() => {
            let mut inner = String::new();
            block(item, indent + 2, &mut inner);
            out.push(' ');
            out.push_str(&inner[indent + 2..]);
        }
        Value::Array(list) if !list.is_empty() => {
            let mut inner = String::new();
            block(item, indent + 2, &mut inner);
            out.push(' ');
            out.push_str(&inner[indent + 2..]);
        }
        _ => {
            out.push(' ');
            inline(item, indent, out);
            out.push('\n');
        }
    }
}

fn inline(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(value) => text(value, indent, Place::Value, out),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Key,
    Value,
}

fn text(value: &str, indent: usize, place: Place, out: &mut String) {
    if is_plain(value) {
        out.push_str(value);
    } else if place == Place::Value && is_literal(value) {
        literal(value, indent, out);
    } else {
        quoted(value, out);
    }
}

/// Text that no YAML reader takes for anything else: starts with a letter that starts no number,
/// holds only harmless characters, and is none of the words with a meaning.
fn is_plain(value: &str) -> bool {
    let first = value.chars().next();
    let good_start = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let good_rest = value.chars().all(|c| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '_' | '.' | '/' | ' ' | ':' | '=' | '@' | '+' | ',')
    });
    let words = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity",
    ];
    good_start
        && good_rest
        && value.len() <= 1000
        && !value.ends_with([' ', ':'])
        && !value.contains(": ")
        && !words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn is_literal(value: &str) -> bool {
    value.contains('\n')
        && !value.starts_with(['\n', ' ', '\t'])
        && value.trim_end_matches('\n').len() + 1 >= value.len()
        && value.lines().all(|line| !line.ends_with([' ', '\t']))
        && value
            .chars()
            .all(|c| c == '\n' || c == '\t' || is_printable(c))
}

fn literal(value: &str, indent: usize, out: &mut String) {
    out.push_str(if value.ends_with('\n') { "|" } else { "|-" });
    for line in value.lines() {
        out.push('\n');
        if !line.is_empty() {
            pad(indent + 2, out);
            out.push_str(line);
        }
    }
}

fn quoted(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
}

/// Characters that YAML allows unescaped, without those that look like line breaks or are
/// invisible.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{1fff}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{d7ff}' | '\u{f900}'..='\u{fdff}' | '\u{10000}'..='\u{10ffff}')
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}
