//! `make bench NAME=link`: what the link costs while nothing happens, and how quick it is when something does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;
use sortie_testkit::wait_for;
use sortie_tests::Product;
use sortie_tests::bench::Bench;
use sortie_tests::rollout::{Images, deployments};

const MIB: f64 = 1024.0 * 1024.0;

#[tokio::main]
async fn main() -> Result<()> {
    let mut bench = Bench::new("link");
    let mut product = Product::start("bench-link").await?;
    let images = Images::load(product.cluster()).await?;
    product.apply_example().await?;

    idle_memory(&mut product, &mut bench).await?;
    latencies(&product, &images, &mut bench).await?;
    sizes(&mut bench)?;
    bench.report()?;
    product.finish().await
}

/// Resident memory, five samples after a quiet half minute.
async fn idle_memory(product: &mut Product, bench: &mut Bench) -> Result<()> {
    quiet(30).await;
    let (mut resident, mut anonymous, mut server) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        quiet(2).await;
        let (all, own) = product.delegate()?.resident()?;
        resident.push(mib(all));
        anonymous.push(mib(own));
        server.push(mib(product.server()?.resident()?.0));
    }
    bench.median(
        "delegate idle, connected: RSS",
        &resident,
        "MiB",
        Some(14.0),
    );
    bench.median(
        "delegate idle, connected: anonymous",
        &anonymous,
        "MiB",
        Some(4.0),
    );
    bench.median("server idle: RSS", &server, "MiB", Some(40.0));
    Ok(())
}

/// Twenty runs: versions take turns, so that each is a rollout.
async fn latencies(product: &Product, images: &Images, bench: &mut Bench) -> Result<()> {
    let (mut accepted, mut reported) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let version = if round % 2 == 0 { "v1" } else { "v2" };
        let image = images.tag(version);
        let repository = image.trim_end_matches(version).trim_end_matches(':');
        let started = product
            .sortie(&[
                "run",
                "hello",
                "--set",
                &format!("version={version}"),
                "--set",
                &format!("image={repository}"),
                "-o",
                "json",
            ])
            .await?;
        let started: Value =
            serde_json::from_str(&started.stdout).context("the execution as JSON")?;
        let id = started["id"]
            .as_str()
            .context("the execution's id")?
            .to_owned();
        let ready = |deployment: Option<&Deployment>| {
            deployment.is_some_and(|found| is_ready(found, &image))
        };
        wait_for(
            deployments(product),
            "hello",
            Duration::from_secs(120),
            ready,
        )
        .await?;
        let seen_ready = milliseconds_now()?;
        product.sortie(&["watch", &id]).await?;
        let execution = product
            .sortie(&["get", "execution", &id, "-o", "json"])
            .await?;
        let execution: Value =
            serde_json::from_str(&execution.stdout).context("the execution as JSON")?;
        let step = execution["nodes"]
            .as_array()
            .and_then(|nodes| nodes.iter().find(|node| node["identifier"] == "rolling"))
            .context("the step")?;
        let created = milliseconds(&execution["createdAt"])?;
        accepted.push(milliseconds(&step["units"][0]["startedAt"])? - created);
        reported.push((milliseconds(&step["endedAt"])? - seen_ready).max(0.0));
    }
    // From the request to run until the delegate begins: compiling the pipeline and resolving the step's entities included,
    // so an upper bound of the time from the queue to the acceptance.
    bench.median(
        "run requested to first unit running, p50",
        &accepted,
        "ms",
        Some(20.0),
    );
    bench.quantile(
        "run requested to first unit running, p99",
        &accepted,
        0.99,
        "ms",
        Some(200.0),
    );
    bench.median(
        "ready at the API server to step done",
        &reported,
        "ms",
        Some(250.0),
    );
    Ok(())
}

fn sizes(bench: &mut Bench) -> Result<()> {
    let own = std::env::current_exe().context("where is this program?")?;
    let folder = own.parent().context("a folder")?;
    for name in ["sortie-delegate", "sortie-server", "sortie"] {
        let size = std::fs::metadata(folder.join(name))
            .with_context(|| format!("the size of {name}"))?
            .len();
        bench.median(&format!("{name}: program"), &[mib(size)], "MiB", None);
    }
    Ok(())
}

fn is_ready(deployment: &Deployment, image: &str) -> bool {
    let Some(spec) = &deployment.spec else {
        return false;
    };
    let container = spec
        .template
        .spec
        .as_ref()
        .and_then(|pod| pod.containers.first());
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    container.and_then(|container| container.image.as_deref()) == Some(image)
        && status.observed_generation == deployment.metadata.generation
        && [
            status.replicas,
            status.updated_replicas,
            status.available_replicas,
        ] == [Some(wanted); 3]
}

#[expect(clippy::cast_precision_loss, reason = "megabytes of a program")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// A timestamp of the API as milliseconds since the epoch.
fn milliseconds(value: &Value) -> Result<f64> {
    let time: jiff::Timestamp = value
        .as_str()
        .context("a timestamp")?
        .parse()
        .context("a timestamp")?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds since the epoch fit"
    )]
    Ok(time.as_microsecond() as f64 / 1000.0)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn milliseconds_now() -> Result<f64> {
    milliseconds(&Value::String(jiff::Timestamp::now().to_string()))
}

async fn quiet(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
