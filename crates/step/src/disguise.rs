//! The forms in which a secret turns up in texts that a person reads: encoded as templates, URLs and JSON encode it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use sortie_health::squeezed;

/// Shorter values would mask ordinary words and are left alone.
const MIN_SECRET: usize = 3;

/// Shorter pieces of base64 would mask ordinary words.
const MIN_PIECE: usize = 8;

/// Characters that stay as they are in every part of a URL, beside letters and digits (RFC 3986, unreserved).
const UNRESERVED: &str = "-_.~";

/// Characters that Go's `url.PathEscape` leaves alone, too.
const IN_PATHS: &str = "-_.~$&+=:@";

/// What stands where a text was cut: at its end when it had to fit a line, and before what is the end of more.
const CUT: char = '…';

/// Shorter parts of a secret beside a cut would mask ordinary words, in bytes.
pub(crate) const SHORTEST_PART: usize = 6;

/// Cuts of one text after which ends of secrets are looked for; who cuts makes two.
pub(crate) const CUTS: usize = 16;

/// `secret` as it is, by line (for keys and certificates), in base64, also inside of something larger, in URLs and in JSON. The
/// longest first, so that a form which contains another is masked whole.
pub(crate) fn forms(secret: &SecretString) -> Vec<SecretString> {
    let value = secret.expose_secret();
    let mut forms: BTreeSet<String> = value.lines().map(|line| line.trim().to_owned()).collect();
    forms.extend(value.lines().map(squeezed));
    // Whoever splits at `=`, as for `--flag=value`, shows a value in base64 without its padding.
    forms.extend(value.lines().map(unpadded));
    for value in [value, value.trim()] {
        if value.trim().len() < MIN_SECRET {
            continue;
        }
        forms.insert(value.to_owned());
        forms.extend(in_base64(value.as_bytes()));
        forms.extend([
            in_url(value, UNRESERVED),
            in_url(value, UNRESERVED).replace("%20", "+"),
            in_url(value, IN_PATHS),
        ]);
        let in_json = in_json(value);
        forms.extend(in_json.iter().map(|text| squeezed(text)));
        forms.extend(in_json);
    }
    let mut forms: Vec<String> = forms
        .into_iter()
        .filter(|form| form.len() >= MIN_SECRET)
        .collect();
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.into_iter().map(SecretString::from).collect()
}

fn unpadded(line: &str) -> String {
    line.trim().trim_end_matches('=').to_owned()
}

/// How many bytes at the beginning of `rest` are the beginning of `secret`, up to where a text was cut.
pub(crate) fn cut_short(secret: &str, rest: &str) -> Option<usize> {
    let (shown, _) = rest.split_once(CUT)?;
    (shown.len() >= SHORTEST_PART && shown.len() < secret.len() && secret.starts_with(shown))
        .then_some(shown.len())
}

/// The same, wherever in `text` it begins: each beginning of a secret before a cut becomes `mask`.
pub(crate) fn mask_beginnings(text: &str, secret: &str, mask: &str) -> String {
    let Some(start) = secret
        .char_indices()
        .map(|(at, letter)| at + letter.len_utf8())
        .find(|end| *end >= SHORTEST_PART)
        .and_then(|end| secret.get(..end))
    else {
        return text.to_owned();
    };
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(start) {
        let (before, here) = rest.split_at(at);
        masked.push_str(before);
        let first = here.chars().next().map_or(1, char::len_utf8);
        let length = cut_short(secret, here);
        masked.push_str(match length {
            Some(_) => mask,
            None => here.get(..first).unwrap_or_default(),
        });
        rest = here.get(length.unwrap_or(first)..).unwrap_or_default();
    }
    masked + rest
}

/// How many bytes at the beginning of `rest`, which follows a cut, are the end of `secret`, or a part of it up to the next cut.
pub(crate) fn cut_off(secret: &str, rest: &str) -> Option<usize> {
    let shown = rest.trim_start();
    let gap = rest.len() - shown.len();
    let ends = shown.char_indices().map(|(at, _)| at).skip(1);
    let start = ends.chain([shown.len()]).find(|at| *at >= SHORTEST_PART);
    let start = shown.get(..start?)?;
    if let Some((between, _)) = shown.split_once(CUT)
        && between.len() >= SHORTEST_PART
        && secret.contains(between)
    {
        return Some(gap + between.len());
    }
    // No end that is longer than what is shown.
    let mut from = secret.len().saturating_sub(shown.len());
    while !secret.is_char_boundary(from) {
        from += 1;
    }
    while let Some(end) = secret.get(from..) {
        let end = end.get(end.find(start)?..)?;
        if shown.starts_with(end) {
            return Some(gap + end.len());
        }
        from = secret.len() - end.len() + end.chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// Whether a text is cut at `at`, so that what follows may be the end of anything.
pub(crate) fn is_after_cut(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| before.ends_with(CUT))
}

/// The same, after each of the first cuts in `text`: each end of a secret becomes `mask`.
pub(crate) fn mask_ends(text: &str, secret: &str, mask: &str) -> String {
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    for _ in 0..CUTS {
        let Some(at) = rest.find(CUT) else {
            break;
        };
        let (before, after) = rest.split_at(at + CUT.len_utf8());
        masked.push_str(before);
        let length = cut_off(secret, after);
        masked.push_str(length.map_or("", |_| mask));
        rest = after.get(length.unwrap_or(0)..).unwrap_or_default();
    }
    masked + rest
}

/// Both alphabets, with and without padding, and the part that stays the same when other bytes stand before and behind.
fn in_base64(value: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for (padded, bare) in [(&STANDARD, &STANDARD_NO_PAD), (&URL_SAFE, &URL_SAFE_NO_PAD)] {
        forms.extend([padded.encode(value), bare.encode(value)]);
        for before in 0..3 {
            let shifted = [&[0; 2][..before], value].concat();
            let text = bare.encode(&shifted);
            // A character holds six bits: those that share theirs with a neighbour are left out.
            let piece = text.get((before * 8).div_ceil(6)..shifted.len() * 8 / 6);
            forms.extend(
                piece
                    .filter(|piece| piece.len() >= MIN_PIECE)
                    .map(str::to_owned),
            );
        }
    }
    forms
}

fn in_url(value: &str, kept: &str) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || kept.contains(character) && byte.is_ascii() {
            text.push(character);
        } else {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    text
}

/// Between the quotes of a JSON string, and as Go writes one, which replaces what means something in HTML.
fn in_json(value: &str) -> Vec<String> {
    let Ok(quoted) = serde_json::to_string(value) else {
        return Vec::new();
    };
    let Some(inner) = quoted.get(1..quoted.len() - 1) else {
        return Vec::new();
    };
    let for_html = inner
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    vec![inner.to_owned(), for_html]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether some form of the secret is in the text.
    fn is_seen(secret: &str, text: &str) -> bool {
        forms(&SecretString::from(secret))
            .iter()
            .any(|form| text.contains(form.expose_secret()))
    }

    #[test]
    fn a_value_in_base64_is_known_without_its_padding() {
        assert!(is_seen("bjXRXdWZKL/jWg==", "unexpected --bjXRXdWZKL/jWg"));
        assert!(is_seen("first\nbjXRXdWZKL/jWg=\n", "bjXRXdWZKL/jWg: bad"));
    }

    #[test]
    fn the_beginning_of_a_secret_before_a_cut_is_masked() {
        for (secret, text, expected) in [
            (
                "swordfish-long",
                "token swordfish…; swordf…",
                "token ***…; ***…",
            ),
            ("swordfish-long", "sword…", "sword…"),
            ("swordfish-long", "swordfish and…", "swordfish and…"),
            ("swordfish", "swordfish…", "swordfish…"),
            ("ünïcödé-1", "a ünïcö…", "a ***…"),
            ("short", "short…", "short…"),
            ("aaaaaaaab", "aaaaaaaa…", "***…"),
            ("abababab-x", "abababababab…", "abab***…"),
        ] {
            assert_eq!(mask_beginnings(text, secret, "***"), expected, "{text}");
        }
    }

    #[test]
    fn the_end_of_a_secret_after_a_cut_is_masked() {
        for (secret, text, expected) in [
            (
                "long-swordfish",
                "…swordfish said; …ordfish",
                "…*** said; …***",
            ),
            ("long-swordfish", "…swordf…", "…***…"),
            ("long-swordfish", "…swordf and", "…swordf and"),
            ("long-swordfish", "…dfish", "…dfish"),
            ("long-swordfish", "swordfish", "swordfish"),
            // The whole is somebody else's.
            ("long sword fish", "… sword fish", "…***"),
            ("1-ünïcödé", "…ïcödé, …cöd…", "…***, …cöd…"),
            ("xababab", "…ababab", "…***"),
            ("xabababc", "…abababc…", "…***…"),
        ] {
            assert_eq!(mask_ends(text, secret, "***"), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_is_seen_in_every_form() {
        for (secret, text) in [
            ("hunter2hunter2", "aHVudGVyMmh1bnRlcjI="),
            ("hunter2hunter2", "aHVudGVyMmh1bnRlcjI"),
            // Standard and URL alphabet, with and without padding.
            ("???>>>~", "Pz8/Pj4+fg=="),
            ("???>>>~", "Pz8_Pj4-fg=="),
            ("???>>>~", "Pz8_Pj4-fg"),
            // As `user:hunter2hunter2`, `admin:…` and `me:…!`, as Basic authentication has it.
            ("hunter2hunter2", "dXNlcjpodW50ZXIyaHVudGVyMg=="),
            ("hunter2hunter2", "YWRtaW46aHVudGVyMmh1bnRlcjI="),
            ("hunter2hunter2", "bWU6aHVudGVyMmh1bnRlcjIh"),
            ("hunter2hunter2", "bTpodW50ZXIyaHVudGVyMiE="),
            ("p ä/ß+x", "https://h/?q=p%20%C3%A4%2F%C3%9F%2Bx"),
            ("p ä/ß+x", "https://h/?q=p+%C3%A4%2F%C3%9F%2Bx"),
            ("p&=:x/", "https://h/p&=:x%2F"),
            ("a\"b\\c\nd", r#"{"x":"a\"b\\c\nd"}"#),
            ("a<b>&c", r#"{"x":"a\u003cb\u003e\u0026c"}"#),
            // With the line break that a file of one line has, and without it.
            ("hunter2\n", "aHVudGVyMgo="),
            ("hunter2\n", "aHVudGVyMg=="),
            ("hunter2\n", "plain hunter2"),
            ("abc", "YWJj"),
        ] {
            assert!(is_seen(secret, text), "{secret:?} passes in {text}");
        }
    }

    #[test]
    fn words_are_not_taken_for_secrets() {
        assert!(forms(&SecretString::from("a")).is_empty());
        assert!(forms(&SecretString::from(" \n a \n")).is_empty());
        for form in forms(&SecretString::from("abcd")) {
            assert!(form.expose_secret().len() >= 4, "{}", form.expose_secret());
        }
    }

    proptest::proptest! {
        #[test]
        fn base64_hides_no_secret_wherever_it_stands(
            before in proptest::collection::vec(proptest::num::u8::ANY, 0..9),
            secret in "[!-~]{8,40}",
            after in proptest::collection::vec(proptest::num::u8::ANY, 0..9),
        ) {
            let whole = [&before, secret.as_bytes(), &after].concat();
            for engine in [&STANDARD, &URL_SAFE] {
                let text = engine.encode(&whole);
                assert!(is_seen(&secret, &text), "{secret:?} in {text}");
            }
        }
    }
}
