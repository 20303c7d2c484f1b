//! Built-in functions: `json.…`, `regex.…`, `datetime.…`, `currentDate()`, `currentTime()`.

use jiff::Timestamp;
use serde_json::Value;

use crate::context::Lookup;
use crate::methods::time_text;
use crate::operand::describe;
use crate::patterns;

/// Calls a function; `Ok(None)` when there is none of this name.
pub(crate) fn call(
    functor: &str,
    function: &str,
    arguments: &[Value],
    now: Option<Timestamp>,
) -> Result<Option<Value>, String> {
    let result = match (functor, function) {
        ("" | "datetime", "currentDate") => date(now)?,
        ("" | "datetime", "currentTime") => Value::from(time_text(clock(now)?)),
        ("json", "select") => {
            let (path, json) = two(arguments)?;
            select(text(path)?, &document(json)?)?
        }
        ("json", "list") => {
            let (path, json) = two(arguments)?;
            match select(text(path)?, &document(json)?)? {
                list @ Value::Array(_) => list,
                other => {
                    return Err(format!(
                        "the path leads to {}, not a list",
                        describe(&other)
                    ));
                }
            }
        }
        ("json", "object") => match document(one(arguments)?)? {
            map @ Value::Object(_) => map,
            other => return Err(format!("the JSON is {}, not a map", describe(&other))),
        },
        ("json", "format") => Value::from(one(arguments)?.to_string()),
        ("regex", "extract") => {
            let (pattern, from) = two(arguments)?;
            let pattern = patterns::compile(text(pattern)?)?;
            let mut matches = pattern.find_iter(text(from)?).map(|found| found.as_str());
            Value::from(matches.find(|found| !found.is_empty()).unwrap_or(""))
        }
        ("regex", "match") => {
            let (pattern, from) = two(arguments)?;
            Value::Bool(patterns::compile(text(pattern)?)?.is_match(text(from)?))
        }
        ("regex", "replace") => match arguments {
            [pattern, to, from] => Value::from(patterns::replace(
                text(pattern)?,
                text(from)?,
                text(to)?,
                0,
            )?),
            _ => return Err("a pattern, a replacement and a text are needed".to_owned()),
        },
        _ => return Ok(None),
    };
    Ok(Some(result))
}

fn clock(now: Option<Timestamp>) -> Result<Timestamp, String> {
    now.ok_or_else(|| "the time is not known here".to_owned())
}

fn date(now: Option<Timestamp>) -> Result<Value, String> {
    let date = clock(now)?.to_zoned(jiff::tz::TimeZone::UTC).date();
    Ok(Value::from(date.to_string()))
}

fn one(arguments: &[Value]) -> Result<&Value, String> {
    match arguments {
        [only] => Ok(only),
        _ => Err(format!("one argument is needed, not {}", arguments.len())),
    }
}

fn two(arguments: &[Value]) -> Result<(&Value, &Value), String> {
    match arguments {
        [first, second] => Ok((first, second)),
        _ => Err(format!("two arguments are needed, not {}", arguments.len())),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("text is needed, and this is {}", describe(value)))
}

/// JSON text, parsed; maps and lists as they are.
fn document(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|_| "the text is not valid JSON".to_owned())
        }
        Value::Object(_) | Value::Array(_) => Ok(value.clone()),
        other => Err(format!("JSON is needed, and this is {}", describe(other))),
    }
}

/// A path of names, `['names']`, `[indexes]` and a last `length()`; the leading `$.` may be left out.
fn select(path: &str, document: &Value) -> Result<Value, String> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut value = document.clone();
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (name, after) =
            element(rest).ok_or_else(|| format!("the path cannot be read at `{}`", shown(rest)))?;
        rest = after;
        if name == "length()" && rest.is_empty() {
            return match &value {
                Value::Array(list) => Ok(Value::from(list.len())),
                Value::Object(map) => Ok(Value::from(map.len())),
                other => Err(format!("{} has no length", describe(other))),
            };
        }
        value = match Lookup::within(&value, &[name.to_owned()]) {
            Lookup::Value(inner) => inner,
            _ => return Err(format!("the JSON has nothing at `{}`", shown(path))),
        };
    }
    Ok(value)
}

/// The element at the start of a path, and what follows it.
fn element(path: &str) -> Option<(&str, &str)> {
    if let Some(inner) = path.strip_prefix('[') {
        for quote in ['\'', '"'] {
            if let Some(quoted) = inner.strip_prefix(quote) {
                let (name, after) = quoted.split_once(quote)?;
                return Some((name, after.strip_prefix(']')?));
            }
        }
        let (index, after) = inner.split_once(']')?;
        let numeric = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        return numeric.then_some((index, after));
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, after) = path.split_at(end);
    (!name.is_empty() && !name.contains(['*', '?', '@'])).then_some((name, after))
}

fn shown(path: &str) -> String {
    path.chars().take(60).collect()
}
