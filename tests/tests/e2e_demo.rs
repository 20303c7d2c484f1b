//! `make demo`, whole: an own cluster, both charts installed by real helm, three versions. With `SORTIE_FULL=1` once more on a
//! cluster of the user, with a registry that its nodes pull from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use sortie_testkit::{Cluster, Registry};
use tempfile::NamedTempFile;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_by_itself_and_leaves_nothing() -> Result<()> {
    demo(&[])?;
    if std::env::var_os("SORTIE_FULL").is_none() {
        return Ok(());
    }
    let cluster = Cluster::shared().await?;
    let registry = Registry::of(&cluster).await?;
    let namespace = cluster.namespace("demo").await?;
    let target = format!("{}-target", namespace.name());
    let system = format!("{}-system", namespace.name());
    demo(&[
        ("KUBECONFIG", cluster.kubeconfig().display().to_string()),
        (
            "IMAGE_PREFIX",
            format!("http://{}/team", registry.address()),
        ),
        ("SYSTEM", system.clone()),
        ("TARGET", target.clone()),
    ])?;
    let namespaces: Api<Namespace> = Api::all(namespace.client());
    for name in [&system, &target] {
        let left = namespaces.get_opt(name).await?;
        assert!(left.is_none(), "{name} is left");
    }
    namespace.finish().await
}

/// The demo and its cleaning in this environment.
fn demo(environment: &[(&str, String)]) -> Result<()> {
    let log = NamedTempFile::new().context("a file for the transcript")?;
    let demo = script("demo.sh", log.path(), environment)?;
    let said = std::fs::read_to_string(log.path()).context("read the transcript")?;
    let clean = script("demo-clean.sh", log.path(), environment)?;
    assert!(demo, "the demo failed:\n{said}");
    assert!(clean, "the demo could not be cleaned up");
    for words in [
        "\"failed\":0",
        "cannot open /data/settings.toml",
        "SRT-H007",
        "sample:v2 3/3",
        "Done in",
    ] {
        assert!(said.contains(words), "{words:?} is missing in:\n{said}");
    }
    let columns = hints(&said);
    assert!(
        columns.len() >= 4 && columns.iter().all(|column| *column == columns[0]),
        "what to do next is not in columns {columns:?}:\n{said}"
    );
    Ok(())
}

/// In which column each hint at the end of the demo says what it is for.
fn hints(said: &str) -> Vec<usize> {
    let lines = said
        .lines()
        .skip_while(|line| !line.contains("sortie login http://127.0.0.1:8080"));
    let hints = lines.skip(1).take_while(|line| !line.is_empty());
    hints
        .map(|line| {
            let command = line.trim_start();
            let gap = command.find("  ").unwrap_or_default();
            line.len() - command[gap..].trim_start().len()
        })
        .collect()
}

/// Run one of the demo's scripts with its output in a file; whether it ended well.
fn script(name: &str, log: &Path, environment: &[(&str, String)]) -> Result<bool> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("demo")
        .join(name);
    let output = std::fs::File::create(log).context("open the transcript")?;
    let status = Command::new(path)
        .env_remove("KUBECONFIG")
        .env("NO_COLOR", "1")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(output.try_clone().context("open the transcript")?)
        .stderr(output)
        .status()
        .with_context(|| format!("run {name}"))?;
    Ok(status.success())
}
