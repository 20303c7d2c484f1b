//! Statuses that operators write, and what their maintainers say about them: the corpus of `tests/corpus`, against
//! the verdicts of this crate. `tests/corpus/README.md` tells the form, and how a part is held out.
//!
//! The agreement may not fall below what was measured, and `docs/health.md` lists every disagreement:
//! `cargo run -p sortie-health --example agreement` writes that part.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod samples;

use std::collections::BTreeSet;

use samples::{Agreement, BEGIN, END, Operator, Sample, corpus, folder, page, told};
use serde_json::Value;
use sortie_health::Status;

const VERDICTS: [Status; 4] = [
    Status::Healthy,
    Status::Progressing,
    Status::Degraded,
    Status::Suspended,
];

/// Data of other deployment tools is kept for comparing with them, so none may come in here.
const RESERVED: [&str; 7] = [
    "argo-cd",
    "gitops-engine",
    "resource_customizations",
    "kstatus",
    "cli-utils",
    "kubedog",
    "kapp-controller",
];

#[test]
fn every_sample_has_the_form() {
    let mut seen = BTreeSet::new();
    for operator in corpus() {
        assert!(operator.samples.len() >= 2, "{}: too few", operator.file);
        for (index, sample) in operator.samples.iter().enumerate() {
            let place = format!("{} sample {}", operator.file, index + 1);
            check(sample, &place);
            assert!(
                seen.insert(sample.object.to_string()),
                "{place}: there twice"
            );
        }
    }
}

#[track_caller]
fn check(sample: &Sample, place: &str) {
    assert!(
        sample.source.contains('/') && sample.source.contains(' '),
        "{place}: the source names a repository and a place in it"
    );
    for reserved in RESERVED {
        assert!(!sample.source.contains(reserved), "{place}: {reserved}");
    }
    assert!(
        VERDICTS.contains(&sample.verdict),
        "{place}: not a verdict of an object that exists"
    );
    assert!(
        sample.because.len() > 10 && sample.because.ends_with('.'),
        "{place}: because is a sentence"
    );
    for pointer in ["/apiVersion", "/kind", "/metadata/name"] {
        let text = sample.object.pointer(pointer).and_then(Value::as_str);
        assert!(
            text.is_some_and(|text| !text.is_empty()),
            "{place}: {pointer}"
        );
    }
    let group = sample.object["apiVersion"].as_str().unwrap();
    assert!(
        group.contains('.') && group.contains('/'),
        "{place}: a custom resource"
    );
}

#[test]
fn it_is_large_and_mixed_enough() {
    let operators = corpus();
    let samples = operators.iter().flat_map(|operator| &operator.samples);
    assert!(
        operators.len() >= 40,
        "operators: {}, want 40",
        operators.len()
    );
    assert!(samples.clone().count() >= 150);
    for verdict in VERDICTS {
        let there = samples.clone().filter(|sample| sample.verdict == verdict);
        assert!(there.count() >= 25, "too few that are {verdict}");
    }
}

#[test]
fn a_third_is_held_out_by_the_name_of_the_file() {
    let operators = corpus();
    let count = |part: &[&Operator]| part.iter().map(|part| part.samples.len()).sum::<usize>();
    let all: Vec<&Operator> = operators.iter().collect();
    let held: Vec<&Operator> = operators.iter().filter(|part| part.held_out).collect();
    for (held, all) in [(held.len(), all.len()), (count(&held), count(&all))] {
        assert!(held * 4 >= all && held * 2 <= all, "{held} of {all}");
    }
    let told = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let (_, told) = told.split_once("\n## Held out\n").unwrap();
    let told: Vec<&str> = told.split('`').filter(|it| it.ends_with(".yaml")).collect();
    let held: Vec<&str> = held.iter().map(|part| part.file.as_str()).collect();
    assert_eq!(told, held, "the list in README.md");
}

/// What was measured when the rules were written. A rule that agrees with fewer is worse.
const OPEN_FLOOR: usize = 289;
const HELD_OUT_FLOOR: usize = 99;

#[test]
fn the_verdicts_agree_as_far_as_documented() {
    let operators = corpus();
    let open = Agreement::of(operators.iter().filter(|it| !it.held_out));
    let held = Agreement::of(operators.iter().filter(|it| it.held_out));
    assert!(
        open.agreed >= OPEN_FLOOR,
        "open part: {}",
        told(&open, &held)
    );
    assert!(
        held.agreed >= HELD_OUT_FLOOR,
        "held out: {}",
        told(&open, &held)
    );
    let page = std::fs::read_to_string(page()).unwrap();
    let documented = page
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .map(|(text, _)| text);
    assert_eq!(
        documented,
        Some(told(&open, &held).as_str()),
        "docs/health.md is of other rules: cargo run -p sortie-health --example agreement"
    );
}
