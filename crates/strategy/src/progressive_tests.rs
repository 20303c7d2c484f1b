use super::*;
use crate::replicas::Side;

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn plan(to: u32) -> Plan {
    Plan {
        to,
        settle: Duration::from_secs(30),
        patience: Duration::from_secs(60),
    }
}

fn side(pods: u32) -> Side {
    Side {
        wanted: pods,
        pods,
        ready: pods,
        available: pods,
    }
}

/// A workload whose pods are all ready, with a surge of one.
pub(crate) fn workload(replicas: u32, canary: u32, stable: u32) -> Workload {
    Workload {
        name: "web".to_owned(),
        replicas,
        slack: Slack {
            surge: 1,
            unavailable: 0,
        },
        sides: Sides {
            canary: side(canary),
            stable: side(stable),
        },
        ready: Pair { canary, stable },
    }
}

/// Ten pods wanted.
fn seen(canary: u32, stable: u32, route: Option<(u32, bool)>) -> Observation {
    Observation {
        workloads: vec![workload(10, canary, stable)],
        route: route.map(|(canary, is_accepted)| Route {
            canary,
            is_accepted,
        }),
    }
}

fn asked(canary: u32, before: u32, at: i64, accepted: Option<i64>) -> State {
    let asked = Asked {
        canary,
        before,
        at: time(at),
        accepted: accepted.map(time),
    };
    State {
        phase: Phase::Shifting,
        asked: Some(asked),
    }
}

fn scale(canary: u32, stable: u32) -> Action {
    let to = Pair { canary, stable };
    Action::Scale { workload: 0, to }
}

#[test]
fn each_state_and_what_follows() {
    let weigh = |canary| Action::Weigh { canary };
    let start = State::new;
    let in_phase = |phase| State { phase, asked: None };
    type Row = (
        &'static str,
        u32,
        State,
        Observation,
        Phase,
        Vec<Action>,
        Option<i64>,
    );
    let rows: Vec<Row> = vec![
        (
            "pods alone: grow first",
            20,
            start(),
            seen(0, 10, None),
            Phase::Shifting,
            vec![scale(1, 10)],
            None,
        ),
        (
            "then shrink",
            20,
            start(),
            seen(1, 10, None),
            Phase::Shifting,
            vec![scale(1, 9)],
            None,
        ),
        (
            "there",
            20,
            start(),
            seen(2, 8, None),
            Phase::Done,
            vec![],
            None,
        ),
        (
            "a canary before traffic",
            20,
            start(),
            seen(0, 10, Some((0, true))),
            Phase::Shifting,
            vec![scale(1, 10)],
            None,
        ),
        (
            "traffic before anything shrinks",
            20,
            start(),
            seen(1, 10, Some((0, true))),
            Phase::Shifting,
            vec![weigh(10)],
            None,
        ),
        (
            "not accepted: nothing shrinks",
            20,
            asked(10, 0, 90, None),
            seen(1, 10, Some((10, false))),
            Phase::Shifting,
            vec![],
            Some(150),
        ),
        (
            "never accepted",
            20,
            asked(10, 0, 40, None),
            seen(1, 10, Some((10, false))),
            Phase::Failed("the router has not accepted 10 % for the canary".to_owned()),
            vec![],
            None,
        ),
        (
            "accepted: it settles first",
            20,
            asked(10, 0, 90, None),
            seen(1, 10, Some((10, true))),
            Phase::Shifting,
            vec![],
            Some(130),
        ),
        (
            "settled",
            20,
            asked(10, 0, 60, Some(65)),
            seen(1, 10, Some((10, true))),
            Phase::Shifting,
            vec![scale(1, 9)],
            None,
        ),
        (
            "stored and not written",
            20,
            asked(10, 0, 90, None),
            seen(1, 10, Some((0, true))),
            Phase::Shifting,
            vec![weigh(10)],
            None,
        ),
        (
            "written by somebody else: what is there has settled before it is left",
            20,
            asked(10, 0, 60, Some(65)),
            seen(1, 10, Some((40, true))),
            Phase::Shifting,
            vec![weigh(20)],
            None,
        ),
        (
            "nobody serves the canary's share",
            20,
            asked(20, 10, 99, None),
            seen(0, 10, Some((20, true))),
            Phase::Shifting,
            vec![weigh(0)],
            None,
        ),
        (
            "all of it",
            100,
            asked(100, 90, 60, Some(65)),
            seen(10, 0, Some((100, true))),
            Phase::Done,
            vec![],
            None,
        ),
        (
            "all pods",
            100,
            start(),
            seen(10, 0, None),
            Phase::Done,
            vec![],
            None,
        ),
        (
            "back from there",
            0,
            start(),
            seen(10, 0, None),
            Phase::Shifting,
            vec![scale(10, 1)],
            None,
        ),
        (
            "back at nothing",
            0,
            asked(0, 10, 60, Some(65)),
            seen(0, 10, Some((0, true))),
            Phase::Done,
            vec![],
            None,
        ),
        (
            "an ended one",
            20,
            in_phase(Phase::Done),
            seen(0, 10, None),
            Phase::Done,
            vec![],
            None,
        ),
        (
            "one that has failed",
            20,
            in_phase(Phase::Failed("no".to_owned())),
            seen(0, 10, None),
            Phase::Failed("no".to_owned()),
            vec![],
            None,
        ),
    ];
    for (what, to, state, seen, phase, actions, wake) in rows {
        let decision = decide(&plan(to), state, &seen, time(100));
        assert_eq!(
            (decision.state.phase, decision.actions, decision.wake),
            (phase, actions, wake.map(time)),
            "{what}"
        );
    }
}

#[test]
fn a_state_is_read_back_as_it_was_stored() {
    let state = State {
        phase: Phase::Failed("no".to_owned()),
        ..asked(1, 2, 3, Some(4))
    };
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}
