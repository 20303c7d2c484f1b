//! Where objects stand, and where errors point.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use sortie_manifest::{Limits, Object, ParseError, parse};

fn objects(text: &str) -> Vec<Object> {
    parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn an_object_knows_where_its_document_begins() {
    let json = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}).to_string()
    };
    let (a, b, c) = (json("é"), json("b"), json("c"));
    for (text, expected) in [
        (
            "# c\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: b}\n".to_owned(),
            vec!["t.yaml:2:1", "t.yaml:7:3"],
        ),
        (
            "spec: [{}]\nmetadata: {}\nitems:\n- apiVersion: v1\n  kind: Pod\n  items: [1, 2]\n  metadata: {name: a}\n-\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: b}\n\
             - kind: List\n  items: [{apiVersion: v1, kind: Pod, metadata: {name: c}}, {apiVersion: v1, kind: Pod, metadata: {name: d}}]\n\
             kind: List\n---\napiVersion: v1\nkind: PodList\nitems: [{metadata: {name: e}}]\n".to_owned(),
            vec!["t.yaml:4:3", "t.yaml:9:3", "t.yaml:12:3", "t.yaml:12:3", "t.yaml:18:9"],
        ),
        (
            "kind: List\nx: &x [{apiVersion: v1, kind: Pod, metadata: {name: a}}]\nitems: *x\n".to_owned(),
            vec!["t.yaml:1:1"],
        ),
        (format!("--- {a}\n--- {b}\n"), vec!["t.yaml:1:5", "t.yaml:2:5"]),
        (
            format!("\n  {a} {b}\n\n\t{c}"),
            vec!["t.yaml:2:3", "t.yaml:2:60", "t.yaml:4:2"],
        ),
    ] {
        let origins = objects(&text);
        let origins: Vec<_> = origins.iter().map(|one| one.origin().to_string()).collect();
        assert_eq!(origins, expected, "{text}");
    }
    assert_eq!(
        sortie_manifest::Origin::outside("the cluster").to_string(),
        "the cluster"
    );
}

#[test]
fn errors_point_at_the_field() {
    let table = [
        (
            "a: 1\n---\nkind: Pod\nmetadata:\n  name: 12\n",
            "t.yaml:1:1: the document",
        ),
        (
            "\n\nkind: Pod\nmetadata:\n  name: 12\n",
            "t.yaml:3:1: the document",
        ),
        (
            "# c\n---\n# c\n---\n\napiVersion: v1\nkind: Pod\nmetadata:\n  name: 12\n",
            "t.yaml:9:3 (document 2): the document",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {labels: {}, name: a/b}\n",
            "t.yaml:3:24: the document",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n",
            "t.yaml:3:1: the document",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    a: b\n    example.com/c.d: 5\n",
            "t.yaml:7:5: the document",
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
             - kind: List\n  items: [{apiVersion: v1, kind: Pod, metadata: {name: b}}, {apiVersion: v1, kind: 5}]\n",
            "t.yaml:6:78: items[1].items[1]",
        ),
        (
            "--- {apiVersion: v1, kind: Pod, metadata: {name: 3}}\n",
            "t.yaml:1:44: the document",
        ),
        (
            "a: &a {name: 3}\napiVersion: v1\nkind: Pod\nmetadata: *a\n",
            "t.yaml:4:1: the document",
        ),
        ("{\"apiVersion\": \"v1\"}\n", "t.yaml:1:1: the document"),
        (
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}\n{\"apiVersion\":\"v1\",\n\"kind\":\"P d\"}",
            "t.yaml:3:1 (document 2): the document",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  good: eA==\n  tls.key: hunter2!\n",
            "t.yaml:6:3: the document",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b!}\nbinaryData: {c: d!}\n",
            "t.yaml:5:14: the document",
        ),
        ("- a\n- b\n", "t.yaml:1:1: the document"),
        (
            "é: ü\napiVersion: {a: b}\nkind: Pod\n",
            "t.yaml:2:1: the document",
        ),
        ("a: [1, 2\n", "t.yaml:1:4: "),
        ("a: 1\n---\nb: 'x\n", "t.yaml:3:4 (document 2): "),
    ];
    for (text, expected) in table {
        let errors = parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap_err();
        let told: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
        assert!(
            told.iter().any(|one| one.starts_with(expected)),
            "{text}: {told:?}"
        );
    }
}

/// The places of all errors of a text.
fn faults(text: &str) -> Vec<String> {
    let errors = parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap_err();
    let told = |error: ParseError| format!("{} {}", error.code(), error.place());
    errors.into_iter().map(told).collect()
}

#[test]
fn every_bad_document_is_told_with_its_place() {
    const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let bad = "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a b\n";
    assert_eq!(
        faults(&format!("{GOOD}---\n{bad}")),
        [
            "SRT-M009 t.yaml:5:1 (document 2)",
            "SRT-M009 t.yaml:8:1 (document 3)",
            "SRT-M010 t.yaml:14:3 (document 4)",
        ]
    );
    // After what is no YAML, reading goes on with the next document.
    for broken in [
        "a: [1",
        "a: 'x",
        "a: b: c",
        "`a",
        "a:\n\tb: 1",
        "a: 1\na: 2",
        "a: *b",
    ] {
        let lines = broken.lines().count();
        let first = faults(&format!("{broken}\n---\n{GOOD}---\nkind: A\n---\n[\n"));
        assert_eq!(first.len(), 3, "{broken}: {first:?}");
        let line = lines + 6;
        assert_eq!(
            first[1],
            format!("SRT-M009 t.yaml:{line}:1 (document 3)"),
            "{broken}"
        );
        assert!(first[2].ends_with("(document 4)"), "{broken}: {first:?}");
        let later = faults(&format!("{GOOD}---\n{broken}\n---\nkind: A\n"));
        assert_eq!(later.len(), 2, "{broken}: {later:?}");
        assert!(later[0].ends_with("(document 2)"), "{broken}: {later:?}");
        let line = 4 + lines + 2;
        assert_eq!(
            later[1],
            format!("SRT-M009 t.yaml:{line}:1 (document 3)"),
            "{broken}"
        );
    }
    // Dashes inside a text are no document.
    assert_eq!(faults("a: |\n  ---\n  x\na: 1\n").len(), 1);
    assert_eq!(faults("{\"a\": 1, \"a\": 2}\n{\"kind\": 3}\n[]\n").len(), 3);
    let list = "kind: List\napiVersion: v1\nitems:\n- kind: A\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- 3\n";
    assert_eq!(faults(list).len(), 2);
}

#[test]
fn the_first_hundred_errors_are_told_and_the_others_counted() {
    let text = "kind: A\n---\n".repeat(250);
    let errors = parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(errors.more(), 150);
    assert_eq!(errors.into_iter().count(), 100);
}
