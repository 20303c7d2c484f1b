//! The delegate's side of a session.
//!
//! A [`Session`] lives as long as the process. Streams come and go: [`Input::Opened`] and [`Input::Closed`] frame them.
//! What the server has not acknowledged is kept and sent again, also to another server process.

mod held;
mod io;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use self::held::{Held, Stage};
pub use self::io::{Command, Greeting, Input, Output};
use crate::lane::{Inbox, Outbox};
use crate::{
    CancelReason, DelegateControl, Error, FromDelegate, FromServer, Hello, Outcome, Payload,
    RefusalReason, ServerControl, Settings, State, StateKind, TaskId, TaskRef, VERSION,
    VERSION_MIN, Welcome,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// No stream.
    Down,
    /// Hello sent at this time, no welcome yet.
    Greeting { since: Duration },
    /// Welcomed.
    Up {
        heard: Duration,
        beat: Duration,
        beats: u64,
        progressed: Duration,
    },
}

#[derive(Debug, Clone)]
struct PendingState {
    state: State,
    /// Not before this time.
    due: Duration,
    /// Handed to the present stream already.
    is_sent: bool,
}

/// The delegate's side of the protocol.
#[derive(Debug)]
pub struct Session {
    greeting: Greeting,
    settings: Settings,
    heartbeat: Duration,
    dead_after: Duration,
    link: Link,
    server_origin: String,
    outbox: Outbox<DelegateControl>,
    inbox: Inbox<ServerControl>,
    held: Held,
    states: BTreeMap<(TaskId, StateKind), PendingState>,
    /// Unanswered resolve requests by request id, with the number that carried each last.
    resolves: BTreeMap<String, (u64, DelegateControl)>,
    is_draining: bool,
    /// Streams opened so far.
    streams: u64,
}

impl Session {
    /// A session that has no stream yet.
    pub fn new(greeting: Greeting, settings: Settings) -> Self {
        Self {
            greeting,
            heartbeat: settings.heartbeat,
            dead_after: settings.dead_after,
            settings,
            link: Link::Down,
            server_origin: String::new(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            held: Held::default(),
            states: BTreeMap::new(),
            resolves: BTreeMap::new(),
            is_draining: false,
            streams: 0,
        }
    }

    /// Takes what happened at `now` (time since any fixed origin, never going back) and says what to do, in order.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        let result = match input {
            Input::Opened => {
                self.open(now, &mut out);
                Ok(())
            }
            Input::Closed => {
                self.link = Link::Down;
                Ok(())
            }
            Input::Received(message) => self.receive(message, now, &mut out),
            Input::Command(command) => {
                self.command(command, now);
                Ok(())
            }
            Input::Tick => self.tick(now, &mut out),
        };
        match result {
            Ok(()) => self.flush(now, &mut out),
            Err(error) => {
                self.link = Link::Down;
                out.push(Output::Close(error));
            }
        }
        out
    }

    /// When [`Input::Tick`] is due next, if ever.
    pub fn deadline(&self) -> Option<Duration> {
        match self.link {
            Link::Down => None,
            Link::Greeting { since } => Some(since + self.settings.greeting),
            Link::Up {
                heard,
                beat,
                progressed,
                ..
            } => {
                let mut at = (heard + self.dead_after).min(beat + self.heartbeat);
                if !self.outbox.is_empty() {
                    at = at.min(progressed + self.settings.resend_after);
                }
                let waiting = self.states.values().filter(|s| !s.is_sent).map(|s| s.due);
                Some(waiting.fold(at, Duration::min))
            }
        }
    }

    /// Whether a welcome came on the present stream.
    pub fn is_established(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// Whether nothing is held and nothing waits for the server: a drained delegate may end now.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.outbox.is_empty()
    }

    /// The tasks held: offered, accepted, running, or ended and not stored by the server yet.
    pub fn held(&self) -> Vec<TaskRef> {
        self.held.refs()
    }

    fn open(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.link = Link::Greeting { since: now };
        self.streams += 1;
        let greeting = &self.greeting;
        out.push(Output::Send(FromDelegate::Hello(Hello {
            version_min: VERSION_MIN,
            version_max: VERSION,
            delegate: greeting.holder.delegate.clone(),
            instance: greeting.holder.instance.clone(),
            boot: greeting.holder.boot.clone(),
            software_version: greeting.software_version.clone(),
            task_types: greeting.task_types.clone(),
            capabilities: greeting.capabilities.clone(),
            capacity: if self.is_draining {
                0
            } else {
                greeting.capacity
            },
            tags: greeting.tags.clone(),
            sealing_key: greeting.sealing_key.clone(),
            server_origin: self.server_origin.clone(),
            received: self.inbox.committed(),
            oldest_kept: self.outbox.oldest(),
            held: self.held.refs(),
            stream: self.streams,
        })));
    }

    fn receive(
        &mut self,
        message: FromServer,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        match (&mut self.link, message) {
            (Link::Greeting { .. }, FromServer::Welcome(welcome)) => {
                self.welcome(welcome, now, out)
            }
            (Link::Down, _) => Ok(()),
            (Link::Greeting { .. }, other) => Err(Error::Unexpected {
                message: other.kind(),
                state: "before the welcome",
            }),
            (Link::Up { heard, .. }, message) => {
                *heard = now;
                self.hear(message, now, out)
            }
        }
    }

    fn welcome(
        &mut self,
        welcome: Welcome,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        crate::negotiate(welcome.version, welcome.version)?;
        let acknowledged = self.outbox.resume(welcome.received)?;
        if welcome.server_origin != self.server_origin {
            self.server_origin.clone_from(&welcome.server_origin);
            self.inbox = Inbox::default();
            self.ask_again();
        }
        self.heartbeat = bounded(welcome.heartbeat_ms, self.settings.heartbeat);
        self.dead_after = bounded(welcome.dead_after_ms, self.settings.dead_after);
        self.link = Link::Up {
            heard: now,
            beat: now,
            beats: 0,
            progressed: now,
        };
        for pending in self.states.values_mut() {
            pending.is_sent = false;
            pending.due = now;
        }
        out.push(Output::Established(welcome));
        self.acknowledged(acknowledged, out);
        Ok(())
    }

    /// Another server process never saw the questions that its predecessor acknowledged.
    fn ask_again(&mut self) {
        for (seq, question) in self.resolves.values_mut() {
            if !self.outbox.keeps(*seq) {
                *seq = self.outbox.push(question.clone());
            }
        }
    }

    fn hear(
        &mut self,
        message: FromServer,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        match message {
            FromServer::Welcome(_) => Err(Error::Unexpected {
                message: "welcome",
                state: "after the welcome",
            }),
            FromServer::Heartbeat { .. } => Ok(()),
            FromServer::GoAway(reason) => {
                out.push(Output::GoAway(reason));
                Ok(())
            }
            FromServer::Ack { up_to } => {
                let done = self.outbox.acknowledge(up_to)?;
                if let Link::Up { progressed, .. } = &mut self.link {
                    *progressed = now;
                }
                self.acknowledged(done, out);
                Ok(())
            }
            FromServer::Control { seq, body } => {
                if self.outbox.len() >= self.settings.outbox_limit {
                    return Err(Error::OutboxFull {
                        kept: self.outbox.len(),
                    });
                }
                for (seq, body) in self.inbox.receive(seq, body)? {
                    self.control(body, out);
                    self.inbox.commit(seq);
                }
                // Also for a repeat: the acknowledgement may have been lost.
                let up_to = self.inbox.committed();
                out.push(Output::Send(FromDelegate::Ack { up_to }));
                Ok(())
            }
        }
    }

    fn control(&mut self, body: ServerControl, out: &mut Vec<Output>) {
        match body {
            ServerControl::Assign { task, payload } => self.assigned(task, payload, out),
            ServerControl::Start(task) => {
                if self.held.stage_of(&task) == Some(Stage::Accepted) {
                    self.held.set(&task, Stage::Running);
                    out.push(Output::Start(task));
                }
            }
            ServerControl::Cancel { task, reason } => self.cancel(&task, reason, out),
            ServerControl::Resolved {
                task,
                request,
                payload,
            } => {
                if self.resolves.remove(&request).is_some() && self.held.is_running(&task) {
                    out.push(Output::Resolved {
                        task,
                        request,
                        payload,
                    });
                }
            }
            ServerControl::Drain => {
                self.is_draining = true;
                out.push(Output::Drain);
            }
        }
    }

    fn assigned(&mut self, task: TaskRef, payload: Payload, out: &mut Vec<Output>) {
        if let Some((epoch, stage)) = self.held.current(&task.id) {
            if epoch == task.epoch {
                if matches!(
                    stage,
                    Stage::Accepted | Stage::Running | Stage::Ended { .. }
                ) {
                    self.outbox.push(DelegateControl::Accept(task));
                }
                return;
            }
            if epoch < task.epoch {
                let older = TaskRef {
                    id: task.id.clone(),
                    epoch,
                };
                self.cancel(&older, CancelReason::Superseded, out);
            }
        }
        if self.held.has_seen(&task) {
            self.refuse(
                task,
                RefusalReason::Stale,
                "a later epoch was seen".to_owned(),
            );
        } else if self.is_draining {
            self.held.saw(&task);
            self.refuse(task, RefusalReason::Draining, "shutting down".to_owned());
        } else {
            self.held.offer(&task);
            out.push(Output::Offered { task, payload });
        }
    }

    fn refuse(&mut self, task: TaskRef, reason: RefusalReason, message: String) {
        self.outbox.push(DelegateControl::Refuse {
            task,
            reason,
            message,
        });
    }

    fn cancel(&mut self, task: &TaskRef, reason: CancelReason, out: &mut Vec<Output>) {
        let Some(stage) = self.held.stage_of(task) else {
            return;
        };
        match (stage, reason) {
            (Stage::Ended { .. }, CancelReason::Requested) => {}
            (Stage::Ended { .. }, CancelReason::Superseded) => self.drop_task(task),
            (Stage::Running, CancelReason::Requested) => {
                out.push(Output::Cancel {
                    task: task.clone(),
                    reason,
                });
            }
            (Stage::Running, CancelReason::Superseded) => {
                self.drop_task(task);
                out.push(Output::Cancel {
                    task: task.clone(),
                    reason,
                });
            }
            (Stage::Offered | Stage::Accepted, CancelReason::Requested) => {
                let outcome = Outcome {
                    end: crate::End::Aborted,
                    payload: Payload::from([]),
                };
                let seq = self.outbox.push(DelegateControl::Result {
                    task: task.clone(),
                    outcome,
                });
                self.held.set(task, Stage::Ended { seq });
                out.push(Output::Withdrawn(task.clone()));
            }
            (Stage::Offered | Stage::Accepted, CancelReason::Superseded) => {
                self.drop_task(task);
                out.push(Output::Withdrawn(task.clone()));
            }
        }
    }

    fn command(&mut self, command: Command, now: Duration) {
        match command {
            Command::Accept(task) => {
                if matches!(self.held.stage_of(&task), Some(Stage::Offered)) {
                    self.held.set(&task, Stage::Accepted);
                    self.outbox.push(DelegateControl::Accept(task));
                }
            }
            Command::Refuse {
                task,
                reason,
                message,
            } => {
                if matches!(self.held.stage_of(&task), Some(Stage::Offered)) {
                    self.held.remove(&task);
                    self.refuse(task, reason, message);
                }
            }
            Command::Finish { task, outcome } => {
                if self.held.is_running(&task) {
                    let seq = self.outbox.push(DelegateControl::Result {
                        task: task.clone(),
                        outcome,
                    });
                    self.held.set(&task, Stage::Ended { seq });
                    self.forget_questions(&task);
                    self.hurry_states(&task, now);
                }
            }
            Command::HandBack(task) => {
                if matches!(
                    self.held.stage_of(&task),
                    Some(Stage::Accepted | Stage::Running)
                ) {
                    let seq = self.outbox.push(DelegateControl::HandBack(task.clone()));
                    self.held.set(&task, Stage::Ended { seq });
                    self.forget_questions(&task);
                    self.hurry_states(&task, now);
                }
            }
            Command::Resolve {
                task,
                request,
                names,
            } => {
                if self.held.is_running(&task) {
                    let question = DelegateControl::Resolve {
                        task,
                        request: request.clone(),
                        names,
                    };
                    let seq = self.outbox.push(question.clone());
                    self.resolves.insert(request, (seq, question));
                }
            }
            Command::State(state) => self.show(state, now),
            Command::Drain => {
                if !self.is_draining {
                    self.is_draining = true;
                    self.outbox.push(DelegateControl::Draining);
                }
            }
        }
    }

    /// The task's last states go before its end.
    fn hurry_states(&mut self, task: &TaskRef, now: Duration) {
        for pending in self.states.values_mut().filter(|s| s.state.task == *task) {
            pending.due = pending.due.min(now);
        }
    }

    fn show(&mut self, state: State, now: Duration) {
        if self.held.stage_of(&state.task).is_none() {
            return;
        }
        let key = (state.task.id.clone(), state.kind);
        let due = match self.states.get(&key) {
            Some(last) if last.state.task.epoch == state.task.epoch => {
                if state.revision <= last.state.revision {
                    return;
                }
                if last.is_sent {
                    last.due + self.settings.state_interval
                } else {
                    last.due
                }
            }
            _ => now,
        };
        self.states.insert(
            key,
            PendingState {
                state,
                due: due.max(now),
                is_sent: false,
            },
        );
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) -> Result<(), Error> {
        match &mut self.link {
            Link::Down => Ok(()),
            Link::Greeting { since } => {
                if now >= *since + self.settings.greeting {
                    let seconds = self.settings.greeting.as_secs();
                    return Err(Error::NoWelcome { seconds });
                }
                Ok(())
            }
            Link::Up {
                heard,
                beat,
                beats,
                progressed,
            } => {
                if now >= *heard + self.dead_after {
                    return Err(Error::Silent {
                        seconds: self.dead_after.as_secs(),
                    });
                }
                if now >= *beat + self.heartbeat {
                    *beat = now;
                    *beats += 1;
                    let running = u32::try_from(self.held.running()).unwrap_or(u32::MAX);
                    out.push(Output::Send(FromDelegate::Heartbeat {
                        number: *beats,
                        running,
                    }));
                }
                if !self.outbox.is_empty() && now >= *progressed + self.settings.resend_after {
                    *progressed = now;
                    self.outbox.rewind();
                }
                Ok(())
            }
        }
    }

    /// Puts what waits on the stream; states first, so that a task's last state is there before its result.
    fn flush(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Link::Up { progressed, .. } = &mut self.link else {
            return;
        };
        for pending in self
            .states
            .values_mut()
            .filter(|s| !s.is_sent && s.due <= now)
        {
            pending.is_sent = true;
            pending.due = now;
            out.push(Output::Send(FromDelegate::State(pending.state.clone())));
        }
        let batch = self.outbox.unsent();
        if !batch.is_empty() {
            if batch.len() == self.outbox.len() {
                *progressed = now;
            }
            out.extend(
                batch
                    .into_iter()
                    .map(|(seq, body)| Output::Send(FromDelegate::Control { seq, body })),
            );
        }
    }

    /// The server has stored these.
    fn acknowledged(&mut self, done: Vec<(u64, DelegateControl)>, out: &mut Vec<Output>) {
        for (seq, body) in done {
            match body {
                DelegateControl::Result { task, .. } | DelegateControl::HandBack(task) => {
                    if self.held.stage_of(&task) == Some(Stage::Ended { seq }) {
                        self.drop_task(&task);
                        out.push(Output::Stored(task));
                    }
                }
                DelegateControl::Accept(_)
                | DelegateControl::Refuse { .. }
                | DelegateControl::Resolve { .. }
                | DelegateControl::Draining => {}
            }
        }
    }

    fn drop_task(&mut self, task: &TaskRef) {
        self.held.remove(task);
        self.states.retain(|_, pending| pending.state.task != *task);
        self.forget_questions(task);
    }

    fn forget_questions(&mut self, task: &TaskRef) {
        self.resolves.retain(|_, (_, question)| {
            !matches!(question, DelegateControl::Resolve { task: asker, .. } if asker == task)
        });
    }
}

/// The server's interval, within reason: it may neither silence the delegate nor keep it busy.
fn bounded(milliseconds: u32, default: Duration) -> Duration {
    if milliseconds == 0 {
        return default;
    }
    Duration::from_millis(milliseconds.into())
        .clamp(Duration::from_millis(50), Duration::from_secs(300))
}
