//! Drives the session with one boot of one delegate instance: the pure machine of `sortie_link::server`, with the book
//! and the engine around it. One task per session; it does one thing at a time, so that effects keep their order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sortie_link::server::{CloseReason, Input, Output, Session, StreamId};
use sortie_link::task::{Event, Verdict};
use sortie_link::{
    CancelReason, DelegateControl, FromDelegate, GoAwayReason, Hello, Holder, Outcome, Payload,
    RefusalReason, ServerControl, State, StateKind, TaskRef,
};
use sortie_proto::v1;
use sortie_store::DelegateRecord;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tonic::Status;

use super::error::{Refusal, broken, chain};
use super::{Runtime, seal, selectors, wire};
use crate::clock;
use crate::tasks::Resolution;

/// How long a delegate that refused a task is not asked again.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Longest text of a refusal that is shown.
const MAX_REASON: usize = 512;

/// What a session is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A stream said hello.
    Hello(Box<Opening>),
    /// A stream said something else. The permit is given back when it is handled.
    Received(StreamId, Box<FromDelegate>, OwnedSemaphorePermit),
    /// A stream is gone.
    Closed(StreamId),
    /// Say this on the control lane.
    Command(ServerControl),
    /// Ask for another stream, if this is the present one.
    GoAway(GoAwayReason, Option<StreamId>),
    /// Another boot took over: end.
    Cut,
}

/// A new stream.
#[derive(Debug)]
pub(super) struct Opening {
    pub stream: StreamId,
    pub hello: Hello,
    pub delegate: DelegateRecord,
    pub certificate_not_after: jiff::Timestamp,
    pub outgoing: UnboundedSender<Result<v1::ServerMessage, Status>>,
}

/// Starts a session.
pub(super) fn start(runtime: &Arc<Runtime>, holder: Holder) -> UnboundedSender<Message> {
    let (sender, receiver) = unbounded_channel();
    let origin = uuid::Uuid::new_v4().to_string();
    let driver = Driver {
        session: Session::new(holder.clone(), origin, runtime.core.options.link),
        runtime: Arc::clone(runtime),
        holder,
        started: Instant::now(),
        stream: None,
    };
    runtime.core.tracker.spawn(driver.run(receiver));
    sender
}

struct Driver {
    session: Session,
    runtime: Arc<Runtime>,
    holder: Holder,
    started: Instant,
    stream: Option<Opening>,
}

impl Driver {
    async fn run(mut self, mut messages: UnboundedReceiver<Message>) {
        loop {
            let deadline = self.session.deadline().map(|at| self.started + at);
            let tick = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                message = messages.recv() => message,
                () = tick => {
                    self.handle(Input::Tick).await;
                    continue;
                }
            };
            match message {
                None | Some(Message::Cut) => break,
                Some(message) => self.message(message).await,
            }
        }
        if let Some(opening) = self.stream.take() {
            let _gone = opening
                .outgoing
                .send(Err(Status::aborted("replaced by another process")));
        }
    }

    async fn message(&mut self, message: Message) {
        match message {
            Message::Hello(opening) => self.open(*opening).await,
            Message::Received(stream, message, _permit) => {
                self.handle(Input::Received {
                    stream,
                    message: *message,
                })
                .await;
            }
            Message::Closed(stream) => self.handle(Input::Closed { stream }).await,
            Message::Command(body) => self.handle(Input::Command(body)).await,
            Message::GoAway(reason, stream) => {
                if stream.is_none() || stream == self.session.stream() {
                    self.handle(Input::GoAway(reason)).await;
                }
            }
            Message::Cut => {}
        }
    }

    /// Outputs are put on a stream in the order they come; the new stream replaces the old one when the machine says so.
    async fn open(&mut self, opening: Opening) {
        let (stream, hello) = (opening.stream, opening.hello.clone());
        let outputs = self
            .session
            .handle(Input::Hello { stream, hello }, self.now());
        let mut rest = VecDeque::new();
        for output in outputs {
            match output {
                Output::Close {
                    stream: closed,
                    reason,
                } if closed == stream => {
                    let _gone = opening.outgoing.send(Err(status(&reason)));
                    return;
                }
                Output::Close { reason, .. } => self.close(&reason),
                output => rest.push_back(output),
            }
        }
        self.stream = Some(opening);
        self.perform(rest).await;
    }

    async fn handle(&mut self, input: Input) {
        let outputs = self.session.handle(input, self.now());
        self.perform(outputs.into()).await;
    }

    async fn perform(&mut self, mut outputs: VecDeque<Output>) {
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Send { stream, message } => self.send(stream, message),
                Output::Close { reason, .. } => self.close(&reason),
                Output::Deliver { seq, body } => {
                    let input = match self.control(body).await {
                        Ok(()) => Input::Committed { seq },
                        Err(error) => {
                            tracing::error!(
                                delegate = %self.holder.delegate, error = chain(&error),
                                "could not store what a delegate reported; it will report again"
                            );
                            // What follows comes again as well.
                            outputs.retain(|output| !matches!(output, Output::Deliver { .. }));
                            Input::CommitFailed
                        }
                    };
                    outputs.extend(self.session.handle(input, self.now()));
                }
                Output::State(state) => self.state(state).await,
                Output::Attached { hello } => {
                    for claim in self.attached(&hello).await {
                        let reason = CancelReason::Superseded;
                        let cancel = ServerControl::Cancel {
                            task: claim,
                            reason,
                        };
                        outputs.extend(self.session.handle(Input::Command(cancel), self.now()));
                    }
                }
                Output::Detached => {
                    self.stream = None;
                    self.runtime.core.registry.detached(&self.holder);
                    tracing::info!(
                        delegate = %self.holder.delegate, instance = %self.holder.instance,
                        "delegate disconnected"
                    );
                }
            }
        }
    }

    fn send(&mut self, stream: StreamId, message: sortie_link::FromServer) {
        let Some(opening) = self
            .stream
            .as_ref()
            .filter(|opening| opening.stream == stream)
        else {
            return;
        };
        let end = opening.certificate_not_after.as_millisecond();
        let Some(message) = wire::from_server(message, end, clock::now().as_millisecond()) else {
            tracing::error!(delegate = %self.holder.delegate, "a stored message cannot be read");
            return;
        };
        // The stream's own end reports that it is gone.
        let _gone = opening.outgoing.send(Ok(message));
    }

    fn close(&mut self, reason: &CloseReason) {
        if let Some(opening) = self.stream.take() {
            if let CloseReason::Error(error) = reason {
                tracing::warn!(delegate = %self.holder.delegate, error = chain(error), "session ended");
            }
            let _gone = opening.outgoing.send(Err(status(reason)));
        }
    }

    /// Compares what the delegate holds with the book; returns the claims that do not count.
    async fn attached(&mut self, hello: &Hello) -> Vec<TaskRef> {
        let Some(opening) = &self.stream else {
            return Vec::new();
        };
        let core = &self.runtime.core;
        let now = clock::now();
        let all = match core.store.delegates().await {
            Ok(all) => all,
            Err(error) => {
                tracing::error!(error = chain(&error), "could not read the delegates' names");
                self.close(&CloseReason::NotStored);
                return Vec::new();
            }
        };
        let tags = selectors::answered(&hello.tags, &opening.delegate, &all);
        if !core.registry.attached(hello, &opening.delegate, tags, now) {
            self.close(&CloseReason::Replaced);
            return Vec::new();
        }
        tracing::info!(
            delegate = %self.holder.delegate, name = opening.delegate.name,
            instance = %self.holder.instance, version = hello.software_version,
            holds = hello.held.len(), "delegate connected"
        );
        for (id, _) in core.book.held_by_instance(&self.holder).await {
            let held = hello
                .held
                .iter()
                .find(|task| task.id == id)
                .map(|task| task.epoch);
            let event = Event::Greeted {
                holder: self.holder.clone(),
                held,
            };
            if let Err(error) = self.runtime.apply(&id, &event, None).await {
                tracing::error!(task = %id, error = chain(&error), "could not compare a task");
            }
        }
        let mut stale = Vec::new();
        for claim in &hello.held {
            if !core.book.is_held_by(claim, &self.holder).await {
                stale.push(claim.clone());
            }
        }
        if let Err(error) = core
            .store
            .delegate_seen(self.holder.delegate.as_str(), now)
            .await
        {
            tracing::warn!(
                error = chain(&error),
                "could not note that a delegate was seen"
            );
        }
        core.place.notify_one();
        stale
    }

    /// Stores the effect of a control message.
    async fn control(&mut self, body: DelegateControl) -> Result<(), NotStored> {
        let holder = self.holder.clone();
        match body {
            DelegateControl::Accept(task) => {
                let event = Event::Accepted {
                    holder,
                    epoch: task.epoch,
                };
                let verdict = self.runtime.apply(&task.id, &event, None).await?;
                if verdict != Verdict::Stale {
                    let name = self
                        .stream
                        .as_ref()
                        .map(|opening| opening.delegate.name.clone());
                    let name = name.unwrap_or_else(|| self.holder.delegate.to_string());
                    let waited = self.runtime.core.book.waited(&task.id).await;
                    self.runtime
                        .events
                        .accepted(task.id.as_str(), &name, waited)
                        .await?;
                    let waited = format_args!("{} ms", waited.as_millis());
                    tracing::info!(%task, delegate = name, %waited, "task accepted");
                }
                Ok(())
            }
            DelegateControl::Refuse {
                task,
                reason,
                message,
            } => self.refused(task, reason, &message).await,
            DelegateControl::Result { task, outcome } => self.finished(task, outcome).await,
            DelegateControl::Resolve {
                task,
                request,
                names,
            } => {
                self.resolve(task, request, names);
                Ok(())
            }
            DelegateControl::HandBack(task) => self.handed_back(&task).await,
            DelegateControl::Draining => {
                self.runtime.core.registry.draining(&holder);
                Ok(())
            }
        }
    }

    async fn refused(
        &self,
        task: TaskRef,
        reason: RefusalReason,
        message: &str,
    ) -> Result<(), NotStored> {
        let core = &self.runtime.core;
        let shown: String = message
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_REASON)
            .collect();
        tracing::info!(%task, delegate = %self.holder.delegate, reason = shown, "task refused");
        let until = Instant::now() + REFUSED_FOR;
        core.book
            .refused(&task.id, self.holder.clone(), shown, until)
            .await;
        let event = Event::Refused {
            holder: self.holder.clone(),
            epoch: task.epoch,
            reason,
        };
        self.runtime.apply(&task.id, &event, None).await?;
        Ok(())
    }

    async fn finished(&self, task: TaskRef, outcome: Outcome) -> Result<(), NotStored> {
        let event = Event::Finished {
            holder: self.holder.clone(),
            epoch: task.epoch,
            end: outcome.end,
        };
        let verdict = self
            .runtime
            .apply(&task.id, &event, Some(outcome.payload.to_vec()))
            .await?;
        match verdict {
            Verdict::Applied => tracing::info!(%task, end = ?outcome.end, "task ended"),
            Verdict::Repeated => {}
            Verdict::Stale => tracing::info!(%task, "a result that no longer counts was dropped"),
        }
        Ok(())
    }

    async fn handed_back(&self, task: &TaskRef) -> Result<(), NotStored> {
        let event = Event::HandedBack {
            holder: self.holder.clone(),
            epoch: task.epoch,
        };
        if self.runtime.apply(&task.id, &event, None).await? == Verdict::Applied {
            tracing::info!(%task, delegate = %self.holder.delegate, "task handed back");
        }
        Ok(())
    }

    /// Answers in the background: a slow answer must not hold up results.
    fn resolve(&self, task: TaskRef, request: String, names: Vec<String>) {
        let (runtime, holder) = (Arc::clone(&self.runtime), self.holder.clone());
        self.runtime.core.tracker.spawn(async move {
            let values = if runtime.core.book.is_held_by(&task, &holder).await {
                let answers = runtime.resolver.resolve(task.id.as_str(), &names).await;
                let key = runtime.core.registry.sealing_key(&holder);
                names
                    .iter()
                    .zip(answers)
                    .map(|(name, answer)| resolved(key.as_deref(), &task, name, answer))
                    .collect()
            } else {
                let reason = "the task is no longer held by this delegate";
                names.iter().map(|name| denied(name, reason)).collect()
            };
            let answer = v1::ResolveResponse {
                task: None,
                request_id: String::new(),
                values,
            };
            let payload = Payload::from(answer.encode_to_vec());
            let body = ServerControl::Resolved {
                task,
                request,
                payload,
            };
            runtime.core.registry.command(&holder, body);
        });
    }

    async fn state(&self, state: State) {
        let task = &state.task;
        if !self.runtime.core.book.is_held_by(task, &self.holder).await {
            return;
        }
        let event = Event::Progressed {
            holder: self.holder.clone(),
            epoch: task.epoch,
        };
        if let Err(error) = self.runtime.apply(&task.id, &event, None).await {
            tracing::warn!(%task, error = chain(&error), "could not store progress");
        }
        let told = match state.kind {
            StateKind::Progress => match v1::Progress::decode(&state.payload[..]) {
                Ok(progress) => self.runtime.events.progress(progress).await,
                Err(_) => return,
            },
            StateKind::Resources => match v1::ResourceStatuses::decode(&state.payload[..]) {
                Ok(resources) => self.runtime.events.resources(resources).await,
                Err(_) => return,
            },
        };
        if let Err(error) = told {
            // The next state replaces this one.
            tracing::warn!(%task, error = chain(&error), "could not store a task's state");
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The effect of a message could not be stored.
#[derive(Debug, thiserror::Error)]
enum NotStored {
    /// In the book.
    #[error("could not store the task")]
    Book(#[from] sortie_store::Error),
    /// By the engine.
    #[error("could not tell the engine")]
    Engine(#[from] crate::tasks::TaskEventError),
}

fn status(reason: &CloseReason) -> Status {
    match reason {
        CloseReason::Error(error) => broken(error),
        CloseReason::Replaced => Status::aborted("replaced by another stream of this instance"),
        CloseReason::NotStored => Refusal::Unavailable.into(),
    }
}

fn resolved(key: Option<&[u8]>, task: &TaskRef, name: &str, answer: Resolution) -> v1::Resolved {
    use v1::resolved::Answer;
    let answer = match answer {
        Resolution::Value(value) => Answer::ValueJson(value.to_string()),
        Resolution::Undefined => Answer::Undefined(v1::Undefined {}),
        Resolution::Denied(reason) => Answer::Denied(v1::Denied { reason }),
        Resolution::Secret(plain) => {
            match key.and_then(|key| seal::seal(key, task, name, &plain)) {
                Some(sealed) => Answer::Sealed(sealed),
                None => return denied(name, "the delegate named no key to seal secrets to"),
            }
        }
    };
    v1::Resolved {
        name: name.to_owned(),
        answer: Some(answer),
    }
}

fn denied(name: &str, reason: &str) -> v1::Resolved {
    let denied = v1::Denied {
        reason: reason.to_owned(),
    };
    v1::Resolved {
        name: name.to_owned(),
        answer: Some(v1::resolved::Answer::Denied(denied)),
    }
}
