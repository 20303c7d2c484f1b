//! What must hold for any input, also a hostile one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Map, Value};
use sortie_manifest::{Limits, parse, yaml};

fn text_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        "[a-z :#\\-\n\t'\"|>&*!%@`{}\\[\\],?]{0,16}",
        "[0-9_.eExXoObB+\\-:]{1,10}",
        proptest::sample::select(vec![
            "",
            "y",
            "No",
            "~",
            "null",
            "0644",
            "1_000",
            "<<",
            "=",
            ".inf",
            "---",
            "...",
            "- a",
            "a: b",
            "a #b",
            "line\n",
            "line\nline",
            "\n",
            " x",
            "x ",
            "\u{feff}x",
            "\u{2028}",
            "\u{85}x",
            "\u{7f}",
            "a\r\nb",
            "é",
            "日本",
            "x\n\n",
            "x\n \ny",
            "\tx\ny",
            "#",
            "a\n# b\n",
            "%YAML",
            "!!str",
            "2001-01-01",
            "1:30",
            "🦀",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1.0e6..1.0e6_f64)
            .prop_filter_map("whole", |f| (f.fract() != 0.0).then(|| Value::from(f))),
        text_value().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text_value(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn reading_never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(parse("f", &bytes, &Limits::default()));
    }

    #[test]
    fn reading_never_panics_on_yaml_like_text(text in "[a-c:\\-&*!<>|{}\\[\\],#'\"%\n\t .~0-9]{0,120}") {
        let limits = Limits { depth: 20, nodes: 2000, ..Limits::default() };
        drop(parse("f", text.as_bytes(), &limits));
    }

    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        let text = yaml::write(&value);
        let read = yaml::documents("f", text.as_bytes(), &Limits::default());
        prop_assert!(read.is_ok(), "{text}\n{read:?}");
        let read = read.unwrap();
        prop_assert_eq!(read.len(), 1, "{}", &text);
        prop_assert_eq!(&read[0].value, &value, "{}", text);
    }

    #[test]
    fn json_is_read_as_itself(value in any_value()) {
        let value = Value::Object(Map::from_iter([("a".to_owned(), value)]));
        let text = serde_json::to_string_pretty(&value).unwrap();
        let read = yaml::documents("f", text.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(&read[0].value, &value);
    }
}

/// Nine levels of nine aliases each: 3.4e8 values from 500 bytes.
#[test]
fn alias_bombs_are_refused() {
    let mut lists = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    let mut maps = "a0: &a0 {k: x}\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        lists += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
        let keys: Vec<_> = (0..9).map(|key| format!("k{key}: {alias}")).collect();
        maps += &format!("a{level}: &a{level} {{{}}}\n", keys.join(", "));
    }
    for text in [lists, maps] {
        let error = parse("f", text.as_bytes(), &Limits::default())
            .unwrap_err()
            .first()
            .clone();
        assert_eq!(error.code(), "SRT-M006");
    }
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1_000_000),
        "*a,".repeat(100_000)
    );
    assert_eq!(
        parse("f", long.as_bytes(), &Limits::default())
            .unwrap_err()
            .first()
            .clone()
            .code(),
        "SRT-M001"
    );
    let merged = format!(
        "a: &a {{x: &x {}}}\n{}",
        "y".repeat(1_000_000),
        "---\n".repeat(2)
    );
    assert!(yaml::documents("f", merged.as_bytes(), &Limits::default()).is_ok());
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let deep = 100_000;
    let texts = [
        "[".repeat(deep),
        "{a: ".repeat(deep),
        "{\"a\":".repeat(deep),
        "- ".repeat(deep),
        "? ".repeat(deep),
        "a:\n".to_owned()
            + &(1..2000)
                .map(|n| " ".repeat(n) + "a:\n")
                .collect::<String>(),
    ];
    for text in texts {
        let error = parse("f", text.as_bytes(), &Limits::default())
            .unwrap_err()
            .first()
            .clone();
        let sample: String = text.chars().take(8).collect();
        assert!(
            ["SRT-M005", "SRT-M003"].contains(&error.code()),
            "{sample}: {error}"
        );
    }
}

#[test]
fn large_files_are_refused_or_read() {
    let large = vec![b'a'; 50 * 1024 * 1024];
    assert_eq!(
        parse("f", &large, &Limits::default())
            .unwrap_err()
            .first()
            .clone()
            .code(),
        "SRT-M001"
    );
    let document = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n---\n";
    let many = document.repeat(9_000);
    assert_eq!(
        parse("f", many.as_bytes(), &Limits::default())
            .unwrap()
            .len(),
        9_000
    );
    let separators = "---\n".repeat(1_000_000);
    assert_eq!(
        parse("f", separators.as_bytes(), &Limits::default())
            .unwrap_err()
            .first()
            .clone()
            .code(),
        "SRT-M007"
    );
}
