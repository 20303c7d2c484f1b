//! Drives the session: feeds it what happens, and does what it says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sortie_link::backoff::Backoff;
use sortie_link::delegate::{Command, Greeting, Input, Output, Session};
use sortie_link::{BootId, GoAwayReason, Holder, TaskRef, Welcome};
use sortie_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::credentials::{Credentials, Enrolled};
use super::error::Error;
use super::sealing::{CAPABILITY, SealingKey};
use super::stream::{Event, Happened, Stream};
use super::tls::{self, Trust};
use super::{Blobs, LogBuffer, Options, Standing, keeper, wire};
use crate::metrics::Metrics;
use crate::tasks::{Asked, Board, Ended, Shared, TaskRunner, Tasks};
use crate::telemetry::chain;

/// How often new states of tasks are collected.
const BOARD_PACE: Duration = Duration::from_millis(50);

/// How long tasks may take after the drain to stop at a safe place, to give their releases back, and to be handed back.
/// With the drain it fits into the pod's grace period.
const HAND_OVER: Duration = Duration::from_secs(8);

/// Waits where somebody has to act before it can work.
const LASTING: Backoff = Backoff {
    base: Duration::from_secs(5),
    cap: Duration::from_secs(60),
};

/// A connection with the identity it was made with.
struct Connection {
    channel: Channel,
    enrolled: Enrolled,
}

/// Drives one delegate's session.
pub(super) struct Driver {
    options: Options,
    credentials: Arc<Credentials>,
    task_types: Vec<String>,
    boot: BootId,
    tasks: Tasks,
    shared: Shared,
    /// Until the first identity there is none.
    session: Option<(String, Session)>,
    origin: Instant,
    commands: mpsc::Receiver<Command>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    stream: Option<Stream>,
    /// Number of the present stream; what happens on others is history.
    number: u64,
    dialing: JoinSet<Result<Connection, Error>>,
    redial_at: Option<Instant>,
    attempt: u32,
    is_doubted: bool,
    keeping: JoinSet<()>,
    other_identity: (mpsc::Sender<()>, mpsc::Receiver<()>),
    present: watch::Sender<Option<Channel>>,
    standing: watch::Sender<Standing>,
    board_at: Instant,
    drain: Drain,
}

/// How the stop goes on.
#[derive(Clone, Copy)]
enum Drain {
    /// Nobody asked for one.
    None,
    /// Tasks may come to their end.
    Finishing { until: Instant },
    /// Tasks stop at the next safe place and are handed back.
    HandingOver { until: Instant },
}

/// Why the driver wakes up.
enum Wake {
    Command(Command),
    Stream(Event),
    Dialed(Result<Connection, Error>),
    Ended(TaskRef, Ended),
    OtherIdentity,
    Board,
    Sent,
    /// All log lines are stored.
    LogsStored,
    Tick,
    Redial,
    Stop,
    /// The present part of the drain took all the time that it may take.
    DrainOver,
}

impl Driver {
    pub(super) fn new(
        options: Options,
        credentials: Credentials,
        runner: Arc<dyn TaskRunner>,
        metrics: Arc<Metrics>,
        standing: watch::Sender<Standing>,
        key: SealingKey,
    ) -> Self {
        let (sender, commands) = mpsc::channel(64);
        let (present, channel) = watch::channel(None);
        let shared = Shared {
            board: Arc::new(Board::default()),
            asked: Arc::new(Asked::default()),
            logs: Arc::new(LogBuffer::new(metrics.log_lines_dropped.clone())),
            key: Arc::new(key),
            blobs: Blobs::new(channel),
            commands: sender,
            metrics,
        };
        let now = Instant::now();
        Self {
            task_types: runner.task_types(),
            tasks: Tasks::new(runner, shared.clone(), options.capacity),
            credentials: Arc::new(credentials),
            boot: uuid::Uuid::new_v4().simple().to_string().into(),
            shared,
            session: None,
            origin: now,
            commands,
            events: mpsc::channel(16),
            stream: None,
            number: 0,
            dialing: JoinSet::new(),
            redial_at: Some(now),
            attempt: 0,
            is_doubted: false,
            keeping: JoinSet::new(),
            other_identity: mpsc::channel(1),
            present,
            standing,
            board_at: now,
            drain: Drain::None,
            options,
        }
    }

    /// Until `stop` and the drain after it.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !self.is_done() {
            match self.next(&stop).await {
                Wake::Command(command) => self.feed(Input::Command(command)),
                Wake::Stream(event) => self.happened(event),
                Wake::Dialed(Ok(connection)) => self.connected(connection),
                Wake::Dialed(Err(error)) => self.failed(&error),
                Wake::Ended(task, ended) => self.task_ended(task, ended),
                Wake::OtherIdentity => self.redial_within(Duration::ZERO),
                Wake::Board => {
                    self.board_at = Instant::now() + BOARD_PACE;
                    for state in self.shared.board.take() {
                        self.feed(Input::Command(Command::State(state)));
                    }
                }
                Wake::Sent | Wake::LogsStored => {}
                Wake::Tick => self.feed(Input::Tick),
                Wake::Redial => self.dial(),
                Wake::Stop => self.drain(),
                Wake::DrainOver if matches!(self.drain, Drain::Finishing { .. }) => {
                    self.hand_over();
                }
                Wake::DrainOver => {
                    tracing::warn!(
                        tasks = self.tasks.len(),
                        "not everything could be handed back in time; others go on when the task lease is over"
                    );
                    break;
                }
            }
        }
        self.standing.send_modify(|standing| standing.is_up = false);
        self.shared.metrics.session_up.set(0);
    }

    async fn next(&mut self, stop: &CancellationToken) -> Wake {
        let deadline = self
            .session
            .as_ref()
            .and_then(|(_, session)| session.deadline());
        let tick_at = deadline.map(|deadline| self.origin + deadline);
        let is_flushed = self.stream.as_ref().is_none_or(Stream::is_flushed);
        let drain_until = match self.drain {
            Drain::None => None,
            Drain::Finishing { until } | Drain::HandingOver { until } => Some(until),
        };
        let is_draining = drain_until.is_some();
        let stream = &mut self.stream;
        let sending = async {
            match stream {
                Some(stream) => stream.send_next().await,
                None => std::future::pending().await,
            }
        };
        let board = async {
            sleep_until(self.board_at).await;
            self.shared.board.changed().await;
        };
        tokio::select! {
            Some(event) = self.events.1.recv() => Wake::Stream(event),
            Some(command) = self.commands.recv() => Wake::Command(command),
            (task, ended) = self.tasks.ended() => Wake::Ended(task, ended),
            Some(dialed) = self.dialing.join_next() => match dialed {
                Ok(dialed) => Wake::Dialed(dialed),
                Err(_) => Wake::Dialed(Err(Error::Ended { reason: "a defect of the delegate".into() })),
            },
            Some(()) = self.other_identity.1.recv() => Wake::OtherIdentity,
            () = sending => Wake::Sent,
            // States wait until the connection has taken the last ones: the newest are sent then.
            () = board, if is_flushed => Wake::Board,
            () = self.shared.logs.emptied(), if is_draining => Wake::LogsStored,
            () = at(tick_at) => Wake::Tick,
            () = at(self.redial_at) => Wake::Redial,
            () = stop.cancelled(), if !is_draining => Wake::Stop,
            () = at(drain_until) => Wake::DrainOver,
        }
    }

    /// Tells the session what happened, and does what it says.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.origin.elapsed();
            let Some((_, session)) = &mut self.session else {
                return;
            };
            for output in session.handle(input, now) {
                if let Some(answer) = self.perform(output) {
                    inputs.push_back(Input::Command(answer));
                }
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<Command> {
        match output {
            Output::Send(message) => match (&mut self.stream, wire::from_delegate(message)) {
                (Some(stream), Some(message)) => stream.push(message),
                (None, _) => {}
                (_, None) => tracing::error!("a message of our own cannot be read"),
            },
            Output::Close(error) => self.lost(&Error::Protocol(error)),
            Output::Established(welcome) => self.established(&welcome),
            Output::Offered { task, payload } => return Some(self.tasks.offered(task, &payload)),
            Output::Start(task) => self.tasks.start(&task),
            Output::Cancel { task, reason } => self.tasks.cancel(&task, reason),
            Output::Withdrawn(task) => self.tasks.withdrawn(&task),
            Output::Stored(task) => {
                tracing::debug!(task = %task.id, epoch = task.epoch, "result stored");
            }
            Output::Resolved {
                request, payload, ..
            } => self.shared.asked.answer(&request, &payload),
            Output::Drain => tracing::info!("the control plane gives no new task to this delegate"),
            Output::GoAway(reason) => self.go_away(reason),
        }
        None
    }

    fn happened(&mut self, (number, happened): Event) {
        if number != self.number || self.stream.is_none() {
            return;
        }
        match happened {
            Happened::Message(message) => match wire::from_server(*message) {
                Some(message) => self.feed(Input::Received(message)),
                // What a newer server says beyond our version is not for us.
                None => {
                    tracing::debug!("a message of the control plane is not known to this version")
                }
            },
            Happened::Ended(status) => {
                let error = match status {
                    Some(status) => Error::from_status("the session", &status),
                    None => Error::Ended {
                        reason: "closed by the control plane".into(),
                    },
                };
                self.lost(&error);
                self.feed(Input::Closed);
            }
        }
    }

    fn dial(&mut self) {
        self.redial_at = None;
        let is_doubted = std::mem::take(&mut self.is_doubted);
        self.dialing
            .spawn(dial(Arc::clone(&self.credentials), is_doubted));
    }

    /// A connection stands: open a stream on it, in place of the present one if there is one.
    fn connected(&mut self, connection: Connection) {
        let Connection { channel, enrolled } = connection;
        let delegate = enrolled.enrolment.delegate.clone();
        if self.stream.take().is_some() {
            self.feed(Input::Closed);
        }
        if self
            .session
            .as_ref()
            .is_none_or(|(known, _)| *known != delegate)
        {
            if self.session.is_some() {
                tracing::warn!(
                    delegate,
                    "this is another delegate now; its tasks are given up"
                );
                self.tasks.abandon();
            }
            let session = Session::new(self.greeting(&delegate), self.options.session);
            self.session = Some((delegate, session));
        }
        if self.keeping.is_empty() {
            self.keeping.spawn(keeper::keep(
                Arc::clone(&self.credentials),
                enrolled,
                Arc::clone(&self.shared.metrics),
                self.other_identity.0.clone(),
            ));
        }
        self.number += 1;
        self.stream = Some(Stream::open(channel, self.number, self.events.0.clone()));
        self.feed(Input::Opened);
        if self.is_draining() {
            self.feed(Input::Command(Command::Drain));
        }
    }

    fn greeting(&self, delegate: &str) -> Greeting {
        Greeting {
            holder: Holder {
                delegate: delegate.into(),
                instance: self.options.instance.as_str().into(),
                boot: self.boot.clone(),
            },
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            task_types: self.task_types.clone(),
            capabilities: vec![CAPABILITY.to_owned()],
            capacity: self.options.capacity,
            tags: self.options.tags.clone(),
            sealing_key: self.shared.key.public().to_vec(),
        }
    }

    fn established(&mut self, welcome: &Welcome) {
        self.attempt = 0;
        let Some(stream) = &mut self.stream else {
            return;
        };
        tracing::info!(
            server = self.credentials.dialer.address(),
            session = welcome.session,
            "connected to the control plane"
        );
        let open = v1::LogsOpen {
            instance_id: self.options.instance.clone(),
            boot_id: self.boot.as_str().to_owned(),
        };
        stream.ship_logs(Arc::clone(&self.shared.logs), open);
        self.present.send_replace(Some(stream.channel.clone()));
        self.shared.metrics.sessions.inc();
        self.shared.metrics.session_up.set(1);
        self.standing.send_replace(Standing {
            is_up: true,
            trouble: None,
        });
    }

    /// The present stream is of no use any more.
    fn lost(&mut self, error: &Error) {
        let was_up = self.standing.borrow().is_up;
        self.stream = None;
        self.present.send_replace(None);
        self.shared.metrics.session_up.set(0);
        if was_up {
            let reason = chain(error);
            tracing::warn!(
                reason,
                code = error.code(),
                "disconnected from the control plane"
            );
            let trouble = Some((error.code(), reason));
            self.standing.send_replace(Standing {
                is_up: false,
                trouble,
            });
            self.is_doubted |= error.doubts_certificate();
            self.retry(error);
        } else {
            self.failed(error);
        }
    }

    /// No session came about.
    fn failed(&mut self, error: &Error) {
        self.shared.metrics.connect_failures.inc();
        self.is_doubted |= error.doubts_certificate();
        let reason = chain(error);
        let is_news = {
            let standing = self.standing.borrow();
            standing
                .trouble
                .as_ref()
                .is_none_or(|(_, known)| *known != reason)
        };
        if is_news {
            tracing::warn!(
                reason,
                code = error.code(),
                "cannot connect to the control plane"
            );
        } else {
            tracing::debug!(reason, "cannot connect to the control plane");
        }
        self.standing.send_modify(|standing| {
            standing.is_up &= self.stream.is_some();
            standing.trouble = Some((error.code(), reason));
        });
        self.retry(error);
    }

    fn retry(&mut self, error: &Error) {
        let backoff = if error.is_lasting() && !self.is_doubted {
            LASTING
        } else {
            self.options.backoff
        };
        let wait = backoff.wait(self.attempt, rand::random());
        self.attempt = self.attempt.saturating_add(1);
        self.redial_within(wait);
    }

    fn redial_within(&mut self, wait: Duration) {
        if !self.dialing.is_empty() {
            return;
        }
        let at = Instant::now() + wait;
        self.redial_at = Some(self.redial_at.map_or(at, |planned| planned.min(at)));
    }

    fn go_away(&mut self, reason: GoAwayReason) {
        tracing::info!(?reason, "the control plane asks for a new session");
        match reason {
            GoAwayReason::Age => {
                let spread = self.options.backoff.wait(1, rand::random());
                self.redial_within(spread);
            }
            // It comes back, or another one is there: whichever answers.
            GoAwayReason::Shutdown => {
                let spread = self.options.backoff.wait(2, rand::random());
                self.redial_within(spread);
            }
            // Another process with our instance id: do not fight over it.
            GoAwayReason::Replaced => self.attempt = self.attempt.max(5),
        }
    }

    fn task_ended(&mut self, task: TaskRef, ended: Ended) {
        for state in self.shared.board.take_of(&task) {
            self.feed(Input::Command(Command::State(state)));
        }
        let command = match ended {
            Ended::Outcome(outcome) => Command::Finish { task, outcome },
            Ended::HandedOver => Command::HandBack(task),
            Ended::Unwanted => return,
        };
        self.feed(Input::Command(command));
    }

    fn drain(&mut self) {
        tracing::info!(tasks = self.tasks.len(), "stopping: no new tasks");
        let until = Instant::now() + self.options.drain;
        self.drain = Drain::Finishing { until };
        self.feed(Input::Command(Command::Drain));
    }

    /// What did not come to its end in time goes on elsewhere: a release that is given back is free at once.
    fn hand_over(&mut self) {
        tracing::info!(
            tasks = self.tasks.len(),
            "the drain is over: handing tasks back"
        );
        let until = Instant::now() + HAND_OVER;
        self.drain = Drain::HandingOver { until };
        for task in self.tasks.hand_over() {
            self.feed(Input::Command(Command::HandBack(task)));
        }
    }

    fn is_draining(&self) -> bool {
        !matches!(self.drain, Drain::None)
    }

    /// Whether everything is finished or handed back, and told.
    fn is_done(&self) -> bool {
        if !self.is_draining() {
            return false;
        }
        let Some((_, session)) = &self.session else {
            return true;
        };
        if self.tasks.len() > 0 {
            return false;
        }
        if session.is_established() {
            let is_flushed = self.stream.as_ref().is_none_or(Stream::is_flushed);
            session.is_idle() && is_flushed && self.shared.logs.is_empty()
        } else {
            // Results are worth waiting for a connection; the farewell alone is not.
            session.held().is_empty()
        }
    }
}

async fn dial(credentials: Arc<Credentials>, is_doubted: bool) -> Result<Connection, Error> {
    let enrolled = credentials.current(is_doubted).await?;
    let config =
        tls::authenticated(&enrolled.key, &enrolled.enrolment).map_err(Error::Certificate)?;
    let trust = Trust::Authorities(enrolled.enrolment.authorities.clone());
    let channel = credentials.dialer.connect(config, &trust).await?;
    Ok(Connection { channel, enrolled })
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
