//! `make bench NAME=link`: what the link costs while nothing happens, and how quick it is when something does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;
use sortie_testkit::{environment, wait_for};
use sortie_tests::bench::Bench;
use sortie_tests::rollout::{Images, deployments};
use sortie_tests::{Product, measured};

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
    measured::quiet(30).await;
    let (mut resident, mut anonymous, mut server) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        measured::quiet(2).await;
        let delegate = product.delegate()?.id()?;
        resident.push(measured::resident(delegate).context("the delegate has ended")?);
        anonymous.push(measured::anonymous(delegate).context("the delegate has ended")?);
        let process = product.server()?.id()?;
        server.push(measured::resident(process).context("the server has ended")?);
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
    let (mut accepted, mut begun, mut reported) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..20 {
        let before = acceptances(product).await?;
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
        let after = acceptances(product).await?;
        ensure!(
            (after.count - before.count - 1.0).abs() < 0.5,
            "one task was to be accepted, not {}",
            after.count - before.count
        );
        accepted.push((after.seconds - before.seconds) * 1000.0);
        let created = milliseconds(&execution["createdAt"])?;
        begun.push(milliseconds(&step["units"][0]["startedAt"])? - created);
        reported.push((milliseconds(&step["endedAt"])? - seen_ready).max(0.0));
    }
    bench.median(
        "task queued to accepted by the delegate, p50",
        &accepted,
        "ms",
        Some(20.0),
    );
    bench.quantile(
        "task queued to accepted by the delegate, p99",
        &accepted,
        0.99,
        "ms",
        Some(200.0),
    );
    bench.median("run requested to first unit running", &begun, "ms", None);
    bench.median(
        "ready at the API server to step done",
        &reported,
        "ms",
        Some(250.0),
    );
    Ok(())
}

/// How many tasks were accepted so far, and how long all of them together had waited.
struct Acceptances {
    count: f64,
    seconds: f64,
}

async fn acceptances(product: &Product) -> Result<Acceptances> {
    let name = "sortie_server_task_acceptance_seconds";
    Ok(Acceptances {
        count: product.metric(&format!("{name}_count")).await?,
        seconds: product.metric(&format!("{name}_sum")).await?,
    })
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
    let target = folder.parent().context("a target folder")?;
    let archive = delegate_image(target)?;
    let size = std::fs::metadata(&archive)?.len();
    bench.median("delegate image, unpacked", &[mib(size)], "MiB", None);
    let packed = Command::new("gzip")
        .args(["--stdout".as_ref(), archive.as_os_str()])
        .output()
        .context("pack the image")?;
    let packed = u64::try_from(packed.stdout.len())?;
    bench.median(
        "delegate image, as pulled (gzip)",
        &[mib(packed)],
        "MiB",
        None,
    );
    Ok(())
}

/// The image with the release program, as an archive.
fn delegate_image(target: &Path) -> Result<PathBuf> {
    let script = environment::repository().join("tests/cluster/build-images.sh");
    let status = Command::new(&script)
        .arg("delegate")
        .envs([("PROFILE", "release"), ("PREBUILT", "1")])
        .env("CARGO_TARGET_DIR", target)
        .status()
        .with_context(|| format!("run {}", script.display()))?;
    ensure!(status.success(), "{} failed", script.display());
    Ok(environment::cache_dir()?.join("images/delegate.tar"))
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
