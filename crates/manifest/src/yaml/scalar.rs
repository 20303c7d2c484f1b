use serde_json::{Number, Value};

/// The value of a plain scalar without a tag, read as Kubernetes tooling reads it.
///
/// kubectl, helm and the API server read YAML 1.1 with a few exceptions: `yes`, `on` and `y` are
/// booleans, a leading zero means octal, `_` may group digits; but `1:30` and dates stay text. Whole
/// floats become integers (`3.0` is 3), because their way to the API server leads through a JSON
/// writer that prints them so. `Err` is an infinity or not-a-number, which JSON cannot hold.
pub(super) fn plain(text: &str) -> Result<Value, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
        | ".nan" | ".NaN" | ".NAN" => {
            return Err("infinity and not-a-number cannot be sent to Kubernetes");
        }
        _ => {}
    }
    Ok(number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

/// A number, or `None` when the text is something else.
pub(super) fn number(text: &str) -> Option<Number> {
    let starts_number = |b: &u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    if !text.as_bytes().first().is_some_and(starts_number) {
        return None;
    }
    if text.starts_with('.') {
        return is_float(text).then(|| float(text)).flatten();
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| is_float(&digits).then(|| float(&digits)).flatten())
}

/// What kubectl makes of a key that is no text: a boolean by its name, a whole number in decimal, another one with the
/// digits that 32 bits hold. `None`: kubectl refuses it.
pub(super) fn key_by_kubectl(text: &str, value: &Value) -> Option<String> {
    let Value::Number(number) = value else {
        return Some(value.to_string());
    };
    match integer(&text.replace('_', "")) {
        Some(whole) => whole.as_i64().map(|whole| whole.to_string()),
        None => number.as_f64().map(|float| shortest(float as f32)),
    }
}

/// As Go prints a number with the fewest digits that tell it apart: `1.5`, `1e+06`.
fn shortest(float: f32) -> String {
    if float.is_infinite() {
        return (if float > 0.0 { ".inf" } else { "-.inf" }).to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    if (-4..6).contains(&power) {
        return float.to_string();
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.unsigned_abs())
}

/// A number as it is printed on the way to the API server: whole floats below 1e21 as integers.
pub(super) fn from_float(float: f64) -> Option<Number> {
    let whole = float.fract() == 0.0;
    if whole && float >= -(2f64.powi(63)) && float < 2f64.powi(63) {
        return Some(Number::from(float as i64));
    }
    if whole && float > 0.0 && float < 2f64.powi(64) {
        return Some(Number::from(float as u64));
    }
    Number::from_f64(float)
}

fn integer(digits: &str) -> Option<Number> {
    let (negative, unsigned) = match digits.as_bytes().first()? {
        b'-' => (true, &digits[1..]),
        b'+' => (false, &digits[1..]),
        _ => (false, digits),
    };
    let (base, body) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if body.is_empty() || !body.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(body, base).ok()?);
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value)
        .map(Number::from)
        .or_else(|_| u64::try_from(value).map(Number::from))
        .ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let good_mantissa = match mantissa.split_once('.') {
        None => !mantissa.is_empty() && digits(mantissa),
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
    };
    let good_exponent = exponent.is_none_or(|exponent| {
        let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !power.is_empty() && digits(power)
    });
    good_mantissa && good_exponent
}

fn float(text: &str) -> Option<Number> {
    text.parse::<f64>()
        .ok()
        .filter(|float| float.is_finite())
        .and_then(from_float)
}
