use super::*;
use crate::{End, Holder};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn session() -> Session {
    let holder = Holder {
        delegate: "d".into(),
        instance: "i".into(),
        boot: "b".into(),
    };
    let greeting = Greeting {
        holder,
        software_version: "1".into(),
        task_types: vec!["deploy".into()],
        capabilities: vec![],
        capacity: 2,
        tags: vec![],
        sealing_key: vec![],
    };
    Session::new(greeting, Settings::default())
}

fn welcome(origin: &str, received: u64) -> Input {
    Input::Received(FromServer::Welcome(Welcome {
        version: VERSION,
        session: "s".into(),
        server_origin: origin.into(),
        received,
        heartbeat_ms: 10_000,
        dead_after_ms: 30_000,
    }))
}

fn control(seq: u64, body: ServerControl) -> Input {
    Input::Received(FromServer::Control { seq, body })
}

fn assign(seq: u64, task: &TaskRef) -> Input {
    control(
        seq,
        ServerControl::Assign {
            task: task.clone(),
            payload: Payload::from(*b"work"),
        },
    )
}

fn start(seq: u64, task: &TaskRef) -> Input {
    control(seq, ServerControl::Start(task.clone()))
}

fn ack(up_to: u64) -> Input {
    Input::Received(FromServer::Ack { up_to })
}

fn succeed(task: &TaskRef) -> Input {
    let outcome = Outcome {
        end: End::Succeeded,
        payload: Payload::from(*b"done"),
    };
    Input::Command(Command::Finish {
        task: task.clone(),
        outcome,
    })
}

fn sent(out: &[Output]) -> Vec<(u64, DelegateControl)> {
    out.iter()
        .filter_map(|o| match o {
            Output::Send(FromDelegate::Control { seq, body }) => Some((*seq, body.clone())),
            _ => None,
        })
        .collect()
}

fn hello(out: &[Output]) -> Hello {
    match &out[0] {
        Output::Send(FromDelegate::Hello(hello)) => hello.clone(),
        other => panic!("{other:?}"),
    }
}

fn up() -> Session {
    let mut session = session();
    session.handle(Input::Opened, MS(0));
    session.handle(welcome("o1", 0), MS(1));
    session
}

/// A session that runs `t@1`: it has said 1 message and heard 2.
fn running() -> (Session, TaskRef) {
    let mut session = up();
    let task = TaskRef::new("t", 1);
    session.handle(assign(1, &task), MS(2));
    session.handle(Input::Command(Command::Accept(task.clone())), MS(3));
    session.handle(ack(1), MS(3));
    let out = session.handle(start(2, &task), MS(4));
    assert_eq!(
        out,
        [
            Output::Start(task.clone()),
            Output::Send(FromDelegate::Ack { up_to: 2 })
        ]
    );
    (session, task)
}

#[test]
fn a_task_starts_only_when_its_acceptance_is_stored() {
    let mut session = up();
    let task = TaskRef::new("t", 1);
    let out = session.handle(assign(1, &task), MS(2));
    assert_eq!(
        out,
        [
            Output::Offered {
                task: task.clone(),
                payload: Payload::from(*b"work")
            },
            Output::Send(FromDelegate::Ack { up_to: 1 }),
        ]
    );
    let out = session.handle(Input::Command(Command::Accept(task.clone())), MS(3));
    assert_eq!(sent(&out), [(1, DelegateControl::Accept(task.clone()))]);
    assert_eq!(
        session.handle(ack(1), MS(4)),
        [],
        "an acknowledgement is not enough"
    );
    assert!(
        session
            .handle(start(2, &task), MS(5))
            .contains(&Output::Start(task.clone()))
    );
    let out = session.handle(start(3, &task), MS(6));
    assert_eq!(
        out,
        [Output::Send(FromDelegate::Ack { up_to: 3 })],
        "it starts once"
    );
}

#[test]
fn a_repeated_offer_is_acknowledged_and_changes_nothing() {
    let (mut session, task) = running();
    let out = session.handle(assign(1, &task), MS(5));
    assert_eq!(out, [Output::Send(FromDelegate::Ack { up_to: 2 })]);
    let out = session.handle(assign(3, &task), MS(6));
    assert_eq!(
        sent(&out),
        [(2, DelegateControl::Accept(task))],
        "a new number is answered again"
    );
    assert!(
        !out.iter()
            .any(|o| matches!(o, Output::Offered { .. } | Output::Start(_)))
    );
}

#[test]
fn a_result_survives_the_stream_and_the_server() {
    let (mut session, task) = running();
    session.handle(Input::Closed, MS(5));
    assert_eq!(session.handle(succeed(&task), MS(6)), []);
    let greeting = hello(&session.handle(Input::Opened, MS(7)));
    assert_eq!(
        (greeting.server_origin.as_str(), greeting.received),
        ("o1", 2)
    );
    assert_eq!(
        (greeting.oldest_kept, greeting.held),
        (2, vec![task.clone()])
    );
    let out = session.handle(welcome("o2", 1), MS(8));
    assert!(matches!(
        &sent(&out)[..],
        [(2, DelegateControl::Result { .. })]
    ));
    session.handle(Input::Closed, MS(9));
    session.handle(Input::Opened, MS(10));
    let out = session.handle(welcome("o3", 2), MS(11));
    assert!(out.contains(&Output::Stored(task)));
    assert_eq!(session.held(), []);
    assert!(session.is_idle());
}

#[test]
fn another_server_counts_anew_and_is_asked_again() {
    let (mut session, task) = running();
    let question = DelegateControl::Resolve {
        task: task.clone(),
        request: "r1".into(),
        names: vec!["secrets.getValue(\"x\")".into()],
    };
    let command = Command::Resolve {
        task: task.clone(),
        request: "r1".into(),
        names: vec!["secrets.getValue(\"x\")".into()],
    };
    assert_eq!(
        sent(&session.handle(Input::Command(command), MS(5))),
        [(2, question.clone())]
    );
    session.handle(ack(2), MS(6));
    session.handle(Input::Closed, MS(7));
    session.handle(Input::Opened, MS(8));
    let out = session.handle(welcome("o2", 2), MS(9));
    assert_eq!(sent(&out), [(3, question)]);
    let answer = ServerControl::Resolved {
        task,
        request: "r1".into(),
        payload: Payload::from(*b"v"),
    };
    let out = session.handle(control(1, answer.clone()), MS(10));
    assert!(matches!(out[0], Output::Resolved { .. }));
    let out = session.handle(control(2, answer), MS(11));
    assert_eq!(
        out,
        [Output::Send(FromDelegate::Ack { up_to: 2 })],
        "a second answer is dropped"
    );
}

#[test]
fn epochs_never_go_back() {
    let mut session = up();
    let (old, new) = (TaskRef::new("t", 1), TaskRef::new("t", 2));
    session.handle(assign(1, &new), MS(2));
    session.handle(Input::Command(Command::Accept(new.clone())), MS(3));
    session.handle(start(2, &new), MS(4));
    let out = session.handle(assign(3, &old), MS(5));
    assert!(matches!(
        &sent(&out)[..],
        [(
            2,
            DelegateControl::Refuse {
                reason: RefusalReason::Stale,
                ..
            }
        )]
    ));
    let newest = TaskRef::new("t", 3);
    let out = session.handle(assign(4, &newest), MS(6));
    assert_eq!(
        out[0],
        Output::Cancel {
            task: new.clone(),
            reason: CancelReason::Superseded
        }
    );
    assert!(matches!(&out[1], Output::Offered { task, .. } if *task == newest));
    assert_eq!(
        sent(&session.handle(succeed(&new), MS(7))),
        [],
        "the old epoch's result is not sent"
    );
}

#[test]
fn cancel_in_every_stage() {
    let requested = |task: &TaskRef| ServerControl::Cancel {
        task: task.clone(),
        reason: CancelReason::Requested,
    };
    // Offered, then accepted and not started: ends by itself.
    for accept in [false, true] {
        let mut session = up();
        let task = TaskRef::new("t", 1);
        session.handle(assign(1, &task), MS(2));
        if accept {
            session.handle(Input::Command(Command::Accept(task.clone())), MS(3));
        }
        let out = session.handle(control(2, requested(&task)), MS(4));
        assert!(out.contains(&Output::Withdrawn(task.clone())));
        let results = sent(&out);
        assert!(matches!(
            &results[..],
            [(
                _,
                DelegateControl::Result {
                    outcome: Outcome {
                        end: End::Aborted,
                        ..
                    },
                    ..
                }
            )]
        ));
        let out = session.handle(start(3, &task), MS(5));
        assert_eq!(
            out,
            [Output::Send(FromDelegate::Ack { up_to: 3 })],
            "it never starts"
        );
        let out = session.handle(ack(results[0].0), MS(6));
        assert_eq!(out, [Output::Stored(task)]);
    }
    // Running: the program decides; ended: nothing.
    let (mut session, task) = running();
    let out = session.handle(control(3, requested(&task)), MS(5));
    assert_eq!(
        out[0],
        Output::Cancel {
            task: task.clone(),
            reason: CancelReason::Requested
        }
    );
    session.handle(succeed(&task), MS(6));
    let out = session.handle(control(4, requested(&task)), MS(7));
    assert_eq!(out, [Output::Send(FromDelegate::Ack { up_to: 4 })]);
    // Superseded: forgotten at once, its result unwanted.
    let superseded = ServerControl::Cancel {
        task,
        reason: CancelReason::Superseded,
    };
    session.handle(control(5, superseded), MS(8));
    assert_eq!(session.held(), []);
}

#[test]
fn silence_ends_a_stream_and_heartbeats_keep_it() {
    let mut session = up();
    let mut now = MS(1);
    for beat in 1..=2 {
        now = session.deadline().unwrap();
        let out = session.handle(Input::Tick, now);
        assert_eq!(
            out,
            [Output::Send(FromDelegate::Heartbeat {
                number: beat,
                running: 0
            })]
        );
    }
    assert_eq!(now, MS(20_001));
    session.handle(
        Input::Received(FromServer::Heartbeat { number: 1 }),
        MS(25_000),
    );
    assert_eq!(
        session.handle(Input::Tick, MS(54_000)).len(),
        1,
        "heard 29 s ago"
    );
    assert_eq!(
        session.handle(Input::Tick, MS(55_000)),
        [Output::Close(Error::Silent { seconds: 30 })]
    );
    assert!(!session.is_established());
    assert_eq!(session.deadline(), None);
    session.handle(Input::Opened, MS(60_000));
    assert_eq!(session.deadline(), Some(MS(70_000)));
    assert_eq!(
        session.handle(Input::Tick, MS(70_000)),
        [Output::Close(Error::NoWelcome { seconds: 10 })]
    );
}

#[test]
fn states_are_coalesced_and_precede_the_result() {
    let (mut session, task) = running();
    let state = |revision: u64| {
        Input::Command(Command::State(State {
            task: task.clone(),
            kind: StateKind::Progress,
            revision,
            payload: Payload::from([]),
        }))
    };
    let revisions = |out: &[Output]| -> Vec<u64> {
        out.iter()
            .filter_map(|o| match o {
                Output::Send(FromDelegate::State(state)) => Some(state.revision),
                _ => None,
            })
            .collect()
    };
    assert_eq!(revisions(&session.handle(state(1), MS(10))), [1]);
    assert!(revisions(&session.handle(state(2), MS(20))).is_empty());
    assert!(revisions(&session.handle(state(4), MS(30))).is_empty());
    assert!(revisions(&session.handle(state(3), MS(40))).is_empty());
    assert_eq!(session.deadline(), Some(MS(110)));
    assert_eq!(
        revisions(&session.handle(Input::Tick, MS(110))),
        [4],
        "only the newest"
    );
    session.handle(state(5), MS(120));
    let out = session.handle(succeed(&task), MS(121));
    assert!(
        matches!(out[0], Output::Send(FromDelegate::State(_))),
        "{out:?}"
    );
    assert!(matches!(out[1], Output::Send(FromDelegate::Control { .. })));
    session.handle(Input::Closed, MS(130));
    session.handle(Input::Opened, MS(140));
    assert_eq!(
        revisions(&session.handle(welcome("o1", 1), MS(150))),
        [5],
        "shown again"
    );
}

#[test]
fn unacknowledged_messages_are_repeated_on_the_same_stream() {
    let mut session = up();
    let task = TaskRef::new("t", 1);
    session.handle(assign(1, &task), MS(2));
    session.handle(Input::Command(Command::Accept(task.clone())), MS(3));
    session.handle(
        Input::Received(FromServer::Heartbeat { number: 1 }),
        MS(14_000),
    );
    let out = session.handle(Input::Tick, MS(15_003));
    assert_eq!(sent(&out), [(1, DelegateControl::Accept(task))]);
}

#[test]
fn a_draining_delegate_refuses_and_says_so_again() {
    let mut session = up();
    let out = session.handle(Input::Command(Command::Drain), MS(2));
    assert_eq!(sent(&out), [(1, DelegateControl::Draining)]);
    let out = session.handle(assign(1, &TaskRef::new("t", 1)), MS(3));
    assert!(matches!(
        &sent(&out)[..],
        [(
            2,
            DelegateControl::Refuse {
                reason: RefusalReason::Draining,
                ..
            }
        )]
    ));
    session.handle(Input::Closed, MS(4));
    assert_eq!(hello(&session.handle(Input::Opened, MS(5))).capacity, 0);
}

#[test]
fn a_server_that_breaks_the_protocol_loses_the_stream() {
    let cases: [(&str, Input, Error); 4] = [
        (
            "second welcome",
            welcome("o1", 0),
            Error::Unexpected {
                message: "welcome",
                state: "after the welcome",
            },
        ),
        (
            "acknowledges the unsaid",
            ack(1),
            Error::AheadOfSender {
                claimed: 1,
                sent: 0,
            },
        ),
        (
            "number from nowhere",
            control(1_000_000, ServerControl::Drain),
            Error::TooFarAhead {
                seq: 1_000_000,
                expected: 1,
            },
        ),
        (
            "the largest number",
            control(u64::MAX, ServerControl::Drain),
            Error::TooFarAhead {
                seq: u64::MAX,
                expected: 1,
            },
        ),
    ];
    for (name, input, error) in cases {
        assert_eq!(up().handle(input, MS(2)), [Output::Close(error)], "{name}");
    }
    let mut early = session();
    early.handle(Input::Opened, MS(0));
    assert!(matches!(
        early.handle(control(1, ServerControl::Drain), MS(1))[..],
        [Output::Close(Error::Unexpected { .. })]
    ));
    let mut future = session();
    future.handle(Input::Opened, MS(0));
    let welcome = Welcome {
        version: VERSION + 7,
        session: String::new(),
        server_origin: String::new(),
        received: 0,
        heartbeat_ms: 0,
        dead_after_ms: 0,
    };
    assert!(matches!(
        future.handle(Input::Received(FromServer::Welcome(welcome)), MS(1))[..],
        [Output::Close(Error::NoCommonVersion { .. })]
    ));
}
