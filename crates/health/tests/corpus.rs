//! Statuses that operators write, and what their maintainers say about them: the corpus of `tests/corpus`, against
//! the verdicts of this crate. `tests/corpus/README.md` tells the form, and how a part is held out.
//!
//! The form is asserted, the agreement is only printed:
//! `cargo test -p sortie-health --test corpus -- --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that prints a table"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::Value;
use sortie_health::{Status, Verdict, assess};

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    /// Repository and path, or page, with the commit if known, and what to look for there.
    source: String,
    /// What the maintainers would say.
    verdict: Status,
    /// Why, in one sentence.
    because: String,
    /// The object as the API server would show it, less what says nothing about its health.
    object: Value,
}

struct Operator {
    /// Name of the file.
    file: String,
    held_out: bool,
    samples: Vec<Sample>,
}

#[derive(Default)]
struct Agreement {
    agreed: usize,
    asked: usize,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Chosen by the name alone, so nobody can choose by what is in the file.
fn held_out(file: &str) -> bool {
    digest(&SHA256, file.as_bytes()).as_ref()[0].is_multiple_of(3)
}

fn corpus() -> Vec<Operator> {
    let mut operators: Vec<Operator> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|file| file.ends_with(".yaml"))
        .map(|file| {
            let text = std::fs::read_to_string(folder().join(&file)).unwrap();
            let samples = serde_saphyr::from_multiple(&text)
                .unwrap_or_else(|error| panic!("{file} is not a stream of samples: {error}"));
            Operator {
                held_out: held_out(&file),
                file,
                samples,
            }
        })
        .collect();
    operators.sort_by(|a, b| a.file.cmp(&b.file));
    operators
}

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

#[test]
fn the_agreement_is_told() {
    let operators = corpus();
    let mut confusion: BTreeMap<(Status, Status), usize> = BTreeMap::new();
    let mut open = Agreement::default();
    let mut held = Agreement::default();
    println!("{:<30} {:>6}", "open part", "agree");
    for operator in &operators {
        let verdicts: Vec<(&Sample, Verdict)> = operator
            .samples
            .iter()
            .map(|sample| (sample, assess(&sample.object)))
            .collect();
        let part = if operator.held_out {
            &mut held
        } else {
            &mut open
        };
        let before = part.agreed;
        for (sample, verdict) in &verdicts {
            part.asked += 1;
            part.agreed += usize::from(verdict.status == sample.verdict);
        }
        let agreed = part.agreed - before;
        if operator.held_out {
            continue;
        }
        println!("{:<30} {agreed:>3}/{}", operator.file, verdicts.len());
        for (number, (sample, verdict)) in verdicts.iter().enumerate() {
            *confusion
                .entry((sample.verdict, verdict.status))
                .or_default() += 1;
            if verdict.status != sample.verdict {
                let (number, wanted) = (number + 1, sample.verdict);
                println!("    {number}: {wanted}, not {verdict} ({})", sample.because);
            }
        }
    }
    println!("\nmaintainers -> this crate, open part");
    for ((wanted, given), count) in &confusion {
        println!("{wanted:>12} -> {given:<12} {count:>4}");
    }
    println!("\nopen part: {} of {} agree", open.agreed, open.asked);
    assert_eq!(confusion.values().sum::<usize>(), open.asked);
    assert!(held.asked > 0);
}
