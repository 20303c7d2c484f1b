//! What the Secrets of a set hold, so that nothing that a step says shows it: an application that fails may repeat what it
//! was given, and so may the kubelet.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use sortie_health::squeezed;
use sortie_manifest::Object;

use crate::disguise::{CUTS, SHORTEST_PART, cut_off, cut_short, forms, is_after_cut};

/// Shorter values, in bytes, would mask ordinary words.
const SHORTEST: usize = SHORTEST_PART;
/// Shorter lines of a value of many would mask ordinary words.
const SHORTEST_LINE: usize = 8;
/// Longer values are no passwords; such as whole programs are left out.
const LONGEST: usize = 16 * 1024;
/// As many values that begin alike are masked.
const ALIKE: usize = 1000;
/// Bytes that are masked for one step: first all values as they are, then in all forms, those of small values first.
const ALL: usize = 4 * 1024 * 1024;

/// Values that say nothing wherever they stand.
const PUBLIC: [&str; 12] = [
    "0.0.0.0",
    "127.0.0.1",
    "anonymous",
    "default",
    "development",
    "disabled",
    "enabled",
    "kubernetes",
    "localhost",
    "production",
    "staging",
    "unknown",
];

/// Values that are looked for all at once: what that takes depends on the text and not on how many they are.
#[derive(Debug, Default)]
pub(crate) struct Confidential {
    /// By a hash of their first [`SHORTEST`] bytes.
    by_start: HashMap<u64, Vec<SecretString>>,
    hasher: RandomState,
    /// Bytes in it.
    size: usize,
}

impl Confidential {
    /// Learn what the Secrets among `objects` hold, beside `public` words and what the set shows elsewhere.
    pub(crate) fn learn<'a>(
        &mut self,
        objects: impl Iterator<Item = &'a Object> + Clone,
        public: &[&str],
    ) {
        let mut candidates = Vec::new();
        for object in objects.clone().filter(|object| is_secret(object)) {
            for value in held(object.value()) {
                candidates.extend(parts(value));
            }
        }
        if candidates.is_empty() {
            return;
        }
        let mut words = Words {
            asked: candidates
                .iter()
                .map(|value| value.expose_secret())
                .collect(),
            shown: public.iter().chain(&PUBLIC).copied().collect(),
        };
        for object in objects {
            match is_secret(object) {
                true => words.look_at_metadata(object.value()),
                false => words.look_at_map(object.value()),
            }
        }
        let shown = words.shown;
        let secret = |value: &&SecretString| !shown.contains(value.expose_secret());
        let mut secrets: Vec<&SecretString> = candidates.iter().filter(secret).collect();
        for value in &secrets {
            self.add((*value).clone());
            self.add(SecretString::from(squeezed(value.expose_secret())));
        }
        secrets.sort_by_key(|value| value.expose_secret().len());
        for value in secrets {
            if self.size + value.expose_secret().len() > ALL {
                break;
            }
            forms(value).into_iter().for_each(|form| self.add(form));
        }
    }

    fn add(&mut self, value: SecretString) {
        let text = value.expose_secret();
        let Some(start) = text.as_bytes().get(..SHORTEST) else {
            return;
        };
        let bucket = self
            .by_start
            .entry(self.hasher.hash_one(start))
            .or_default();
        let is_known = bucket.iter().any(|known| known.expose_secret() == text);
        if !is_known && bucket.len() < ALIKE && self.size + text.len() <= ALL {
            self.size += text.len();
            bucket.push(value);
        }
    }

    /// `text` with `mask` in the place of each value in it, of the beginning of one before a cut, and of the end of one after
    /// a cut; of those that begin at the same place, the longest.
    pub(crate) fn mask(&self, text: &str, mask: &str) -> String {
        if self.by_start.is_empty() {
            return text.to_owned();
        }
        let (mut masked, mut from, mut at) = (String::with_capacity(text.len()), 0, 0);
        let mut cuts = 0;
        while let Some(start) = text.as_bytes().get(at..at + SHORTEST) {
            let mut length = self.length_at(start, text, at);
            if cuts < CUTS && is_after_cut(text, at) {
                cuts += 1;
                length = length.max(self.length_after_cut(text.get(at..).unwrap_or_default()));
            }
            let Some(length) = length else {
                at += 1;
                continue;
            };
            masked.push_str(text.get(from..at).unwrap_or_default());
            masked.push_str(mask);
            at += length;
            from = at;
        }
        masked.push_str(text.get(from..).unwrap_or_default());
        masked
    }

    fn length_at(&self, start: &[u8], text: &str, at: usize) -> Option<usize> {
        let bucket = self.by_start.get(&self.hasher.hash_one(start))?;
        // Values begin where characters begin.
        let rest = text.get(at..)?;
        let values = bucket.iter().map(|value| value.expose_secret());
        let lengths = values.filter_map(|value| match rest.starts_with(value) {
            true => Some(value.len()),
            false => cut_short(value, rest),
        });
        lengths.max()
    }

    fn length_after_cut(&self, rest: &str) -> Option<usize> {
        let values = self.by_start.values().flatten();
        let lengths = values.filter_map(|value| cut_off(value.expose_secret(), rest));
        lengths.max()
    }
}

/// Which of the words that are asked for a set shows where everybody may read them.
struct Words<'a> {
    asked: HashSet<&'a str>,
    shown: HashSet<&'a str>,
}

impl Words<'_> {
    fn look_at_metadata(&mut self, secret: &Map<String, Value>) {
        let public = secret
            .iter()
            .filter(|(key, _)| !HOLDERS.contains(&key.as_str()));
        public.for_each(|(_, value)| self.look_at(value));
        for holder in HOLDERS {
            let keys = secret.get(holder).and_then(Value::as_object);
            keys.into_iter()
                .flatten()
                .for_each(|(key, _)| self.see(key));
        }
    }

    fn look_at_map(&mut self, map: &Map<String, Value>) {
        for (key, value) in map {
            self.see(key);
            self.look_at(value);
        }
    }

    fn look_at(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.see(text);
                let between = |c: char| !c.is_alphanumeric() && !"-_.".contains(c);
                text.split(between).for_each(|word| self.see(word));
            }
            Value::Array(items) => items.iter().for_each(|item| self.look_at(item)),
            Value::Object(map) => self.look_at_map(map),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn see(&mut self, word: &str) {
        if let Some(asked) = self.asked.get(word) {
            self.shown.insert(asked);
        }
    }
}

/// Where a Secret holds its values.
const HOLDERS: [&str; 2] = ["data", "stringData"];

fn is_secret(object: &Object) -> bool {
    object.kind() == "Secret" && object.group().is_empty()
}

/// The values of a Secret that are text.
fn held(secret: &Map<String, Value>) -> impl Iterator<Item = String> {
    HOLDERS.into_iter().flat_map(move |holder| {
        let values = secret.get(holder).and_then(Value::as_object);
        let values = values.into_iter().flatten();
        values.filter_map(move |(_, value)| {
            let text = value.as_str()?;
            if text.len() > LONGEST * 4 / 3 + 4 {
                return None;
            }
            match holder {
                "data" => String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok(),
                _ => Some(text.to_owned()),
            }
        })
    })
}

/// A value, its lines when it has several, and what is in it when it is JSON, such as credentials of a registry.
fn parts(value: String) -> Vec<SecretString> {
    let whole = value.trim();
    let mut parts = Vec::new();
    if whole.starts_with('{') {
        let inside: Option<Value> = serde_json::from_str(whole).ok();
        inside.iter().for_each(|inside| strings(inside, &mut parts));
    }
    if whole.contains('\n') {
        let lines = whole.lines().map(str::trim);
        let lines = lines.filter(|line| line.len() >= SHORTEST_LINE);
        parts.extend(lines.map(SecretString::from));
    } else if (SHORTEST..=LONGEST).contains(&whole.len()) {
        parts.push(SecretString::from(whole));
    }
    drop(SecretString::from(value));
    parts
}

fn strings(value: &Value, found: &mut Vec<SecretString>) {
    match value {
        Value::String(text) if text.len() >= SHORTEST => {
            found.push(SecretString::from(text.as_str()))
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(map) => map.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::Origin;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value, Origin::outside("test")).unwrap()
    }

    fn set(secret: &Value, config: &Value) -> [Object; 2] {
        let mut of =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db-login"}});
        for (key, value) in secret.as_object().unwrap() {
            of[key] = value.clone();
        }
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": config});
        [object(of), object(config)]
    }

    fn masked(objects: &[Object], text: &str) -> String {
        let mut confidential = Confidential::default();
        confidential.learn(objects.iter(), &["webshop"]);
        confidential.mask(text, "***")
    }

    #[test]
    fn what_secrets_hold_is_masked_in_the_forms_in_which_it_turns_up() {
        let data = json!({"password": STANDARD.encode("hunter22/x")});
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n-----END KEY-----\n";
        let login = json!({"auths": {"registry.local": {"auth": "dXNlcjpwYXNz"}}}).to_string();
        let values = json!({"token": "swordfish", "key": key, ".dockerconfigjson": login});
        let objects = set(&json!({"data": data, "stringData": values}), &json!({}));
        for (text, expected) in [
            (
                "exec: \"/hunter22/x\": not found",
                "exec: \"/***\": not found",
            ),
            ("hunter22%2Fx", "***"),
            ("as aHVudGVyMjIveA==", "as ***"),
            ("swordfish, swordfish", "***, ***"),
            ("é swordfish é", "é *** é"),
            ("line MIIEvQIBADANBg", "line ***"),
            ("sword short", "sword short"),
            ("auth dXNlcjpwYXNz", "auth ***"),
        ] {
            assert_eq!(masked(&objects, text), expected);
        }
    }

    #[test]
    fn what_is_cut_in_the_middle_of_a_value_shows_nothing_of_it() {
        let long = "eyJhbGciOi".repeat(60);
        let spaced = format!("user  admin {}", "x".repeat(600));
        let objects = set(
            &json!({"stringData": {"token": long, "line": spaced}}),
            &json!({}),
        );
        let cut: String = long.chars().take(190).collect();
        for (text, expected) in [
            (format!("last log: \"é {cut}…\""), "last log: \"é ***…\""),
            ("the user admin xxx…".to_owned(), "the ***…"),
            ("the user…".to_owned(), "the user…"),
        ] {
            assert_eq!(masked(&objects, &text), expected);
        }
    }

    #[test]
    fn what_everybody_may_read_is_shown() {
        let values = json!({"a": "true", "b": "port1", "c": "webshop", "d": "db-login", "e": "postgres", "f": "localhost", "letter": "letter"});
        let objects = set(
            &json!({"stringData": values}),
            &json!({"url": "tcp://postgres:5432/x"}),
        );
        let text = "true port1 webshop db-login postgres localhost letter";
        assert_eq!(masked(&objects, text), text);
    }

    #[test]
    fn the_longest_of_two_is_masked_and_no_more_than_fits_is_kept() {
        let values = json!({"a": "swordfish", "b": "swordfish-long"});
        let objects = set(&json!({"stringData": values}), &json!({}));
        assert_eq!(masked(&objects, "swordfish-long swordfish"), "*** ***");

        let mut confidential = Confidential::default();
        for number in 0..1000 {
            let value = format!("{number:06}{}", "x".repeat(15_000));
            let objects = set(&json!({"stringData": {"a": value}}), &json!({}));
            confidential.learn(objects.iter(), &[]);
        }
        assert!(confidential.size <= ALL, "{}", confidential.size);
    }

    #[test]
    fn a_long_value_is_masked_in_all_forms_until_no_more_fits() {
        let long = format!("\"{}<&", "0123456789 /".repeat(200));
        let objects = set(&json!({"stringData": {"token": long}}), &json!({}));
        let quoted = serde_json::to_string(&long).unwrap();
        for text in [
            long.clone(),
            STANDARD.encode(&long),
            quoted.trim_matches('"').to_owned(),
            long.replace(' ', "%20")
                .replace('/', "%2F")
                .replace('"', "%22")
                .replace('<', "%3C")
                .replace('&', "%26"),
        ] {
            assert_eq!(masked(&objects, &format!("a {text} b")), "a *** b");
        }

        // However much there is, all of it is masked as it is.
        let many: Map<String, Value> = (0..300)
            .map(|number| {
                (
                    format!("k{number}"),
                    json!(format!("{number:06}{}", "x /".repeat(4000))),
                )
            })
            .collect();
        let objects = set(&json!({"stringData": many}), &json!({}));
        let mut confidential = Confidential::default();
        confidential.learn(objects.iter(), &[]);
        assert!(confidential.size <= ALL, "{}", confidential.size);
        for value in many.values() {
            let value = value.as_str().unwrap().trim_end();
            assert_eq!(confidential.mask(value, "***"), "***");
        }
    }

    /// As somebody writes a value into a text.
    fn written(value: &str, form: usize) -> String {
        match form {
            0 => value.to_owned(),
            1 => STANDARD.encode(value),
            2 => serde_json::to_string(value)
                .unwrap()
                .trim_matches('"')
                .to_owned(),
            _ => value
                .bytes()
                .map(|byte| match char::from(byte) {
                    kept if kept.is_ascii_alphanumeric() || "-_.~".contains(kept) => {
                        kept.to_string()
                    }
                    _ => format!("%{byte:02X}"),
                })
                .collect(),
        }
    }

    proptest::proptest! {
        #[test]
        fn wherever_a_text_is_cut_no_part_of_a_value_comes_through(
            value in "[a-zA-Z0-9][ -~\t\u{1b}é]{10,900}[a-z]",
            form in 0..4_usize,
            cut in (0..1000_usize, 0..1000_usize),
        ) {
            // Whatever is longer is no accident.
            const SEEN: usize = 12;
            let objects = set(&json!({"stringData": {"token": value}}), &json!({}));
            let whole: Vec<char> = written(&value, form).chars().collect();
            let (from, to) = (cut.0.min(cut.1) % whole.len(), cut.0.max(cut.1).min(whole.len()));
            let shown: String = whole[from.min(to)..to].iter().collect();
            let mark = |is_cut: bool| if is_cut { "…" } else { "" };
            let text = format!("é: {}{shown}{}", mark(from > 0), mark(to < whole.len()));
            let text = squeezed(&text);
            let masked = masked(&objects, &text);
            let whole: Vec<char> = squeezed(&whole.into_iter().collect::<String>()).chars().collect();
            for part in whole.windows(SEEN) {
                let part: String = part.iter().collect();
                assert!(!masked.contains(&part), "{part:?} of {value:?} is in {masked:?}");
            }
        }
    }
}
