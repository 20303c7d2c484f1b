//! How pipelines run, as stories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod driver;

use driver::*;
use serde_json::json;
use sortie_workflow::*;

/// Deploy, check; rolled back by `undo`, which is skipped when `deploy` never began.
fn rolling() -> Plan {
    let deploy = NodePath::stage("s").step("deploy");
    let undo = step_with("undo", |step| step.only_if_reached = vec![deploy]);
    plan(vec![
        stage("s", vec![step("deploy"), step("check")], vec![undo]),
        stage("t", vec![step("after")], vec![]),
    ])
}

#[test]
fn steps_and_stages_run_one_after_the_other() {
    let mut run = Driver::new(rolling());
    assert_eq!(
        run.statuses(),
        "p=RUNNING s=RUNNING deploy=QUEUED check=NOT_STARTED undo=NOT_STARTED t=NOT_STARTED after=NOT_STARTED"
    );
    run.begin("deploy");
    assert_eq!(run.state.node_status(&run.path("deploy")), Status::Running);
    let outputs = json!({"releaseName": "hello"});
    run.end(
        "deploy",
        Outcome::Succeeded {
            outputs: outputs.clone(),
        },
    );
    assert_eq!(
        run.state.node(&run.path("deploy")).unwrap().outputs,
        outputs
    );
    run.run("check", succeeded());
    assert_eq!(run.state.node_status(&run.path("s")), Status::Succeeded);
    run.run("after", succeeded());
    assert_eq!(run.finished, Some(Status::Succeeded));
    assert_eq!(
        run.statuses(),
        "p=SUCCEEDED s=SUCCEEDED deploy=SUCCEEDED check=SUCCEEDED undo=NOT_STARTED t=SUCCEEDED after=SUCCEEDED"
    );
}

#[test]
fn the_first_actions_hand_out_the_first_step() {
    let run = Driver::new(rolling());
    let deploy = run.path("deploy");
    let deadline = run.now.checked_add(10 * MINUTE).unwrap();
    let changed = |node, status| Action::Changed { node, status };
    assert_eq!(
        run.actions,
        [
            changed(NodePath::pipeline(), Status::Running),
            changed(NodePath::stage("s"), Status::Running),
            changed(deploy.clone(), Status::Queued),
            Action::StartStep {
                node: deploy.clone(),
                attempt: 1,
                deadline
            },
            Action::SetTimer {
                timer: TimerId {
                    node: deploy,
                    attempt: 1,
                    kind: TimerKind::Timeout
                },
                at: deadline
            },
        ]
    );
}

#[test]
fn a_failure_rolls_the_stage_back() {
    let mut run = Driver::new(rolling());
    run.run("deploy", failed(FailureType::Unknown));
    assert_eq!(
        run.statuses(),
        "p=RUNNING s=RUNNING deploy=FAILED check=SKIPPED undo=QUEUED t=NOT_STARTED after=NOT_STARTED"
    );
    run.run("undo", succeeded());
    assert_eq!(
        run.statuses(),
        "p=FAILED s=FAILED deploy=FAILED check=SKIPPED undo=SUCCEEDED t=SKIPPED after=SKIPPED"
    );
    let stage = run.state.node(&NodePath::stage("s")).unwrap();
    assert_eq!(stage.message.as_deref(), Some("it was Unknown"));
    assert_eq!(stage.code.as_deref(), Some("SRT-T001"));
    assert_eq!(
        run.state.node(&NodePath::pipeline()).unwrap().failures,
        [FailureType::Unknown]
    );
}

#[test]
fn what_never_began_is_not_rolled_back() {
    let mut run = Driver::new(rolling());
    run.end("deploy", failed(FailureType::Unknown));
    assert_eq!(run.finished, Some(Status::Failed));
    let undo = run.state.node(&run.path("undo")).unwrap();
    assert_eq!(undo.status, Status::Skipped);
    assert_eq!(
        undo.message.as_deref(),
        Some("the step that it would undo never began")
    );
}

#[test]
fn a_failure_after_the_deployment_rolls_it_back_too() {
    let mut run = Driver::new(rolling());
    run.run("deploy", succeeded());
    run.run("check", failed(FailureType::Verification));
    run.run("undo", succeeded());
    assert_eq!(
        run.statuses(),
        "p=FAILED s=FAILED deploy=SUCCEEDED check=FAILED undo=SUCCEEDED t=SKIPPED after=SKIPPED"
    );
}

#[test]
fn a_failing_rollback_step_stops_the_rollback() {
    let ignored = handling("r1", &[on_all(FailureAction::Ignore)]);
    let back = vec![
        ignored,
        group("g", vec![step("r2"), step("r3")]),
        step("r4"),
    ];
    let mut run = Driver::new(plan(vec![stage("s", vec![step("a")], back)]));
    run.run("a", failed(FailureType::Connectivity));
    run.now = run.now.checked_add(MINUTE).unwrap();
    run.run("r1", failed(FailureType::Unknown));
    run.run("r2", failed(FailureType::Unknown));
    assert_eq!(
        run.statuses(),
        "p=FAILED s=FAILED a=FAILED r1=IGNORE_FAILED g=FAILED r2=FAILED r3=SKIPPED r4=SKIPPED"
    );
    // The message of the failure that came last.
    let stage = run.state.node(&NodePath::stage("s")).unwrap();
    assert_eq!(stage.message.as_deref(), Some("it was Unknown"));
    assert_eq!(
        run.state.node(&NodePath::stage("s")).unwrap().failures,
        [FailureType::Unknown, FailureType::Connectivity]
    );
}

#[test]
fn actions_of_failure_strategies() {
    for (action, expected) in [
        (
            Some(FailureAction::Ignore),
            "p=IGNORE_FAILED s=IGNORE_FAILED a=IGNORE_FAILED b=SUCCEEDED r=NOT_STARTED",
        ),
        (
            Some(FailureAction::MarkAsSuccess),
            "p=SUCCEEDED s=SUCCEEDED a=SUCCEEDED b=SUCCEEDED r=NOT_STARTED",
        ),
        (
            Some(FailureAction::MarkAsFailure),
            "p=FAILED s=FAILED a=FAILED b=SKIPPED r=NOT_STARTED",
        ),
        (
            Some(FailureAction::Abort),
            "p=ABORTED s=ABORTED a=FAILED b=SKIPPED r=NOT_STARTED",
        ),
        (
            Some(FailureAction::StageRollback),
            "p=FAILED s=FAILED a=FAILED b=SKIPPED r=SUCCEEDED",
        ),
        (None, "p=FAILED s=FAILED a=FAILED b=SKIPPED r=NOT_STARTED"),
    ] {
        let mut stage = stage("s", vec![step("a"), step("b")], vec![step("r")]);
        stage.failure_strategies = action.into_iter().map(on_all).collect();
        let mut run = Driver::new(plan(vec![stage]));
        run.run("a", failed(FailureType::Unknown));
        for id in ["b", "r"] {
            if !run.state.node_status(&run.path(id)).is_final() && run.finished.is_none() {
                run.run(id, succeeded());
            }
        }
        assert_eq!(run.statuses(), expected, "{action:?}");
    }
}

#[test]
fn the_innermost_level_that_names_the_failure_decides() {
    use FailureAction::{Ignore, MarkAsFailure, MarkAsSuccess, StageRollback};
    use FailureType::{Authentication, Connectivity, Timeout, Unknown};
    let step_level = [on(&[Timeout], Ignore)];
    let group_level = [
        on(&[Timeout, Connectivity], MarkAsSuccess),
        on_all(MarkAsFailure),
    ];
    for (step_level, group_level, failure, expected) in [
        (
            &step_level[..],
            &group_level[..],
            Timeout,
            Status::IgnoreFailed,
        ),
        (
            &step_level[..],
            &group_level[..],
            Connectivity,
            Status::Succeeded,
        ),
        (&[][..], &group_level[..1], Timeout, Status::Succeeded),
        (&step_level[..], &[][..], Timeout, Status::IgnoreFailed),
        (
            &[on_all(MarkAsSuccess)][..],
            &group_level[..],
            Authentication,
            Status::Succeeded,
        ),
        (&[][..], &group_level[..], Unknown, Status::Failed),
        (&[][..], &[][..], Timeout, Status::Expired),
    ] {
        let mut inner = group("g", vec![handling("a", step_level)]);
        let Node::Group(group) = &mut inner else {
            unreachable!()
        };
        group.failure_strategies = group_level.to_vec();
        let mut stage = stage("s", vec![inner], vec![]);
        stage.failure_strategies = vec![on_all(StageRollback)];
        let mut run = Driver::new(plan(vec![stage]));
        run.run("a", failed(failure));
        assert_eq!(
            run.state.node_status(&run.path("a")),
            expected,
            "{failure:?}"
        );
        assert!(run.finished.is_some());
    }
}

#[test]
fn groups_nest_and_aggregate() {
    let inner = group(
        "g",
        vec![step("a"), group("h", vec![step("b")]), group("e", vec![])],
    );
    let mut run = Driver::new(plan(vec![stage("s", vec![inner, step("c")], vec![])]));
    assert_eq!(
        run.path("b").as_str(),
        "pipeline.stages.s.spec.execution.steps.g.steps.h.steps.b"
    );
    run.run("a", succeeded());
    assert_eq!(
        run.statuses(),
        "p=RUNNING s=RUNNING g=RUNNING a=SUCCEEDED h=RUNNING b=QUEUED e=NOT_STARTED c=NOT_STARTED"
    );
    run.run("b", succeeded());
    assert_eq!(
        run.statuses(),
        "p=RUNNING s=RUNNING g=SUCCEEDED a=SUCCEEDED h=SUCCEEDED b=SUCCEEDED e=SUCCEEDED c=QUEUED"
    );
    run.run("c", succeeded());
    assert_eq!(run.finished, Some(Status::Succeeded));
}

#[test]
fn parallel_members_do_not_stop_each_other() {
    let block = parallel(vec![
        step("a"),
        group("g", vec![step("b"), step("c")]),
        step("d"),
    ]);
    let mut run = Driver::new(plan(vec![stage(
        "s",
        vec![block, step("z")],
        vec![step("r")],
    )]));
    assert_eq!(run.running.len(), 3);
    run.run("a", failed(FailureType::Unknown));
    run.run("d", succeeded());
    run.run("b", succeeded());
    assert_eq!(
        run.statuses(),
        "p=RUNNING s=RUNNING a=FAILED g=SUCCEEDED b=SUCCEEDED c=SKIPPED d=SUCCEEDED z=SKIPPED r=QUEUED"
    );
    run.run("r", succeeded());
    assert_eq!(run.finished, Some(Status::Failed));
    let blocks: Vec<_> = tree(&run.plan, &run.state)
        .iter()
        .map(|view| view.parallel_block)
        .collect();
    assert_eq!(
        blocks,
        [
            None,
            None,
            Some(0),
            Some(0),
            None,
            None,
            Some(0),
            None,
            None
        ]
    );
}

#[test]
fn conditions_on_the_status() {
    let when = |id: &str, when| step_with(id, |step| step.when = Some(when));
    let steps = vec![
        handling("a", &[on_all(FailureAction::MarkAsFailure)]),
        step("b"),
        when("c", When::Failure),
        when("d", When::All),
        when("e", When::Success),
    ];
    let mut cleanup = stage("u", vec![step("f")], vec![]);
    cleanup.when = Some(When::Failure);
    let mut run = Driver::new(plan(vec![
        stage("s", steps, vec![]),
        stage("t", vec![step("g")], vec![]),
        cleanup,
    ]));
    run.run("a", failed(FailureType::Unknown));
    run.run("c", succeeded());
    run.run("d", succeeded());
    run.run("f", succeeded());
    assert_eq!(
        run.statuses(),
        "p=FAILED s=FAILED a=FAILED b=SKIPPED c=SUCCEEDED d=SUCCEEDED e=SKIPPED t=SKIPPED g=SKIPPED u=SUCCEEDED f=SUCCEEDED"
    );
    let skipped = run.state.node(&run.path("b")).unwrap();
    assert_eq!(
        skipped.message.as_deref(),
        Some("the stage has failed before")
    );
}

#[test]
fn a_step_that_takes_too_long_is_cancelled_and_expires() {
    let mut run = Driver::new(rolling());
    run.begin("deploy");
    run.next_timer();
    let deploy = run.path("deploy");
    assert_eq!(run.state.node_status(&deploy), Status::Discontinuing);
    let cancel = Action::CancelStep {
        node: deploy.clone(),
        attempt: 1,
        reason: CancelReason::Timeout,
    };
    assert!(run.actions.contains(&cancel));
    run.end("deploy", Outcome::Aborted);
    let node = run.state.node(&deploy).unwrap();
    assert_eq!(
        (node.status, node.failures.as_slice()),
        (Status::Expired, &[FailureType::Timeout][..])
    );
    assert_eq!(
        node.message.as_deref(),
        Some("the step did not end within its timeout of 600 s")
    );
    run.run("undo", succeeded());
    assert_eq!(run.finished, Some(Status::Expired));
}

#[test]
fn a_cancelled_step_that_does_not_answer_is_given_up() {
    let mut run = Driver::new(rolling());
    run.begin("deploy");
    run.next_timer();
    run.next_timer();
    assert_eq!(run.state.node_status(&run.path("deploy")), Status::Expired);
    assert_eq!(run.state.node_status(&run.path("undo")), Status::Queued);
    // Its late answer changes nothing.
    let before = run.state.clone();
    run.end("deploy", succeeded());
    assert_eq!(run.state, before);
}

#[test]
fn a_success_that_crosses_the_timeout_counts() {
    let mut run = Driver::new(rolling());
    run.begin("deploy");
    run.next_timer();
    run.end("deploy", succeeded());
    assert_eq!(run.state.node_status(&run.path("check")), Status::Queued);
}

#[test]
fn an_early_timer_is_set_again() {
    let mut run = Driver::new(rolling());
    let (timer, at) = run.timers.pop_first().unwrap();
    let before = run.state.clone();
    run.send(Event::TimerFired {
        timer: timer.clone(),
    })
    .unwrap();
    assert_eq!(run.actions, [Action::SetTimer { timer, at }]);
    assert_eq!(run.state, before);
}

#[test]
fn an_abort_ends_everything_without_rollback() {
    let block = parallel(vec![
        step("a"),
        step("b"),
        group("g", vec![step("c"), step("d")]),
    ]);
    let mut run = Driver::new(plan(vec![
        stage("s", vec![block, step("z")], vec![step("r")]),
        stage("t", vec![step("y")], vec![]),
    ]));
    run.run("a", succeeded());
    run.begin("b");
    run.abort();
    assert_eq!(run.cancelled.len(), 2);
    let second = Event::AbortRequested {
        by: "bob".to_owned(),
        reason: Some("late".to_owned()),
    };
    run.send(second).unwrap();
    assert_eq!(run.state.abort().unwrap().by, "ann");
    run.end("c", Outcome::Aborted);
    run.end("b", failed(FailureType::Unknown));
    assert_eq!(
        run.statuses(),
        "p=ABORTED s=ABORTED a=SUCCEEDED b=ABORTED g=ABORTED c=ABORTED d=SKIPPED z=SKIPPED r=NOT_STARTED t=SKIPPED y=SKIPPED"
    );
    assert_eq!(
        run.state
            .node(&NodePath::pipeline())
            .unwrap()
            .message
            .as_deref(),
        Some("aborted by ann")
    );
}

#[test]
fn an_abort_stops_a_rollback_too() {
    let mut run = Driver::new(plan(vec![stage(
        "s",
        vec![step("a")],
        vec![step("r"), step("q")],
    )]));
    run.run("a", failed(FailureType::Unknown));
    run.begin("r");
    run.abort();
    run.next_timer();
    assert_eq!(
        run.statuses(),
        "p=ABORTED s=ABORTED a=FAILED r=ABORTED q=SKIPPED"
    );
}

#[test]
fn an_abort_overrules_a_timeout() {
    let mut run = Driver::new(rolling());
    run.begin("deploy");
    run.next_timer();
    run.abort();
    run.end("deploy", Outcome::Aborted);
    assert_eq!(
        run.statuses(),
        "p=ABORTED s=ABORTED deploy=ABORTED check=SKIPPED undo=NOT_STARTED t=SKIPPED after=SKIPPED"
    );
}

#[test]
fn a_log_replays_to_the_same_state() {
    let mut run = Driver::new(rolling());
    run.run("deploy", succeeded());
    run.begin("check");
    run.next_timer();
    run.end("check", Outcome::Aborted);
    run.run("undo", succeeded());
    assert_eq!(replay(&run.plan, run.started, &run.log).unwrap(), run.state);
}

#[test]
fn a_failure_outweighs_a_timeout() {
    for (a, b, expected) in [
        (FailureType::Unknown, FailureType::Timeout, Status::Failed),
        (FailureType::Timeout, FailureType::Unknown, Status::Failed),
        (FailureType::Timeout, FailureType::Timeout, Status::Expired),
    ] {
        let block = parallel(vec![step("a"), step("b")]);
        let mut run = Driver::new(plan(vec![stage("s", vec![block], vec![])]));
        run.run("a", failed(a));
        run.run("b", failed(b));
        assert_eq!(run.finished, Some(expected));
    }
}
