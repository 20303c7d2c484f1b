//! Markers that stand for secrets in evaluated texts.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

/// Makes and replaces the markers of one task. A marker carries the nonce, so that text which merely looks like
/// a marker is left alone; choose a new random nonce for every task.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretMarker {
    prefix: String,
}

/// A text names a secret whose value is not at hand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the value of secret {name} is not available")]
pub struct MissingSecret {
    /// The identifier as written, such as `account.token`.
    pub name: String,
}

impl SecretMarker {
    /// Markers with this nonce. Other characters than ASCII letters and digits are left out of it.
    pub fn new(nonce: &str) -> Self {
        let nonce: String = nonce.chars().filter(char::is_ascii_alphanumeric).collect();
        Self {
            prefix: format!("${{sortie-secret:{nonce}:"),
        }
    }

    /// The marker for a secret. It needs no quoting in JSON or YAML and survives concatenation.
    pub fn mark(&self, name: &str) -> String {
        let mut marker = self.prefix.clone();
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
                marker.push(char::from(byte));
            } else {
                marker.push_str(&format!("%{byte:02x}"));
            }
        }
        marker.push('}');
        marker
    }

    /// Whether the text holds a marker, whole or cut.
    pub fn marks(&self, text: &str) -> bool {
        text.contains(&self.prefix)
    }

    /// The secrets that a text names.
    pub fn names(&self, text: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut rest = text;
        while let Some((_, name, after)) = self.next(rest) {
            names.insert(name);
            rest = after;
        }
        names
    }

    /// The text with every marker replaced.
    ///
    /// # Errors
    /// A secret for which `value` has nothing.
    pub fn substitute(
        &self,
        text: &str,
        mut value: impl FnMut(&str) -> Option<String>,
    ) -> Result<String, MissingSecret> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = self.next(rest) {
            result.push_str(before);
            match value(&name) {
                Some(value) => result.push_str(&value),
                None => return Err(MissingSecret { name }),
            }
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    /// The text before the first marker, the secret it names, and the text after it.
    fn next<'t>(&self, text: &'t str) -> Option<(&'t str, String, &'t str)> {
        let (before, rest) = text.split_once(&self.prefix)?;
        let (encoded, after) = rest.split_once('}')?;
        Some((before, decode(encoded), after))
    }
}

impl fmt::Debug for SecretMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretMarker(…)")
    }
}

fn decode(encoded: &str) -> String {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        let code = (byte == b'%').then(|| rest.clone().take(2).collect::<Vec<u8>>());
        let decoded = code
            .and_then(|code| String::from_utf8(code).ok())
            .and_then(|code| u8::from_str_radix(&code, 16).ok());
        match decoded {
            Some(decoded) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_and_replaced() {
        let marker = SecretMarker::new("n1");
        let text = format!("a {} b {}", marker.mark("account.x"), marker.mark("ü/%}"));
        assert_eq!(
            marker.names(&text),
            ["account.x", "ü/%}"].map(str::to_owned).into()
        );
        let filled = marker
            .substitute(&text, |name| Some(format!("[{name}]")))
            .unwrap();
        assert_eq!(filled, "a [account.x] b [ü/%}]");
        let missing = marker.substitute(&text, |name| (name == "account.x").then(String::new));
        assert_eq!(
            missing,
            Err(MissingSecret {
                name: "ü/%}".to_owned()
            })
        );
    }

    #[test]
    fn another_nonce_is_another_text() {
        let forged = SecretMarker::new("guess").mark("x");
        let marker = SecretMarker::new("n1");
        assert!(!marker.marks(&forged));
        assert_eq!(marker.substitute(&forged, |_| None).unwrap(), forged);
    }

    #[test]
    fn values_are_not_searched_for_markers() {
        let marker = SecretMarker::new("n1");
        let value = marker.mark("other");
        let filled = marker
            .substitute(&marker.mark("x"), |_| Some(value.clone()))
            .unwrap();
        assert_eq!(filled, value);
    }
}
