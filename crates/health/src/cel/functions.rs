//! Functions and methods on values.

use std::borrow::Cow;

use super::MADE_TEXT;
use super::evaluate::{Fault, Found, Run};
use super::syntax::Function;
use super::value::Value;

/// Largest compiled pattern, in bytes.
const PATTERN: usize = 64 * 1024;

pub(super) fn call<'a>(
    run: &mut Run<'a>,
    function: Function,
    arguments: &[Value<'a>],
) -> Found<'a> {
    match (function, arguments) {
        (Function::Size, [of]) => {
            if let Value::Text(text) = of {
                run.spend(text.len() / 64)?;
            }
            let size = of.size().and_then(|size| i64::try_from(size).ok());
            size.map(Value::Int)
                .ok_or_else(|| Fault::Type(format!("{} has no size", of.kind())))
        }
        (Function::ToInt, [of]) => int(of),
        (Function::ToDouble, [of]) => to_double(of),
        (Function::ToText, [of]) => text(of),
        (_, [Value::Text(text)]) => {
            run.spend(text.len() / 16)?;
            let made = match function {
                Function::LowerAscii => text.to_ascii_lowercase(),
                Function::UpperAscii => text.to_ascii_uppercase(),
                _ => text.trim().to_owned(),
            };
            if made.len() > MADE_TEXT {
                return Err(Fault::Budget);
            }
            Ok(Value::Text(Cow::Owned(made)))
        }
        (_, [Value::Text(text), Value::Text(other)]) => {
            run.spend((text.len() + other.len()) / 16)?;
            let found = match function {
                Function::Contains => text.contains(other.as_ref()),
                Function::StartsWith => text.starts_with(other.as_ref()),
                Function::EndsWith => text.ends_with(other.as_ref()),
                _ => matches(run, text, other)?,
            };
            Ok(Value::Bool(found))
        }
        (_, arguments) => {
            let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
            Err(Fault::Type(format!(
                "a function of text got {}",
                kinds.join(" and ")
            )))
        }
    }
}

/// Patterns are RE2's, which run in a time linear in the text; making one costs most.
fn matches(run: &mut Run<'_>, text: &str, pattern: &str) -> Result<bool, Fault> {
    run.spend(1_000 + text.len() / 4)?;
    let pattern = regex::RegexBuilder::new(pattern)
        .size_limit(PATTERN)
        .dfa_size_limit(PATTERN)
        .build()
        .map_err(|_| Fault::Type("the pattern is not one, or too large".to_owned()))?;
    Ok(pattern.is_match(text))
}

fn int<'a>(of: &Value<'a>) -> Found<'a> {
    let number = match of {
        Value::Int(it) => Some(*it),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the bounds are looked at first"
        )]
        Value::Double(it) => (it.abs() < 9.0e18).then_some(it.trunc() as i64),
        Value::Text(it) => it.parse().ok(),
        _ => None,
    };
    number
        .map(Value::Int)
        .ok_or_else(|| Fault::Type(format!("int() cannot read this, which is {}", of.kind())))
}

fn to_double<'a>(of: &Value<'a>) -> Found<'a> {
    #[expect(clippy::cast_precision_loss, reason = "what double() is for")]
    let number = match of {
        Value::Int(it) => Some(*it as f64),
        Value::Double(it) => Some(*it),
        Value::Text(it) => it.parse().ok(),
        _ => None,
    };
    number
        .map(Value::Double)
        .ok_or_else(|| Fault::Type(format!("double() cannot read this, which is {}", of.kind())))
}

fn text<'a>(of: &Value<'a>) -> Found<'a> {
    match of {
        Value::Text(it) => Ok(Value::Text(it.clone())),
        Value::Int(it) => Ok(Value::Text(Cow::Owned(it.to_string()))),
        Value::Double(it) => Ok(Value::Text(Cow::Owned(it.to_string()))),
        Value::Bool(it) => Ok(Value::Text(Cow::Owned(it.to_string()))),
        other => Err(Fault::Type(format!(
            "string() cannot write {}",
            other.kind()
        ))),
    }
}
