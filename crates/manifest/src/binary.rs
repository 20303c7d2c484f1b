//! Values that manifests write in base64.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::object::ObjectError;
use crate::secrets;

/// As the API server decodes: padded, with line breaks left out, and without a look at the bits that no byte needs.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Checks that what has to be base64 is: the `data` of a Secret and the `binaryData` of a ConfigMap. The error names the
/// key, and not the value.
pub(crate) fn check(object: &Map<String, Value>) -> Result<(), ObjectError> {
    let word = |key: &str| object.get(key).and_then(Value::as_str);
    let (field, reason) = if secrets::is_secret(object) {
        (
            "data",
            "it must be base64; write plain text under stringData",
        )
    } else if (word("apiVersion"), word("kind")) == (Some("v1"), Some("ConfigMap")) {
        (
            "binaryData",
            "it must be base64; write plain text under data",
        )
    } else {
        return Ok(());
    };
    let entries = object.get(field).and_then(Value::as_object);
    let mut texts = entries
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, value.as_str()?)));
    match texts.find(|(_, text)| !is_base64(text)) {
        Some((key, _)) => Err(ObjectError::Invalid {
            field: format!("{field}.{key}"),
            reason,
        }),
        None => Ok(()),
    }
}

fn is_base64(text: &str) -> bool {
    if text.contains(['\r', '\n']) {
        return ENGINE.decode(text.replace(['\r', '\n'], "")).is_ok();
    }
    ENGINE.decode(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_decodes_is_base64_and_nothing_else() {
        for (text, is) in [
            ("", true),
            ("aHVudGVyMg==", true),
            ("aHVu\ndGVy\r\nMg==\n", true),
            ("aHVudGVyMh==", true),
            ("aHVudGVyMg", false),
            ("hunter2!", false),
            ("aHVu dGVy", false),
            ("_-__", false),
        ] {
            assert_eq!(is_base64(text), is, "{text:?}");
        }
    }
}
