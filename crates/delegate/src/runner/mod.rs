//! The runner beside this process: the socket that it dials, and the scripts that it runs for us.

mod connection;
mod host;
mod received;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sortie_render::SourceFile;
use sortie_runner::frame::{self, MAX_BYTES, MAX_FILES};
use sortie_runner::script::KILLING;
use sortie_step::scripts::{Heard, Script, ScriptError, Scripts};
use tokio::sync::{mpsc, watch};

pub use host::Host;
use host::{Event, Request, State};

/// Requests that wait for their turn before they wait to be taken.
const WAITING: usize = 16;

/// Events of a script that wait to be heard.
const EVENTS: usize = 64;

/// How long this side waits for the other.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a runner that is not connected. Default 90 s: the kubelet starts a container that ends again and again after 10,
    /// 20 and 40 s, and a runner that lives on comes after [`Limits::settle`].
    pub patience: Duration,
    /// For a script and its files to be taken. Default 60 s.
    pub hand_over: Duration,
    /// Until a runner that may still have a script is without one, and nobody else can dial in its place. Default: twice what
    /// it takes to kill the script.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(90),
            hand_over: Duration::from_secs(60),
            settle: KILLING.saturating_mul(2),
        }
    }
}

/// Runs scripts in the runner, one at a time.
#[derive(Debug)]
pub struct Runner {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    patience: Duration,
}

impl Runner {
    /// A runner that dials `socket`, and who serves it there.
    #[must_use]
    pub fn at(socket: PathBuf) -> (Self, Host) {
        Self::within(socket, Limits::default())
    }

    /// As [`Runner::at`], with other limits.
    #[must_use]
    pub fn within(socket: PathBuf, limits: Limits) -> (Self, Host) {
        let (requests, taken) = mpsc::channel(WAITING);
        let (tell, state) = watch::channel(State::Absent);
        let runner = Self {
            requests,
            state,
            patience: limits.patience,
        };
        (runner, Host::new(socket, taken, tell, limits))
    }

    /// Resolves when no runner has been connected for too long.
    async fn absent(&self) {
        let mut state = self.state.clone();
        loop {
            // Who tells the state ends with the whole process.
            if state
                .wait_for(|state| *state == State::Absent)
                .await
                .is_err()
            {
                return;
            }
            let back = state.wait_for(|state| *state != State::Absent);
            if tokio::time::timeout(self.patience, back).await.is_err() {
                return;
            }
        }
    }
}

/// Whether files are what a runner takes.
fn fits(files: &[SourceFile]) -> Result<(), ScriptError> {
    let bytes: usize = files.iter().map(|file| file.content.len()).sum();
    let strange = files.iter().find(|file| !frame::is_inside(&file.path));
    let reason = if let Some(file) = strange {
        format!("the path {} cannot be given to a script", file.path)
    } else if files.len() > MAX_FILES {
        format!("there are more than {MAX_FILES} files")
    } else if bytes > MAX_BYTES {
        format!("the files have more than {} MiB", MAX_BYTES / 1024 / 1024)
    } else {
        return Ok(());
    };
    Err(ScriptError::NotStarted { reason })
}

#[async_trait]
impl Scripts for Runner {
    async fn run(
        &self,
        script: Script,
        hear: &(dyn for<'a> Fn(Heard<'a>) + Send + Sync),
    ) -> Result<Vec<SourceFile>, ScriptError> {
        match *self.state.borrow() {
            State::Idle => {}
            State::Busy => hear(Heard::Waiting(
                "the runner runs one script at a time, and has another one",
            )),
            State::Absent => hear(Heard::Waiting("no runner is connected yet")),
        }
        fits(&script.files)?;
        let (tell, mut events) = mpsc::channel(EVENTS);
        let request = Request::new(script, tell);
        let absent = self.absent();
        tokio::pin!(absent);
        let gone = ScriptError::NoRunner {
            after: self.patience,
        };
        let mut begun = tokio::select! {
            sent = self.requests.send(request) => match sent {
                Ok(()) => false,
                Err(_) => return Err(gone),
            },
            () = &mut absent => return Err(gone),
        };
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = &mut absent, if !begun => return Err(gone),
            };
            match event {
                Some(Event::Begun) => begun = true,
                Some(Event::Line(line)) => hear(Heard::Line(&line)),
                Some(Event::Ended(result)) => return result,
                None => return Err(ScriptError::Lost),
            }
        }
    }
}
