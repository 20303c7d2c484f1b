use super::*;
use crate::{CancelReason, RefusalReason, TaskRef, VERSION, VERSION_MIN};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn holder() -> Holder {
    Holder {
        delegate: "d".into(),
        instance: "i".into(),
        boot: "b".into(),
    }
}

fn session() -> Session {
    Session::new(holder(), "o1", Settings::default())
}

fn hello(origin: &str, received: u64, oldest_kept: u64) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION,
        delegate: "d".into(),
        instance: "i".into(),
        boot: "b".into(),
        software_version: String::new(),
        task_types: vec![],
        capabilities: vec![],
        capacity: 1,
        tags: vec![],
        sealing_key: vec![],
        server_origin: origin.into(),
        received,
        oldest_kept,
        held: vec![],
        stream: 0,
    }
}

fn greet(stream: StreamId, hello: Hello) -> Input {
    Input::Hello { stream, hello }
}

fn control(stream: StreamId, seq: u64) -> Input {
    let body = DelegateControl::Accept(TaskRef::new("t", seq));
    Input::Received {
        stream,
        message: FromDelegate::Control { seq, body },
    }
}

fn cancel(epoch: u64) -> ServerControl {
    ServerControl::Cancel {
        task: TaskRef::new("t", epoch),
        reason: CancelReason::Requested,
    }
}

fn acks(out: &[Output]) -> Vec<u64> {
    out.iter()
        .filter_map(|o| match o {
            Output::Send {
                message: FromServer::Ack { up_to },
                ..
            } => Some(*up_to),
            _ => None,
        })
        .collect()
}

fn sent(out: &[Output]) -> Vec<(StreamId, u64)> {
    out.iter()
        .filter_map(|o| match o {
            Output::Send {
                stream,
                message: FromServer::Control { seq, .. },
            } => Some((*stream, *seq)),
            _ => None,
        })
        .collect()
}

fn received(out: &[Output]) -> u64 {
    out.iter()
        .find_map(|o| match o {
            Output::Send {
                message: FromServer::Welcome(welcome),
                ..
            } => Some(welcome.received),
            _ => None,
        })
        .unwrap()
}

#[test]
fn acknowledges_what_is_stored_and_nothing_else() {
    let mut session = session();
    session.handle(greet(1, hello("", 0, 1)), MS(0));
    let out = session.handle(control(1, 1), MS(1));
    assert!(matches!(out[..], [Output::Deliver { seq: 1, .. }]));
    assert_eq!(
        acks(&session.handle(control(1, 1), MS(2))),
        [0],
        "a repeat is not delivered again"
    );
    assert_eq!(
        acks(&session.handle(Input::Committed { seq: 1 }, MS(3))),
        [1]
    );
    assert_eq!(acks(&session.handle(control(1, 1), MS(4))), [1]);
}

#[test]
fn what_could_not_be_stored_comes_again() {
    let mut session = session();
    session.handle(greet(1, hello("", 0, 1)), MS(0));
    session.handle(control(1, 1), MS(1));
    let out = session.handle(Input::CommitFailed, MS(2));
    assert_eq!(
        out,
        [
            Output::Close {
                stream: 1,
                reason: CloseReason::NotStored
            },
            Output::Detached
        ]
    );
    assert_eq!(
        received(&session.handle(greet(2, hello("o1", 0, 1)), MS(3))),
        0
    );
    assert!(matches!(
        session.handle(control(2, 1), MS(4))[..],
        [Output::Deliver { seq: 1, .. }]
    ));
}

#[test]
fn commands_wait_for_the_delegate_and_are_repeated() {
    let mut session = session();
    assert_eq!(session.handle(Input::Command(cancel(1)), MS(0)), []);
    let out = session.handle(greet(1, hello("", 0, 1)), MS(1));
    assert_eq!(sent(&out), [(1, 1)]);
    assert!(
        matches!(
            out[..2],
            [
                Output::Attached { .. },
                Output::Send {
                    message: FromServer::Welcome(_),
                    ..
                }
            ]
        ),
        "who is welcomed is known: {out:?}"
    );
    assert_eq!(
        sent(&session.handle(Input::Command(cancel(2)), MS(2))),
        [(1, 2)]
    );
    session.handle(Input::Closed { stream: 1 }, MS(3));
    let out = session.handle(greet(2, hello("o1", 1, 1)), MS(4));
    assert_eq!(sent(&out), [(2, 2)]);
    let input = Input::Received {
        stream: 2,
        message: FromDelegate::Heartbeat {
            number: 1,
            running: 0,
        },
    };
    session.handle(input, MS(15_000));
    assert_eq!(
        sent(&session.handle(Input::Tick, MS(15_004))),
        [(2, 2)],
        "resent when not acknowledged"
    );
}

#[test]
fn a_delegate_of_an_earlier_server_resumes_at_its_oldest() {
    let mut session = session();
    let out = session.handle(greet(1, hello("o0", 17, 5)), MS(0));
    assert_eq!(received(&out), 4);
    assert!(matches!(
        session.handle(control(1, 5), MS(1))[..],
        [Output::Deliver { seq: 5, .. }]
    ));
}

#[test]
fn an_old_stream_cannot_touch_a_new_one() {
    let mut session = session();
    session.handle(greet(1, hello("", 0, 1)), MS(0));
    let out = session.handle(greet(2, hello("o1", 0, 1)), MS(1));
    assert!(out.contains(&Output::Close {
        stream: 1,
        reason: CloseReason::Replaced
    }));
    assert!(!out.contains(&Output::Detached));
    assert_eq!(session.handle(control(1, 1), MS(2)), []);
    assert_eq!(session.handle(Input::Closed { stream: 1 }, MS(3)), []);
    assert_eq!(session.stream(), Some(2));
    assert_eq!(
        session.handle(Input::Closed { stream: 2 }, MS(4)),
        [Output::Detached]
    );
}

#[test]
fn silence_detaches_and_heartbeats_go_out() {
    let mut session = session();
    session.handle(greet(1, hello("", 0, 1)), MS(0));
    assert_eq!(session.deadline(), Some(MS(10_000)));
    let out = session.handle(Input::Tick, MS(10_000));
    assert_eq!(
        out,
        [Output::Send {
            stream: 1,
            message: FromServer::Heartbeat { number: 1 }
        }]
    );
    let out = session.handle(Input::Tick, MS(30_000));
    let reason = CloseReason::Error(Error::Silent { seconds: 30 });
    assert_eq!(out, [Output::Close { stream: 1, reason }, Output::Detached]);
    assert_eq!(session.deadline(), None);
}

#[test]
fn a_hello_that_a_later_stream_has_overtaken_is_turned_away() {
    let mut session = session();
    let counted = |stream: u64| Hello {
        stream,
        ..hello("", 0, 1)
    };
    session.handle(greet(1, counted(2)), MS(0));
    for late in [1, 2] {
        let out = session.handle(greet(7, counted(late)), MS(1));
        let reason = CloseReason::Replaced;
        assert_eq!(out, [Output::Close { stream: 7, reason }]);
        assert_eq!(session.stream(), Some(1));
    }
    session.handle(greet(8, counted(3)), MS(2));
    assert_eq!(session.stream(), Some(8));
}

#[test]
fn a_delegate_that_breaks_the_protocol_loses_the_stream() {
    for (name, bad) in [
        (
            "another boot",
            Hello {
                boot: "x".into(),
                ..hello("", 0, 1)
            },
        ),
        ("number zero", hello("", 0, 0)),
        (
            "a version of the future",
            Hello {
                version_min: 90,
                version_max: 91,
                ..hello("", 0, 1)
            },
        ),
        ("remembers the unsaid", hello("o1", 9, 1)),
    ] {
        let mut session = session();
        let out = session.handle(greet(7, bad), MS(0));
        assert!(
            matches!(
                out[..],
                [Output::Close {
                    stream: 7,
                    reason: CloseReason::Error(_)
                }]
            ),
            "{name}: {out:?}"
        );
        assert_eq!(session.stream(), None, "{name}");
    }
    let refuse = DelegateControl::Refuse {
        task: TaskRef::new("t", 1),
        reason: RefusalReason::Capacity,
        message: String::new(),
    };
    for message in [
        FromDelegate::Hello(hello("", 0, 1)),
        FromDelegate::Ack { up_to: 3 },
        FromDelegate::Control {
            seq: u64::MAX,
            body: refuse,
        },
    ] {
        let mut session = session();
        session.handle(greet(1, hello("", 0, 1)), MS(0));
        let out = session.handle(
            Input::Received {
                stream: 1,
                message: message.clone(),
            },
            MS(1),
        );
        assert!(
            matches!(out[..], [Output::Close { stream: 1, .. }, Output::Detached]),
            "{message:?}: {out:?}"
        );
    }
}
