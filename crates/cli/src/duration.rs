//! Durations: read as people write them (`90s`, `10m`, `1h30m`), shown in their largest units.

use std::time::Duration;

/// Seconds of an hour.
pub const HOUR: u64 = 3600;

/// Longest duration that makes sense anywhere on the command line: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * HOUR);

/// Reads a duration of at least a second, for clap.
///
/// # Errors
/// The text is no duration, or out of range.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = parse_from_zero(text)?;
    if duration < Duration::from_secs(1) {
        return Err("it must be at least one second".to_owned());
    }
    Ok(duration)
}

/// Reads a duration that may be none, for clap.
///
/// # Errors
/// As [`parse`].
pub fn parse_from_zero(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "write it as `90s`, `10m` or `1h30m`".to_owned())?;
    let duration = Duration::try_from(parsed).map_err(|_| "it must not be negative".to_owned())?;
    if duration > LONGEST {
        return Err("it must be at most a year".to_owned());
    }
    Ok(duration)
}

/// Reads a duration of whole hours, for clap.
///
/// # Errors
/// As [`parse`]; or it is not whole hours.
pub fn parse_hours(text: &str) -> Result<Duration, String> {
    let duration = parse(text)?;
    if duration.as_secs().is_multiple_of(HOUR) && duration.subsec_nanos() == 0 {
        return Ok(duration);
    }
    Err("it must be whole hours, such as `1h` or `48h`".to_owned())
}

/// `3.2 s`, `1 m 05 s`, `2 h 10 m`.
#[must_use]
pub fn show(duration: jiff::SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..=9 => format!("{:.1} s", duration.as_secs_f64().max(0.0)),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h 30m", 5400)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "-5m", "0s", "1ms", "ten", "999999999h", "10m; rm"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn none_is_a_duration_where_it_makes_sense() {
        assert_eq!(parse_from_zero("0s"), Ok(Duration::ZERO));
        for text in ["", "-5m", "ten", "999999999h"] {
            assert!(parse_from_zero(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hours_are_whole() {
        assert_eq!(parse_hours("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_hours("60m"), Ok(Duration::from_secs(3600)));
        for text in ["90m", "1s", "1h1s", "9000h"] {
            assert!(parse_hours(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_their_largest_units() {
        let show = |millis| super::show(jiff::SignedDuration::from_millis(millis));
        assert_eq!(show(-5), "0.0 s");
        assert_eq!(show(3_240), "3.2 s");
        assert_eq!(show(9_990), "10.0 s");
        assert_eq!(show(59_999), "59 s");
        assert_eq!(show(65_000), "1 m 05 s");
        assert_eq!(show(7_800_000), "2 h 10 m");
    }
}
