//! One script: its folder, its process, its end.

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

use crate::folder;
use crate::frame::{End, File, Order, Script};
use crate::{output, processes};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often processes that are left are killed again, and how many times.
const KILL_AGAIN: Duration = Duration::from_millis(50);
const KILLS: u32 = 200;

/// How long processes of a script may go on after its end was ordered, at most.
pub const KILLING: Duration = KILL_AGAIN.saturating_mul(KILLS);

/// Where scripts run, and with what.
#[derive(Clone, Debug)]
pub struct Place {
    /// A folder that only scripts and the runner use.
    pub work: PathBuf,
    /// What else scripts can write to: folders and files that are cleared.
    pub also_clear: Vec<PathBuf>,
    /// The shell, bash.
    pub shell: PathBuf,
    /// A kubeconfig that scripts may use.
    pub kubeconfig: Option<PathBuf>,
}

/// The runner cannot keep scripts apart any more and must end.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// Files stay.
    #[error("cannot clear {}", path.display())]
    Clear {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Processes stay.
    #[error("processes of a script stay although they were killed")]
    Processes,
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What the main thread of the runner hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// From the delegate.
    Order(Order),
    /// The delegate is gone.
    Closed,
    /// The shell of the script has ended.
    Exited(ExitStatus),
    /// No process of the script is left.
    Quiet,
}

/// How a run ended, and whether the delegate is still there.
pub(crate) struct Over {
    pub(crate) end: End,
    pub(crate) connected: bool,
    /// The runner shall end as well.
    pub(crate) stop: bool,
}

/// A script whose files are being written.
#[derive(Debug)]
pub(crate) struct Prepared {
    script: Script,
    failure: Option<String>,
}

impl Place {
    /// Where the script finds files and leaves them.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.run().join("manifests")
    }

    fn run(&self) -> PathBuf {
        self.work.join("run")
    }

    /// Remove everything that scripts have left.
    pub(crate) fn clear(&self) -> Result<(), Fatal> {
        for path in [&self.work].into_iter().chain(&self.also_clear) {
            let clear = |source| Fatal::Clear {
                path: path.clone(),
                source,
            };
            folder::clear(path).map_err(clear)?;
        }
        Ok(())
    }

    /// Make the folders of a script.
    pub(crate) fn prepare(&self, script: Script) -> Prepared {
        let made = ["", "manifests", "home", "tmp"]
            .iter()
            .try_for_each(|name| folder::make(&self.run().join(name)));
        let mut prepared = Prepared {
            script,
            failure: None,
        };
        prepared.note(made, "cannot make its folder");
        prepared
    }

    fn command(&self, prepared: &Prepared) -> io::Result<(Command, io::PipeReader)> {
        let file = self.run().join("hook.sh");
        fs::write(&file, &prepared.script.text)?;
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.shell);
        command
            .args(["--noprofile", "--norc"])
            .arg(file)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", self.run().join("home"))
            .env("TMPDIR", self.run().join("tmp"))
            .env("MANIFEST_FILES_DIRECTORY", self.manifests())
            .current_dir(self.manifests())
            .stdin(Stdio::null())
            // One pipe, so that lines come in the order in which they were written.
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        if let Some(kubeconfig) = &self.kubeconfig {
            command
                .env("KUBECONFIG", kubeconfig)
                .env("HARNESS_KUBE_CONFIG_PATH", kubeconfig);
        }
        for (name, value) in &prepared.script.variables {
            command.env(name, value);
        }
        Ok((command, reader))
    }
}

impl Prepared {
    /// Write a file of the script.
    pub(crate) fn add(&mut self, root: &Path, file: &File) {
        if self.failure.is_none() {
            let written = folder::write(root, file);
            self.note(written, &format!("cannot write {}", file.path));
        }
    }

    fn note(&mut self, result: io::Result<()>, what: &str) {
        if let Err(error) = result {
            self.failure = Some(format!("{what}: {error}"));
        }
    }
}

/// Run a script until it and everything that it has started is over. `hear` gets its lines.
pub(crate) fn run(
    place: &Place,
    prepared: &Prepared,
    (tell, events): (&SyncSender<Event>, &Receiver<Event>),
    hear: impl FnMut(String) + Send + 'static,
) -> Result<Over, Fatal> {
    let not_started = |reason| Over {
        end: End::NotStarted { reason },
        connected: true,
        stop: false,
    };
    if let Some(reason) = &prepared.failure {
        return Ok(not_started(reason.clone()));
    }
    let started = place.command(prepared).and_then(|(mut command, reader)| {
        let child = command.spawn()?;
        // With the command go this process's ends of the pipe.
        drop(command);
        Ok((Pid::from_child(&child), reader))
    });
    let (shell, reader) = match started {
        Ok(started) => started,
        Err(error) => {
            let shell = place.shell.display();
            return Ok(not_started(format!("cannot start {shell}: {error}")));
        }
    };
    let lines = spawn(move || output::relay(reader, hear))?;
    let reaper = spawn({
        let tell = tell.clone();
        move || reap(shell, &tell)
    })?;
    let limit = Duration::from_secs(prepared.script.seconds);
    let mut over = wait(limit, events);
    finish(&mut over, events)?;
    // Both end by themselves: nobody is left who could write or be waited for.
    for thread in [lines, reaper] {
        drop(thread.join());
    }
    Ok(over)
}

/// Until the shell has ended or somebody wants an end.
fn wait(limit: Duration, events: &Receiver<Event>) -> Over {
    let (mut connected, mut stop) = (true, false);
    let end = match events.recv_timeout(limit) {
        Ok(Event::Exited(status)) => end_of(status),
        Ok(Event::Order(order)) => {
            stop = order == Order::Stop;
            End::Canceled
        }
        Ok(Event::Closed | Event::Quiet) | Err(RecvTimeoutError::Disconnected) => {
            connected = false;
            End::Canceled
        }
        Err(RecvTimeoutError::Timeout) => End::TimeLimit,
    };
    Over {
        end,
        connected,
        stop,
    }
}

/// Kill what is left until nothing is.
fn finish(over: &mut Over, events: &Receiver<Event>) -> Result<(), Fatal> {
    for _ in 0..KILLS {
        processes::kill_all();
        match events.recv_timeout(KILL_AGAIN) {
            Ok(Event::Quiet) => return Ok(()),
            Ok(Event::Closed) => over.connected = false,
            Ok(Event::Order(order)) => over.stop |= order == Order::Stop,
            Ok(Event::Exited(_)) | Err(_) => {}
        }
    }
    Err(Fatal::Processes)
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit { code },
        (None, signal) => End::Signal {
            signal: signal.unwrap_or_default(),
        },
    }
}

/// Wait for all children, those that lost their parents too, until there are none.
fn reap(shell: Pid, tell: &SyncSender<Event>) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == shell => {
                let status = ExitStatus::from_raw(status.as_raw());
                drop(tell.send(Event::Exited(status)));
            }
            Ok(_) | Err(Errno::INTR) => {}
            // No child is left.
            Err(_) => {
                drop(tell.send(Event::Quiet));
                return;
            }
        }
    }
}

/// A thread with a small stack.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Fatal> {
    let builder = thread::Builder::new().stack_size(128 * 1024);
    builder
        .spawn(work)
        .map_err(|source| Fatal::Thread { source })
}
