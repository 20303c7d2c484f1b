//! What was measured as rows of the table.

use std::collections::BTreeMap;

use sortie_tests::bench::{Bench, median};

use crate::Strategy;
use crate::resident::Resident;

/// One deployment.
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Of the tool.
    pub(crate) requests: usize,
    /// Of the tool and of the cluster's Deployment controller.
    pub(crate) with_controller: usize,
}

/// Everything.
#[derive(Default)]
pub(crate) struct Samples {
    by_tool: BTreeMap<(u32, Strategy, &'static str), Vec<Sample>>,
    pub(crate) cli_memory: Vec<f64>,
    pub(crate) argo: Resident,
    pub(crate) delegate: Resident,
}

impl Samples {
    pub(crate) fn add(&mut self, key: (u32, Strategy, &'static str), sample: Sample) {
        self.by_tool.entry(key).or_default().push(sample);
    }

    fn of(
        &self,
        (size, strategy): (u32, Strategy),
        tool: &'static str,
        value: impl Fn(&Sample) -> f64,
    ) -> Vec<f64> {
        let samples = self.by_tool.get(&(size, strategy, tool));
        samples.into_iter().flatten().map(value).collect()
    }
}

/// The rows of all sizes.
pub(crate) fn report(bench: &mut Bench, samples: &Samples, sizes: &[u32]) {
    for size in sizes {
        for strategy in Strategy::ALL {
            deployments(bench, samples, (*size, strategy));
        }
    }
    let Samples { argo, delegate, .. } = samples;
    bench.median("argo, idle: memory", &argo.idle, "MiB", None);
    bench.median("delegate, idle: memory", &delegate.idle, "MiB", None);
    ratio(
        bench,
        "idle: delegate / argo memory",
        &delegate.idle,
        &argo.idle,
        0.1,
    );
    for size in sizes {
        let of = |resident: &Resident| {
            let peak = resident.peaks.iter().find(|(of, _)| of == size);
            peak.map(|(_, peak)| *peak).into_iter().collect::<Vec<_>>()
        };
        let (theirs, ours) = (of(argo), of(delegate));
        bench.median(&format!("argo, {size} pods: memory"), &theirs, "MiB", None);
        bench.median(
            &format!("delegate, {size} pods: memory"),
            &ours,
            "MiB",
            None,
        );
        let measure = format!("{size} pods: delegate / argo memory");
        ratio(bench, &measure, &ours, &theirs, 0.1);
    }
    bench.median(
        "delegate: a child's memory (helm)",
        &[delegate.child],
        "MiB",
        None,
    );
    bench.median("command line: memory", &samples.cli_memory, "MiB", None);
}

#[expect(clippy::cast_precision_loss, reason = "hundreds of requests")]
fn deployments(bench: &mut Bench, samples: &Samples, key: (u32, Strategy)) {
    let what = format!("{} of {}", key.1.name(), key.0);
    let seconds = |tool| samples.of(key, tool, |one| one.seconds);
    let requests = |tool| samples.of(key, tool, |one| one.requests as f64);
    let all = |tool| samples.of(key, tool, |one| one.with_controller as f64);
    for tool in ["sortie", "argo"] {
        let measure = |value: &str| format!("{what}: {tool} {value}");
        bench.median(&measure("time"), &seconds(tool), "s", None);
        bench.median(&measure("requests"), &requests(tool), "", None);
    }
    let measure = format!("{what}: sortie requests + Deployment controller's");
    bench.median(&measure, &all("sortie"), "", None);
    let measure = |value: &str| format!("{what}: sortie / argo {value}");
    let (ours, theirs) = (seconds("sortie"), seconds("argo"));
    ratio(bench, &measure("time"), &ours, &theirs, 0.8);
    let theirs = requests("argo");
    ratio(
        bench,
        &measure("requests"),
        &requests("sortie"),
        &theirs,
        1.0,
    );
    let measure = measure("requests, with the controller's");
    ratio(bench, &measure, &all("sortie"), &theirs, 1.0);
}

/// Ours by theirs, each by its median.
fn ratio(bench: &mut Bench, measure: &str, ours: &[f64], theirs: &[f64], budget: f64) {
    if let (Some(ours), Some(theirs)) = (median(ours), median(theirs)) {
        bench.median(measure, &[ours / theirs], "", Some(budget));
    }
}
