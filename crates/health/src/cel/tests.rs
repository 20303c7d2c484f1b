//! By the language's specification, on one object.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Fault, Value, Wrong, evaluate, parse};

fn object() -> Json {
    json!({
        "spec": {"replicas": 3, "paused": false, "none": null, "share": 0.5},
        "status": {
            "phase": "Running", "ready": 2, "list": [1, 2, 3], "empty": [],
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Degraded", "status": "False", "reason": "AsExpected"},
            ],
            "labels": {"a.b/c": "x"},
        },
    })
}

fn run(text: &str) -> Result<Result<Json, Fault>, Wrong> {
    let object = object();
    let node = parse(text, &["self", "spec", "status"])?;
    let roots = [
        ("self", Value::of(&object)),
        ("spec", Value::of(&object["spec"])),
        ("status", Value::of(&object["status"])),
    ];
    Ok(evaluate(&node, &roots).map(|value| plain(&value)))
}

fn plain(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(it) => json!(it),
        Value::Int(it) => json!(it),
        Value::Double(it) => json!(it),
        Value::Text(it) => json!(it),
        other => match other.elements() {
            Some(elements) => elements.iter().map(plain).collect(),
            None => {
                let entries = other.entries().unwrap_or_default();
                let entry = |(key, value): &(Value<'_>, Value<'_>)| {
                    (plain(key).to_string().replace('"', ""), plain(value))
                };
                Json::Object(entries.iter().map(entry).collect())
            }
        },
    }
}

#[test]
fn values() {
    for (text, expected) in [
        ("status.phase", json!("Running")),
        ("self.status['phase'] == \"Running\"", json!(true)),
        ("status.labels['a.b/c']", json!("x")),
        ("1 + 2 * 3 - 4 / 2 % 3", json!(5)),
        ("(1 + 2) * 3", json!(9)),
        ("-status.ready", json!(-2)),
        ("0x1f + 1u", json!(32)),
        ("1.5e1 / 3.0", json!(5.0)),
        ("spec.share < 1", json!(true)),
        ("1 == 1.0", json!(true)),
        ("'a' < 'b' && 2 >= 2 && !(1 > 2)", json!(true)),
        ("'a' + \"b\" + r'\\n' + '\\u00e9\\t'", json!("ab\\né\t")),
        ("'''a\n'b'''", json!("a\n'b")),
        ("[1, 2] + [3] == status.list", json!(true)),
        ("{'a': 1, 'b': [2]}['b'][0]", json!(2)),
        ("{'a': 1} == {'a': 1.0}", json!(true)),
        (
            "2 in status.list && 'phase' in status && !('x' in status) && !(1 in status)",
            json!(true),
        ),
        ("status.list[2]", json!(3)),
        ("status.ready == spec.replicas ? 'yes' : 'no'", json!("no")),
        ("true ? 1 : false ? 2 : 3", json!(1)),
        ("has(status.phase)", json!(true)),
        (
            "has(status.x) || has(status.x.y.z) || has(spec.none)",
            json!(false),
        ),
        (
            "size(status.list) + status.phase.size() + size({})",
            json!(10),
        ),
        (
            "status.phase.startsWith('Run') && status.phase.endsWith('ing') && status.phase.contains('nn')",
            json!(true),
        ),
        ("status.phase.matches('^[A-Z]un+ing$')", json!(true)),
        ("matches(status.phase, 'x')", json!(false)),
        (
            "' aB '.trim().lowerAscii() + 'b'.upperAscii()",
            json!("abB"),
        ),
        ("string(status.ready) + string(true)", json!("2true")),
        ("int('7') + int(2.9)", json!(9)),
        ("double('2.5')", json!(2.5)),
        (
            "status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            json!(true),
        ),
        ("status.conditions.all(c, c.status == 'True')", json!(false)),
        (
            "status.empty.all(c, c.x) && !status.empty.exists(c, c.x)",
            json!(true),
        ),
        (
            "status.conditions.exists_one(c, c.type == 'Ready')",
            json!(true),
        ),
        (
            "status.conditions.filter(c, c.type == 'Ready').all(c, c.status == 'True')",
            json!(true),
        ),
        (
            "status.conditions.map(c, c.type)",
            json!(["Ready", "Degraded"]),
        ),
        ("status.list.map(i, i > 1, i * 10)", json!([20, 30])),
        ("status.labels.all(k, k.contains('/'))", json!(true)),
        ("[1].map(spec, [2].map(i, i + spec))[0][0]", json!(3)),
        ("spec.none == null", json!(true)),
        ("// why\n true", json!(true)),
        // What decides wins over what is not there, on either side.
        ("status.x == 1 || true", json!(true)),
        ("false && status.x == 1", json!(false)),
        ("status.x == 1 && false", json!(false)),
        (
            "status.conditions.exists(c, c.reason == 'AsExpected')",
            json!(true),
        ),
    ] {
        assert_eq!(run(text), Ok(Ok(expected)), "{text}");
    }
}

#[test]
fn what_is_not_there_or_does_not_fit() {
    for (text, expected) in [
        ("status.x", "status.x"),
        ("status.x.y", "status.x"),
        ("status.list[9]", "status.list[9]"),
        ("status['a b']", "status['a b']"),
        ("status.list[-1]", "status.list[…]"),
        ("status.x == 1 && true", "status.x"),
        (
            "status.conditions.all(c, c.reason == 'AsExpected')",
            "c.reason",
        ),
        ("spec.none.x", "spec.none.x"),
    ] {
        assert_eq!(
            run(text),
            Ok(Err(Fault::Absent(expected.to_owned()))),
            "{text}"
        );
    }
    for text in [
        "status.phase > 1",
        "1 + 'a'",
        "1 + 1.5",
        "!status.phase",
        "status.phase && true",
        "status.phase.x",
        "status.ready[0]",
        "1 / 0",
        "9223372036854775807 + 1",
        "-(-9223372036854775807 - 1)",
        "1 in 2",
        "status.phase.map(c, c)",
        "'a'.matches('(')",
        "int('x')",
        "string([])",
        "size(1)",
        "1.contains('1')",
        "{1.5: 2}",
    ] {
        assert!(
            matches!(run(text), Ok(Err(Fault::Type(_)))),
            "{text}: {:?}",
            run(text)
        );
    }
}

#[test]
fn what_is_no_expression() {
    for (text, at) in [
        ("", 0),
        ("status.", 7),
        ("status.phase ==", 15),
        ("(1", 2),
        ("1 2", 2),
        ("nope.phase", 0),
        ("status.list.all(c)", 17),
        ("status.list.all(c, c) && c", 25),
        ("status.frobnicate()", 6),
        ("now()", 0),
        ("size()", 0),
        ("has(status)", 0),
        ("status.?phase", 7),
        ("'abc", 0),
        ("'\\q'", 0),
        ("b'x'", 0),
        ("a @ b", 2),
        ("1.2.3", 0),
        ("1.", 2),
        ("99999999999999999999", 0),
        ("if", 0),
        ("[1 2]", 3),
        ("{'a' 1}", 5),
        ("a = 1", 2),
    ] {
        assert_eq!(run(text).unwrap_err().at, at, "{text}");
    }
}

#[test]
fn nothing_takes_long() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(900), close.repeat(900));
    for text in [
        deep("(", ")"),
        deep("[", "]"),
        deep("-", ""),
        deep("!", ""),
        deep("true ? 1 : ", ""),
        deep("1 + ", ""),
        format!("status{}", ".a".repeat(900)),
        format!("1{}", " ".repeat(9000)),
    ] {
        assert!(run(&text).is_err(), "{text}");
    }
    let long = format!("true{}", " && true".repeat(900));
    assert_eq!(run(&long), Ok(Ok(json!(true))));
    let thousand = "[1,2,3,4,5,6,7,8,9,0]";
    for text in [
        format!(
            "{thousand}.all(a, {thousand}.all(b, {thousand}.all(c, {thousand}.all(d, {thousand}.all(e, true)))))"
        ),
        format!(
            "{thousand}.map(a, {thousand}.map(b, {thousand}.map(c, {thousand}.map(d, {thousand}))))"
        ),
        format!(
            "{thousand}.map(a, 'x'.matches('a{{100}}')).map(a, {thousand}.map(b, 'x'.matches('a{{100}}')))"
        ),
        format!(
            "['{}'].map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x)[0]",
            "x".repeat(3000)
        ),
    ] {
        assert_eq!(run(&text), Ok(Err(Fault::Budget)), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_none(text in "\\PC{0,60}") {
        let _any = run(&text);
    }

    #[test]
    fn any_words_are_an_expression_or_none(words in prop::collection::vec(prop::sample::select(vec![
        "status", "spec", "self", ".", "phase", "list", "conditions", "[", "]", "(", ")", "{", "}", ",", ":", "?", "&&", "||", "!", "-",
        "+", "*", "/", "%", "==", "<", ">=", "in", "1", "2.5", "'a'", "true", "null", "has(", "size(", ".all(x,", ".exists(x,", ".map(x,",
        ".filter(x,", "x", ".contains(", ".matches(", "string(", "int(",
    ]), 0..24)) {
        let text = words.concat();
        let _any = run(&text);
        let spaced = words.join(" ");
        let _any = run(&spaced);
    }
}
