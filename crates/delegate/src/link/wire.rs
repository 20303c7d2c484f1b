//! Messages on the wire and messages of the session protocol: the only place of the link where both are known.

use prost::Message as _;
use sortie_link::{
    CancelReason, DelegateControl, FromDelegate, FromServer, GoAwayReason, Payload, RefusalReason,
    ServerControl, State, StateKind, TaskRef, Welcome,
};
use sortie_proto::v1;

/// Reads a message of the server; `None` when something that is always there is missing.
pub(super) fn from_server(message: v1::ServerMessage) -> Option<FromServer> {
    use v1::server_message::Message;
    Some(match message.message? {
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
            body: control_body(control.body?)?,
        },
        Message::Ack(ack) => FromServer::Ack { up_to: ack.up_to },
        Message::Heartbeat(beat) => FromServer::Heartbeat {
            number: beat.number,
        },
        Message::GoAway(go_away) => FromServer::GoAway(match go_away.reason() {
            v1::go_away::Reason::Age => GoAwayReason::Age,
            v1::go_away::Reason::Replaced => GoAwayReason::Replaced,
            v1::go_away::Reason::Shutdown | v1::go_away::Reason::Unspecified => {
                GoAwayReason::Shutdown
            }
        }),
    })
}

fn control_body(body: v1::server_control::Body) -> Option<ServerControl> {
    use v1::server_control::Body;
    Some(match body {
        Body::Assign(assign) => {
            let task = assign.task?;
            ServerControl::Assign {
                task: checked(&task.id, task.epoch)?,
                payload: Payload::from(task.encode_to_vec()),
            }
        }
        Body::Start(start) => ServerControl::Start(reference(start.task)?),
        Body::Cancel(cancel) => ServerControl::Cancel {
            reason: match cancel.reason() {
                v1::CancelReason::Superseded => CancelReason::Superseded,
                v1::CancelReason::Requested | v1::CancelReason::Unspecified => {
                    CancelReason::Requested
                }
            },
            task: reference(cancel.task)?,
        },
        Body::Resolved(answer) => ServerControl::Resolved {
            task: reference(answer.task.clone())?,
            request: answer.request_id.clone(),
            payload: Payload::from(answer.encode_to_vec()),
        },
        Body::Drain(v1::Drain {}) => ServerControl::Drain,
    })
}

fn reference(task: Option<v1::TaskRef>) -> Option<TaskRef> {
    let task = task?;
    checked(&task.task_id, task.epoch)
}

fn checked(id: &str, epoch: u64) -> Option<TaskRef> {
    (!id.is_empty() && id.len() <= 256 && epoch > 0).then(|| TaskRef::new(id, epoch))
}

/// A task reference as it travels.
pub(crate) fn task(task: &TaskRef) -> v1::TaskRef {
    v1::TaskRef {
        task_id: task.id.as_str().to_owned(),
        epoch: task.epoch,
    }
}

/// Writes a message of the delegate; `None` when a payload is not what this program itself encoded.
pub(super) fn from_delegate(message: FromDelegate) -> Option<v1::DelegateMessage> {
    use v1::delegate_message::Message;
    let message = match message {
        FromDelegate::Hello(hello) => Message::Hello(v1::Hello {
            version_min: hello.version_min,
            version_max: hello.version_max,
            delegate_id: hello.delegate.into(),
            instance_id: hello.instance.into(),
            boot_id: hello.boot.into(),
            software_version: hello.software_version,
            task_types: hello.task_types,
            capabilities: hello.capabilities,
            capacity: hello.capacity,
            tags: hello.tags,
            sealing_key: hello.sealing_key,
            server_origin: hello.server_origin,
            received: hello.received,
            oldest_kept: hello.oldest_kept,
            held: hello.held.iter().map(task).collect(),
            stream: hello.stream,
        }),
        FromDelegate::Control { seq, body } => Message::Control(v1::DelegateControl {
            seq,
            body: Some(delegate_body(body)?),
        }),
        FromDelegate::Ack { up_to } => Message::Ack(v1::Ack { up_to }),
        FromDelegate::Heartbeat { number, running } => {
            Message::Heartbeat(v1::Heartbeat { number, running })
        }
        FromDelegate::State(state) => state_message(&state)?,
    };
    Some(v1::DelegateMessage {
        message: Some(message),
    })
}

fn state_message(state: &State) -> Option<v1::delegate_message::Message> {
    use v1::delegate_message::Message;
    Some(match state.kind {
        StateKind::Progress => {
            let mut progress = v1::Progress::decode(&state.payload[..]).ok()?;
            (progress.task, progress.revision) = (Some(task(&state.task)), state.revision);
            Message::Progress(progress)
        }
        StateKind::Resources => {
            let mut resources = v1::ResourceStatuses::decode(&state.payload[..]).ok()?;
            (resources.task, resources.revision) = (Some(task(&state.task)), state.revision);
            Message::Resources(resources)
        }
    })
}

fn delegate_body(body: DelegateControl) -> Option<v1::delegate_control::Body> {
    use v1::delegate_control::Body;
    Some(match body {
        DelegateControl::Accept(accepted) => Body::Accept(v1::Accept {
            task: Some(task(&accepted)),
        }),
        DelegateControl::Refuse {
            task: refused,
            reason,
            message,
        } => Body::Refuse(v1::Refuse {
            task: Some(task(&refused)),
            reason: refusal(reason).into(),
            message,
        }),
        DelegateControl::Result {
            task: ended,
            outcome,
        } => {
            let mut result = v1::TaskResult::decode(&outcome.payload[..]).ok()?;
            result.task = Some(task(&ended));
            // A task that was withdrawn before it started has nothing to report.
            result
                .outcome
                .get_or_insert_with(|| v1::task_result::Outcome::Aborted(v1::Aborted::default()));
            Body::Result(result)
        }
        DelegateControl::Resolve {
            task: asking,
            request,
            names,
        } => Body::Resolve(v1::ResolveRequest {
            task: Some(task(&asking)),
            request_id: request,
            names,
        }),
        DelegateControl::HandBack(left) => Body::HandBack(v1::HandBack {
            task: Some(task(&left)),
        }),
        DelegateControl::Draining => Body::Draining(v1::Draining {}),
    })
}

const fn refusal(reason: RefusalReason) -> v1::RefusalReason {
    match reason {
        RefusalReason::Capacity => v1::RefusalReason::Capacity,
        RefusalReason::Memory => v1::RefusalReason::Memory,
        RefusalReason::UnknownType => v1::RefusalReason::UnknownType,
        RefusalReason::Policy => v1::RefusalReason::Policy,
        RefusalReason::Draining => v1::RefusalReason::Draining,
        RefusalReason::Stale => v1::RefusalReason::Stale,
        RefusalReason::Malformed => v1::RefusalReason::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use sortie_link::{End, Outcome};

    use super::*;

    fn server(body: v1::server_control::Body) -> Option<FromServer> {
        from_server(v1::ServerMessage {
            message: Some(v1::server_message::Message::Control(v1::ServerControl {
                seq: 1,
                body: Some(body),
            })),
        })
    }

    #[test]
    fn what_lacks_a_task_is_no_message() {
        use v1::server_control::Body;
        let nothing = v1::TaskRef {
            task_id: "a".into(),
            epoch: 0,
        };
        assert!(from_server(v1::ServerMessage { message: None }).is_none());
        assert!(server(Body::Assign(v1::Assign { task: None })).is_none());
        assert!(server(Body::Start(v1::Start { task: None })).is_none());
        assert!(
            server(Body::Start(v1::Start {
                task: Some(nothing)
            }))
            .is_none()
        );
        let task = v1::TaskRef {
            task_id: "a".into(),
            epoch: 2,
        };
        let start = server(Body::Start(v1::Start { task: Some(task) }));
        let want = ServerControl::Start(TaskRef::new("a", 2));
        assert_eq!(start, Some(FromServer::Control { seq: 1, body: want }));
    }

    #[test]
    fn an_abort_without_a_report_is_an_abort() {
        let outcome = Outcome {
            end: End::Aborted,
            payload: Payload::from([]),
        };
        let body = DelegateControl::Result {
            task: TaskRef::new("a", 1),
            outcome,
        };
        let Some(v1::delegate_control::Body::Result(result)) = delegate_body(body) else {
            panic!("no result")
        };
        assert!(matches!(
            result.outcome,
            Some(v1::task_result::Outcome::Aborted(_))
        ));
    }
}
