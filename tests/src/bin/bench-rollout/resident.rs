//! What stays in memory: the delegate of a control plane, idle and while pipelines run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sortie_testkit::Cluster;
use sortie_tests::{Product, ProductOptions, measured};

use crate::Strategy;

/// Resident memory in MiB.
#[derive(Debug, Default)]
pub(crate) struct Resident {
    pub(crate) idle: Vec<f64>,
    /// The largest after the deployments of so many pods.
    pub(crate) peaks: Vec<(u32, f64)>,
    /// Of the largest child process at any time: helm, which reads templates.
    pub(crate) child: f64,
}

/// Five samples after a quiet half minute.
pub(crate) async fn idle(process: u32) -> Result<Vec<f64>> {
    let mut samples = Vec::new();
    measured::quiet(30).await;
    for _ in 0..5 {
        measured::quiet(2).await;
        samples.push(measured::resident(process).context("it has ended")?);
    }
    Ok(samples)
}

/// A delegate that brings two versions by each strategy, for each number of pods.
pub(crate) async fn measure(cluster: Cluster, sizes: &[u32]) -> Result<Resident> {
    let options = ProductOptions::default();
    let mut product = Product::on(Arc::new(cluster), "delegate", options).await?;
    let process = product.delegate()?.id()?;
    let mut resident = Resident {
        idle: idle(process).await?,
        ..Resident::default()
    };
    let example = product.apply_example().await?;
    let tenth = ("type: Percentage", "percentage: 10");
    example.edit("pipeline-canary.yaml", "type: Count", tenth.0)?;
    example.edit("pipeline-canary.yaml", "count: 1", tenth.1)?;
    let folder = example.path().display().to_string();
    let mut before = 3;
    for size in sizes {
        let replicas = |size: u32| format!("          type: Number\n          value: {size}\n");
        example.edit("service.yaml", &replicas(before), &replicas(*size))?;
        before = *size;
        product.sortie(&["apply", "-f", &folder]).await?;
        for strategy in Strategy::ALL {
            let pipeline = match strategy {
                Strategy::Canary => "hello_canary",
                Strategy::BlueGreen => "hello_blue_green",
            };
            for version in ["version=v1", "version=v2"] {
                let run = ["run", pipeline, "--set", version, "--follow"];
                let run = product.try_sortie(&run, None);
                let (ended, child) = beside(process, run).await;
                let ended = ended?;
                resident.child = resident.child.max(child);
                ensure!(ended.code == Some(0), "{}\n{}", ended.stdout, ended.stderr);
            }
            let namespace = product.namespace();
            let uninstall = ["uninstall", "-n", namespace, "--release", "hello", "--yes"];
            product.sortie(&uninstall).await?;
        }
        let peak = measured::peak(process).context("the delegate has ended")?;
        resident.peaks.push((*size, peak));
    }
    product.finish().await?;
    Ok(resident)
}

/// The result, and the largest memory of a child of the process meanwhile.
async fn beside<T>(process: u32, work: impl Future<Output = T>) -> (T, f64) {
    let mut work = std::pin::pin!(work);
    let mut largest = 0.0_f64;
    loop {
        let tick = Duration::from_millis(20);
        match tokio::time::timeout(tick, &mut work).await {
            Ok(result) => return (result, largest),
            Err(_) => {
                let children = measured::children(process);
                let of_children = children.into_iter().filter_map(measured::peak);
                largest = of_children.fold(largest, f64::max);
            }
        }
    }
}
