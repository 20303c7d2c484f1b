//! `--secret-value-stdin`: puts a value that never was in a file into the one secret of the files.

use std::io::Read as _;

use secrecy::{ExposeSecret as _, SecretString};
use sortie_model::{Kind, Limits};
use zeroize::Zeroizing;

use crate::exit::{Exit, Explain};

/// Largest value of a secret.
const LARGEST: u64 = 1 << 20;

/// The value could not be put in its place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the value of the secret from stdin")]
    Read(#[source] std::io::Error),
    #[error("the value of the secret on stdin is empty")]
    Empty,
    #[error("the value of the secret on stdin is larger than {} KiB", LARGEST >> 10)]
    TooLarge,
    #[error("the value of the secret on stdin is not UTF-8 text")]
    NotText,
    #[error("the files hold {found} secrets; with --secret-value-stdin there must be exactly one")]
    NotOne { found: usize },
    #[error("there is no place for the value in secret `{identifier}`")]
    NoPlace { identifier: String },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn code(&self) -> &'static str {
        "SRT-Z009"
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NoPlace { .. } => {
                    "give it `type: SecretText` and `valueType: Inline`, each on a line of its own, and no value"
                }
                Self::NotOne { .. } => "apply secrets one by one",
                _ => "pipe the value in: sortie apply -f secret.yaml --secret-value-stdin < value.txt",
            }
            .to_owned(),
        )
    }
}

/// The value on stdin: all of it except one line break at the end.
pub(crate) fn read() -> Result<SecretString, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    let limited = std::io::stdin()
        .lock()
        .take(LARGEST + 1)
        .read_to_end(&mut bytes);
    limited.map_err(Error::Read)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(Error::TooLarge);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotText)?;
    let value = text
        .strip_suffix('\n')
        .map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if value.is_empty() {
        return Err(Error::Empty);
    }
    Ok(SecretString::from(value))
}

/// `text` with `value` as that of the one secret in it.
pub(crate) fn place(text: &str, value: &SecretString) -> Result<SecretString, Error> {
    let parsed = sortie_model::parse("-", text.as_bytes(), &Limits::default());
    let secrets: Vec<_> = parsed
        .entities
        .iter()
        .filter(|entity| entity.kind == Kind::Secret)
        .collect();
    let [secret] = secrets.as_slice() else {
        return Err(Error::NotOne {
            found: secrets.len(),
        });
    };
    let document = text.get(secret.range.clone()).unwrap_or_default();
    let bare = sortie_model::take_secret_value(document).map_or(None, |(bare, _)| Some(bare));
    let bare = bare.as_deref().unwrap_or(document);
    // What fits is found by reading the result again: it must be a secret with exactly this value.
    let candidates = [
        replaced(bare, value),
        inserted(bare, value),
        as_json(bare, value),
    ];
    let found = candidates
        .into_iter()
        .flatten()
        .find(|candidate| holds(candidate, value));
    let document = found.ok_or_else(|| Error::NoPlace {
        identifier: secret.identifier.clone(),
    })?;
    let before = text.get(..secret.range.start).unwrap_or_default();
    let after = text.get(secret.range.end..).unwrap_or_default();
    Ok(SecretString::from(format!(
        "{before}{}{after}",
        document.as_str()
    )))
}

fn holds(document: &str, value: &SecretString) -> bool {
    let parsed = sortie_model::parse("-", document.as_bytes(), &Limits::default());
    let one = parsed.entities.len() == 1 && !parsed.has_errors(false);
    let found = sortie_model::take_secret_value(document)
        .ok()
        .and_then(|(_, value)| value);
    one && found.is_some_and(|found| found.expose_secret() == value.expose_secret())
}

/// The value as a double-quoted YAML scalar (JSON's is one).
fn quoted(value: &SecretString) -> Zeroizing<String> {
    let text = serde_json::Value::String(value.expose_secret().to_owned());
    Zeroizing::new(text.to_string())
}

/// In place of an empty `value:` on a line of its own.
fn replaced(document: &str, value: &SecretString) -> Option<Zeroizing<String>> {
    let place = line_of(document, |line| {
        let rest = line.trim_start().strip_prefix("value:")?;
        matches!(rest.split('#').next()?.trim(), "" | "null" | "~").then_some(())
    })?;
    let line = document.get(place.clone())?;
    let indent = line.len() - line.trim_start().len();
    let comment = line.find('#').map_or("", |comment| &line[comment..]);
    let new = Zeroizing::new(format!(
        "{}value: {} {comment}",
        &line[..indent],
        quoted(value).as_str()
    ));
    splice(document, place, new.trim_end())
}

/// On a line of its own below `valueType:`.
fn inserted(document: &str, value: &SecretString) -> Option<Zeroizing<String>> {
    let place = line_of(document, |line| {
        line.trim_start().starts_with("valueType:").then_some(())
    })?;
    let line = document.get(place.clone())?;
    let indent = line.len() - line.trim_start().len();
    let new = Zeroizing::new(format!(
        "{line}\n{}value: {}",
        &line[..indent],
        quoted(value).as_str()
    ));
    splice(document, place, &new)
}

/// In a document that is JSON.
fn as_json(document: &str, value: &SecretString) -> Option<Zeroizing<String>> {
    let mut json: serde_json::Value = serde_json::from_str(document).ok()?;
    let spec = json.pointer_mut("/secret/spec")?.as_object_mut()?;
    spec.insert("value".to_owned(), value.expose_secret().into());
    serde_json::to_string_pretty(&json).ok().map(Zeroizing::new)
}

/// Bytes of the first line that `fits`, without its line break.
fn line_of(text: &str, fits: impl Fn(&str) -> Option<()>) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for line in text.split('\n') {
        let end = start + line.trim_end_matches('\r').len();
        if fits(&text[start..end]).is_some() {
            return Some(start..end);
        }
        start += line.len() + 1;
    }
    None
}

fn splice(text: &str, place: std::ops::Range<usize>, new: &str) -> Option<Zeroizing<String>> {
    let (before, after) = (text.get(..place.start)?, text.get(place.end..)?);
    Some(Zeroizing::new(format!("{before}{new}{after}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "# ours\nsecret:\n  name: db\n  identifier: db\n  type: SecretText\n  spec:\n    secretManagerIdentifier: harnessSecretManager\n    valueType: Inline\n";
    const OTHER: &str = "environment:\n  name: demo\n  identifier: demo\n  type: Production\n";

    fn placed(text: &str, value: &str) -> Result<String, String> {
        let value = SecretString::from(value);
        let placed = place(text, &value).map_err(|error| error.to_string())?;
        Ok(placed.expose_secret().to_owned())
    }

    #[test]
    fn the_value_finds_its_place_and_everything_else_stays() {
        let json = r#"{"secret": {"name": "db", "identifier": "db", "type": "SecretText",
            "spec": {"secretManagerIdentifier": "harnessSecretManager", "valueType": "Inline"}}}"#;
        let forms = [
            SECRET.to_owned(),
            format!("{SECRET}    value: # set later\n"),
            format!("{SECRET}    value: null\n  tags: {{}}\n"),
            format!("{SECRET}    value: old\n"),
            format!("{SECRET}    value: |\n      old\n      lines\n"),
            SECRET.replace('\n', "\r\n"),
            format!("{OTHER}---\n{SECRET}---\n{}", OTHER.replace("demo", "next")),
            json.to_owned(),
        ];
        let values = [
            "hunter2",
            "multi\nline\n",
            "quote\" \\ # : {{x}} <+y>",
            "ünïcode \u{1f511}",
            "null",
            "12",
            " x ",
        ];
        for form in &forms {
            for value in values {
                let text = placed(form, value).unwrap();
                let parsed = sortie_model::parse("-", text.as_bytes(), &Limits::default());
                assert!(!parsed.has_errors(false), "{text}\n{:?}", parsed.problems);
                let secret = parsed
                    .entities
                    .iter()
                    .find(|e| e.kind == Kind::Secret)
                    .unwrap();
                let (_, found) =
                    sortie_model::take_secret_value(&text[secret.range.clone()]).unwrap();
                assert_eq!(found.unwrap().expose_secret(), value, "{text}");
                assert!(!text.contains("old"), "{text}");
                assert_eq!(text.contains("# ours"), form.contains("# ours"));
                assert_eq!(text.contains("# set later"), form.contains("# set later"));
            }
        }
    }

    #[test]
    fn there_must_be_one_secret_and_a_place() {
        assert!(placed(OTHER, "x").unwrap_err().contains("hold 0 secrets"));
        let two = format!("{SECRET}---\n{}", SECRET.replace("db", "other"));
        assert!(placed(&two, "x").unwrap_err().contains("hold 2 secrets"));
        let flow = "secret: {name: db, identifier: db, type: SecretText, spec: {secretManagerIdentifier: harnessSecretManager, valueType: Inline}}\n";
        let error = placed(flow, "hunter2").unwrap_err();
        assert_eq!(error, "there is no place for the value in secret `db`");
    }
}
