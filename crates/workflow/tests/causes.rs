//! Why executions end as they do: what a person reads afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod driver;

use driver::*;
use sortie_workflow::*;

const UNTAKEN: &str = "no delegate was connected within 600 s";

fn untaken() -> Outcome {
    Outcome::Failed(Failure {
        types: vec![FailureType::DelegateProvisioning],
        message: UNTAKEN.to_owned(),
        code: Some("SRT-S231".to_owned()),
        outputs: serde_json::Value::Null,
    })
}

fn one(strategies: &[FailureStrategy]) -> Driver {
    Driver::new(plan(vec![stage(
        "s",
        vec![handling("a", strategies)],
        vec![],
    )]))
}

#[test]
fn a_step_that_no_delegate_took_says_so_whoever_noticed_the_end_of_its_time() {
    let timer_first = {
        let mut run = one(&[]);
        run.next_timer();
        assert_eq!(run.cancelled.len(), 1);
        run.end("a", untaken());
        run
    };
    let result_first = {
        let mut run = one(&[]);
        run.now = *run.timers.values().next().unwrap();
        run.end("a", untaken());
        run
    };
    for run in [timer_first, result_first] {
        assert_eq!(run.finished, Some(Status::Expired));
        assert_eq!(run.state.cause(), (Some(UNTAKEN), Some("SRT-S231")));
        let node = run.state.node(&run.path("a")).unwrap();
        assert_eq!(
            node.failures,
            [FailureType::DelegateProvisioning, FailureType::Timeout]
        );
        assert!(!node.reached);
    }
}

#[test]
fn a_strategy_for_missing_delegates_comes_before_one_for_timeouts() {
    let ignore = on(&[FailureType::DelegateProvisioning], FailureAction::Ignore);
    let success = on(&[FailureType::Timeout], FailureAction::MarkAsSuccess);
    for (strategies, expected) in [
        (vec![success.clone(), ignore], Status::IgnoreFailed),
        // The stage's strategy for all errors answers the first type.
        (vec![success], Status::Expired),
    ] {
        let mut run = one(&strategies);
        run.next_timer();
        run.end("a", untaken());
        assert_eq!(run.finished, Some(expected));
    }
}

#[test]
fn a_delegate_that_cannot_be_found_in_time_is_a_failure_before_the_end_of_the_time() {
    let mut run = one(&[]);
    run.end("a", untaken());
    assert_eq!(run.finished, Some(Status::Failed));
}

#[test]
fn an_abort_names_who_and_why_on_everything_that_it_ended() {
    let mut run = one(&[]);
    run.begin("a");
    let event = Event::AbortRequested {
        by: "ann".to_owned(),
        reason: Some("wrong version".to_owned()),
    };
    run.send(event).unwrap();
    run.end("a", Outcome::Aborted);
    assert_eq!(run.finished, Some(Status::Aborted));
    let text = "aborted by ann: wrong version";
    assert_eq!(run.state.cause(), (Some(text), None));
    for node in tree(&run.plan, &run.state) {
        assert_eq!(node.message.as_deref(), Some(text), "{}", node.path);
    }
}

#[test]
fn an_execution_that_ended_well_has_no_cause() {
    let mut run = one(&[]);
    assert_eq!(run.state.cause(), (None, None));
    run.run("a", succeeded());
    assert_eq!(run.state.cause(), (None, None));
}
