//! `make demo`, whole: an own cluster, both charts installed by real helm, three versions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::process::Command;

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

#[test]
fn the_demo_ends_by_itself_and_leaves_nothing() -> Result<()> {
    let log = NamedTempFile::new().context("a file for the transcript")?;
    let demo = script("demo.sh", log.path())?;
    let said = std::fs::read_to_string(log.path()).context("read the transcript")?;
    let clean = script("demo-clean.sh", log.path())?;
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
fn script(name: &str, log: &std::path::Path) -> Result<bool> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("demo")
        .join(name);
    let output = std::fs::File::create(log).context("open the transcript")?;
    let status = Command::new(path)
        .env_remove("KUBECONFIG")
        .env("NO_COLOR", "1")
        .stdout(output.try_clone().context("open the transcript")?)
        .stderr(output)
        .status()
        .with_context(|| format!("run {name}"))?;
    Ok(status.success())
}
