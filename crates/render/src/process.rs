use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Why a child process gave no result.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Name of the program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Talking to the program failed.
    #[error("lost contact with {program}")]
    Communicate {
        /// Name of the program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The program took longer than it may.
    #[error("{program} took longer than {limit:?} and was ended")]
    TimeLimit {
        /// Name of the program.
        program: String,
        /// The limit.
        limit: Duration,
    },
    /// The program wrote more than it may.
    #[error("{program} wrote more than {limit} bytes and was ended")]
    OutputLimit {
        /// Name of the program.
        program: String,
        /// The limit in bytes.
        limit: usize,
    },
}

impl ProcessError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Start { .. } | Self::Communicate { .. } => "SRT-R003",
            Self::TimeLimit { .. } => "SRT-R004",
            Self::OutputLimit { .. } => "SRT-R005",
        }
    }
}

/// One run of a program: nothing is inherited, neither environment nor input.
pub(crate) struct Run<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) folder: &'a Path,
    pub(crate) input: Vec<u8>,
    pub(crate) bounds: Bounds,
}

/// What a program may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    /// Bytes on standard output.
    pub(crate) output: usize,
    /// Bytes of private memory of each process.
    pub(crate) memory: u64,
    /// Bytes of the largest file it may write.
    pub(crate) file: u64,
}

/// A program that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) output: Vec<u8>,
    /// At most the first 64 KiB, control characters removed.
    pub(crate) errors: String,
}

impl Finished {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }
}

impl Run<'_> {
    /// Runs to the end. When the limit of time or output is passed, or the future is dropped, the
    /// program and everything it started is killed.
    pub(crate) async fn wait(self) -> Result<Finished, ProcessError> {
        let name = self.name();
        let bounds = self.bounds;
        let (child, group) = self.start(&name)?;
        match tokio::time::timeout(bounds.time, finish(child, group, self.input, &name, bounds))
            .await
        {
            Ok(result) => result,
            Err(_) => Err(ProcessError::TimeLimit {
                program: name,
                limit: bounds.time,
            }),
        }
    }

    fn start(&self, name: &str) -> Result<(Child, Group), ProcessError> {
        let mut command = Command::new(self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.as_std_mut().process_group(0);
        let child = command.spawn().map_err(|source| ProcessError::Start {
            program: name.to_owned(),
            source,
        })?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            limit(pid, &self.bounds);
        }
        Ok((child, Group(pid)))
    }

    fn name(&self) -> String {
        self.program
            .file_name()
            .unwrap_or(self.program.as_os_str())
            .to_string_lossy()
            .into_owned()
    }
}

/// The process group of a child that has not been waited for; killed when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // The group may be gone already, which is what is wanted.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }
}

/// Sets the limits of the child right after its start; what it starts later inherits them.
#[cfg(target_os = "linux")]
fn limit(pid: Pid, bounds: &Bounds) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let to = |bytes: u64| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    let limits = [
        (Resource::Data, to(bounds.memory)),
        (Resource::Fsize, to(bounds.file)),
        (Resource::Core, to(0)),
    ];
    for (resource, limit) in limits {
        // Fails only when the child has ended, or when a stricter limit is in force already.
        prlimit(Some(pid), resource, limit).ok();
    }
}

#[cfg(not(target_os = "linux"))]
fn limit(_: Pid, _: &Bounds) {}

async fn finish(
    mut child: Child,
    mut group: Group,
    input: Vec<u8>,
    program: &str,
    bounds: Bounds,
) -> Result<Finished, ProcessError> {
    let lost = |source| ProcessError::Communicate {
        program: program.to_owned(),
        source,
    };
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(lost(std::io::Error::other("no pipes")));
    };
    let write = async move {
        // A program that ends early closes its input; its exit code says more than our error.
        stdin.write_all(&input).await.ok();
        drop(stdin);
        Ok(())
    };
    let read = async {
        let mut output = Vec::new();
        let most = u64::try_from(bounds.output)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        stdout
            .take(most)
            .read_to_end(&mut output)
            .await
            .map_err(lost)?;
        if output.len() > bounds.output {
            return Err(ProcessError::OutputLimit {
                program: program.to_owned(),
                limit: bounds.output,
            });
        }
        Ok(output)
    };
    let ((), output, errors) =
        tokio::try_join!(write, read, async { head(stderr).await.map_err(lost) })?;
    let status = child.wait().await.map_err(lost)?;
    group.0 = None;
    Ok(Finished {
        code: status.code(),
        signal: status.signal(),
        output,
        errors,
    })
}

/// Reads everything and keeps the first 64 KiB, as text fit for a log.
async fn head(mut stream: impl AsyncRead + Unpin) -> std::io::Result<String> {
    const KEPT: usize = 64 * 1024;
    let mut kept = Vec::new();
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        let room = KEPT.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&buffer[..room]);
    }
    let text = String::from_utf8_lossy(&kept);
    Ok(text
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, bounds: Bounds) -> Run<'static> {
        Run {
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("A", "1".into())],
            folder: Path::new("/"),
            input: b"in".to_vec(),
            bounds,
        }
    }

    fn bounds() -> Bounds {
        Bounds {
            time: Duration::from_secs(60),
            output: 1000,
            memory: 1 << 30,
            file: 1 << 20,
        }
    }

    #[tokio::test]
    async fn output_errors_and_code_come_back() {
        let run = shell(
            "cat; printf '%s' \"$A$HOME$USER\"; printf 'no\\033[1m' >&2; exit 3",
            bounds(),
        );
        let done = run.wait().await.unwrap();
        assert_eq!(
            (done.code, done.output.as_slice(), done.errors.as_str()),
            (Some(3), &b"in1"[..], "no[1m")
        );
        assert!(!done.succeeded());
    }

    #[tokio::test]
    async fn too_much_output_ends_the_program() {
        let error = shell("while :; do echo xxxxxxxxxxxxxxxx; done", bounds())
            .wait()
            .await
            .unwrap_err();
        assert_eq!(error.code(), "SRT-R005");
    }

    #[tokio::test]
    async fn too_many_errors_do_not_block_it() {
        let done = shell("head -c 300000 /dev/zero | tr '\\0' x >&2", bounds())
            .wait()
            .await
            .unwrap();
        assert_eq!((done.code, done.errors.len()), (Some(0), 64 * 1024));
    }

    /// The grandchild holds a pipe open; the pipe closes only when the grandchild is dead too.
    #[tokio::test]
    async fn the_time_limit_ends_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap();
        let script = format!("(sleep 1000 > '{}') & sleep 1000", pipe.display());
        let bounds = Bounds {
            time: Duration::from_millis(300),
            ..bounds()
        };
        let reader = tokio::task::spawn_blocking(move || std::fs::read(pipe));
        let error = shell(&script, bounds).wait().await.unwrap_err();
        assert_eq!(error.code(), "SRT-R004");
        let rest = tokio::time::timeout(Duration::from_secs(30), reader)
            .await
            .unwrap();
        assert_eq!(rest.unwrap().unwrap(), b"");
    }

    #[tokio::test]
    async fn files_have_a_largest_size() {
        let folder = tempfile::tempdir().unwrap();
        // The end of its input comes after the limits are set.
        let script = format!(
            "cat > /dev/null; head -c 4000000 /dev/zero > '{}'",
            folder.path().join("f").display()
        );
        let done = shell(&script, bounds()).wait().await.unwrap();
        assert!(!done.succeeded());
        assert!(folder.path().join("f").metadata().unwrap().len() <= 1 << 20);
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let run = Run {
            program: Path::new("/nowhere/tool"),
            ..shell("", bounds())
        };
        let error = run.wait().await.unwrap_err();
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            ("SRT-R003", "cannot start tool")
        );
    }
}
