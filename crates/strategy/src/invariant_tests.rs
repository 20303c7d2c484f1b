use super::*;
use crate::progressive::tests::workload;
use crate::progressive::{Asked, Phase, Route};
use std::time::Duration;

/// Four pods wanted, one more allowed and none less.
fn seen(canary: u32, stable: u32) -> Observation {
    Observation {
        workloads: vec![workload(4, canary, stable)],
        route: None,
    }
}

/// What is said of asking for so many pods of both sides on the way to a percentage, with a router that was asked for
/// `weights`: the present one and the one before it.
fn asking(seen: &Observation, to: (u32, u32), percent: u32, weights: Option<(u32, u32)>) -> String {
    let plan = Plan {
        to: percent,
        settle: Duration::from_secs(30),
        patience: Duration::from_secs(60),
    };
    let now = Timestamp::UNIX_EPOCH;
    let asked = weights.map(|(canary, before)| Asked {
        canary,
        before,
        at: now,
        accepted: Some(now),
    });
    let state = State {
        phase: Phase::Shifting,
        asked,
    };
    let route = weights.map(|(canary, _)| Route {
        canary,
        is_accepted: true,
    });
    let seen = Observation {
        route,
        ..seen.clone()
    };
    let to = Pair {
        canary: to.0,
        stable: to.1,
    };
    let action = Action::Scale { workload: 0, to };
    let said = permitted((&plan, &state), (&seen, now), &action);
    said.map_or_else(|violation| format!("{violation:?}"), |()| "fine".to_owned())
}

#[test]
fn what_would_break_something_is_not_permitted() {
    let mut broken = seen(1, 4);
    (
        broken.workloads[0].sides.canary.ready,
        broken.workloads[0].sides.canary.available,
    ) = (0, 0);
    let mut unserved = seen(1, 4);
    unserved.workloads[0].sides.canary.available = 0;
    let mut ending = seen(1, 3);
    ending.workloads[0].sides.stable.pods = 4;
    for (what, seen, to, percent, weights, expected) in [
        ("grow within surge", seen(0, 4), (1, 4), 50, None, "fine"),
        ("grow beyond it", seen(0, 4), (2, 4), 50, None, "TooMany"),
        (
            "grow while some still end",
            ending,
            (2, 3),
            50,
            None,
            "TooMany",
        ),
        ("give up what is more", seen(1, 4), (1, 3), 50, None, "fine"),
        (
            "give up more than that",
            seen(1, 4),
            (1, 2),
            50,
            None,
            "Unavailable",
        ),
        (
            "give up what nothing replaces",
            unserved,
            (1, 3),
            50,
            None,
            "Unavailable",
        ),
        ("give up what is not ready", broken, (0, 4), 0, None, "fine"),
        ("go back", seen(1, 4), (0, 4), 0, None, "fine"),
        (
            "lose the canary on the way",
            seen(1, 4),
            (0, 4),
            50,
            None,
            "Abandoned",
        ),
        (
            "lose stable on the way",
            seen(4, 1),
            (4, 0),
            99,
            None,
            "Abandoned",
        ),
        ("lose it at the end", seen(4, 1), (4, 0), 100, None, "fine"),
        (
            "requests go there",
            seen(3, 2),
            (3, 1),
            50,
            Some((50, 50)),
            "TooFew",
        ),
        (
            "they may still",
            seen(3, 2),
            (3, 1),
            75,
            Some((75, 50)),
            "TooFew",
        ),
        (
            "they do no more",
            seen(3, 2),
            (3, 1),
            75,
            Some((75, 75)),
            "fine",
        ),
    ] {
        let said = asking(&seen, to, percent, weights);
        assert!(said.starts_with(expected), "{what}: {said}");
    }
}

#[test]
fn requests_go_nowhere_where_nobody_is_ready() {
    let said = |seen: &Observation, canary: u32| {
        let plan = Plan {
            to: canary,
            settle: Duration::ZERO,
            patience: Duration::ZERO,
        };
        let state = State::new();
        let action = Action::Weigh { canary };
        permitted((&plan, &state), (seen, Timestamp::UNIX_EPOCH), &action).is_ok()
    };
    assert!(said(&seen(1, 4), 50));
    assert!(!said(&seen(0, 4), 1));
    assert!(said(&seen(0, 4), 0));
    assert!(!said(&seen(4, 0), 99));
    // Nobody is ready for anything.
    assert!(said(&seen(0, 0), 50));
}

#[test]
fn weights_make_a_hundred() {
    assert_eq!(weights(&[20, 80]), Ok(()));
    assert_eq!(weights(&[20, 81]), Err(Violation::Weights { sum: 101 }));
}
