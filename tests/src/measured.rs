//! What programs use, from `/proc`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks of `/proc` in a second; the same on every Linux machine of today.
const TICKS: f64 = 100.0;

/// A program that ran to its end.
#[derive(Debug)]
pub struct Measured {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Largest resident memory, in MiB.
    pub memory: f64,
    /// Processor time, in seconds.
    pub processor: f64,
    /// The last lines that it wrote.
    pub words: String,
}

/// Run a program as the account of a kubeconfig.
///
/// # Errors
/// It cannot be started.
pub async fn run(program: &str, arguments: &[String], kubeconfig: &Path) -> Result<Measured> {
    let output = tempfile::NamedTempFile::new().context("make a file")?;
    let file = || output.reopen().context("open the output");
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(file()?)
        .stderr(file()?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let id = child.id().unwrap_or_default();
    let (mut memory, mut used) = (0.0_f64, 0.0);
    let status = loop {
        let tick = Duration::from_millis(2);
        match tokio::time::timeout(tick, child.wait()).await {
            Ok(status) => break status.context("wait for it")?,
            Err(_) => {
                memory = memory.max(peak(id).unwrap_or_default());
                used = processor(id).unwrap_or(used);
            }
        }
    };
    let text = std::fs::read_to_string(output.path()).unwrap_or_default();
    let skip = text.lines().count().saturating_sub(3);
    let words: Vec<&str> = text.lines().skip(skip).collect();
    Ok(Measured {
        code: status.code(),
        memory,
        processor: used,
        words: words.join(" | ").chars().take(400).collect(),
    })
}

/// Largest resident memory of a process so far, in MiB.
#[must_use]
pub fn peak(process: u32) -> Option<f64> {
    memory(process, "VmHWM:")
}

/// Resident memory of a process, in MiB.
#[must_use]
pub fn resident(process: u32) -> Option<f64> {
    memory(process, "VmRSS:")
}

/// Memory of a process that belongs to no file, in MiB.
#[must_use]
pub fn anonymous(process: u32) -> Option<f64> {
    memory(process, "RssAnon:")
}

fn memory(process: u32, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}

/// The processes that a process has started, and that are still there.
#[must_use]
pub fn children(process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let of_thread = |thread: std::fs::DirEntry| {
        let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let children = list.split_whitespace().filter_map(|id| id.parse().ok());
        children.collect::<Vec<u32>>()
    };
    let threads = threads.into_iter().flatten().flatten();
    threads.flat_map(of_thread).collect()
}

/// Processor time that a process has used, in seconds.
#[must_use]
pub fn processor(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in brackets and may hold spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: Option<f64> = ticks.map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some(ticks? / TICKS)
}

/// Let so many seconds pass before memory is read: what a program gives back, it gives back after a while.
pub async fn quiet(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
