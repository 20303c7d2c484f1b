//! `make bench NAME=apply`: applying sets of objects beside kubectl, helm and a bare client.
//!
//! Arguments: `sizes=10,100` and `tools=sortie,floor` measure a part, `repeats=1` sets how often a set of up to 1,000
//! objects is measured; with `disk=durable` the store waits for the disk before it acknowledges a write, as in
//! production. What each tool does is measured in turns, so that all of them meet the machine in the same moods.

mod floor;
mod log;
mod processes;
mod reaction;
mod rows;
mod set;
mod tools;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sortie_testkit::{Cluster, Kind, Settings};
use sortie_tests::account::{Account, clear_namespace, make_namespace};
use sortie_tests::bench::Bench;

use floor::Floor;
use log::Log;
use processes::ControlPlane;
use rows::{Sample, Samples};
use tools::{Ended, Tool};

/// Objects in the sets that all tools apply.
const SIZES: [usize; 4] = [10, 100, 1_000, 5_000];
/// Objects in the set whose memory only counts.
const LARGE: usize = 10_000;
/// Objects that are written before anything is measured: a server that has just begun is slow.
const WARM_UP: usize = 300;
/// How often sets up to [`OFTEN`] are measured.
const REPEATS: usize = 3;
const OFTEN: usize = 1_000;
/// Reactions to a status that are measured.
const REACTIONS: usize = 20;

/// The three rounds on one set.
const ROUNDS: [(&str, bool); 3] = [("new", false), ("no-op", false), ("one changed", true)];

/// What to measure.
struct Wishes {
    sizes: Vec<usize>,
    tools: Vec<Tool>,
    repeats: usize,
    large: bool,
    durable: bool,
}

struct Arena {
    cluster: Cluster,
    log: Log,
    folder: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> Result<()> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let wishes = Wishes::read()?;
    let settings = Settings {
        durable: wishes.durable,
        ..Settings::default()
    };
    let cluster = Cluster::start_with(Kind::Kwok, settings).await?;
    let mut arena = Arena {
        log: Log::default(),
        folder: tempfile::tempdir().context("make a folder")?,
        cluster,
    };
    let mut accounts = Vec::new();
    for tool in &wishes.tools {
        let account = Account::create(&arena.cluster, tool.name(), arena.folder.path()).await?;
        accounts.push((*tool, account));
    }
    let alone = Account::create(&arena.cluster, "alone", arena.folder.path()).await?;
    arena.warm_up(&alone).await?;
    let mut samples = Samples::new();
    for size in &wishes.sizes {
        let repeats = if *size > OFTEN { 1 } else { wishes.repeats };
        for turn in 0..repeats {
            for (tool, account) in &accounts {
                arena
                    .measure(*tool, (*size, turn), account, &mut samples)
                    .await?;
            }
        }
    }
    let mut bench = Bench::new("apply");
    for size in &wishes.sizes {
        rows::report(&mut bench, &samples, *size);
    }
    if wishes.large {
        arena.reaction(&mut bench, &alone).await?;
        arena.large(&mut bench, &alone).await?;
        arena.incompressible(&mut bench, &alone).await?;
    }
    bench.report()
}

impl Wishes {
    fn read() -> Result<Self> {
        let mut wishes = Self {
            sizes: SIZES.to_vec(),
            tools: Tool::ALL.to_vec(),
            repeats: REPEATS,
            large: true,
            durable: false,
        };
        for argument in std::env::args().skip(1) {
            let (key, list) = argument.split_once('=').context("KEY=LIST")?;
            let parts: Vec<&str> = list.split(',').filter(|part| !part.is_empty()).collect();
            match key {
                "sizes" => {
                    let parsed: Result<_, _> = parts.iter().map(|part| part.parse()).collect();
                    wishes.sizes = parsed.context("sizes are numbers")?;
                    wishes.large = wishes.sizes.contains(&LARGE);
                    wishes.sizes.retain(|size| *size != LARGE);
                }
                "tools" => {
                    wishes.tools.retain(|tool| parts.contains(&tool.name()));
                    ensure!(!wishes.tools.is_empty(), "no tool is called {list}");
                }
                "repeats" => wishes.repeats = list.parse().context("repeats is a number")?,
                "disk" => {
                    ensure!(list == "durable", "disk=durable is the only choice");
                    wishes.durable = true;
                }
                _ => anyhow::bail!("unknown argument {key}"),
            }
        }
        Ok(wishes)
    }
}

impl Arena {
    /// Lets the server grow its heap, its store and its caches.
    async fn warm_up(&self, account: &Account) -> Result<()> {
        make_namespace(&self.cluster, "warm-up").await?;
        let floor = Floor::connect(&account.kubeconfig, &account.token).await?;
        let objects = set::objects(WARM_UP, false);
        floor.apply(&objects, "warm-up", "force=true").await?;
        clear_namespace(&self.cluster, "warm-up").await
    }

    async fn measure(
        &mut self,
        tool: Tool,
        (size, turn): (usize, usize),
        account: &Account,
        samples: &mut Samples,
    ) -> Result<()> {
        let namespace = format!("{}-{size}-{turn}", tool.name());
        make_namespace(&self.cluster, &namespace).await?;
        for (round, changed) in ROUNDS {
            let objects = set::objects(size, changed);
            self.log.since(&self.cluster, &account.user).await?;
            let server = ControlPlane::of(&self.cluster)?;
            let ended = self.round(tool, &objects, &namespace, account).await?;
            let server = server.seconds()?;
            let requests = self.log.since(&self.cluster, &account.user).await?;
            if let Some(ended) = ended.as_ref().filter(|ended| !ended.good) {
                refused(tool, size, &ended.words);
                break;
            }
            let applied = requests.applied().context("no request in the audit log")?;
            let sample = Sample {
                requests,
                applied,
                healthy: ended.as_ref().and_then(|ended| requests.until(ended.at)),
                memory: ended.as_ref().map(|ended| ended.memory),
                processor: ended.as_ref().map(|ended| ended.processor),
                server,
            };
            samples
                .entry((size, round, tool.name()))
                .or_default()
                .push(sample);
        }
        // The next one is not to carry its watches and pods.
        clear_namespace(&self.cluster, &namespace).await
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

    /// From a status at the API server to the line that tells it, and to the end of the program.
    async fn reaction(&self, bench: &mut Bench, account: &Account) -> Result<()> {
        let (told, ended) =
            reaction::measure(&self.cluster, self.folder.path(), account, REACTIONS).await?;
        bench.median(
            "status event to healthy told, median",
            &told,
            "ms",
            Some(250.0),
        );
        bench.quantile(
            "status event to healthy told, p95",
            &told,
            0.95,
            "ms",
            Some(250.0),
        );
        bench.median("status event to the program's end", &ended, "ms", None);
        clear_namespace(&self.cluster, reaction::NAMESPACE).await
    }

    /// The memory for a large set.
    async fn large(&self, bench: &mut Bench, account: &Account) -> Result<()> {
        let objects = set::objects(LARGE, false);
        make_namespace(&self.cluster, "large").await?;
        for (round, _) in ROUNDS.into_iter().take(2) {
            let ended = self.round(Tool::Sortie, &objects, "large", account).await?;
            let ended = ended.context("a program")?;
            ensure!(ended.good, "{LARGE} objects: {}", ended.words);
            let measure = format!("{LARGE} {round}: sortie memory");
            bench.median(&measure, &[ended.memory], "MiB", Some(160.0));
        }
        clear_namespace(&self.cluster, "large").await
    }

    /// A set that no compression brings below what one Secret holds.
    async fn incompressible(&self, bench: &mut Bench, account: &Account) -> Result<()> {
        let noise = set::incompressible(1536 * 1024);
        for tool in [Tool::Sortie, Tool::Helm] {
            make_namespace(&self.cluster, "noise").await?;
            let ended = self.round(tool, &noise, "noise", account).await?;
            let good = ended.is_some_and(|ended| ended.good);
            let measure = format!("1.5 MiB incompressible: {} refuses it", tool.name());
            let budget = (tool == Tool::Sortie).then_some(0.0);
            bench.median(&measure, &[f64::from(u8::from(!good))], "", budget);
            clear_namespace(&self.cluster, "noise").await?;
        }
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
