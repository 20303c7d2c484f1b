//! Files that are meant to hurt are refused quickly, with a finding and no panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use sortie_model::{Code, Limits, Parsed, parse};

fn read(text: &[u8]) -> Parsed {
    parse("f.yaml", text, &Limits::default())
}

#[track_caller]
fn refused(text: &[u8], code: Code) {
    let parsed = read(text);
    let codes: Vec<_> = parsed.problems.iter().map(|problem| problem.code).collect();
    assert!(codes.contains(&code), "{codes:?}");
    assert!(parsed.has_errors(false));
}

#[test]
fn large_files() {
    refused(&vec![b'a'; 50 << 20], Code::TooLarge);
    let problems = read(&vec![b'a'; Limits::BYTES + 1]).problems;
    assert_eq!(
        problems[0].message, "the file has more than 4 MiB; split it",
        "who reads no more than the limit does not know the size"
    );
}

#[test]
fn alias_bombs() {
    let mut laughs =
        String::from("environment:\n  a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("  a{level}: &a{level} [{aliases}]\n"));
    }
    refused(laughs.as_bytes(), Code::TooManyValues);
    let mut long = format!(
        "environment:\n  text: &t \"{}\"\n  list:\n",
        "x".repeat(1 << 20)
    );
    long.push_str(&"    - *t\n".repeat(100_000));
    refused(long.as_bytes(), Code::TooManyValues);
    let keys: String = (0..1000).map(|n| format!("k{n}: v, ")).collect();
    let merges = format!(
        "environment:\n  a: &a {{{keys}}}\n  list: [{}]\n",
        "{<<: *a}, ".repeat(1000)
    );
    refused(merges.as_bytes(), Code::TooManyValues);
}

#[test]
fn deep_nesting() {
    refused("[".repeat(100_000).as_bytes(), Code::TooDeep);
    refused("{a: ".repeat(100_000).as_bytes(), Code::TooDeep);
    let blocks: String = (0..2000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    refused(blocks.as_bytes(), Code::TooDeep);
    refused("- ".repeat(100_000).as_bytes(), Code::TooDeep);
    let expressions = format!(
        "environment: {{name: a, identifier: a, type: Production, variables: [{{name: v, type: String, value: \"{}\"}}]}}",
        "<+".repeat(10_000)
    );
    refused(expressions.as_bytes(), Code::InvalidExpression);
}

#[test]
fn many_values_documents_and_findings() {
    refused("- a\n".repeat(300_000).as_bytes(), Code::TooManyValues);
    refused("---\na: 1\n".repeat(2_000).as_bytes(), Code::TooManyValues);
    let many: String = (0..50_000).map(|n| format!("  unknown{n}: 1\n")).collect();
    let parsed = read(format!("environment:\n{many}").as_bytes());
    assert_eq!(parsed.problems.len(), Limits::default().problems + 1);
    assert_eq!(parsed.problems.last().unwrap().code, Code::MoreProblems);
    let duplicates = "a: 1\n".repeat(50_000);
    refused(duplicates.as_bytes(), Code::DuplicateKey);
}

#[test]
fn bytes_that_are_no_text() {
    let parsed = read(b"environment:\n  name: \xff\n");
    let problem = parsed.problems.first().unwrap();
    assert_eq!(
        (problem.code, problem.line, problem.column),
        (Code::NotUtf8, 2, 9)
    );
    refused(&[0xff, 0xfe, b'a', 0], Code::NotUtf8);
    refused(b"a\0b: 1\n\x01", Code::Syntax);
}

#[test]
fn findings_stay_short() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!("{long}: 1\n"),
        format!("environment: {{name: \"{long}!\", identifier: \"{long}\", type: \"{long}\"}}\n"),
        format!("environment: {{\"{long}\": 1}}\n"),
    ] {
        for problem in read(text.as_bytes()).problems {
            assert!(problem.message.len() < 1000, "{}", problem.message.len());
            assert!(problem.path.len() < 1000, "{}", problem.path.len());
        }
    }
}

/// Pieces out of which random documents are made, so that they get past the first checks.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "pipeline",
        "service",
        "connector",
        "secret",
        "environment",
        "infrastructureDefinition",
        "file",
        "name",
        "identifier",
        "type",
        "spec",
        "stages",
        "stage",
        "steps",
        "step",
        "stepGroup",
        "parallel",
        "execution",
        "variables",
        "value",
        "store",
        "Deployment",
        "K8sRollingDeploy",
        "SecretText",
        "Kubernetes",
        "<+input>",
        "<+env.name>",
        "<+",
        "&a",
        "*a",
        "<<",
        "!!str",
        "|",
        ">-",
        "---",
        "...",
        "null",
        "true",
        "1.10",
        "'",
        "\"",
        "#",
        "é",
        "\t",
        "spec:\n",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "\n        ",
    ]);
    prop::collection::vec(words, 0..80).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn random_documents_never_panic(text in pieces()) {
        let parsed = read(text.as_bytes());
        for entity in &parsed.entities {
            prop_assert!(text.get(entity.range.clone()).is_some());
        }
        for problem in &parsed.problems {
            prop_assert!(problem.line >= 1 && problem.column >= 1);
        }
        if let Ok((without, _)) = sortie_model::take_secret_value(&text) {
            let again = sortie_model::take_secret_value(&without);
            prop_assert!(matches!(again, Ok((_, None))));
        }
    }

    /// Cutting, changing or doubling a byte of a good file never panics, and what is cut out of it
    /// for an entity reads as that entity.
    #[test]
    fn damaged_files_never_panic(at in 0usize..4000, byte in any::<u8>(), kind in 0..3) {
        let mut bytes = include_bytes!("corpus/shop.yaml").to_vec();
        let at = at % bytes.len();
        match kind {
            0 => { bytes.remove(at); }
            1 => { bytes[at] = byte; }
            _ => { bytes.insert(at, byte); }
        }
        let parsed = read(&bytes);
        for entity in &parsed.entities {
            let again = read(&bytes[entity.range.clone()]);
            prop_assert_eq!(again.entities.len(), 1);
            prop_assert_eq!(again.entities[0].key(), entity.key());
            prop_assert_eq!(&again.entities[0].value, &entity.value);
        }
    }
}
