//! The product's programs as child processes, with their output at hand.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Path of one of the product's programs, as built for the tests.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    // Tests lie in target/debug/deps, the programs and benchmarks one folder above.
    let own = std::env::current_exe().context("where is this test?")?;
    let mut folder = own.parent().context("a test outside target/")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("a test outside target/")?;
    }
    let path = folder.join(name);
    if !path.exists() {
        bail!(
            "{} is not built; run `cargo build --bins` (make test does)",
            path.display()
        );
    }
    Ok(path)
}

/// A running program of the product. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
    lines: watch::Receiver<usize>,
    readers: JoinSet<()>,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Program {
    /// Start `name` with these arguments and environment.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, arguments: &[String], environment: &[(&str, String)]) -> Result<Self> {
        let mut command = Command::new(program(name)?);
        command
            .args(arguments)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (key, value) in environment {
            command.env(key, value);
        }
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let (sender, lines) = watch::channel(0);
        let sender = Arc::new(sender);
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(collect(stdout, Arc::clone(&output), Arc::clone(&sender)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(collect(stderr, Arc::clone(&output), sender));
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
            lines,
            readers,
        })
    }

    /// Everything it has written so far, standard output and error mixed.
    #[must_use]
    pub fn output(&self) -> String {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }

    /// Wait for a line that `found` accepts, also an earlier one.
    ///
    /// # Errors
    /// It does not come in time; the error holds the whole output.
    pub async fn line(&mut self, limit: Duration, found: impl Fn(&str) -> bool) -> Result<String> {
        let search = async {
            loop {
                self.lines.borrow_and_update();
                let hit = {
                    let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
                    output.iter().find(|line| found(line)).cloned()
                };
                match hit {
                    Some(line) => return Some(line),
                    None => self.lines.changed().await.ok()?,
                }
            }
        };
        match tokio::time::timeout(limit, search).await {
            Ok(Some(line)) => Ok(line),
            _ => bail!(
                "{} did not write the line that was waited for:\n{}",
                self.name,
                self.output()
            ),
        }
    }

    /// Wait until it ends by itself; yields its exit code and everything it wrote.
    ///
    /// # Errors
    /// It does not end in time; the error holds the whole output.
    pub async fn end(mut self, limit: Duration) -> Result<(Option<i32>, String)> {
        let ended = async {
            let status = self.child.wait().await;
            // The last lines may still be on their way.
            while self.readers.join_next().await.is_some() {}
            status
        };
        match tokio::time::timeout(limit, ended).await {
            Ok(status) => Ok((status.context("wait")?.code(), self.output())),
            Err(_) => bail!("{} did not end:\n{}", self.name, self.output()),
        }
    }

    /// End it as `kill -9` does, and wait until it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(mut self) -> Result<String> {
        self.child
            .kill()
            .await
            .with_context(|| format!("kill {}", self.name))?;
        Ok(self.output())
    }

    /// Ask it to end (SIGTERM) and wait for it.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn terminate(mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let pid = rustix::process::Pid::from_raw(pid).context("a pid of zero")?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .context("send SIGTERM")?;
        }
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        match ended {
            Ok(status) => Ok((status.context("wait")?, self.output())),
            Err(_) => bail!("{} did not end on SIGTERM:\n{}", self.name, self.output()),
        }
    }

    /// Its number among the machine's processes.
    ///
    /// # Errors
    /// It is not running any more.
    pub fn id(&self) -> Result<u32> {
        let id = self.child.id();
        id.with_context(|| format!("{} has ended", self.name))
    }
}

/// Run `name` to its end.
///
/// # Errors
/// It cannot be started or does not end in time.
pub(crate) async fn run(
    name: &str,
    arguments: &[&str],
    environment: &[(&str, String)],
    stdin: Option<&str>,
    limit: Duration,
) -> Result<Finished> {
    let mut command = Command::new(program(name)?);
    command
        .args(arguments)
        .env_remove("KUBECONFIG")
        .env("NO_COLOR", "1")
        .kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (key, value) in environment {
        command.env(key, value);
    }
    let mut child = command.spawn().with_context(|| format!("start {name}"))?;
    let mut input = child.stdin.take().context("stdin")?;
    let text = stdin.unwrap_or_default().as_bytes().to_vec();
    let feed = async move {
        // A program that does not read its input is none of our business.
        let _written = tokio::io::AsyncWriteExt::write_all(&mut input, &text).await;
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(limit, both).await;
    let output = output.with_context(|| format!("{name} {arguments:?} did not end in time"))??;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn collect(
    from: impl AsyncRead + Unpin,
    output: Arc<Mutex<Vec<String>>>,
    count: Arc<watch::Sender<usize>>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        count.send_modify(|count| *count += 1);
    }
}
