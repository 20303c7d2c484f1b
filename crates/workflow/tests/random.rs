//! Random plans and random orders of events. What must always hold is checked by the driver after every event.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod driver;

use driver::*;
use proptest::prelude::*;
use sortie_workflow::*;

fn action() -> impl Strategy<Value = FailureAction> {
    prop::sample::select(vec![
        FailureAction::Ignore,
        FailureAction::MarkAsSuccess,
        FailureAction::MarkAsFailure,
        FailureAction::Abort,
        FailureAction::StageRollback,
    ])
}

fn strategies() -> impl Strategy<Value = Vec<FailureStrategy>> {
    (prop::option::of(action()), prop::option::of(action())).prop_map(|(all, timeout)| {
        let timeout = timeout.map(|action| on(&[FailureType::Timeout], action));
        all.map(on_all).into_iter().chain(timeout).collect()
    })
}

fn when() -> impl Strategy<Value = Option<When>> {
    prop::option::weighted(
        0.3,
        prop::sample::select(vec![When::Success, When::Failure, When::All]),
    )
}

/// Nodes without identifiers, which [`name`] gives.
fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let step = (strategies(), when()).prop_map(|(strategies, when)| {
        step_with("", |step| {
            step.failure_strategies = strategies;
            step.when = when;
        })
    });
    let node = step.prop_recursive(3, 12, 4, |inner| {
        let list = prop::collection::vec(inner, 0..4);
        prop_oneof![
            (list.clone(), strategies(), when()).prop_map(|(steps, strategies, when)| {
                Node::Group(Group {
                    info: info(""),
                    steps,
                    failure_strategies: strategies,
                    when,
                })
            }),
            list.prop_map(|list| {
                let plain = |node: &Node| !matches!(node, Node::Parallel { .. });
                parallel(list.into_iter().filter(plain).collect())
            }),
        ]
    });
    prop::collection::vec(node, 0..4)
}

/// Gives every node an identifier, and makes rollback steps fit to be some.
fn name(nodes: &mut [Node], next: &mut usize, rollback: bool) {
    let give = |next: &mut usize, info: &mut NodeInfo, strategies: &mut Vec<FailureStrategy>| {
        *next += 1;
        info.id = format!("n{next}");
        if rollback {
            strategies.retain(|strategy| strategy.action != FailureAction::StageRollback);
        }
    };
    for node in nodes {
        match node {
            Node::Step(step) => give(next, &mut step.info, &mut step.failure_strategies),
            Node::Group(group) => {
                give(next, &mut group.info, &mut group.failure_strategies);
                name(&mut group.steps, next, rollback);
            }
            Node::Parallel { members } => name(members, next, rollback),
        }
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let parts = (nodes(), nodes(), strategies(), when());
    prop::collection::vec(parts, 1..4).prop_map(|stages| {
        let mut next = 0;
        let stages =
            stages
                .into_iter()
                .enumerate()
                .map(|(index, (steps, back, strategies, when))| {
                    let mut stage = stage(&format!("s{index}"), steps, back);
                    name(&mut stage.steps, &mut next, false);
                    name(&mut stage.rollback_steps, &mut next, true);
                    stage.failure_strategies = strategies;
                    stage.when = when;
                    stage
                });
        plan(stages.collect())
    })
}

/// Chooses an event: mostly about a step that is out, sometimes nonsense, rarely an abort.
fn choose(run: &Driver, kind: u8, pick: usize) -> Option<Event> {
    let out: Vec<_> = run.running.iter().collect();
    let (node, attempt) = (*out.get(pick % out.len().max(1))?).clone();
    let finished = |outcome| Event::StepFinished {
        node: node.clone(),
        attempt,
        outcome,
    };
    Some(match kind {
        0..=3 => Event::StepStarted {
            node,
            attempt,
            by: None,
        },
        4..=7 => finished(succeeded()),
        8..=9 => finished(failed(FailureType::Unknown)),
        10 => finished(failed(FailureType::Timeout)),
        11 => finished(Outcome::Aborted),
        12..=13 => Event::TimerFired {
            timer: run
                .timers
                .keys()
                .nth(pick % run.timers.len().max(1))?
                .clone(),
        },
        14 => Event::AbortRequested {
            by: "ann".to_owned(),
            reason: None,
        },
        // A message that comes again, late.
        _ => run.log.get(pick % run.log.len().max(1))?.event.clone(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_run_ends_well(
        plan in plans(),
        script in prop::collection::vec((0_u8..17, any::<usize>(), 0_i64..400), 0..60),
    ) {
        let mut run = Driver::new(plan);
        for (kind, pick, seconds) in script {
            let Some(event) = choose(&run, kind, pick) else { break };
            run.now = run.now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
            run.send(event.clone()).unwrap();
            let state = run.state.clone();
            run.send(event).unwrap();
            prop_assert_eq!(&run.state, &state, "the same event twice");
        }
        // Whatever happened, timers alone bring the run to its end.
        for _ in 0..200 {
            if run.finished.is_some() {
                break;
            }
            run.next_timer();
        }
        prop_assert!(run.finished.is_some(), "{}", run.statuses());
        let rolled_back = |view: &NodeView| {
            let stage = view.path.stage_id().map(NodePath::stage);
            stage.and_then(|stage| run.state.node(&stage)).is_some_and(|stage| stage.rolling_back)
        };
        for view in tree(&run.plan, &run.state) {
            prop_assert!(!view.rollback || view.attempt == 0 || rolled_back(&view), "{}", view.path);
        }
        prop_assert_eq!(replay(&run.plan, run.started, &run.log).unwrap(), run.state);
    }
}
