//! How soon a deployment knows that what it waits for is healthy.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use sortie_testkit::Cluster;
use sortie_tests::account::{Account, make_namespace};
use sortie_tests::program;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// Where it happens.
pub(crate) const NAMESPACE: &str = "reaction";

const LIMIT: Duration = Duration::from_secs(60);

/// Milliseconds from a status to the line that tells it, and to the end of the program: `times` of both.
///
/// What is waited for is the address of a load balancer. Nobody gives one on fake nodes, so the moment is ours.
pub(crate) async fn measure(
    cluster: &Cluster,
    folder: &Path,
    account: &Account,
    times: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    make_namespace(cluster, NAMESPACE).await?;
    let services: Api<Service> = Api::namespaced(cluster.client().await?, NAMESPACE);
    let (mut told, mut ended) = (Vec::new(), Vec::new());
    for number in 0..times {
        let name = format!("balanced-{number}");
        let one = once(&services, folder, account, &name);
        let one = tokio::time::timeout(LIMIT, one).await;
        let (line, end) = one.context("a deployment did not end")??;
        told.push(line.as_secs_f64() * 1e3);
        ended.push(end.as_secs_f64() * 1e3);
    }
    Ok((told, ended))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn once(
    services: &Api<Service>,
    folder: &Path,
    account: &Account,
    name: &str,
) -> Result<(Duration, Duration)> {
    let mut deploying = deploy(folder, account, name)?;
    let output = deploying.stdout.take().context("the program's output")?;
    let mut lines = BufReader::new(output).lines();
    until(&mut lines, name, "Progressing").await?;
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(address));
    let begun = Instant::now();
    let patch = services.patch_status(name, &params, &patch);
    let told = async {
        until(&mut lines, name, "Healthy").await?;
        anyhow::Ok(begun.elapsed())
    };
    let (patched, told) = tokio::join!(patch, told);
    patched.context("give an address")?;
    // The rest of what it says must not fill the pipe.
    while lines.next_line().await?.is_some() {}
    let status = deploying.wait().await.context("wait for the program")?;
    let ended = begun.elapsed();
    ensure!(status.success(), "the deployment of {name} failed");
    Ok((told?, ended))
}

fn deploy(folder: &Path, account: &Account, name: &str) -> Result<Child> {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80}]}});
    let file = folder.join("service.yaml");
    std::fs::write(&file, service.to_string()).context("write the service")?;
    tokio::process::Command::new(program("sortie")?)
        .arg("deploy")
        .arg(&file)
        .args(["-n", NAMESPACE, "--release", name, "-o", "json"])
        .env("KUBECONFIG", &account.kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("start a deployment")
}

/// Reads on to the row that says while waiting that the object is like this.
async fn until(lines: &mut Lines<BufReader<ChildStdout>>, name: &str, health: &str) -> Result<()> {
    while let Some(line) = lines.next_line().await? {
        let said: Value = serde_json::from_str(&line).context("read a line")?;
        let is = |key: &str, value: &str| said[key] == value;
        if is("unit", "Wait for Steady State") && is("name", name) && is("health", health) {
            return Ok(());
        }
    }
    bail!("the deployment of {name} ended without saying that it is {health}")
}
