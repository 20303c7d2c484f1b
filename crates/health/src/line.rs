//! Text from a cluster, made fit for one line.

/// Longest message of a verdict or cause, in characters.
pub(crate) const MESSAGE_LIMIT: usize = 600;
/// Longest name or reason, in characters. Kubernetes names end at 253.
pub(crate) const NAME_LIMIT: usize = 253;

/// `text` as all messages show it, on one line and whole: white space runs become one space, control and
/// direction-changing characters go away.
#[must_use]
pub fn squeezed(text: &str) -> String {
    one_line(text, usize::MAX)
}

/// `text` on one line: white space runs become one space, control and direction-changing characters go away, and
/// what is longer than `limit` characters ends in "…", after a whole word if one ends near.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    let mut length = 0;
    let mut gap = false;
    for character in text.chars() {
        if character.is_whitespace() {
            gap = true;
            continue;
        }
        if character.is_control() || changes_direction(character) {
            continue;
        }
        if length + 2 >= limit {
            if !gap {
                cut_word(&mut line);
            }
            line.push('…');
            return line;
        }
        if gap && length > 0 {
            line.push(' ');
            length += 1;
        }
        gap = false;
        line.push(character);
        length += 1;
    }
    line
}

/// Takes the last word away if it is short beside what stays.
fn cut_word(line: &mut String) {
    if let Some(space) = line.rfind(' ')
        && space > line.len() / 2
    {
        line.truncate(space);
    }
}

/// "3 of 5 pods", with the noun in the singular for a total of one.
pub(crate) fn of(part: i64, total: i64, noun: &str) -> String {
    let plural = if total == 1 { "" } else { "s" };
    format!("{part} of {total} {noun}{plural}")
}

/// "is" for a total of one, else "are".
pub(crate) const fn are(total: i64) -> &'static str {
    if total == 1 { "is" } else { "are" }
}

/// "once", "twice", "three times", "12 times".
pub(crate) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        3 => "three times".to_owned(),
        4 => "four times".to_owned(),
        5 => "five times".to_owned(),
        _ => format!("{count} times"),
    }
}

/// A duration of whole seconds as people say it: "45 s", "5 min", "5 min 30 s".
pub(crate) fn seconds(total: i64) -> String {
    match (total / 60, total % 60) {
        (0, rest) => format!("{rest} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, rest) => format!("{minutes} min {rest} s"),
    }
}

/// Characters that make a terminal or browser show text in another order than it is stored.
const fn changes_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_clean_line() {
        for (text, limit, expected) in [
            ("a\n\tb  c", 99, "a b c"),
            ("  \u{1b}[31mred\u{202e} ", 99, "[31mred"),
            ("abcdefgh", 6, "abcd…"),
            ("abc de fghij", 10, "abc de…"),
            ("abc de fghij", 8, "abc de…"),
            ("a bcdefgh", 7, "a bcd…"),
            ("日本語日本語", 5, "日本語…"),
            ("", 5, ""),
        ] {
            assert_eq!(one_line(text, limit), expected, "{text:?}");
            assert!(one_line(text, limit).chars().count() <= limit);
        }
    }

    #[test]
    fn what_is_squeezed_is_what_a_line_of_any_length_shows() {
        let text = format!("a\u{1b}[1mb \t\u{0} c\u{202e}d\u{85}{}", "x y ".repeat(900));
        let squeezed = squeezed(&text);
        assert!(squeezed.starts_with("a[1mb cd x y"), "{squeezed}");
        let line = one_line(&text, MESSAGE_LIMIT);
        let shown = line.strip_suffix('…').unwrap();
        assert!(squeezed.starts_with(shown), "{shown}");
    }

    #[test]
    fn counts_read_like_speech() {
        assert_eq!(of(1, 3, "pod"), "1 of 3 pods");
        assert_eq!(of(0, 1, "pod"), "0 of 1 pod");
        assert_eq!(
            [times(1), times(3), times(9)],
            ["once", "three times", "9 times"]
        );
        assert_eq!(
            [seconds(45), seconds(300), seconds(330)],
            ["45 s", "5 min", "5 min 30 s"]
        );
    }
}
