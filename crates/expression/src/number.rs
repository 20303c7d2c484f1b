//! Numbers: whole ones of 64 bits, and floating point.

use serde_json::Value;

use crate::operand::describe;
use crate::syntax::Operator;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Whole(i64),
    Float(f64),
}

impl Number {
    pub(crate) fn float(self) -> f64 {
        match self {
            // Loses precision above 2^53, as everywhere.
            #[expect(
                clippy::cast_precision_loss,
                reason = "the meaning of mixed arithmetic"
            )]
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }
}

/// The number that a value is, or that its text reads as: `7`, `-1.5`.
pub(crate) fn read(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(Number::Whole(whole)),
            None => number.as_f64().map(Number::Float),
        },
        Value::String(text) => parse(text),
        _ => None,
    }
}

fn parse(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !numeric(whole) || !numeric(fraction) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Number::Whole(whole));
    }
    text.parse::<f64>()
        .ok()
        .filter(|float| float.is_finite())
        .map(Number::Float)
}

pub(crate) fn negate(value: &Value) -> Result<Value, String> {
    arithmetic(Operator::Subtract, &Value::from(0), value)
}

/// `+ - * / %` on numbers and text that reads as numbers. Whole numbers stay whole: 7 / 2 is 3.
pub(crate) fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    let (Some(a), Some(b)) = (read(left), read(right)) else {
        let wrong = if read(left).is_none() { left } else { right };
        return Err(format!(
            "`{}` needs numbers, and this is {}",
            operator.symbol(),
            describe(wrong)
        ));
    };
    if let (Number::Whole(a), Number::Whole(b)) = (a, b) {
        if b == 0 && matches!(operator, Operator::Divide | Operator::Remainder) {
            return Err("division by zero".to_owned());
        }
        let result = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::Divide => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        return result
            .map(Value::from)
            .ok_or_else(|| "the number grows too large".to_owned());
    }
    let (a, b) = (a.float(), b.float());
    let result = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        _ => a % b,
    };
    match serde_json::Number::from_f64(result) {
        Some(number) => Ok(Value::Number(number)),
        None if b == 0.0 => Err("division by zero".to_owned()),
        None => Err("the number grows too large".to_owned()),
    }
}
