//! How text becomes objects: scalars as Kubernetes tooling reads them, lists and limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sortie_manifest::{Limits, Object, ParseError, parse, yaml};

fn value(text: &str) -> Value {
    let mut documents = yaml::documents("t.yaml", text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).value
}

fn refusal(text: &str) -> ParseError {
    yaml::documents("t.yaml", text.as_bytes(), &Limits::default()).unwrap_err()
}

fn objects(text: &str) -> Vec<Object> {
    parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap()
}

/// Expected values were taken from kubectl 1.37 (`kubectl annotate --local -o json`).
#[test]
fn plain_scalars_are_read_as_kubectl_reads_them() {
    let table = [
        ("0644", json!(420)),
        ("0o17", json!(15)),
        ("08", json!(8)),
        ("09.5", json!(9.5)),
        ("1_000", json!(1000)),
        ("0b11", json!(3)),
        ("0x1F", json!(31)),
        ("+0x1F", json!(31)),
        ("-0x1F", json!(-31)),
        ("-0b11", json!(-3)),
        ("07_7", json!(63)),
        ("1:30", json!("1:30")),
        ("12:30:45", json!("12:30:45")),
        ("1:20.5", json!("1:20.5")),
        ("2001-01-01", json!("2001-01-01")),
        ("2001-01-01T00:00:00Z", json!("2001-01-01T00:00:00Z")),
        ("y", json!(true)),
        ("Y", json!(true)),
        ("n", json!(false)),
        ("yes", json!(true)),
        ("NO", json!(false)),
        ("on", json!(true)),
        ("Off", json!(false)),
        ("tRue", json!("tRue")),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("nUll", json!("nUll")),
        ("\"\"", json!("")),
        ("1e3", json!(1000)),
        ("3.0", json!(3)),
        (".5", json!(0.5)),
        ("5.", json!(5)),
        ("+12", json!(12)),
        ("-0", json!(0)),
        ("-0644", json!(-420)),
        ("+.5", json!(0.5)),
        ("-.5", json!(-0.5)),
        ("1e400", json!("1e400")),
        (
            "18446744073709551615",
            json!(18_446_744_073_709_551_615_u64),
        ),
        (
            "18446744073709551616",
            json!(18_446_744_073_709_551_616_f64),
        ),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.5e300", json!(1.5e300)),
        ("0.1", json!(0.1)),
        ("1e-7", json!(1e-7)),
        ("1_0.5", json!(10.5)),
        ("0x_1", json!(1)),
        ("_1", json!("_1")),
        ("1_", json!(1)),
        ("0x7fffffffffffffffff", json!("0x7fffffffffffffffff")),
        ("=", json!("=")),
        ("0b", json!("0b")),
        ("0x", json!("0x")),
        ("0o8", json!("0o8")),
        ("1e", json!("1e")),
        (".", json!(".")),
        ("+", json!("+")),
        ("0.0", json!(0)),
        ("-0.0", json!(0)),
        ("!!str 12", json!("12")),
        ("!!int \"12\"", json!(12)),
        ("!!float 3", json!(3)),
        ("!!float 0x10", json!(16)),
        ("!!bool \"yes\"", json!(true)),
        ("!!str", json!("")),
        ("!!str null", json!("null")),
        ("!!timestamp 2001-01-01", json!("2001-01-01")),
        ("!foo 12", json!("12")),
        ("!!binary aGVsbG8=", json!("hello")),
        ("!!set {b, c}", json!({"b": null, "c": null})),
        ("'0644'", json!("0644")),
        ("\"yes\"", json!("yes")),
        ("\"\\u00e9\\x41\\/\"", json!("éA/")),
    ];
    for (text, expected) in table {
        let read = value(&format!("a: {text}\n"));
        assert_eq!(read["a"], expected, "{text}");
        assert_eq!(
            read["a"].is_f64(),
            expected.is_f64(),
            "{text} has the wrong kind of number"
        );
    }
}

#[test]
fn values_that_kubernetes_cannot_hold_are_refused_at_their_place() {
    for text in [
        "a: .inf",
        "a: -.INF",
        "a: .nan",
        "a: !!int foo",
        "a: !!int 3.5",
        "a: !!null foo",
        "a: !!binary '?'",
        "a: !!bool 3",
        "a: *b",
        "a: &a [*a]",
        "~: 1",
        "[a]: 1",
        "{a: 1}: 2",
        "<<: 1",
        "<<: [1]",
        "a: [",
        "a: b: c",
        "a:\n\tb: 1",
        "a: 'x",
    ] {
        let error = refusal(&format!("# first\n{text}\n"));
        assert_eq!(error.code(), "SRT-M003", "{text}: {error}");
        assert!(error.place().line >= 2, "{text}: {error}");
        assert!(error.to_string().starts_with("t.yaml:"), "{error}");
    }
}

#[test]
fn merge_keys_fill_in_what_is_not_said() {
    let table = [
        ("<<: {a: 2, b: 3}\na: 1", json!({"a": 1, "b": 3})),
        ("a: 1\n<<: {a: 2, b: 3}", json!({"a": 1, "b": 3})),
        ("<<: [{a: 1}, {a: 2, b: 3}]", json!({"a": 1, "b": 3})),
        ("<<: {a: 1}\n<<: {b: 2}", json!({"a": 1, "b": 2})),
        (
            "a: &x {b: 1}\nc: {<<: *x, d: 2}",
            json!({"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ),
        (
            "a: &x {b: 1}\nc: {!!merge <<: *x}",
            json!({"a": {"b": 1}, "c": {"b": 1}}),
        ),
        ("\"<<\": {a: 1}", json!({"<<": {"a": 1}})),
        (
            "a: &x [1, {b: 2}]\nc: *x",
            json!({"a": [1, {"b": 2}], "c": [1, {"b": 2}]}),
        ),
        ("a: &x 1\nb: &x 2\nc: *x", json!({"a": 1, "b": 2, "c": 2})),
    ];
    for (text, expected) in table {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn keys_are_the_text_that_was_written() {
    let table = [
        (
            "{y: 1, on: 2, true: 3, True: 4, 0644: 5, 1.50: 6, 1e3: 7}",
            json!({"y": 1, "on": 2, "true": 3, "True": 4, "0644": 5, "1.50": 6, "1e3": 7}),
        ),
        ("? a\n: b", json!({"a": "b"})),
        ("a: &x k\n*x : v", json!({"a": "k", "k": "v"})),
        ("!!str 12: a", json!({"12": "a"})),
    ];
    for (text, expected) in table {
        assert_eq!(value(text), expected, "{text}");
    }
}

/// The right-hand sides are what `kubectl label --local -o json` printed (v1.37.2).
#[test]
fn keys_of_which_kubectl_makes_something_else_are_noted() {
    let refused = "12345678901234567890";
    for (written, by_kubectl) in [
        ("n", "false"),
        ("on", "true"),
        ("Yes", "true"),
        ("1.50", "1.5"),
        ("0644", "420"),
        ("08", "8"),
        ("1e3", "1000"),
        ("1e5", "100000"),
        ("1e6", "1e+06"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("1.0", "1"),
        ("0o17", "15"),
        ("+1", "1"),
        ("123456789.5", "1.2345679e+08"),
        ("1e40", ".inf"),
        ("-0", "0"),
        ("0.00001", "1e-05"),
        ("1.23456789012", "1.2345679"),
        ("99999999999999999999999", "1e+23"),
        ("0.30000001", "0.3"),
        // As they are written.
        ("true", ""),
        ("1", ""),
        ("-5", ""),
        ("1.5", ""),
        ("0.0001", ""),
        ("2001-01-01", ""),
        ("1:30", ""),
        ("\"on\"", ""),
        ("!!str on", ""),
        (refused, "refused"),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: b}}\ndata:\n  {written}: v\n"
        );
        let read = sortie_manifest::read("a.yaml", text.as_bytes(), &Limits::default()).unwrap();
        let data = &read.objects[1].value()["data"];
        let key = written.trim_start_matches("!!str ").trim_matches('"');
        assert_eq!(data[key], "v", "{written}");
        let Some(note) = read.keys.first() else {
            assert_eq!(by_kubectl, "", "{written}");
            continue;
        };
        let other = note.by_kubectl.as_deref().unwrap_or("refused");
        assert_eq!(other, by_kubectl, "{written}");
        let told = note.to_string();
        let place = format!("a.yaml:9:3 (document 2): the key {written} ");
        assert!(told.starts_with(&place), "{told}");
        assert_eq!(
            written == refused,
            told.contains("kubectl refuses it"),
            "{told}"
        );
    }
    let many: String = (0..50).map(|n| format!("  0{n:o}: v\n")).collect();
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n{many}");
    let read = sortie_manifest::read("a.yaml", text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(read.keys.len(), 20);
}

#[test]
fn duplicate_keys_are_refused_at_the_second_one() {
    for text in [
        "a: 1\nb: 2\na: 3\n",
        "{\"a\": 1,\n\"b\": 2,\n\"a\": 3}",
        "'yes': 1\nb: 2\nyes: 3\n",
    ] {
        let error = refusal(text);
        assert_eq!(
            (error.code(), error.place().line),
            ("SRT-M004", 3),
            "{text}: {error}"
        );
    }
}

#[test]
fn block_scalars_keep_their_line_breaks() {
    let table = [
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: |-\n  x\n", "x"),
        ("a: |+\n  x\n\n", "x\n\n"),
        ("a: |\n  x", "x\n"),
        ("a: >\n  x\n  y\n", "x y\n"),
        ("a: |\r\n  x\r\n", "x\n"),
        (
            "a: |\n  # no comment\n  --- no document\n",
            "# no comment\n--- no document\n",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(value(text)["a"], json!(expected), "{text:?}");
    }
}

#[test]
fn documents_keep_their_number_and_line() {
    let text = "# a comment\n---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n\
                ---\n---\n# why\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: b\n...\n";
    let found: Vec<_> = objects(text)
        .iter()
        .map(|object| {
            (
                object.id().to_string(),
                object.origin().document,
                object.origin().line,
            )
        })
        .collect();
    let expected = [
        ("Namespace/a".to_owned(), 2, 5),
        ("Deployment/b".to_owned(), 4, 11),
    ];
    assert_eq!(found, expected);
    assert_eq!(objects(text)[1].group(), "apps");
    assert_eq!(objects(text)[1].version(), "v1");
}

#[test]
fn empty_texts_hold_no_objects() {
    for text in [
        "",
        "\n",
        "# only a comment\n",
        "---\n",
        "---\n---\n...\n",
        "\u{feff}",
        "null",
        "  ",
    ] {
        assert!(objects(text).is_empty(), "{text:?}");
    }
}

#[test]
fn json_streams_are_read_without_separators() {
    let one =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"\/\t"}}"#;
    let two = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}"#;
    for text in [
        format!("{one}{two}"),
        format!("\n{one}\n\n{two}\n"),
        format!("---\n{one}\n---\n{two}"),
    ] {
        let names: Vec<_> = objects(&text)
            .iter()
            .map(|object| object.name().to_owned())
            .collect();
        assert_eq!(names, ["a", "b"], "{text}");
    }
    assert_eq!(objects(&format!("\n{one}\n\n{two}\n"))[1].origin().line, 4);
    assert_eq!(
        value(r#"{"a": 3.0, "b": 1e3, "c": 0.5, "d": -0.0}"#),
        json!({"a": 3, "b": 1000, "c": 0.5, "d": 0})
    );
    assert_eq!(value("{a: 1, b: yes}"), json!({"a": 1, "b": true}));
    assert_eq!(refusal("{\"a\": 1,\n \"b\" 2}").place().line, 2);
}

#[test]
fn lists_are_replaced_by_their_items() {
    let found = objects(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n\
         - apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: Secret, metadata: {name: b}}\n\
         ---\napiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: c}\n\
         ---\napiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: d}\nitems: [x]\n\
         ---\napiVersion: v1\nkind: List\n",
    );
    let ids: Vec<_> = found.iter().map(|object| object.id().to_string()).collect();
    assert_eq!(ids, ["Namespace/a", "Secret/b", "Service/c", "AllowList/d"]);
    assert_eq!(found[2].api_version(), "v1");

    let error = parse(
        "t.yaml",
        b"apiVersion: v1\nkind: ServiceList\nitems:\n- {kind: Pod, metadata: {name: c}}\n",
        &Limits::default(),
    )
    .unwrap_err()
    .first()
    .clone();
    assert_eq!(error.code(), "SRT-M011");
    assert!(
        error
            .to_string()
            .starts_with("t.yaml:4:4: items[0] is a Pod"),
        "{error}"
    );
}

#[test]
fn documents_that_are_no_objects_are_refused_with_the_field() {
    let table = [
        ("hello", "SRT-M008", "found text"),
        ("- a", "SRT-M008", "found a list"),
        (
            "kind: Pod\nmetadata: {name: a}",
            "SRT-M009",
            "apiVersion is missing",
        ),
        (
            "apiVersion: v1\nmetadata: {name: a}",
            "SRT-M009",
            "kind is missing",
        ),
        (
            "apiVersion: v1\nkind: Pod",
            "SRT-M009",
            "metadata is missing",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {}",
            "SRT-M009",
            "metadata.name is missing",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}",
            "SRT-M010",
            "generateName",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: 12}",
            "SRT-M010",
            "put quotes around it",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: ../x}",
            "SRT-M010",
            "metadata.name",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: 'a b'}",
            "SRT-M010",
            "metadata.name",
        ),
        (
            "apiVersion: v1/../x\nkind: Pod\nmetadata: {name: a}",
            "SRT-M010",
            "apiVersion",
        ),
        (
            "apiVersion: apps//v1\nkind: Pod\nmetadata: {name: a}",
            "SRT-M010",
            "apiVersion",
        ),
        (
            "apiVersion: /v1\nkind: Pod\nmetadata: {name: a}",
            "SRT-M010",
            "apiVersion",
        ),
        (
            "apiVersion: 1\nkind: Pod\nmetadata: {name: a}",
            "SRT-M010",
            "apiVersion",
        ),
        (
            "apiVersion: v1\nkind: po/d\nmetadata: {name: a}",
            "SRT-M010",
            "kind",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: A}",
            "SRT-M010",
            "namespace",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: 1}}",
            "SRT-M010",
            "metadata.labels.x",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {x: eA==, 'p.q': hunter2!}",
            "SRT-M010",
            "data.p.q is not valid: it must be base64; write plain text under stringData",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: []}",
            "SRT-M010",
            "metadata.annotations",
        ),
    ];
    for (text, code, words) in table {
        let error = parse(
            "t.yaml",
            format!("\n---\n{text}\n").as_bytes(),
            &Limits::default(),
        )
        .unwrap_err()
        .first()
        .clone();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(error.code(), code, "{text}");
        assert!(source.contains(words), "{text}: {source}");
        assert!(
            error.place().line >= 3 && error.place().column >= 1,
            "{error}"
        );
        assert!(!error.help().is_empty());
    }
}

#[test]
fn limits_are_kept() {
    let limits = Limits {
        bytes: 1000,
        documents: 3,
        depth: 5,
        nodes: 50,
    };
    let read = |text: &str| yaml::documents("t.yaml", text.as_bytes(), &limits).map(|d| d.len());
    let code = |text: &str| read(text).unwrap_err().code();
    assert_eq!(read(&"a".repeat(1000)), Ok(1));
    assert_eq!(code(&"a".repeat(1001)), "SRT-M001");
    assert_eq!(read("a: 1\n---\na: 1\n---\na: 1\n"), Ok(3));
    assert_eq!(code("a: 1\n---\na: 1\n---\na: 1\n---\na: 1\n"), "SRT-M007");
    assert_eq!(code("{\"a\":1}{\"a\":1}{\"a\":1}{\"a\":1}"), "SRT-M007");
    for (text, deeper) in [
        ("[[[[[1]]]]]", "[[[[[[1]]]]]]"),
        ("{\"a\":[[[[1]]]]}", "{\"a\":[[[[[1]]]]]}"),
    ] {
        assert_eq!(read(text), Ok(1), "{text}");
        assert_eq!(code(deeper), "SRT-M005", "{deeper}");
    }
    assert_eq!(code("a: &a [[[1]]]\nb: [[*a]]\n"), "SRT-M005");
    assert_eq!(read(&format!("[{}]", "1,".repeat(49))), Ok(1));
    assert_eq!(code(&format!("[{}]", "1,".repeat(50))), "SRT-M006");
    assert_eq!(
        code(&format!("{{\"a\":[{}1]}}", "1,".repeat(50))),
        "SRT-M006"
    );
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(400), "*a, ".repeat(10));
    assert_eq!(code(&text), "SRT-M001");
    let error = yaml::documents("t.yaml", b"a: 1\nb: \xff\n", &limits).unwrap_err();
    assert_eq!((error.code(), error.place().line), ("SRT-M002", 2));
}

#[test]
fn debug_output_shows_no_content() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: hunter2}\n";
    assert!(!format!("{:?}", objects(secret)).contains("hunter2"));
}
