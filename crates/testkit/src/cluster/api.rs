//! The API server as the testkit itself uses it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use kube::{Client, Config, config::Kubeconfig};

use crate::environment;

/// Whether the API server calls itself ready.
pub(crate) async fn readyz(client: &Client) -> Result<()> {
    let request = http::Request::get("/readyz")
        .body(Vec::new())
        .context("make a request for /readyz")?;
    client
        .request_text(request)
        .await
        .context("ask the API server for its readiness")?;
    Ok(())
}

/// A client of the calling runtime.
pub(crate) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
        .await
        .with_context(|| format!("use {}", kubeconfig.display()))?;
    Client::try_from(config).context("make a Kubernetes client")
}

/// Server-side apply of fixed manifests.
pub(crate) fn kubectl_apply(kubeconfig: &Path, manifest: &str) -> Result<()> {
    let mut command = Command::new(environment::tool("kubectl")?);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.args([
        "apply",
        "--server-side",
        "--field-manager=testkit",
        "-f",
        "-",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("start kubectl")?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(manifest.as_bytes())
            .context("write to kubectl")?;
    }
    let output = child.wait_with_output().context("wait for kubectl")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "kubectl apply failed: {}",
        errors.trim()
    );
    Ok(())
}
