//! The value of a secret leaves its document, and nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use sortie_model::{Limits, parse, take_secret_value};

fn document(value: &str) -> String {
    format!(
        "# keep\nsecret:\n  type: SecretText   # text\n  name: db pw\n  identifier: db_pw\n  spec:\n    secretManagerIdentifier: \
         harnessSecretManager\n    valueType: Inline\n    value: {value}\n  # between\n  tags: {{}}\n"
    )
}

#[test]
fn values_are_cut_out_in_every_style() {
    let cases = [
        ("hunter2", "hunter2", "null"),
        ("hunter2 # why", "hunter2", "null # why"),
        ("'it''s'", "it's", "null"),
        ("\"a\\nb\\u00fc\"", "a\nbü", "null"),
        ("12345", "12345", "null"),
        ("true", "true", "null"),
        ("\"\"", "", "null"),
        (
            "|-\n      line one\n      line two",
            "line one\nline two",
            "null",
        ),
        (
            "|  # pem\n      line one\n\n      two",
            "line one\n\ntwo\n",
            "null  # pem",
        ),
        (">\n      a\n      b", "a b\n", "null"),
        ("first\n      second", "first second", "null"),
    ];
    for (written, value, left) in cases {
        let text = document(written);
        let parsed = parse("f", text.as_bytes(), &Limits::default());
        assert!(
            parsed.problems.is_empty(),
            "{written}: {:?}",
            parsed.problems
        );
        let (without, taken) = take_secret_value(&text).unwrap();
        assert_eq!(taken.unwrap().expose_secret(), value, "{written}");
        assert_eq!(without, document(left), "{written}");
        let again = parse("f", without.as_bytes(), &Limits::default());
        assert!(again.problems.is_empty(), "{:?}", again.problems);
        assert_eq!(again.entities[0].value, parsed.entities[0].value);
        let (same, nothing) = take_secret_value(&without).unwrap();
        assert_eq!(same, without);
        assert!(nothing.is_none());
    }
}

#[test]
fn flow_documents_and_absent_values() {
    let text = "secret: {spec: {value: \"p, q\", valueType: Inline}, name: a}";
    let (without, taken) = take_secret_value(text).unwrap();
    assert_eq!(
        without,
        "secret: {spec: {value: null, valueType: Inline}, name: a}"
    );
    assert_eq!(taken.unwrap().expose_secret(), "p, q");
    let text = "secret:\n  name: a\n";
    assert_eq!(take_secret_value(text).unwrap().0, text);
}

#[test]
fn values_that_cannot_be_cut_out_are_refused() {
    for written in ["!!str hunter2", "&a hunter2"] {
        let text = document(written);
        assert!(take_secret_value(&text).is_err(), "{written}");
    }
    let merged = document("x")
        .replace("    value: x\n", "    <<: *v\n")
        .replace("# keep", "# keep\n");
    let merged = merged
        .replace(
            "  name: db pw\n",
            "  description: \"\"\n  name: db pw\n  tags: &v {value: x}\n",
        )
        .replace("  tags: {}\n", "");
    assert!(take_secret_value(&merged).is_err(), "{merged}");
    assert!(take_secret_value("secret: {spec: {value: [a]}}").is_err());
    assert!(take_secret_value("secret: {spec: {value: a, value: b}}").is_err());
    assert!(take_secret_value("secret: [").is_err());
}

#[test]
fn a_field_that_is_not_known_in_a_secret_is_an_error() {
    let text = document("null").replace("value: null", "valeu: hunter2");
    let parsed = parse("f", text.as_bytes(), &Limits::default());
    assert!(parsed.has_errors(false));
    let shown = format!("{parsed:?}");
    assert!(shown.contains("`value` meant"), "{shown}");
}

#[test]
fn values_appear_nowhere() {
    for text in [
        document("hunter2"),
        document("[hunter2]"),
        document("{a: hunter2}"),
        document("&a hunter2"),
        document("hunter2").replace("Inline", "Inlin"),
        document("hunter2").replace("name: db pw", "name: '?'"),
        document("\"hunter2\n  <+secrets.getValue("),
    ] {
        let parsed = parse("f", text.as_bytes(), &Limits::default());
        let findings = format!("{:?}", parsed.problems);
        assert!(!findings.contains("hunter2"), "{findings}");
        if let [entity] = parsed.entities.as_slice() {
            assert!(
                !format!("{:?}", entity.spec).contains("hunter2"),
                "{entity:?}"
            );
        }
        assert!(
            !serde_json::to_string(&parsed.problems)
                .unwrap()
                .contains("hunter2")
        );
    }
    let parsed = parse("f", document("hunter2").as_bytes(), &Limits::default());
    assert!(!format!("{parsed:?}").contains("hunter2"));
}

proptest! {
    /// Any text, written as a JSON string, comes out whole and leaves the rest as it was.
    #[test]
    fn any_text_round_trips(value in "\\PC{0,60}") {
        let text = document(&serde_json::to_string(&value).unwrap());
        let (without, taken) = take_secret_value(&text).unwrap();
        prop_assert_eq!(without, document("null"));
        let taken = taken.unwrap();
        prop_assert_eq!(taken.expose_secret(), value.as_str());
    }
}
