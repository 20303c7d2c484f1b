//! What was measured as rows of the table.

use std::collections::BTreeMap;

use sortie_tests::bench::{Bench, median};

use crate::ROUNDS;
use crate::log::Requests;
use crate::tools::Tool;

/// One run of a tool.
pub(crate) struct Sample {
    pub(crate) requests: Requests,
    /// Seconds from the first request to the last acknowledged write.
    pub(crate) applied: f64,
    /// Seconds from the first request until everything was healthy.
    pub(crate) healthy: Option<f64>,
    /// Peak, in MiB.
    pub(crate) memory: Option<f64>,
    /// Seconds of processor time of the tool.
    pub(crate) processor: Option<f64>,
    /// Seconds of processor time of the control plane.
    pub(crate) server: f64,
}

/// By size, round and tool.
pub(crate) type Samples = BTreeMap<(usize, &'static str, &'static str), Vec<Sample>>;

/// The rows of one size.
pub(crate) fn report(bench: &mut Bench, samples: &Samples, size: usize) {
    for (round, _) in ROUNDS {
        let of = |tool: Tool| {
            let samples = samples.get(&(size, round, tool.name()));
            samples.map(Vec::as_slice).unwrap_or_default()
        };
        for tool in Tool::ALL {
            tool_rows(bench, of(tool), tool, (size, round));
        }
        ratios(bench, &of, (size, round));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn tool_rows(bench: &mut Bench, samples: &[Sample], tool: Tool, (size, round): (usize, &str)) {
    let ours = |budget: f64| (tool == Tool::Sortie).then_some(budget);
    let mut row = |what: &str, unit: &'static str, budget: Option<f64>, values: Vec<f64>| {
        let measure = format!("{size} {round}: {} {what}", tool.name());
        bench.median(&measure, &values, unit, budget);
    };
    let all = |value: &dyn Fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
    let some = |value: &dyn Fn(&Sample) -> Option<f64>| {
        samples.iter().filter_map(value).collect::<Vec<_>>()
    };
    row("applied", "s", None, all(&|sample| sample.applied));
    row("healthy", "s", None, some(&|sample| sample.healthy));
    let memory = ours(64.0).filter(|_| size == 1_000);
    row("memory", "MiB", memory, some(&|sample| sample.memory));
    row("processor", "s", None, some(&|sample| sample.processor));
    row(
        "control plane's processor",
        "s",
        None,
        all(&|sample| sample.server),
    );
    let most = if round == "new" { 2.0 } else { 1.0 };
    let per_object = |sample: &Sample| sample.requests.on_objects as f64 / size as f64;
    let budget = ours(most).filter(|_| size >= 1_000);
    row("requests per object", "", budget, all(&per_object));
    let lists = |sample: &Sample| sample.requests.lists as f64;
    row("lists", "", None, all(&lists));
    let budget = ours(0.0).filter(|_| round == "no-op");
    let writes = |sample: &Sample| sample.requests.writes as f64;
    row("writes", "", budget, all(&writes));
    let budget = ours(10.0).filter(|_| round == "no-op");
    let records = |sample: &Sample| sample.requests.records as f64;
    row("lease and record writes", "", budget, all(&records));
    let others = |sample: &Sample| sample.requests.others as f64;
    row("other requests", "", None, all(&others));
}

/// Ours by theirs, each by its median.
fn ratios<'a>(
    bench: &mut Bench,
    of: &impl Fn(Tool) -> &'a [Sample],
    (size, round): (usize, &'static str),
) {
    let applied = |tool: Tool| {
        let all = of(tool).iter().map(|sample| sample.applied);
        median(&all.collect::<Vec<_>>())
    };
    let healthy = |tool: Tool| {
        let all = of(tool).iter().filter_map(|sample| sample.healthy);
        median(&all.collect::<Vec<_>>())
    };
    let Some(ours) = applied(Tool::Sortie) else {
        return;
    };
    for tool in Tool::ALL.into_iter().filter(|tool| *tool != Tool::Sortie) {
        let Some(theirs) = applied(tool) else {
            continue;
        };
        let budget = match (size, round, tool) {
            (1_000, "new", Tool::Floor) => Some(1.3),
            (1_000, "new", Tool::KubectlServerSide) => Some(0.25),
            (1_000, "no-op", Tool::KubectlServerSide) => Some(0.1),
            (1_000, "new", Tool::Kubectl | Tool::Helm) => Some(1.0),
            _ => None,
        };
        let measure = format!("{size} {round}: sortie / {} applied", tool.name());
        bench.median(&measure, &[ours / theirs], "", budget);
        if let (Some(our), Some(their)) = (healthy(Tool::Sortie), healthy(tool)) {
            let budget = (size == 1_000 && round == "new").then_some(1.0);
            let measure = format!("{size} {round}: sortie / {} healthy", tool.name());
            bench.median(&measure, &[our / their], "", budget);
        }
    }
    // What any client that dry-runs the set could reach here.
    if let (Some(floor), Some(kubectl)) = (applied(Tool::Floor), applied(Tool::KubectlServerSide)) {
        let measure = format!("{size} {round}: floor / kubectl-ssa applied");
        bench.median(&measure, &[floor / kubectl], "", None);
    }
}
