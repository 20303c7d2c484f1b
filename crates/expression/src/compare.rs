//! Equality, order, patterns and truth.

use serde_json::Value;

use crate::number::{Number, read};
use crate::operand::describe;
use crate::patterns;
use crate::syntax::Operator;

/// `==`. Text equals text exactly; a number equals text that reads as this number; a boolean equals the words
/// `true` and `false`; lists and maps are equal by content.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(_), Value::Number(_) | Value::String(_))
        | (Value::String(_), Value::Number(_)) => match (read(left), read(right)) {
            (Some(Number::Whole(a)), Some(Number::Whole(b))) => a == b,
            #[expect(clippy::float_cmp, reason = "equality is what was asked for")]
            (Some(a), Some(b)) => a.float() == b.float(),
            _ => false,
        },
        (Value::Bool(truth), Value::String(word)) | (Value::String(word), Value::Bool(truth)) => {
            bool_word(word) == Some(*truth)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        _ => left == right,
    }
}

/// `true` and `false` in any case.
pub(crate) fn bool_word(word: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case("true") {
        Some(true)
    } else if word.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// `< <= > >=` on numbers and text that reads as numbers; false when a side is null.
pub(crate) fn order(operator: Operator, left: &Value, right: &Value) -> Result<bool, String> {
    if left.is_null() || right.is_null() {
        return Ok(false);
    }
    let (Some(a), Some(b)) = (read(left), read(right)) else {
        let wrong = if read(left).is_none() { left } else { right };
        let symbol = operator.symbol();
        let kind = describe(wrong);
        return Err(format!(
            "`{symbol}` compares numbers, and this is {kind} that is none"
        ));
    };
    let order = match (a, b) {
        (Number::Whole(a), Number::Whole(b)) => Some(a.cmp(&b)),
        (a, b) => a.float().partial_cmp(&b.float()),
    };
    Ok(order.is_some_and(|order| match operator {
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// `=~`: the whole text matches the pattern, or the list or map on the right has the value.
pub(crate) fn matches(left: &Value, right: &Value) -> Result<bool, String> {
    match right {
        Value::Array(list) => Ok(list.iter().any(|item| equal(left, item))),
        Value::Object(map) => Ok(left.as_str().is_some_and(|key| map.contains_key(key))),
        Value::String(pattern) => patterns::full_match(pattern, &words("=~", left)?),
        other => Err(format!(
            "`=~` needs a pattern, a list or a map, and this is {}",
            describe(other)
        )),
    }
}

/// `=^ =$ !^ !$`: how text begins and ends.
pub(crate) fn affix(operator: Operator, left: &Value, right: &Value) -> Result<bool, String> {
    let text = words(operator.symbol(), left)?;
    let part = words(operator.symbol(), right)?;
    Ok(match operator {
        Operator::StartsWith => text.starts_with(&part),
        Operator::NotStartsWith => !text.starts_with(&part),
        Operator::EndsWith => text.ends_with(&part),
        _ => !text.ends_with(&part),
    })
}

fn words(symbol: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!(
            "`{symbol}` needs text, and this is {}",
            describe(value)
        )),
    }
}

/// Whether a condition holds. Text is false when it is empty or the word `false`, a number when it is 0.
pub(crate) fn truth(value: &Value) -> Result<bool, String> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(truth) => Ok(*truth),
        Value::String(text) => Ok(!text.is_empty() && bool_word(text) != Some(false)),
        Value::Number(_) => Ok(read(value).is_some_and(|number| number.float() != 0.0)),
        Value::Array(_) | Value::Object(_) => {
            Err(format!("{} is neither true nor false", describe(value)))
        }
    }
}

/// Whether `?:` takes the value and not the default.
pub(crate) fn is_set(value: &Value) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) => !is_empty(value),
        other => truth(other).unwrap_or(false),
    }
}

/// `empty(x)`: null, and text, lists and maps without content.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `size(x)`: characters of text, elements of a list or map, 0 for null.
pub(crate) fn size(value: &Value) -> Result<Value, String> {
    match value {
        Value::Null => Ok(Value::from(0)),
        Value::String(text) => Ok(Value::from(text.chars().count())),
        Value::Array(list) => Ok(Value::from(list.len())),
        Value::Object(map) => Ok(Value::from(map.len())),
        Value::Bool(_) | Value::Number(_) => Err(format!("{} has no size", describe(value))),
    }
}
