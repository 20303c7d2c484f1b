//! Random texts and values: no panic, bounded work, and laws that hold for every text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_expression::{Evaluator, JsonContext, SecretMarker, references};

/// Pieces that make interesting texts when they are put together at random.
const PIECES: [&str; 58] = [
    "<+",
    ">",
    "<+f>",
    "<+a>",
    "<+nope>",
    "<+loop>",
    "<+list>",
    "<+map.k>",
    "\"",
    "'",
    "\\",
    "\\>",
    " ",
    "\n",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    "..",
    ",",
    ":",
    "?",
    "?:",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "!",
    "<",
    ">=",
    " > ",
    "&&",
    "||",
    "=~",
    "and",
    " not ",
    "empty",
    "size",
    "f",
    "a",
    "null",
    "1",
    "2.5",
    "0x",
    "abc",
    ".split(\",\")",
    ".trim()",
    "secrets.getValue(\"s\")",
    "json.select(\"a\",",
    "regex.match(",
    "ü",
    "if",
];

fn context() -> JsonContext {
    JsonContext::new(json!({
        "f": "abc", "a": 5, "list": [1, "<+a>"], "map": {"k": "v<+f>"}, "loop": "<+loop>", "abc": {"f": "<+f"},
    }))
}

fn evaluate(text: &str) {
    let context = context();
    let marker = SecretMarker::new("n");
    let evaluator = Evaluator::new(&context).with_secrets(&marker);
    let result = evaluator.text(text);
    if let Err(error) = &result {
        assert!(error.offset <= text.len() && error.line >= 1 && error.column >= 1);
    }
    if let Ok(Value::Bool(truth)) = evaluator.typed(text) {
        assert_eq!(evaluator.condition(text), Ok(truth));
    }
    let tree = evaluator.tree(&json!([text, {"k": text}]));
    assert!(result.is_err() || tree.is_ok(), "{tree:?}");
    let readable = references(text);
    if let Err(error) = readable {
        // What cannot be read cannot be evaluated either.
        assert!(result.is_err(), "{error}");
    } else if let Ok(found) = readable {
        for reference in found {
            assert!(text.get(reference.span).is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_characters(text in "\\PC{0,80}") {
        evaluate(&text);
    }

    #[test]
    fn random_pieces(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)) {
        evaluate(&pieces.concat());
    }

    #[test]
    fn random_code(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..20)) {
        evaluate(&format!("<+{}>", pieces.concat()));
    }

    #[test]
    fn text_without_expressions_is_itself(text in "\\PC{0,80}") {
        prop_assume!(!text.contains("<+"));
        prop_assert_eq!(Evaluator::new(&context()).text(&text).unwrap(), text);
    }

    #[test]
    fn expressions_are_replaced_in_place(before in "[^<+>]{0,20}", after in "[^<+>]{0,20}") {
        let text = format!("{before}<+f>{after}");
        let expected = format!("{before}abc{after}");
        prop_assert_eq!(Evaluator::new(&context()).text(&text).unwrap(), expected);
    }

    #[test]
    fn literals_are_themselves(value in "[^<\\\\\"\n]{0,40}") {
        let text = format!("<+\"{value}\">");
        prop_assert_eq!(Evaluator::new(&context()).text(&text).unwrap(), value);
    }

    #[test]
    fn whole_numbers_compute_as_numbers(a in -10_000_i64..10_000, b in 1_i64..10_000) {
        let context = JsonContext::new(json!({"a": a, "b": b.to_string()}));
        let result = Evaluator::new(&context).typed("<+a> * <+b> - <+a> / <+b> + <+a> % <+b>");
        prop_assert_eq!(result.unwrap(), json!(a * b - a / b + a % b));
    }
}

#[test]
fn entangled_texts_take_bounded_time() {
    for piece in [
        "<+", "<+'", "<+\"", "<+'<+\"", "'<+", "<+a > <+", "<+f > \"", "<+(", "<+<+f>'", "<+f> > ",
    ] {
        for length in [30, 3000, 30_000] {
            evaluate(&piece.repeat(length));
            evaluate(&format!("{}{}", piece.repeat(length), ">".repeat(length)));
        }
    }
}
