//! `make bench NAME=rollout`: canary and blue-green deployments beside Argo Rollouts, on the same cluster in one run.
//!
//! Arguments: `sizes=10` and `repeats=1` measure a part.
//!
//! Both bring a new version to a workload behind a Service: a tenth of the pods first and then all (canary), or all of them
//! in a second set that then gets the traffic, and the first set goes (blue-green). Neither waits for a person or a time.
//! The nodes are fake: pods are ready as soon as they are scheduled, so what is measured is the tools and the API server.

mod argo;
mod requests;
mod resident;
mod rows;
mod sortie;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sortie_testkit::{Audit, Cluster, Crds, Kind};
use sortie_tests::account::{Account, make_namespace};
use sortie_tests::bench::Bench;

use requests::Place;
use rows::{Sample, Samples};

/// Pods of the workload.
const SIZES: [u32; 2] = [10, 100];
/// How often each deployment is measured.
const REPEATS: u32 = 3;

/// How a new version is brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strategy {
    Canary,
    BlueGreen,
}

impl Strategy {
    pub(crate) const ALL: [Self; 2] = [Self::Canary, Self::BlueGreen];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::BlueGreen => "blue-green",
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (sizes, repeats) = wishes()?;
    let cluster = Cluster::start_audited(Kind::Kwok, Audit::Everything).await?;
    cluster.install_crds(Crds::ArgoRollouts).await?;
    let folder = tempfile::tempdir().context("make a folder")?;
    let mut bench = Bench::new("rollout");
    let mut samples = Samples::default();
    deployments(&cluster, folder.path(), (&sizes, repeats), &mut samples).await?;
    // Not beside the other one: each has the machine for itself.
    samples.delegate = resident::measure(cluster, &sizes).await?;
    rows::report(&mut bench, &samples, &sizes);
    bench.report()
}

/// Sizes and repeats.
fn wishes() -> Result<(Vec<u32>, u32)> {
    let (mut sizes, mut repeats) = (SIZES.to_vec(), REPEATS);
    for argument in std::env::args().skip(1) {
        match argument.split_once('=').context("KEY=VALUE")? {
            ("sizes", list) => {
                let parsed: Result<_, _> = list.split(',').map(str::parse).collect();
                sizes = parsed.context("sizes are numbers")?;
            }
            ("repeats", number) => repeats = number.parse().context("repeats is a number")?,
            (key, _) => anyhow::bail!("unknown argument {key}"),
        }
    }
    Ok((sizes, repeats))
}

/// Measures both tools in turns, so that they meet the machine in the same moods.
async fn deployments(
    cluster: &Cluster,
    folder: &Path,
    (sizes, repeats): (&[u32], u32),
    samples: &mut Samples,
) -> Result<()> {
    let ours = Account::create(cluster, "sortie", folder).await?;
    let theirs = Account::create(cluster, "argo", folder).await?;
    let controller = argo::Controller::start(cluster, &theirs)?;
    samples.argo.idle = resident::idle(controller.process()).await?;
    for size in sizes {
        for strategy in Strategy::ALL {
            let namespace = |tool: &str| format!("{tool}-{}-{size}", strategy.name());
            let (sortie, argo) = (namespace("sortie"), namespace("argo"));
            for namespace in [&sortie, &argo] {
                make_namespace(cluster, namespace).await?;
            }
            let wanted = (strategy, *size);
            let sortie = sortie::Workload::create(&ours, folder, &sortie, wanted).await?;
            let argo = argo::Workload::create(cluster, &argo, wanted).await?;
            for number in 1..=repeats {
                let place = Place::now(cluster).await?;
                let (seconds, memory) = sortie.deploy(number).await?;
                let requests = place.since(cluster).await?;
                samples.cli_memory.push(memory);
                let sample = Sample {
                    seconds,
                    requests: requests.of(&ours.user),
                    with_controller: requests.of(&ours.user) + requests.of_deployment_controller(),
                };
                samples.add((*size, strategy, "sortie"), sample);
                let place = Place::now(cluster).await?;
                let seconds = argo.deploy(number).await?;
                let requests = place.since(cluster).await?.of(&theirs.user);
                let sample = Sample {
                    seconds,
                    requests,
                    with_controller: requests,
                };
                samples.add((*size, strategy, "argo"), sample);
            }
            sortie.clear(cluster).await?;
            argo.clear(cluster).await?;
        }
        samples.argo.peaks.push((*size, controller.peak()?));
    }
    controller.end().await
}

/// The pods of a version.
pub(crate) fn pods(number: u32) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "web", "image": format!("example.com/web:{number}")}],
        },
    })
}
