//! Who listens for the runner and hands it one script after the other.
//!
//! Scripts have the runner's user and see the socket. So there is a listener only as long as no runner is connected: it
//! takes one connection and is gone. After a runner has ended it comes back a moment later, when everything that ran
//! in the runner's container has ended with it. A runner that may live on, since this side or an earlier process of it let
//! go of the connection, gets the time that it needs to end its script.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sortie_render::SourceFile;
use sortie_runner::frame::{End, File, FrameError, Order, Report, Script as Wire, VERSION};
use sortie_step::scripts::{Script, ScriptError};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::connection::{Connection, Lost};
use super::received::{Excess, Received};
use crate::telemetry::chain;

/// How long the container of a runner that has ended may take to end.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a runner may take for its first word.
const HELLO: Duration = Duration::from_secs(10);
/// How long a script may take to end once it was told to.
const END: Duration = Duration::from_secs(15);
/// Runners that may be lost before a script has begun.
const ATTEMPTS: u32 = 3;

/// What the runner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// None is connected.
    Absent,
    /// It waits for a script.
    Idle,
    /// It has a script.
    Busy,
}

/// What is heard of a script.
#[derive(Debug)]
pub(super) enum Event {
    Begun,
    Line(String),
    Ended(Result<Vec<SourceFile>, ScriptError>),
}

/// A script to run. When nobody listens for its events any more, it is ended.
#[derive(Debug)]
pub(super) struct Request {
    script: Script,
    tell: mpsc::Sender<Event>,
    attempts: u32,
}

impl Request {
    pub(super) const fn new(script: Script, tell: mpsc::Sender<Event>) -> Self {
        Self {
            script,
            tell,
            attempts: 0,
        }
    }

    async fn ended(self, result: Result<Vec<SourceFile>, ScriptError>) {
        // Nobody may listen any more.
        drop(self.tell.send(Event::Ended(result)).await);
    }
}

/// Serves the runner.
#[derive(Debug)]
pub struct Host {
    socket: PathBuf,
    requests: mpsc::Receiver<Request>,
    state: watch::Sender<State>,
    limits: Limits,
}

impl Host {
    pub(super) const fn new(
        socket: PathBuf,
        requests: mpsc::Receiver<Request>,
        state: watch::Sender<State>,
        limits: Limits,
    ) -> Self {
        Self {
            socket,
            requests,
            state,
            limits,
        }
    }

    /// Serve one runner after the other until `stop`; the one that is connected then is told to end.
    pub async fn serve(mut self, stop: CancellationToken) {
        let mut left = None;
        let mut quiet = match used(&self.socket).exists() {
            true => self.limits.settle,
            false => Duration::ZERO,
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(quiet) => {}
                () = stop.cancelled() => break,
            }
            let accepted = tokio::select! {
                accepted = accept(&self.socket) => accepted,
                () = stop.cancelled() => break,
            };
            quiet = match accepted {
                Ok(stream) => {
                    let connection = Connection::new(stream);
                    let serving = self.one(connection, left.take(), &stop);
                    let (request, is_gone) = Box::pin(serving).await;
                    left = request;
                    self.state.send_replace(State::Absent);
                    if is_gone { AGAIN } else { self.limits.settle }
                }
                Err(error) => {
                    let socket = self.socket.display();
                    tracing::warn!(%error, %socket, "cannot listen for the runner");
                    AGAIN
                }
            };
        }
        std::fs::remove_file(&self.socket).ok();
    }

    /// Serve a runner as long as it is there. The request that it never began comes back, and whether it has ended.
    async fn one(
        &mut self,
        mut connection: Connection,
        mut left: Option<Request>,
        stop: &CancellationToken,
    ) -> (Option<Request>, bool) {
        if let Err(lost) = greet(&mut connection).await {
            tracing::warn!(error = chain(&lost), "a runner was turned away");
            return (left, lost.is_gone());
        }
        tracing::info!("runner connected");
        loop {
            let request = match left.take() {
                Some(request) => request,
                None => {
                    self.state.send_replace(State::Idle);
                    tokio::select! {
                        request = self.requests.recv() => match request {
                            Some(request) => request,
                            None => return (None, false),
                        },
                        said = connection.next() => {
                            tracing::warn!(?said, "runner disconnected");
                            return (None, said.is_err_and(|lost| lost.is_gone()));
                        }
                        () = stop.cancelled() => {
                            // It ends by itself otherwise, a little later.
                            connection.send(&Order::Stop).await.ok();
                            return (None, false);
                        }
                    }
                }
            };
            if request.tell.is_closed() {
                continue;
            }
            self.state.send_replace(State::Busy);
            match carry_out(&mut connection, request, self.limits.hand_over).await {
                Ok(()) => {}
                Err((lost, request)) => {
                    tracing::warn!(error = chain(&lost), "runner lost");
                    return (again(request).await, lost.is_gone());
                }
            }
        }
    }
}

/// A script that has not begun may be given to another runner.
async fn again(request: Option<Request>) -> Option<Request> {
    let mut request = request?;
    request.attempts += 1;
    if request.attempts < ATTEMPTS {
        return Some(request);
    }
    let reason = format!("{ATTEMPTS} runners in turn did not take it");
    request.ended(Err(ScriptError::NotStarted { reason })).await;
    None
}

/// What tells a later process of the delegate that there is a runner which may still have a script. The volume goes with
/// the pod, and the runner only reads it.
fn used(socket: &Path) -> PathBuf {
    socket.with_extension("used")
}

/// Listen until there is one connection.
async fn accept(socket: &Path) -> std::io::Result<UnixStream> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    // The runner is another user of the same group.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    let (stream, _) = listener.accept().await?;
    std::fs::write(used(socket), "")?;
    drop(listener);
    std::fs::remove_file(socket)?;
    Ok(stream)
}

async fn greet(connection: &mut Connection) -> Result<(), Lost> {
    match tokio::time::timeout(HELLO, connection.next()).await {
        Ok(Ok(Report::Ready { version: VERSION })) => Ok(()),
        Ok(Ok(_)) => Err(FrameError::Malformed.into()),
        Ok(Err(lost)) => Err(lost),
        Err(_) => Err(Lost::Late),
    }
}

/// Run a script to its end.
///
/// # Errors
/// The runner is lost; with the request when the script has not begun.
async fn carry_out(
    connection: &mut Connection,
    request: Request,
    within: Duration,
) -> Result<(), (Lost, Option<Request>)> {
    let handed_over = tokio::time::timeout(within, hand_over(connection, &request.script)).await;
    if let Err(lost) = handed_over.unwrap_or(Err(Lost::Late)) {
        return Err((lost, Some(request)));
    }
    let (mut begun, mut received) = (false, Received::default());
    let mut told_to_end = None;
    loop {
        let report = tokio::select! {
            report = connection.next() => report,
            () = request.tell.closed(), if told_to_end.is_none() => {
                told_to_end = Some(tokio::time::Instant::now() + END);
                match connection.send(&Order::Cancel).await {
                    Ok(()) => continue,
                    Err(lost) => Err(lost),
                }
            }
            // A runner that does not end a script is of no use.
            () = until(told_to_end) => Err(Lost::Late),
        };
        let taken = match report {
            Ok(Report::Begun) if !begun => {
                begun = true;
                drop(request.tell.send(Event::Begun).await);
                Ok(())
            }
            Ok(Report::Line(line)) => match received.line(&line) {
                Ok(()) => {
                    drop(request.tell.send(Event::Line(line)).await);
                    Ok(())
                }
                Err(excess) => Err(excess.into()),
            },
            Ok(Report::File(file)) => received.file(file).map_err(Lost::from),
            Ok(Report::Ended(end)) => {
                request.ended(result(end, received)).await;
                return Ok(());
            }
            Ok(Report::Begun | Report::Ready { .. }) => Err(FrameError::Malformed.into()),
            Err(lost) => Err(lost),
        };
        match taken {
            Ok(()) => {}
            Err(lost) if begun => {
                request.ended(Err(cut_off(&lost))).await;
                return Err((lost, None));
            }
            Err(lost) => return Err((lost, Some(request))),
        }
    }
}

/// How a script ended that had begun when its runner was lost.
fn cut_off(lost: &Lost) -> ScriptError {
    match lost {
        Lost::Excess(excess @ Excess::Files) => ScriptError::Files {
            reason: excess.to_string(),
        },
        _ => ScriptError::Lost,
    }
}

async fn hand_over(connection: &mut Connection, script: &Script) -> Result<(), Lost> {
    let wire = Wire {
        text: script.text.expose_secret().to_owned(),
        variables: script
            .variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        seconds: script.limit.as_secs(),
    };
    connection.send(&Order::Script(wire)).await?;
    for file in &script.files {
        let file = File {
            path: file.path.clone(),
            content: file.content.clone(),
        };
        connection.send(&Order::File(file)).await?;
    }
    connection.send(&Order::Begin).await
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn result(end: End, received: Received) -> Result<Vec<SourceFile>, ScriptError> {
    match end {
        End::Exit { code: 0 } => Ok(received.into_files()),
        End::Exit { code } => Err(ScriptError::Exit { code }),
        End::Signal { signal } => Err(ScriptError::Signal { signal }),
        End::NotStarted { reason } => Err(ScriptError::NotStarted {
            reason: short(&reason),
        }),
        End::NotTaken { reason } => Err(ScriptError::Files {
            reason: short(&reason),
        }),
        // By our own order, or by a limit that comes after the step's own end.
        End::Canceled | End::TimeLimit => Err(ScriptError::Lost),
    }
}

/// What the runner says goes to people: bounded, on one line.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}
