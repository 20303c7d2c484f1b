//! The corpus of `tests/corpus`, and how far the verdicts of this crate agree with it, as a part of `docs/health.md`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a corpus that cannot be read fails the test or the program"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::Value;
use sortie_health::{Status, assess};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sample {
    /// Repository and path, or page, with the commit if known, and what to look for there.
    #[allow(
        dead_code,
        reason = "read where the form is checked, not where the agreement is written"
    )]
    pub(crate) source: String,
    /// What the maintainers would say.
    pub(crate) verdict: Status,
    /// Why, in one sentence.
    pub(crate) because: String,
    /// The object as the API server would show it, less what says nothing about its health.
    pub(crate) object: Value,
}

pub(crate) struct Operator {
    /// Name of the file.
    pub(crate) file: String,
    pub(crate) held_out: bool,
    pub(crate) samples: Vec<Sample>,
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Chosen by the name alone, so nobody can choose by what is in the file.
fn held_out(file: &str) -> bool {
    digest(&SHA256, file.as_bytes()).as_ref()[0].is_multiple_of(3)
}

pub(crate) fn corpus() -> Vec<Operator> {
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

/// How far the verdicts agree with a part of the corpus.
#[derive(Default)]
pub(crate) struct Agreement {
    pub(crate) agreed: usize,
    pub(crate) asked: usize,
    /// (maintainers' verdict, ours) and how often.
    pub(crate) confusion: BTreeMap<(Status, Status), usize>,
    /// A table row for each disagreement.
    pub(crate) disagreements: Vec<String>,
}

impl Agreement {
    pub(crate) fn of<'a>(operators: impl Iterator<Item = &'a Operator>) -> Self {
        let mut agreement = Self::default();
        for operator in operators {
            for (index, sample) in operator.samples.iter().enumerate() {
                agreement.ask(&operator.file, index + 1, sample);
            }
        }
        agreement
    }

    fn ask(&mut self, file: &str, number: usize, sample: &Sample) {
        let verdict = assess(&sample.object);
        let pair = (sample.verdict, verdict.status);
        self.asked += 1;
        *self.confusion.entry(pair).or_default() += 1;
        if sample.verdict == verdict.status {
            self.agreed += 1;
            return;
        }
        let operator = file.trim_end_matches(".yaml");
        let kind = sample.object["kind"].as_str().unwrap_or("");
        let (wanted, because) = (sample.verdict, &sample.because);
        let ours = verdict.to_string().replace('|', "\\|");
        self.disagreements.push(format!(
            "| {operator} {number}, {kind} | {wanted}: {because} | {ours} |"
        ));
    }

    fn told(&self, title: &str, into: &mut String) {
        let Self {
            agreed,
            asked,
            confusion,
            disagreements,
        } = self;
        let share = 1000 * agreed / asked;
        let (percent, tenth) = (share / 10, share % 10);
        let pairs: Vec<String> = confusion
            .iter()
            .filter(|((wanted, given), _)| wanted != given)
            .map(|((wanted, given), count)| format!("{wanted} taken for {given}: {count}"))
            .collect();
        let pairs = pairs.join(" · ");
        let rows = disagreements.join("\n");
        let _infallible = writeln!(
            into,
            "**{title}: {agreed} of {asked} agree ({percent}.{tenth} %).** {pairs}\n\n\
             | Sample | Its maintainers | Sortie |\n|---|---|---|\n{rows}\n"
        );
    }
}

/// The part of `docs/health.md` between [`BEGIN`] and [`END`].
pub(crate) fn told(open: &Agreement, held: &Agreement) -> String {
    let mut text = String::new();
    open.told("Open part", &mut text);
    held.told("Held-out part", &mut text);
    text
}

pub(crate) const BEGIN: &str =
    "<!-- agreement: written by `cargo run -p sortie-health --example agreement` -->\n";
pub(crate) const END: &str = "<!-- end of agreement -->\n";

pub(crate) fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/health.md")
}
