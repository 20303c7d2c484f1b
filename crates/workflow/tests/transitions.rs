//! Every state of a step against every event; plans and events that are refused; formats.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod driver;

use driver::*;
use sortie_workflow::*;

/// Brings the step `a` into a state.
fn reach(state: &str) -> Driver {
    let stage = |id: &str, steps| {
        let mut stage = stage(id, steps, vec![]);
        stage.failure_strategies.clear();
        stage
    };
    let mut run = match state {
        "not started" => Driver::new(plan(vec![stage(
            "s",
            vec![step("first"), step("a"), step("b")],
        )])),
        _ => Driver::new(plan(vec![stage("s", vec![step("a"), step("b")])])),
    };
    match state {
        "not started" | "queued" => {}
        "running" => run.begin("a"),
        "timed out" => {
            run.begin("a");
            run.next_timer();
        }
        "aborting" => {
            run.begin("a");
            run.abort();
        }
        "succeeded" => run.run("a", succeeded()),
        "failed" => run.run("a", failed(FailureType::Unknown)),
        other => panic!("no state {other}"),
    }
    run
}

fn event(run: &Driver, name: &str) -> Event {
    let node = run.path("a");
    let finished = |outcome| Event::StepFinished {
        node: node.clone(),
        attempt: 1,
        outcome,
    };
    let timer = |kind| Event::TimerFired {
        timer: TimerId {
            node: node.clone(),
            attempt: 1,
            kind,
        },
    };
    match name {
        "started" => Event::StepStarted {
            node,
            attempt: 1,
            by: None,
        },
        "success" => finished(succeeded()),
        "failure" => finished(failed(FailureType::Unknown)),
        "stopped" => finished(Outcome::Aborted),
        "timeout" => timer(TimerKind::Timeout),
        "grace" => timer(TimerKind::Grace),
        "abort" => Event::AbortRequested {
            by: "ann".to_owned(),
            reason: None,
        },
        other => panic!("no event {other}"),
    }
}

#[test]
fn every_state_and_event() {
    let events = [
        "started", "success", "failure", "stopped", "timeout", "grace", "abort",
    ];
    // The status of the step after the event: the initial letters of its name; `.` unchanged, `x` refused.
    let table = [
        ("not started", "x x x x x x ABORT"),
        ("queued", "R S F F D . D"),
        ("running", ". S F F D . D"),
        ("timed out", ". S E E . E ."),
        ("aborting", ". S A A . A ."),
        ("succeeded", ". . . . . . ."),
        ("failed", ". . . . . . ."),
    ];
    for (state, row) in table {
        for (name, expected) in events.iter().zip(row.split(' ')) {
            let mut run = reach(state);
            run.now = run.now.checked_add(60 * MINUTE).unwrap();
            let before = run.state.clone();
            let event = event(&run, name);
            let sent = run.send(event.clone());
            let status = run.state.node_status(&run.path("a"));
            let context = format!("{state} + {name}");
            let wanted = match expected {
                "x" => {
                    assert!(
                        matches!(sent, Err(Rejected::NeverStarted { .. })),
                        "{context}"
                    );
                    assert_eq!(run.state, before, "{context}");
                    continue;
                }
                "." => before.node_status(&run.path("a")),
                // The step before it is told to stop.
                "ABORT" => Status::NotStarted,
                "R" => Status::Running,
                "S" => Status::Succeeded,
                "F" => Status::Failed,
                "D" => Status::Discontinuing,
                "E" => Status::Expired,
                "A" => Status::Aborted,
                other => panic!("{other}"),
            };
            assert_eq!(sent, Ok(()), "{context}");
            assert_eq!(status, wanted, "{context}");
            let after = run.state.clone();
            run.send(event).unwrap();
            assert_eq!(run.state, after, "{context} a second time");
            assert!(
                run.actions.is_empty(),
                "{context} a second time: {:?}",
                run.actions
            );
        }
    }
}

#[test]
fn events_that_do_not_fit_are_refused() {
    let mut run = reach("running");
    let node = run.path("a");
    let started = |node: &NodePath, attempt| Event::StepStarted {
        node: node.clone(),
        attempt,
        by: None,
    };
    for (event, code) in [
        (
            started(&NodePath::parse("pipeline.stages.s"), 1),
            "SRT-W020",
        ),
        (started(&NodePath::parse("nonsense"), 1), "SRT-W020"),
        (started(&node, 2), "SRT-W021"),
        (started(&node, 0), "SRT-W021"),
    ] {
        let before = run.state.clone();
        assert_eq!(run.send(event).unwrap_err().code(), code);
        assert_eq!(run.state, before);
    }
    let mut json = serde_json::to_value(&run.state).unwrap();
    json["format"] = 99.into();
    let newer: State = serde_json::from_value(json).unwrap();
    let error = apply(&run.plan, &newer, &started(&node, 1), run.now).unwrap_err();
    assert_eq!(error, Rejected::Format { found: 99 });
    let record = EventRecord {
        format: 99,
        at: run.now,
        event: started(&node, 1),
    };
    assert!(replay(&run.plan, run.started, [&record]).is_err());
}

#[test]
fn plans_that_cannot_run_are_refused() {
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(vec![stage(
            "s",
            vec![step("a"), group("g", vec![step("a")])],
            vec![step("r")],
        )]);
        change(&mut plan);
        plan
    };
    assert_eq!(with(&|_| {}).check(), Ok(()));
    let deep = (0..26).fold(step("a"), |node, level| {
        group(&format!("g{level}"), vec![node])
    });
    let twice = [
        on(&[FailureType::Timeout], FailureAction::Ignore),
        on(&[FailureType::Timeout], FailureAction::Abort),
    ];
    let same = [
        on(&[FailureType::Timeout], FailureAction::Ignore),
        on(&[FailureType::Timeout], FailureAction::Ignore),
    ];
    let rows: Vec<(Plan, &str)> = vec![
        (with(&|p| p.format = 2), "SRT-W001"),
        (
            with(&|p| p.stages[0].info.id = "a.b".to_owned()),
            "SRT-W002",
        ),
        (with(&|p| p.stages[0].steps.push(step(""))), "SRT-W002"),
        (
            with(&|p| p.stages[0].steps.push(step(&"x".repeat(129)))),
            "SRT-W002",
        ),
        (with(&|p| p.stages[0].steps.push(step("a"))), "SRT-W003"),
        (
            with(&|p| p.stages[0].steps.push(parallel(vec![step("b"), step("g")]))),
            "SRT-W003",
        ),
        (
            with(&|p| p.stages.push(stage("s", vec![], vec![]))),
            "SRT-W003",
        ),
        (
            with(&|p| p.stages[0].steps.push(handling("b", &twice))),
            "SRT-W004",
        ),
        (
            with(&|p| {
                p.stages[0]
                    .failure_strategies
                    .push(on_all(FailureAction::Ignore))
            }),
            "SRT-W004",
        ),
        (
            with(&|p| {
                p.stages[0]
                    .rollback_steps
                    .push(handling("q", &[on_all(FailureAction::StageRollback)]))
            }),
            "SRT-W005",
        ),
        (with(&|p| p.stages[0].steps.push(deep.clone())), "SRT-W006"),
        (
            with(&|p| {
                p.stages[0]
                    .steps
                    .push(parallel((0..257).map(|n| step(&format!("m{n}"))).collect()))
            }),
            "SRT-W006",
        ),
        (with(&|p| p.stages.clear()), "SRT-W007"),
        (
            with(&|p| {
                p.stages[0]
                    .steps
                    .push(step_with("b", |s| s.timeout = std::time::Duration::ZERO))
            }),
            "SRT-W007",
        ),
        (
            with(&|p| p.stages[0].steps.push(parallel(vec![parallel(vec![])]))),
            "SRT-W008",
        ),
        (
            with(&|p| {
                p.stages[0].steps.push(step_with("b", |s| {
                    s.only_if_reached = vec![NodePath::stage("s")]
                }))
            }),
            "SRT-W009",
        ),
    ];
    for (plan, code) in rows {
        let error = plan.check().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(start(&plan, "2026-08-01T00:00:00Z".parse().unwrap()).is_err());
    }
    assert_eq!(
        with(&|p| p.stages[0].steps.push(handling("b", &same))).check(),
        Ok(())
    );
}

/// Executions stored by earlier builds of the same format must stay readable.
#[test]
fn the_stored_format_stays_readable() {
    let plan: Plan = serde_json::from_str(include_str!("samples/plan.json")).unwrap();
    let state: State = serde_json::from_str(include_str!("samples/state.json")).unwrap();
    let events: Vec<EventRecord> =
        serde_json::from_str(include_str!("samples/events.json")).unwrap();
    let started = "2026-08-01T00:00:00Z".parse().unwrap();
    assert_eq!(replay(&plan, started, &events).unwrap(), state);
    assert_eq!(state.status(), Status::Aborted);
    let same = |text: &str, value: serde_json::Value| {
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(text).unwrap(),
            value
        );
    };
    same(
        include_str!("samples/plan.json"),
        serde_json::to_value(&plan).unwrap(),
    );
    same(
        include_str!("samples/state.json"),
        serde_json::to_value(&state).unwrap(),
    );
    same(
        include_str!("samples/events.json"),
        serde_json::to_value(&events).unwrap(),
    );
}
