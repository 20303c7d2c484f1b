//! A delegate without a cluster: the real session machine over real TLS; the test says what its tasks do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use sortie_link::delegate::{Command, Greeting, Input, Output, Session};
use sortie_link::{
    CancelReason, DelegateControl, End, FromDelegate, FromServer, Holder, Outcome, Payload,
    RefusalReason, ServerControl, Settings, State, StateKind, TaskRef, Welcome,
};
use sortie_proto::v1;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::client::{self, Identity};
use super::control::PATIENCE;

/// What a delegate tells its test.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Up,
    Down(String),
    Started(TaskRef),
    Cancelled(TaskRef, CancelReason),
    Withdrawn(TaskRef),
    Resolved(Vec<v1::Resolved>),
    GoAway,
    Stored(TaskRef),
}

/// A running delegate process. Dropped: killed.
pub(crate) struct Delegate {
    pub told: UnboundedReceiver<Told>,
    commands: UnboundedSender<Command>,
    _process: JoinSet<()>,
}

/// How a delegate is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub identity: Identity,
    pub address: Arc<Mutex<SocketAddr>>,
    pub instance: String,
    pub boot: String,
    pub tags: Vec<String>,
    pub sealing_key: Vec<u8>,
    /// Says about each task whether to take it.
    pub refuses: Option<RefusalReason>,
}

impl Setup {
    pub(crate) fn new(identity: Identity, address: SocketAddr) -> Self {
        Self {
            identity,
            address: Arc::new(Mutex::new(address)),
            instance: "pod-1".to_owned(),
            boot: "boot-1".to_owned(),
            tags: Vec::new(),
            sealing_key: Vec::new(),
            refuses: None,
        }
    }

    pub(crate) fn start(&self) -> Delegate {
        let (tell, told) = unbounded_channel();
        let (commands, orders) = unbounded_channel();
        let mut process = JoinSet::new();
        process.spawn(Process::new(self.clone(), tell).run(orders));
        Delegate {
            told,
            commands,
            _process: process,
        }
    }

    pub(crate) async fn start_up(&self) -> Delegate {
        let mut delegate = self.start();
        delegate.wait(|told| matches!(told, Told::Up)).await;
        delegate
    }
}

impl Delegate {
    pub(crate) async fn wait(&mut self, fits: impl Fn(&Told) -> bool) -> Told {
        let waiting = async {
            loop {
                let told = self.told.recv().await.expect("the delegate runs");
                if fits(&told) {
                    return told;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the delegate does it in time")
    }

    pub(crate) async fn started(&mut self) -> TaskRef {
        match self.wait(|told| matches!(told, Told::Started(_))).await {
            Told::Started(task) => task,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn order(&self, command: Command) {
        self.commands.send(command).unwrap();
    }

    pub(crate) fn succeed(&self, task: &TaskRef, outputs: &str) {
        let succeeded = v1::Succeeded {
            outputs_json: outputs.to_owned(),
        };
        let outcome = Some(v1::task_result::Outcome::Succeeded(succeeded));
        let payload = v1::TaskResult {
            task: None,
            outcome,
        }
        .encode_to_vec();
        let outcome = Outcome {
            end: End::Succeeded,
            payload: Payload::from(payload),
        };
        self.order(Command::Finish {
            task: task.clone(),
            outcome,
        });
    }

    pub(crate) fn abort(&self, task: &TaskRef) {
        let outcome = Outcome {
            end: End::Aborted,
            payload: Payload::from([]),
        };
        self.order(Command::Finish {
            task: task.clone(),
            outcome,
        });
    }

    pub(crate) fn progress(&self, task: &TaskRef, revision: u64) {
        let progress = v1::Progress {
            task: None,
            revision,
            units: Vec::new(),
        };
        self.order(Command::State(State {
            task: task.clone(),
            kind: StateKind::Progress,
            revision,
            payload: Payload::from(progress.encode_to_vec()),
        }));
    }
}

struct Process {
    setup: Setup,
    session: Session,
    tell: UnboundedSender<Told>,
    started: Instant,
    stream: Option<(
        UnboundedSender<v1::DelegateMessage>,
        Streaming<v1::ServerMessage>,
    )>,
    /// Seconds are long in a test: the wait before the next try.
    pause: Duration,
}

impl Process {
    fn new(setup: Setup, tell: UnboundedSender<Told>) -> Self {
        let greeting = Greeting {
            holder: Holder {
                delegate: setup.identity.certificate.delegate_id.as_str().into(),
                instance: setup.instance.as_str().into(),
                boot: setup.boot.as_str().into(),
            },
            software_version: "test".to_owned(),
            task_types: vec!["kubernetes_rolling_rollback".to_owned()],
            capabilities: Vec::new(),
            capacity: 10,
            tags: setup.tags.clone(),
            sealing_key: setup.sealing_key.clone(),
        };
        Self {
            setup,
            session: Session::new(greeting, Settings::default()),
            tell,
            started: Instant::now(),
            stream: None,
            pause: Duration::from_millis(20),
        }
    }

    async fn run(mut self, mut orders: UnboundedReceiver<Command>) {
        let mut retry = Instant::now();
        loop {
            if self.stream.is_none() && Instant::now() >= retry {
                retry = Instant::now() + self.pause;
                match self.connect().await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        self.handle(Input::Opened);
                    }
                    Err(reason) => drop(self.tell.send(Told::Down(reason))),
                }
            }
            let deadline = self
                .session
                .deadline()
                .map_or(retry + self.pause, |at| self.started + at);
            let deadline = if self.stream.is_none() {
                deadline.min(retry)
            } else {
                deadline
            };
            let incoming = async {
                match &mut self.stream {
                    Some((_, incoming)) => incoming.message().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(command) => self.handle(Input::Command(command)),
                    None => return,
                },
                message = incoming => self.received(message),
                () = tokio::time::sleep_until(deadline) => self.handle(Input::Tick),
            }
        }
    }

    async fn connect(
        &self,
    ) -> Result<
        (
            UnboundedSender<v1::DelegateMessage>,
            Streaming<v1::ServerMessage>,
        ),
        String,
    > {
        let address = *self.setup.address.lock().unwrap();
        let mut client = client::link(address, &self.setup.identity)
            .await
            .map_err(|e| e.to_string())?;
        let (sender, messages) = unbounded_channel();
        let stream = client
            .session(UnboundedReceiverStream::new(messages))
            .await
            .map_err(|status| status.message().to_owned())?;
        Ok((sender, stream.into_inner()))
    }

    fn received(&mut self, message: Result<Option<v1::ServerMessage>, Status>) {
        match message {
            Ok(Some(message)) => self.handle(Input::Received(from_server(message))),
            ended => {
                self.stream = None;
                self.handle(Input::Closed);
                let reason = ended.err().map(|status| status.message().to_owned());
                let _test_is_over = self.tell.send(Told::Down(reason.unwrap_or_default()));
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let now = self.started.elapsed();
            for output in self.session.handle(inputs.remove(0), now) {
                let told = match output {
                    Output::Send(message) => {
                        if let Some((sender, _)) = &self.stream {
                            let _stream_is_over = sender.send(from_delegate(message));
                        }
                        continue;
                    }
                    Output::Close(error) => {
                        self.stream = None;
                        Told::Down(error.to_string())
                    }
                    Output::Offered { task, .. } => {
                        inputs.push(Input::Command(match self.setup.refuses {
                            None => Command::Accept(task),
                            Some(reason) => Command::Refuse {
                                task,
                                reason,
                                message: "not today".to_owned(),
                            },
                        }));
                        continue;
                    }
                    Output::Established(_) => Told::Up,
                    Output::Start(task) => Told::Started(task),
                    Output::Cancel { task, reason } => Told::Cancelled(task, reason),
                    Output::Withdrawn(task) => Told::Withdrawn(task),
                    Output::Stored(task) => Told::Stored(task),
                    Output::Resolved { payload, .. } => {
                        Told::Resolved(v1::ResolveResponse::decode(&payload[..]).unwrap().values)
                    }
                    Output::GoAway(_) => Told::GoAway,
                    Output::Drain => continue,
                };
                let _test_is_over = self.tell.send(told);
            }
        }
    }
}

fn reference(task: &TaskRef) -> Option<v1::TaskRef> {
    Some(v1::TaskRef {
        task_id: task.id.to_string(),
        epoch: task.epoch,
    })
}

pub(crate) fn from_delegate(message: FromDelegate) -> v1::DelegateMessage {
    use v1::delegate_message::Message;
    let message = match message {
        FromDelegate::Hello(hello) => Message::Hello(v1::Hello {
            version_min: hello.version_min,
            version_max: hello.version_max,
            delegate_id: hello.delegate.to_string(),
            instance_id: hello.instance.to_string(),
            boot_id: hello.boot.to_string(),
            software_version: hello.software_version,
            task_types: hello.task_types,
            capabilities: hello.capabilities,
            capacity: hello.capacity,
            tags: hello.tags,
            sealing_key: hello.sealing_key,
            server_origin: hello.server_origin,
            received: hello.received,
            oldest_kept: hello.oldest_kept,
            held: hello.held.iter().filter_map(reference).collect(),
            stream: hello.stream,
        }),
        FromDelegate::Control { seq, body } => Message::Control(v1::DelegateControl {
            seq,
            body: Some(control(body)),
        }),
        FromDelegate::Ack { up_to } => Message::Ack(v1::Ack { up_to }),
        FromDelegate::Heartbeat { number, running } => {
            Message::Heartbeat(v1::Heartbeat { number, running })
        }
        FromDelegate::State(state) => {
            let mut progress = v1::Progress::decode(&state.payload[..]).unwrap();
            progress.task = reference(&state.task);
            Message::Progress(progress)
        }
    };
    v1::DelegateMessage {
        message: Some(message),
    }
}

fn control(body: DelegateControl) -> v1::delegate_control::Body {
    use v1::delegate_control::Body;
    match body {
        DelegateControl::Accept(task) => Body::Accept(v1::Accept {
            task: reference(&task),
        }),
        DelegateControl::Refuse {
            task,
            reason,
            message,
        } => {
            let reason = match reason {
                RefusalReason::Policy => v1::RefusalReason::Policy,
                _ => v1::RefusalReason::Capacity,
            };
            Body::Refuse(v1::Refuse {
                task: reference(&task),
                reason: reason.into(),
                message,
            })
        }
        DelegateControl::Result { task, outcome } => {
            let mut result = v1::TaskResult::decode(&outcome.payload[..]).unwrap();
            result.task = reference(&task);
            if outcome.end == End::Aborted {
                let aborted = v1::Aborted::default();
                result.outcome = Some(v1::task_result::Outcome::Aborted(aborted));
            }
            Body::Result(result)
        }
        DelegateControl::Resolve {
            task,
            request,
            names,
        } => Body::Resolve(v1::ResolveRequest {
            task: reference(&task),
            request_id: request,
            names,
        }),
        DelegateControl::HandBack(task) => Body::HandBack(v1::HandBack {
            task: reference(&task),
        }),
        DelegateControl::Draining => Body::Draining(v1::Draining {}),
    }
}

fn from_server(message: v1::ServerMessage) -> FromServer {
    use v1::server_message::Message;
    match message.message.unwrap() {
        Message::Welcome(welcome) => FromServer::Welcome(Welcome {
            version: welcome.version,
            session: welcome.session_id,
            server_origin: welcome.server_origin,
            received: welcome.received,
            heartbeat_ms: welcome.heartbeat_interval_ms,
            dead_after_ms: welcome.dead_after_ms,
        }),
        Message::Control(control) => FromServer::Control {
            seq: control.seq,
            body: server_control(control.body.unwrap()),
        },
        Message::Ack(ack) => FromServer::Ack { up_to: ack.up_to },
        Message::Heartbeat(beat) => FromServer::Heartbeat {
            number: beat.number,
        },
        Message::GoAway(_) => FromServer::GoAway(sortie_link::GoAwayReason::Shutdown),
    }
}

fn server_control(body: v1::server_control::Body) -> ServerControl {
    use v1::server_control::Body;
    let task = |task: Option<v1::TaskRef>| {
        let task = task.unwrap();
        TaskRef::new(task.task_id.as_str(), task.epoch)
    };
    match body {
        Body::Assign(assign) => {
            let wire = assign.task.unwrap();
            let payload = Payload::from(wire.encode_to_vec());
            ServerControl::Assign {
                task: TaskRef::new(wire.id.as_str(), wire.epoch),
                payload,
            }
        }
        Body::Start(start) => ServerControl::Start(task(start.task)),
        Body::Cancel(cancel) => ServerControl::Cancel {
            reason: match cancel.reason() {
                v1::CancelReason::Superseded => CancelReason::Superseded,
                _ => CancelReason::Requested,
            },
            task: task(cancel.task),
        },
        Body::Resolved(resolved) => {
            let payload = Payload::from(resolved.encode_to_vec());
            ServerControl::Resolved {
                request: resolved.request_id,
                task: task(resolved.task),
                payload,
            }
        }
        Body::Drain(_) => ServerControl::Drain,
    }
}
