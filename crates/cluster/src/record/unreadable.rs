//! Records that are there and cannot be read.

use jiff::Timestamp;
use serde_json::Value;

use super::{RecordError, Release, encoding};

/// The Secret of a record that cannot be read. It keeps its number: no other release gets it.
#[derive(Debug)]
pub struct Unreadable {
    /// Name of the Secret.
    pub secret: String,
    /// Release number, which is in the Secret's name; `None` when that is not the name of a record of the release.
    pub number: Option<u64>,
    /// When the Secret was made.
    pub created_at: Option<Timestamp>,
    /// Why it cannot be read.
    pub why: RecordError,
    pub(super) version: String,
}

impl Unreadable {
    pub(super) fn new(release: &Release, secret: &Value, why: RecordError) -> Self {
        let text = |pointer: &str| secret.pointer(pointer).and_then(Value::as_str);
        let name = encoding::secret_name(secret);
        Self {
            number: release.number_in(&name),
            created_at: text("/metadata/creationTimestamp").and_then(|time| time.parse().ok()),
            version: text("/metadata/resourceVersion")
                .unwrap_or_default()
                .to_owned(),
            secret: name,
            why,
        }
    }

    /// Whether a later version of Sortie wrote it, so that this one must not work on the release at all.
    pub const fn is_newer(&self) -> bool {
        matches!(self.why, RecordError::NewerFormat { .. })
    }

    /// One word for lists.
    pub const fn status(&self) -> &'static str {
        if self.is_newer() {
            "NewerFormat"
        } else {
            "Damaged"
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_number_is_the_one_in_the_name() {
        let release = Release::new("shop", "web").unwrap();
        for (name, number) in [
            ("sortie.release.web.7", Some(7)),
            ("sortie.release.web.07", None),
            ("sortie.release.web.+7", None),
            ("sortie.release.web.7.copy", None),
            ("sortie.release.api.7", None),
            ("copy", None),
        ] {
            let secret = json!({"metadata": {
                "name": name, "creationTimestamp": "2026-01-02T03:04:05Z", "resourceVersion": "9",
            }});
            let why = RecordError::Damaged {
                secret: name.to_owned(),
                what: "cut".to_owned(),
            };
            let unreadable = Unreadable::new(&release, &secret, why);
            assert_eq!(unreadable.number, number, "{name}");
            assert_eq!(
                unreadable.created_at.unwrap().to_string(),
                "2026-01-02T03:04:05Z"
            );
        }
    }
}
