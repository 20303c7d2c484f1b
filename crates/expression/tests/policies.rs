//! Deferred names, secrets, error positions, references and limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use serde_json::{Value, json};
use sortie_expression::{
    Context, Error, Evaluator, JsonContext, Lookup, Reason, SecretMarker, evaluate_text, references,
};

/// `late.…` is not known yet, `password` is a secret, `file.getAsString(x)` is a function.
struct Staged(JsonContext);

impl Staged {
    fn new() -> Self {
        let known = json!({"f": "abc", "viaLate": "x-<+late.x>", "viaSecret": "pw=<+password>"});
        Self(JsonContext::new(known))
    }
}

impl Context for Staged {
    fn resolve(&self, path: &[String]) -> Lookup {
        match path.first().map(String::as_str) {
            Some("late") => Lookup::Deferred,
            Some("password") => Lookup::Secret("account.db".to_owned()),
            _ => self.0.resolve(path),
        }
    }

    fn call(
        &self,
        functor: &str,
        function: &str,
        arguments: &[Value],
    ) -> Result<Option<Lookup>, String> {
        match (functor, function, arguments) {
            ("file", "getAsString", [Value::String(name)]) if name == "known" => {
                Ok(Some(Lookup::Value(json!("content of <+f>"))))
            }
            ("file", "getAsString", _) => Err("there is no such file".to_owned()),
            _ => Ok(None),
        }
    }
}

#[test]
fn deferred_expressions_stay_as_written_when_asked() {
    let context = Staged::new();
    let keep = Evaluator::new(&context).keep_deferred();
    for (text, expected) in [
        ("a <+f> <+late.x> b", "a abc <+late.x> b"),
        ("<+<+late.x> == null>", "<+<+late.x> == null>"),
        ("<+<+f>-<+late.x>>/<+f>", "<+<+f>-<+late.x>>/abc"),
        ("<+<+late.x> ?: \"d\">", "<+<+late.x> ?: \"d\">"),
        ("v=<+viaLate>", "v=<+viaLate>"),
    ] {
        assert_eq!(keep.text(text).unwrap(), expected);
    }
    assert_eq!(keep.typed("<+late.x> + 1").unwrap(), json!("<+late.x> + 1"));
    assert_eq!(
        keep.tree(&json!(["<+late.x>", "<+f>"])).unwrap(),
        json!(["<+late.x>", "abc"])
    );
    assert_eq!(keep.text("<+nope>").unwrap_err().reason, Reason::Undefined);
    let error = Evaluator::new(&context).text("<+viaLate>").unwrap_err();
    assert_eq!(
        (error.code(), error.name.as_deref()),
        ("SRT-X007", Some("late.x"))
    );
}

#[test]
fn secrets_become_markers() {
    let context = Staged::new();
    let marker = SecretMarker::new("7f");
    let evaluator = Evaluator::new(&context).with_secrets(&marker);
    let text = evaluator
        .text("<+secrets.getValue(\"org.<+f>\")>:<+password>:<+viaSecret>:<+<+password> + \"!\">")
        .unwrap();
    let names: Vec<String> = marker.names(&text).into_iter().collect();
    assert_eq!(names, ["account.db", "org.abc"]);
    let filled = marker
        .substitute(&text, |name| Some(format!("[{name}]")))
        .unwrap();
    assert_eq!(
        filled,
        "[org.abc]:[account.db]:pw=[account.db]:[account.db]!"
    );
    assert_eq!(
        evaluator.typed("<+password> == null").unwrap(),
        json!(false)
    );
    assert_eq!(
        evaluator.typed("<+password> ?: \"d\"").unwrap(),
        json!(marker.mark("account.db"))
    );
}

#[test]
fn secrets_are_not_looked_into() {
    let context = Staged::new();
    let marker = SecretMarker::new("7f");
    let evaluator = Evaluator::new(&context).with_secrets(&marker);
    for text in [
        "<+password> == \"x\"",
        "<+password>.length()",
        "<+password>.substring(1)",
        "size(<+password>)",
        "<+password> =~ \"a.*\"",
        "<+password> ? 1 : 2",
        "<+f>.contains(<+password>)",
        "<+f>.replace(\"a\", <+password>)",
        "regex.match(\"a\", <+password>)",
        "<+password> * 2",
    ] {
        assert_eq!(
            evaluator.typed(text).unwrap_err().reason,
            Reason::Secret,
            "{text}"
        );
    }
    assert_eq!(
        evaluate_text("<+password>", &context).unwrap_err().reason,
        Reason::Secret
    );
}

#[test]
fn functions_of_the_context() {
    let context = Staged::new();
    assert_eq!(
        evaluate_text("<+file.getAsString(\"known\")>", &context).unwrap(),
        "content of abc"
    );
    let error = evaluate_text("<+file.getAsString(\"x\")>", &context).unwrap_err();
    assert_eq!(error.to_string(), "file.getAsString: there is no such file");
}

fn failure(text: &str) -> Error {
    evaluate_text(text, &Staged::new()).unwrap_err()
}

#[test]
fn errors_tell_where_and_what() {
    let error = failure("first\n  ü <+f> <+<+f>-<+service.nam>>");
    assert_eq!((error.line, error.column, error.offset), (2, 17, 23));
    assert_eq!(error.name.as_deref(), Some("service.nam"));
    assert_eq!(
        error.to_string(),
        "service.nam is not defined; check its spelling, or give a default: <+<+name> ?: \"default\">"
    );
    let error = failure("a <+f == >");
    assert_eq!((error.line, error.column), (1, 10));
    assert_eq!(error.message, "the expression ends too early");
    let error = failure("a <+f ) b>");
    assert_eq!(
        (error.column, error.message.as_str()),
        (7, "`)` is not expected here")
    );
    let error = failure("x <+f <+f>");
    assert_eq!((error.code(), error.column), ("SRT-X009", 3));
}

#[test]
fn an_error_in_a_value_points_at_the_name() {
    let context = JsonContext::new(json!({"v": "line\nline <+nope>"}));
    let error = evaluate_text("ab <+v>", &context).unwrap_err();
    assert_eq!((error.line, error.column), (1, 6));
    assert_eq!(error.message, "in the value of v: nope is not defined");
    assert_eq!(error.name.as_deref(), Some("nope"));
}

#[test]
fn references_of_a_text() {
    let text = "<+service.name>-<+<+env.name> == 'x' ? variables.<+h.i> : secrets.getValue(\"org.t\")>\
                <+map.get(\"a-b\").c><+list[0]><+f.trim()><+\"in <+q>\"><+x.<+y>>";
    let found = references(text).unwrap();
    let shown: Vec<String> = found
        .iter()
        .map(|r| {
            let call = r.function.as_ref().map_or(String::new(), |function| {
                format!(" {function}({})", r.argument.as_deref().unwrap_or(""))
            });
            let open = if r.complete { "" } else { "…" };
            format!("{}{open}{call}", r.path.join("."))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "service.name",
            "env.name",
            "variables…",
            "h.i",
            "secrets getValue(org.t)",
            "map.a-b.c",
            "list.0",
            "f trim()",
            "q",
            "x…",
            "y",
        ]
    );
    assert_eq!(&text[found[0].span.clone()], "service.name");
    assert_eq!(references("<+a b>").unwrap_err().reason, Reason::Syntax);
    assert_eq!(references("no <b> names").unwrap(), []);
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{}f{}", "<+".repeat(levels), ">".repeat(levels));
    assert_eq!(evaluate_text(&nested(15), &Staged::new()).unwrap(), "abc");
    assert_eq!(failure(&nested(16)).reason, Reason::Nesting);
    assert_eq!(failure(&nested(100_000)).reason, Reason::Nesting);
    assert_eq!(
        failure(&format!("<+{}1{}>", "(".repeat(20_000), ")".repeat(20_000))).reason,
        Reason::Nesting
    );
    assert_eq!(
        failure(&format!("<+{}true>", "!".repeat(20_000))).reason,
        Reason::Nesting
    );
    assert_eq!(
        failure(&format!("<+{}1>", "-".repeat(20_000))).reason,
        Reason::Nesting
    );
    let chain = format!("<+1{}>", " ? 1 : 1".repeat(20_000));
    assert_eq!(failure(&chain).reason, Reason::Nesting);
    assert_eq!(
        evaluate_text(&format!("<+1{}>", "+1".repeat(5_000)), &Staged::new()).unwrap(),
        "5001"
    );
}

#[test]
fn growth_is_bounded() {
    let mut context = serde_json::Map::new();
    for level in 0..14 {
        let next = format!("<+v{}>", level + 1);
        context.insert(format!("v{level}"), json!(next.repeat(10)));
    }
    context.insert("v14".to_owned(), json!("x".repeat(1000)));
    let context = JsonContext::new(Value::Object(context));
    assert_eq!(
        evaluate_text("<+v0>", &context).unwrap_err().reason,
        Reason::TooLarge
    );
    let doubled = format!(
        "<+\"{}\"{}>",
        "x".repeat(1000),
        ".concat(\"y\").replace(\"\", \"0123456789\")".repeat(9)
    );
    assert!(matches!(
        evaluate_text(&doubled, &context).unwrap_err().reason,
        Reason::Function | Reason::TooLarge
    ));
    let long = "x".repeat(7 << 20);
    assert_eq!(
        evaluate_text(&long, &context).unwrap_err().reason,
        Reason::TooLarge
    );
    let bomb = "<+\"x\".matches(\"((a{100}){100}){100}\")>";
    assert_eq!(
        evaluate_text(bomb, &context).unwrap_err().reason,
        Reason::Function
    );
}

#[test]
fn long_chains_of_values_fit_a_small_stack() {
    let mut context = serde_json::Map::new();
    for level in 0..15 {
        // Each of these makes the evaluator call itself through a different way.
        let value = format!(
            "{}<+v{}>{}",
            "<+[{\"k\": true ? <+(".repeat(7),
            level + 1,
            ")> : 1}]>".repeat(7)
        );
        context.insert(format!("v{level}"), json!(value));
    }
    context.insert("v15".to_owned(), json!("end"));
    let context = JsonContext::new(Value::Object(context));
    let run = move || evaluate_text("<+v0>", &context).map_err(|e| e.reason);
    let thread = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap();
    assert_eq!(thread.join().unwrap(), Err(Reason::Nesting));
}
