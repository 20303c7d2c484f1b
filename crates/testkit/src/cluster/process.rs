//! Processes that outlive whoever started them, known by pid and start time, so that a pid that the kernel gave to
//! somebody else is never signalled.

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::journal::{Entry, Journal};

/// One process of this boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub(crate) start: u64,
}

impl ProcessId {
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let (_, start) = stat(pid)?;
        Some(Self { pid, start })
    }

    /// False also for a zombie: nothing of it runs.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid)
            .is_some_and(|(state, start)| start == self.start && !matches!(state, 'Z' | 'X'))
    }

    /// Signals the process group that it leads; nothing happens when it is gone.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // Gone between the look and the signal: as good as signalled.
            kill_process_group(pid, signal).ok();
        }
    }

    /// TERM, then after `grace` KILL; returns when it is gone. Blocks the thread.
    pub(crate) fn stop(self, grace: Duration) {
        self.signal(Signal::TERM);
        wait_until(grace, || !self.is_alive());
        self.signal(Signal::KILL);
        wait_until(Duration::from_secs(5), || !self.is_alive());
    }
}

/// Looks every 20 ms until `done` or the time is over. Blocks the thread.
pub(crate) fn wait_until(limit: Duration, done: impl Fn() -> bool) -> bool {
    const STEP: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while !done() {
        if waited >= limit {
            return false;
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
    true
}

/// Starts programs for one cluster: own session, output to `log/NAME.log`, recorded in the journal.
#[derive(Debug, Clone)]
pub(crate) struct Launcher<'a> {
    pub(crate) dir: &'a Path,
    /// Network namespace to run in, the host's own when none.
    pub(crate) netns: Option<String>,
}

impl Launcher<'_> {
    /// Starts `program` in the background.
    pub(crate) fn start<S: AsRef<OsStr>>(
        &self,
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<ProcessId> {
        let id = start_detached(
            &self.dir.join("log").join(format!("{name}.log")),
            self.netns.as_deref(),
            self.dir,
            program,
            arguments,
        )?;
        Journal::of(self.dir).record(&Entry::Process {
            name: name.to_owned(),
            id,
        })?;
        Ok(id)
    }
}

/// Starts `program` as leader of its own session (`setsid` and `nsenter` replace themselves, so the pid is the
/// program's). `nsenter --net` and not `ip netns exec`: that one remounts `/sys` and hides the cgroups.
pub(crate) fn start_detached<S: AsRef<OsStr>>(
    log: &Path,
    netns: Option<&str>,
    working_dir: &Path,
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Result<ProcessId> {
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    let errors = output
        .try_clone()
        .with_context(|| format!("open {}", log.display()))?;
    let mut command = Command::new("setsid");
    if let Some(netns) = netns {
        command
            .arg("nsenter")
            .arg(format!("--net=/run/netns/{netns}"));
    }
    command.arg(program).args(arguments);
    command.current_dir(working_dir).env("HOME", working_dir);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let child = command
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let pid = i32::try_from(child.id()).context("a pid beyond the kernel's limit")?;
    ProcessId::of(pid)
        .with_context(|| format!("{} ended at once, see {}", program.display(), log.display()))
}

/// Runs a short command to its end; on failure the error carries its last output.
pub(crate) fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    run_command(&mut command)
}

/// Like [`run`], for a prepared command.
pub(crate) fn run_command(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        errors.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// State letter and start time. The command's name may hold spaces and parentheses: fields count from the last `)`.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_not_ours() {
        let own = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive());
        assert!(
            !ProcessId {
                start: own.start + 1,
                ..own
            }
            .is_alive()
        );
    }

    #[test]
    fn a_started_program_leads_its_session_and_stops() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = "echo hello; exec sleep 600";
        let id = start_detached(&log, None, dir.path(), Path::new("sh"), ["-c", script]).unwrap();
        assert!(wait_until(Duration::from_secs(10), || {
            std::fs::read_to_string(&log).is_ok_and(|text| text == "hello\n")
        }));
        assert!(id.is_alive());
        id.stop(Duration::from_secs(5));
        assert!(!id.is_alive());
    }
}
