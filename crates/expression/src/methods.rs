//! Methods of values: those of Java's strings, lists and maps that Harness expressions use.
//!
//! Positions and lengths count characters.

use jiff::civil::Date;
use jiff::{Span, Timestamp};
use serde_json::Value;

use crate::compare;
use crate::limits::VALUE_BYTES;
use crate::number::{Number, read};
use crate::operand::describe;
use crate::patterns;

/// Methods that put secrets into text without looking at them.
pub(crate) const KEEP_SECRETS: [&str; 2] = ["concat", "toString"];

#[derive(Debug, PartialEq)]
pub(crate) enum MethodError {
    Unknown,
    Failed(String),
}

impl From<String> for MethodError {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

type Result<T> = std::result::Result<T, MethodError>;

pub(crate) fn call(receiver: &Value, method: &str, arguments: &[Value]) -> Result<Value> {
    match (method, arguments) {
        ("toString", []) => return Ok(Value::String(java_text(receiver))),
        ("equals", [other]) => return Ok(Value::Bool(receiver == other)),
        _ => {}
    }
    match receiver {
        Value::String(text) => match arguments {
            [] => plain(text, method),
            _ => with_arguments(text, method, arguments),
        },
        Value::Array(list) => of_list(list, method, arguments),
        Value::Object(map) => match (method, arguments) {
            ("size", []) => Ok(Value::from(map.len())),
            ("isEmpty", []) => Ok(Value::Bool(map.is_empty())),
            ("get", [key]) => Ok(map.get(&string(key)?).cloned().unwrap_or(Value::Null)),
            ("containsKey", [key]) => Ok(Value::Bool(map.contains_key(&string(key)?))),
            _ => Err(MethodError::Unknown),
        },
        Value::Number(_) => match (method, arguments) {
            ("intValue" | "longValue", []) => match read(receiver) {
                Some(Number::Whole(whole)) => Ok(Value::from(whole)),
                #[expect(clippy::cast_possible_truncation, reason = "saturates, as Java does")]
                Some(Number::Float(float)) => Ok(Value::from(float as i64)),
                None => Err(MethodError::Unknown),
            },
            ("doubleValue", []) => Ok(Value::from(read(receiver).map_or(0.0, Number::float))),
            _ => Err(MethodError::Unknown),
        },
        Value::Bool(_) | Value::Null => Err(MethodError::Unknown),
    }
}

fn plain(text: &str, method: &str) -> Result<Value> {
    Ok(match method {
        "length" | "size" => Value::from(text.chars().count()),
        "isEmpty" => Value::Bool(text.is_empty()),
        "isBlank" => Value::Bool(text.trim().is_empty()),
        "trim" | "strip" => Value::from(text.trim()),
        "toUpperCase" => Value::from(text.to_uppercase()),
        "toLowerCase" => Value::from(text.to_lowercase()),
        _ => return Err(MethodError::Unknown),
    })
}

fn with_arguments(text: &str, method: &str, arguments: &[Value]) -> Result<Value> {
    Ok(match (method, arguments) {
        ("contains", [part]) => Value::Bool(text.contains(&string(part)?)),
        ("startsWith", [part]) => Value::Bool(text.starts_with(&string(part)?)),
        ("endsWith", [part]) => Value::Bool(text.ends_with(&string(part)?)),
        ("equalsIgnoreCase", [other]) => {
            Value::Bool(text.to_lowercase() == string(other)?.to_lowercase())
        }
        ("compareTo", [other]) => Value::from(text.cmp(&string(other)?) as i8),
        ("concat", [other]) => Value::from(format!("{text}{}", string(other)?)),
        ("matches", [pattern]) => Value::Bool(patterns::full_match(&string(pattern)?, text)?),
        ("replace", [from, to]) => Value::from(replace(text, &string(from)?, &string(to)?)?),
        ("replaceAll", [pattern, to]) => {
            Value::from(patterns::replace(&string(pattern)?, text, &string(to)?, 0)?)
        }
        ("replaceFirst", [pattern, to]) => {
            Value::from(patterns::replace(&string(pattern)?, text, &string(to)?, 1)?)
        }
        ("split", [pattern]) => Value::from(patterns::split(&string(pattern)?, text, 0)?),
        ("split", [pattern, limit]) => {
            Value::from(patterns::split(&string(pattern)?, text, position(limit)?)?)
        }
        ("indexOf", [part]) => found(text, text.find(&string(part)?)),
        ("lastIndexOf", [part]) => found(text, text.rfind(&string(part)?)),
        ("charAt", [at]) => {
            let at = position(at)?;
            match text.chars().nth(at) {
                Some(c) => Value::from(c.to_string()),
                None => return Err(out_of_range(at, text)),
            }
        }
        ("substring", [from]) => Value::from(substring(text, position(from)?, None)?),
        ("substring", [from, to]) => {
            Value::from(substring(text, position(from)?, Some(position(to)?))?)
        }
        ("repeat", [count]) => {
            let count = position(count)?;
            if text.len().saturating_mul(count) > VALUE_BYTES {
                return Err(too_large());
            }
            Value::from(text.repeat(count))
        }
        ("join", [separator, Value::Array(list)]) => join(list, &string(separator)?)?,
        (method, [count]) if method.starts_with("plus") => plus(text, method, count)?,
        _ => return Err(MethodError::Unknown),
    })
}

fn of_list(list: &[Value], method: &str, arguments: &[Value]) -> Result<Value> {
    let index = |item: &Value| list.iter().position(|known| known == item);
    Ok(match (method, arguments) {
        ("size", []) => Value::from(list.len()),
        ("isEmpty", []) => Value::Bool(list.is_empty()),
        ("get", [at]) => {
            let at = position(at)?;
            match list.get(at) {
                Some(item) => item.clone(),
                None => {
                    let message = format!("there is no element {at}: the list has {}", list.len());
                    return Err(MethodError::Failed(message));
                }
            }
        }
        ("contains", [item]) => Value::Bool(list.iter().any(|known| compare::equal(known, item))),
        ("indexOf", [item]) => Value::from(
            index(item)
                .and_then(|at| i64::try_from(at).ok())
                .unwrap_or(-1),
        ),
        ("join", [separator]) => join(list, &string(separator)?)?,
        _ => return Err(MethodError::Unknown),
    })
}

fn join(list: &[Value], separator: &str) -> Result<Value> {
    let size: usize = list
        .iter()
        .map(|item| item.as_str().map_or(32, str::len))
        .sum();
    if size + separator.len().saturating_mul(list.len()) > VALUE_BYTES {
        return Err(too_large());
    }
    let parts: Vec<String> = list.iter().map(java_text).collect();
    Ok(Value::from(parts.join(separator)))
}

fn replace(text: &str, from: &str, to: &str) -> Result<String> {
    let count = if from.is_empty() {
        text.len() + 1
    } else {
        text.matches(from).count()
    };
    if text.len().saturating_add(count.saturating_mul(to.len())) > VALUE_BYTES {
        return Err(too_large());
    }
    Ok(text.replace(from, to))
}

fn substring(text: &str, from: usize, to: Option<usize>) -> Result<String> {
    let length = text.chars().count();
    let to = to.unwrap_or(length);
    if from > to || to > length {
        return Err(out_of_range(from.max(to), text));
    }
    Ok(text.chars().skip(from).take(to - from).collect())
}

/// Adds to a date `2026-08-01` or a time `2026-08-01T10:00:00.000+0000`.
fn plus(text: &str, method: &str, count: &Value) -> Result<Value> {
    let Some(Number::Whole(count)) = read(count) else {
        return Err(MethodError::Failed("a whole number is needed".to_owned()));
    };
    let span = match method {
        "plusDays" => Span::new().try_days(count),
        "plusWeeks" => Span::new().try_weeks(count),
        "plusMonths" => Span::new().try_months(count),
        "plusYears" => Span::new().try_years(count),
        "plusHours" => Span::new().try_hours(count),
        "plusMinutes" => Span::new().try_minutes(count),
        "plusSeconds" => Span::new().try_seconds(count),
        "plusNanos" => Span::new().try_nanoseconds(count),
        _ => return Err(MethodError::Unknown),
    };
    let too_far = |_| MethodError::Failed("the result is no date".to_owned());
    let span = span.map_err(too_far)?;
    if text.len() == 10
        && let Ok(date) = text.parse::<Date>()
    {
        return Ok(Value::from(
            date.checked_add(span).map_err(too_far)?.to_string(),
        ));
    }
    let time = text
        .strip_suffix("+0000")
        .map(|utc| format!("{utc}Z").parse::<Timestamp>());
    let Some(Ok(time)) = time else {
        return Err(MethodError::Failed(
            "the text is neither a date nor a time".to_owned(),
        ));
    };
    let time = time
        .to_zoned(jiff::tz::TimeZone::UTC)
        .checked_add(span)
        .map_err(too_far)?;
    Ok(Value::from(time_text(time.timestamp())))
}

/// `2026-08-01T10:00:00.000+0000`
pub(crate) fn time_text(time: Timestamp) -> String {
    format!("{}+0000", time.strftime("%Y-%m-%dT%H:%M:%S.%3f"))
}

/// A value as Java prints it: lists as `[x, y]`, maps as `{a=1}`.
fn java_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(java_text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| format!("{key}={}", java_text(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn string(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(MethodError::Failed(format!(
            "text is needed, and this is {}",
            describe(value)
        ))),
    }
}

fn position(value: &Value) -> Result<usize> {
    match read(value) {
        Some(Number::Whole(whole)) if whole >= 0 => usize::try_from(whole).ok(),
        _ => None,
    }
    .ok_or_else(|| MethodError::Failed("a whole number of at least 0 is needed".to_owned()))
}

fn found(text: &str, byte: Option<usize>) -> Value {
    match byte.and_then(|byte| text.get(..byte)) {
        Some(before) => Value::from(before.chars().count()),
        None => Value::from(-1),
    }
}

fn out_of_range(at: usize, text: &str) -> MethodError {
    let length = text.chars().count();
    MethodError::Failed(format!(
        "position {at} is outside of the text, which has {length} characters"
    ))
}

fn too_large() -> MethodError {
    MethodError::Failed(format!("the result grows larger than {VALUE_BYTES} bytes"))
}
