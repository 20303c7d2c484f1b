//! Messages on the wire and messages of the session protocol: the only place of the agent side where both are known.

use prost::Message as _;
use sortie_link::{
    CancelReason, DelegateControl, End, FromDelegate, FromServer, GoAwayReason, Hello, Outcome,
    Payload, RefusalReason, ServerControl, State, StateKind, TaskRef,
};
use sortie_proto::v1;

use crate::tasks::TaskOutcome;

/// Most names in a resolve request.
const MAX_NAMES: usize = 256;

/// Most tasks, tags or capabilities in a hello, and their length.
const MAX_ITEMS: usize = 1024;

/// Longest identifier from a delegate.
const MAX_ID: usize = 256;

/// Reads a message; `None` when something that is always there is missing, or a bound is passed.
pub(super) fn from_delegate(message: v1::DelegateMessage) -> Option<FromDelegate> {
    use v1::delegate_message::Message;
    Some(match message.message? {
        Message::Hello(message) => FromDelegate::Hello(hello(message)?),
        Message::Control(control) => FromDelegate::Control {
            seq: control.seq,
            body: control_body(control.body?)?,
        },
        Message::Ack(ack) => FromDelegate::Ack { up_to: ack.up_to },
        Message::Heartbeat(beat) => FromDelegate::Heartbeat {
            number: beat.number,
            running: beat.running,
        },
        Message::Progress(progress) => FromDelegate::State(State {
            task: task(progress.task.clone())?,
            kind: StateKind::Progress,
            revision: progress.revision,
            payload: Payload::from(progress.encode_to_vec()),
        }),
        Message::Resources(resources) => FromDelegate::State(State {
            task: task(resources.task.clone())?,
            kind: StateKind::Resources,
            revision: resources.revision,
            payload: Payload::from(resources.encode_to_vec()),
        }),
    })
}

fn hello(hello: v1::Hello) -> Option<Hello> {
    let lists = [&hello.task_types, &hello.capabilities, &hello.tags];
    let fits = lists
        .iter()
        .all(|list| list.len() <= MAX_ITEMS && list.iter().all(|item| item.len() <= MAX_ID));
    let ids = [&hello.delegate_id, &hello.instance_id, &hello.boot_id];
    if !fits || ids.iter().any(|id| id.is_empty() || id.len() > MAX_ID) {
        return None;
    }
    Some(Hello {
        version_min: hello.version_min,
        version_max: hello.version_max,
        delegate: hello.delegate_id.into(),
        instance: hello.instance_id.into(),
        boot: hello.boot_id.into(),
        software_version: hello.software_version,
        task_types: hello.task_types,
        capabilities: hello.capabilities,
        capacity: hello.capacity,
        tags: hello.tags,
        sealing_key: hello.sealing_key,
        server_origin: hello.server_origin,
        received: hello.received,
        oldest_kept: hello.oldest_kept,
        held: hello
            .held
            .into_iter()
            .map(|held| task(Some(held)))
            .collect::<Option<_>>()?,
        stream: hello.stream,
    })
}

fn control_body(body: v1::delegate_control::Body) -> Option<DelegateControl> {
    use v1::delegate_control::Body;
    Some(match body {
        Body::Accept(accept) => DelegateControl::Accept(task(accept.task)?),
        Body::Refuse(refuse) => DelegateControl::Refuse {
            reason: refusal(refuse.reason()),
            task: task(refuse.task)?,
            message: refuse.message,
        },
        Body::Result(result) => {
            use v1::task_result::Outcome as Wire;
            let end = match result.outcome.as_ref()? {
                Wire::Succeeded(_) => End::Succeeded,
                Wire::Failed(_) => End::Failed,
                Wire::Aborted(_) => End::Aborted,
            };
            let payload = Payload::from(result.encode_to_vec());
            DelegateControl::Result {
                task: task(result.task)?,
                outcome: Outcome { end, payload },
            }
        }
        Body::Resolve(resolve) => {
            if resolve.names.len() > MAX_NAMES || resolve.request_id.len() > MAX_ID {
                return None;
            }
            DelegateControl::Resolve {
                task: task(resolve.task)?,
                request: resolve.request_id,
                names: resolve.names,
            }
        }
        Body::HandBack(left) => DelegateControl::HandBack(task(left.task)?),
        Body::Draining(v1::Draining {}) => DelegateControl::Draining,
    })
}

fn refusal(reason: v1::RefusalReason) -> RefusalReason {
    match reason {
        v1::RefusalReason::Memory => RefusalReason::Memory,
        v1::RefusalReason::UnknownType => RefusalReason::UnknownType,
        v1::RefusalReason::Policy => RefusalReason::Policy,
        v1::RefusalReason::Draining => RefusalReason::Draining,
        v1::RefusalReason::Stale => RefusalReason::Stale,
        v1::RefusalReason::Malformed => RefusalReason::Malformed,
        // A reason of a newer version is as temporary as a full delegate.
        v1::RefusalReason::Capacity | v1::RefusalReason::Unspecified => RefusalReason::Capacity,
    }
}

/// A task reference from a message.
pub(super) fn task(task: Option<v1::TaskRef>) -> Option<TaskRef> {
    let task = task?;
    (!task.task_id.is_empty() && task.task_id.len() <= MAX_ID && task.epoch > 0).then(|| TaskRef {
        id: task.task_id.into(),
        epoch: task.epoch,
    })
}

/// Writes a message. `certificate_not_after_ms` is for the welcome; `None` when a payload is not what it should be.
pub(super) fn from_server(
    message: FromServer,
    certificate_not_after_ms: i64,
    server_time_ms: i64,
) -> Option<v1::ServerMessage> {
    use v1::server_message::Message;
    let message = match message {
        FromServer::Welcome(welcome) => Message::Welcome(v1::Welcome {
            version: welcome.version,
            session_id: welcome.session,
            heartbeat_interval_ms: welcome.heartbeat_ms,
            dead_after_ms: welcome.dead_after_ms,
            server_origin: welcome.server_origin,
            received: welcome.received,
            certificate_not_after_ms,
            server_time_ms,
        }),
        FromServer::Control { seq, body } => Message::Control(v1::ServerControl {
            seq,
            body: Some(server_body(body)?),
        }),
        FromServer::Ack { up_to } => Message::Ack(v1::Ack { up_to }),
        FromServer::Heartbeat { number } => {
            Message::Heartbeat(v1::Heartbeat { number, running: 0 })
        }
        FromServer::GoAway(reason) => {
            let reason = match reason {
                GoAwayReason::Shutdown => v1::go_away::Reason::Shutdown,
                GoAwayReason::Age => v1::go_away::Reason::Age,
                GoAwayReason::Replaced => v1::go_away::Reason::Replaced,
            };
            Message::GoAway(v1::GoAway {
                reason: reason.into(),
            })
        }
    };
    Some(v1::ServerMessage {
        message: Some(message),
    })
}

fn server_body(body: ServerControl) -> Option<v1::server_control::Body> {
    use v1::server_control::Body;
    let reference = |task: TaskRef| v1::TaskRef {
        task_id: task.id.into(),
        epoch: task.epoch,
    };
    Some(match body {
        ServerControl::Assign { task, payload } => {
            let mut wire = v1::Task::decode(&payload[..]).ok()?;
            wire.id = task.id.into();
            wire.epoch = task.epoch;
            Body::Assign(v1::Assign { task: Some(wire) })
        }
        ServerControl::Start(task) => Body::Start(v1::Start {
            task: Some(reference(task)),
        }),
        ServerControl::Cancel { task, reason } => {
            let reason = match reason {
                CancelReason::Requested => v1::CancelReason::Requested,
                CancelReason::Superseded => v1::CancelReason::Superseded,
            };
            Body::Cancel(v1::Cancel {
                task: Some(reference(task)),
                reason: reason.into(),
            })
        }
        ServerControl::Resolved {
            task,
            request,
            payload,
        } => {
            let answer = v1::ResolveResponse::decode(&payload[..]).ok()?;
            Body::Resolved(v1::ResolveResponse {
                task: Some(reference(task)),
                request_id: request,
                values: answer.values,
            })
        }
        ServerControl::Drain => Body::Drain(v1::Drain {}),
    })
}

/// The name of a task's type: the field of its step.
pub(super) fn task_type(task: &v1::Task) -> &'static str {
    task.step.as_ref().map_or("", v1::task::Step::name)
}

/// How a task ended, as the engine hears it.
pub(super) fn outcome(encoded: &[u8]) -> TaskOutcome {
    use v1::task_result::Outcome as Wire;
    match v1::TaskResult::decode(encoded)
        .ok()
        .and_then(|result| result.outcome)
    {
        Some(Wire::Succeeded(succeeded)) => TaskOutcome::Succeeded(succeeded),
        Some(Wire::Failed(failed)) => TaskOutcome::Failed(failed),
        Some(Wire::Aborted(aborted)) => TaskOutcome::Aborted(aborted),
        None => TaskOutcome::Aborted(v1::Aborted::default()),
    }
}

/// A failure that the server itself reports, encoded as a result.
pub(super) fn failure(
    failure_type: v1::FailureType,
    code: &str,
    message: String,
    hint: &str,
) -> Vec<u8> {
    let failed = v1::Failed {
        failure_type: failure_type.into(),
        code: code.to_owned(),
        message,
        hint: hint.to_owned(),
        outputs_json: String::new(),
    };
    let outcome = Some(v1::task_result::Outcome::Failed(failed));
    v1::TaskResult {
        task: None,
        outcome,
    }
    .encode_to_vec()
}
