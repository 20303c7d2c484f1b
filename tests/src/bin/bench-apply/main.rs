//! `make bench NAME=apply`: applying sets of objects beside kubectl, helm and a bare client.
//!
//! Arguments: `sizes=10,100` and `tools=sortie,floor` measure a part.

mod floor;
mod log;
mod set;
mod tools;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sortie_testkit::{Cluster, Kind, wait_for};
use sortie_tests::bench::Bench;

use floor::Floor;
use log::{Log, Requests};
use tools::{Account, Ended, Tool};

/// Objects in the sets that all tools apply.
const SIZES: [usize; 4] = [10, 100, 1_000, 5_000];
/// Objects in the set whose memory only counts.
const LARGE: usize = 10_000;

/// The three rounds on one set.
const ROUNDS: [(&str, bool); 3] = [("new", false), ("no-op", false), ("one changed", true)];

/// What is measured of a tool, a size and a round.
struct Sample {
    requests: Requests,
    applied: f64,
    healthy: Option<f64>,
    memory: Option<f64>,
}

type Samples = BTreeMap<(usize, &'static str, &'static str), Sample>;

struct Arena {
    cluster: Cluster,
    log: Log,
    folder: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> Result<()> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let (sizes, tools, large) = arguments()?;
    let cluster = Cluster::start(Kind::Kwok).await?;
    let mut arena = Arena {
        log: Log::default(),
        folder: tempfile::tempdir().context("make a folder")?,
        cluster,
    };
    let mut samples = Samples::new();
    for tool in &tools {
        let account = tools::account(&arena.cluster, tool.name(), arena.folder.path()).await?;
        for size in &sizes {
            arena.measure(*tool, *size, &account, &mut samples).await?;
        }
    }
    let mut bench = Bench::new("apply");
    for size in &sizes {
        report(&mut bench, &samples, *size);
    }
    if large {
        arena.alone(&mut bench).await?;
    }
    bench.report()
}

fn arguments() -> Result<(Vec<usize>, Vec<Tool>, bool)> {
    let (mut sizes, mut tools, mut large) = (SIZES.to_vec(), Tool::ALL.to_vec(), true);
    for argument in std::env::args().skip(1) {
        let (key, list) = argument.split_once('=').context("KEY=LIST")?;
        let parts: Vec<&str> = list.split(',').filter(|part| !part.is_empty()).collect();
        match key {
            "sizes" => {
                let parsed: Result<_, _> = parts.iter().map(|part| part.parse()).collect();
                sizes = parsed.context("sizes are numbers")?;
                large = sizes.contains(&LARGE);
                sizes.retain(|size| *size != LARGE);
            }
            "tools" => {
                tools.retain(|tool| parts.contains(&tool.name()));
                ensure!(!tools.is_empty(), "no tool is called {list}");
            }
            _ => anyhow::bail!("unknown argument {key}"),
        }
    }
    Ok((sizes, tools, large))
}

impl Arena {
    async fn measure(
        &mut self,
        tool: Tool,
        size: usize,
        account: &Account,
        samples: &mut Samples,
    ) -> Result<()> {
        let namespace = format!("{}-{size}", tool.name());
        tools::namespace(&self.cluster, &namespace).await?;
        for (round, changed) in ROUNDS {
            let objects = set::objects(size, changed);
            self.log.since(&self.cluster, &account.user).await?;
            let ended = self.round(tool, &objects, &namespace, account).await?;
            let requests = self.log.since(&self.cluster, &account.user).await?;
            if let Some(ended) = ended.as_ref().filter(|ended| !ended.good) {
                refused(tool, size, &ended.words);
                break;
            }
            let applied = requests.applied().context("no request in the audit log")?;
            let healthy = ended.as_ref().and_then(|ended| requests.until(ended.at));
            let memory = ended.as_ref().map(|ended| ended.memory);
            let sample = Sample {
                requests,
                applied,
                healthy,
                memory,
            };
            samples.insert((size, round, tool.name()), sample);
        }
        // The next one is not to carry its watches and pods.
        self.clear(&namespace).await
    }

    async fn round(
        &self,
        tool: Tool,
        objects: &[Value],
        namespace: &str,
        account: &Account,
    ) -> Result<Option<Ended>> {
        if matches!(tool, Tool::Floor | Tool::FloorSingle) {
            let floor = Floor::connect(&account.kubeconfig, &account.token).await?;
            if tool == Tool::Floor {
                floor
                    .apply(objects, namespace, "dryRun=All&force=false")
                    .await?;
            }
            floor.apply(objects, namespace, "force=true").await?;
            return Ok(None);
        }
        let folder = self.folder.path();
        tool.prepare(folder, &set::stream(objects))?;
        tool.run(folder, namespace, account).await.map(Some)
    }

    /// What is asked of the product alone: a large set's memory, and a set that does not compress.
    async fn alone(&mut self, bench: &mut Bench) -> Result<()> {
        let account = tools::account(&self.cluster, "alone", self.folder.path()).await?;
        let objects = set::objects(LARGE, false);
        tools::namespace(&self.cluster, "large").await?;
        let ended = self
            .round(Tool::Sortie, &objects, "large", &account)
            .await?;
        let ended = ended.context("a program")?;
        ensure!(ended.good, "{LARGE} objects: {}", ended.words);
        let measure = format!("{LARGE} new: sortie peak memory");
        bench.median(&measure, &[ended.memory], "MiB", Some(160.0));
        self.clear("large").await?;
        let noise = set::incompressible(1536 * 1024);
        for tool in [Tool::Sortie, Tool::Helm] {
            tools::namespace(&self.cluster, "noise").await?;
            let ended = self.round(tool, &noise, "noise", &account).await?;
            let good = ended.is_some_and(|ended| ended.good);
            let measure = format!("1.5 MiB incompressible: {} refuses it", tool.name());
            let budget = (tool == Tool::Sortie).then_some(0.0);
            bench.median(&measure, &[f64::from(u8::from(!good))], "", budget);
            self.clear("noise").await?;
        }
        Ok(())
    }

    /// Deletes a namespace with everything in it, and waits until it is gone.
    async fn clear(&self, namespace: &str) -> Result<()> {
        use k8s_openapi::api::core::v1::Namespace;
        let namespaces: kube::Api<Namespace> = kube::Api::all(self.cluster.client().await?);
        namespaces.delete(namespace, &Default::default()).await?;
        let limit = std::time::Duration::from_secs(900);
        wait_for(namespaces, namespace, limit, |found| found.is_none()).await?;
        Ok(())
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a row that is missing needs its reason"
)]
fn refused(tool: Tool, size: usize, words: &str) {
    eprintln!("{} with {size} objects failed: {words}", tool.name());
}

/// The rows of one size.
#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn report(bench: &mut Bench, samples: &Samples, size: usize) {
    for (round, _) in ROUNDS {
        let of = |tool: Tool| samples.get(&(size, round, tool.name()));
        for tool in Tool::ALL {
            let Some(sample) = of(tool) else { continue };
            let mut row = |what: &str, value: f64, unit: &'static str, budget: Option<f64>| {
                let measure = format!("{size} {round}: {} {what}", tool.name());
                bench.median(&measure, &[value], unit, budget);
            };
            let ours = tool == Tool::Sortie;
            row("applied", sample.applied, "s", None);
            if let Some(healthy) = sample.healthy {
                row("healthy", healthy, "s", None);
            }
            if let Some(memory) = sample.memory {
                row(
                    "memory",
                    memory,
                    "MiB",
                    (ours && size == 1_000).then_some(64.0),
                );
            }
            let per_object = sample.requests.on_objects as f64 / size as f64;
            let limit = match round {
                "new" => 2.0,
                _ => 1.0,
            };
            row(
                "requests per object",
                per_object,
                "",
                (ours && size >= 1_000).then_some(limit),
            );
            let writes = sample.requests.writes as f64;
            row(
                "writes",
                writes,
                "",
                (ours && round == "no-op").then_some(0.0),
            );
            let records = sample.requests.records as f64;
            let limit = (ours && round == "no-op").then_some(10.0);
            row("lease and record writes", records, "", limit);
            row("other requests", sample.requests.others as f64, "", None);
        }
        ratios(bench, &of, size, round);
    }
}

fn ratios<'a>(
    bench: &mut Bench,
    of: &impl Fn(Tool) -> Option<&'a Sample>,
    size: usize,
    round: &str,
) {
    let Some(ours) = of(Tool::Sortie) else { return };
    for tool in Tool::ALL.into_iter().filter(|tool| *tool != Tool::Sortie) {
        let Some(theirs) = of(tool) else { continue };
        let budget = match (size, round, tool) {
            (1_000, "new", Tool::Floor) => Some(1.3),
            (1_000, "new", Tool::KubectlServerSide) => Some(0.25),
            (1_000, "no-op", Tool::KubectlServerSide) => Some(0.1),
            (1_000, "new", Tool::Kubectl | Tool::Helm) => Some(1.0),
            _ => None,
        };
        let measure = format!("{size} {round}: sortie / {} applied", tool.name());
        bench.median(&measure, &[ours.applied / theirs.applied], "", budget);
        if let (Some(our), Some(their)) = (ours.healthy, theirs.healthy) {
            let budget = (size == 1_000 && round == "new").then_some(1.0);
            let measure = format!("{size} {round}: sortie / {} healthy", tool.name());
            bench.median(&measure, &[our / their], "", budget);
        }
    }
}
