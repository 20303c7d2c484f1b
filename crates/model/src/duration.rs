//! Durations as Harness writes them: `10m`, `1h 30m`, `1d`.

use std::time::Duration;

/// Longest duration: 53 weeks, the limit of a step's timeout in Harness.
const LONGEST: Duration = Duration::from_secs(53 * 7 * 24 * 3600);

/// Reads parts of a number and a unit (`w d h m s ms`), with or without spaces between them.
/// The error says what is wrong.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "write numbers with units w, d, h, m, s or ms, such as `10m` or `1h 30m`";
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(FORM);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| FORM)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(FORM),
        };
        let part = Duration::from_millis(number.checked_mul(milliseconds).ok_or(TOO_LONG)?);
        total = total.checked_add(part).ok_or(TOO_LONG)?;
        rest = after.trim_start();
    }
    match total {
        Duration::ZERO => Err("it must be longer than nothing"),
        total if total > LONGEST => Err(TOO_LONG),
        total => Ok(total),
    }
}

const TOO_LONG: &str = "the longest is 53w";

#[cfg(test)]
mod tests {
    use super::{LONGEST, parse};
    use std::time::Duration;

    #[test]
    fn reads_what_harness_writes() {
        let cases = [
            ("10m", 600_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1w 2d 3h 4m 5s", 788_645_000),
            ("500ms", 500),
            (" 10s ", 10_000),
            ("5s", 5_000),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        assert_eq!(parse("53w"), Ok(LONGEST));
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            " ",
            "10",
            "m",
            "10 m",
            "-1m",
            "1.5h",
            "10y",
            "1h,30m",
            "0s",
            "54w",
            "99999999999999999999m",
            "18446744073709551615w",
            "1µs",
            "十m",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
