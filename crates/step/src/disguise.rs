//! The forms in which a secret turns up in texts that a person reads: encoded as templates, URLs and JSON encode it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

/// Shorter values would mask ordinary words and are left alone.
const MIN_SECRET: usize = 3;

/// Shorter pieces of base64 would mask ordinary words.
const MIN_PIECE: usize = 8;

/// Characters that stay as they are in every part of a URL, beside letters and digits (RFC 3986, unreserved).
const UNRESERVED: &str = "-_.~";

/// Characters that Go's `url.PathEscape` leaves alone, too.
const IN_PATHS: &str = "-_.~$&+=:@";

/// What stands at the end of a text that was cut to fit a line.
const CUT: char = '…';

/// Shorter beginnings of a secret before a cut would mask ordinary words, in bytes.
pub(crate) const SHORTEST_BEGINNING: usize = 6;

/// `secret` as it is, by line (for keys and certificates), in base64, also inside of something larger, in URLs and in JSON. The
/// longest first, so that a form which contains another is masked whole.
pub(crate) fn forms(secret: &SecretString) -> Vec<SecretString> {
    let value = secret.expose_secret();
    let mut forms: BTreeSet<String> = value.lines().map(|line| line.trim().to_owned()).collect();
    forms.extend(value.lines().map(squeezed));
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
        forms.extend(in_json(value));
    }
    let mut forms: Vec<String> = forms
        .into_iter()
        .filter(|form| form.len() >= MIN_SECRET)
        .collect();
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.into_iter().map(SecretString::from).collect()
}

/// A line as messages show it, each gap one space wide.
pub(crate) fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many bytes at the beginning of `rest` are the beginning of `secret`, up to where a text was cut.
pub(crate) fn cut_short(secret: &str, rest: &str) -> Option<usize> {
    let (shown, _) = rest.split_once(CUT)?;
    (shown.len() >= SHORTEST_BEGINNING && shown.len() < secret.len() && secret.starts_with(shown))
        .then_some(shown.len())
}

/// The same, wherever in `text` it begins: each beginning of a secret before a cut becomes `mask`.
pub(crate) fn mask_beginnings(text: &str, secret: &str, mask: &str) -> String {
    let Some(start) = secret
        .char_indices()
        .map(|(at, letter)| at + letter.len_utf8())
        .find(|end| *end >= SHORTEST_BEGINNING)
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
    value
        .bytes()
        .map(|byte| {
            let character = char::from(byte);
            if character.is_ascii_alphanumeric() || kept.contains(character) && byte.is_ascii() {
                character.to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
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
