use proptest::prelude::*;

use super::*;
use crate::invariant::never_deserted;
use crate::simulator::Luck;

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn plan() -> Plan {
    let exchange = |service: &str, from: &str, to: &str, needs| Exchange {
        service: service.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        needs,
    };
    Plan {
        exchanges: vec![
            exchange("web", "blue", "green", 3),
            exchange("web-stage", "green", "blue", 0),
        ],
        settle: Duration::from_secs(30),
        patience: Duration::from_secs(60),
    }
}

/// The colours of the two Services; so many pods of both colours; endpoints follow at once.
fn seen(web: &str, stage: &str, green: u32, blue: u32) -> Vec<Seen> {
    let color = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    vec![
        Seen {
            selects: color(web),
            ready: green,
            ready_before: blue,
            is_followed: web == "green" && green > 0,
        },
        Seen {
            selects: color(stage),
            ready: blue,
            ready_before: green,
            is_followed: stage == "blue" && blue > 0,
        },
    ]
}

fn select(exchange: usize, from: &str, to: &str) -> Select {
    Select {
        exchange,
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

#[test]
fn each_state_and_what_follows() {
    let why = || "x".to_owned();
    let text = |text: &str| text.to_owned();
    type Row = (
        &'static str,
        Phase,
        Vec<Seen>,
        Phase,
        Option<Select>,
        Option<i64>,
    );
    let rows: Vec<Row> = vec![
        (
            "too few pods",
            Phase::Waiting,
            seen("blue", "green", 2, 3),
            Phase::Waiting,
            None,
            Some(110),
        ),
        (
            "pods",
            Phase::Waiting,
            seen("blue", "green", 3, 3),
            Phase::Swapping,
            Some(select(0, "blue", "green")),
            None,
        ),
        (
            "a third colour",
            Phase::Waiting,
            seen("red", "green", 3, 3),
            Phase::Refused(text("web selects red, neither blue nor green")),
            None,
            None,
        ),
        (
            "no colour",
            Phase::Waiting,
            seen("blue", "", 3, 3),
            Phase::Refused(text("web-stage selects no colour")),
            None,
            None,
        ),
        (
            "killed between the two",
            Phase::Swapping,
            seen("green", "green", 3, 3),
            Phase::Swapping,
            Some(select(1, "green", "blue")),
            None,
        ),
        (
            "both",
            Phase::Swapping,
            seen("green", "blue", 3, 3),
            Phase::Settling,
            None,
            Some(130),
        ),
        (
            "the second is taken away",
            Phase::Swapping,
            seen("green", "red", 3, 3),
            Phase::Undoing(text("web-stage selects red, neither green nor blue")),
            Some(select(0, "green", "blue")),
            None,
        ),
        (
            "its pods die after the first",
            Phase::Swapping,
            seen("green", "green", 0, 3),
            Phase::Undoing(text("no pod of green is ready any more behind web")),
            Some(select(0, "green", "blue")),
            None,
        ),
        (
            "all pods are gone: no side is better",
            Phase::Swapping,
            seen("green", "green", 0, 0),
            Phase::Swapping,
            Some(select(1, "green", "blue")),
            None,
        ),
        (
            "settling",
            Phase::Settling,
            seen("green", "blue", 3, 3),
            Phase::Settling,
            None,
            Some(80),
        ),
        (
            "the new one dies while settling",
            Phase::Settling,
            seen("green", "blue", 0, 3),
            Phase::Undoing(text("no pod of green is ready any more behind web")),
            Some(select(1, "blue", "green")),
            None,
        ),
        (
            "swapped back by somebody",
            Phase::Settling,
            seen("blue", "blue", 3, 3),
            Phase::Undoing(text("somebody else has let web select blue")),
            Some(select(1, "blue", "green")),
            None,
        ),
        (
            "undone in reverse",
            Phase::Undoing(why()),
            seen("green", "blue", 3, 3),
            Phase::Undoing(why()),
            Some(select(1, "blue", "green")),
            None,
        ),
        (
            "then the first",
            Phase::Undoing(why()),
            seen("green", "green", 3, 3),
            Phase::Undoing(why()),
            Some(select(0, "green", "blue")),
            None,
        ),
        (
            "undone",
            Phase::Undoing(why()),
            seen("blue", "green", 3, 3),
            Phase::Undone(why()),
            None,
            None,
        ),
        (
            "what somebody took is left to them",
            Phase::Undoing(why()),
            seen("red", "green", 3, 3),
            Phase::Undone(why()),
            None,
            None,
        ),
        (
            "no way back",
            Phase::Undoing(why()),
            seen("green", "red", 3, 0),
            Phase::Undoing(why()),
            None,
            Some(110),
        ),
        (
            "a way back that is no worse",
            Phase::Undoing(why()),
            seen("green", "red", 0, 0),
            Phase::Undoing(why()),
            Some(select(0, "green", "blue")),
            None,
        ),
        (
            "an ended one",
            Phase::Done,
            seen("red", "", 0, 0),
            Phase::Done,
            None,
            None,
        ),
    ];
    for (what, phase, seen, expected, action, wake) in rows {
        let decision = decide(
            &plan(),
            State {
                phase,
                since: time(50),
            },
            &seen,
            time(100).min(if what == "settling" {
                time(60)
            } else {
                time(100)
            }),
        );
        assert_eq!(
            (
                decision.state.phase,
                decision.actions.first(),
                decision.wake
            ),
            (expected, action.as_ref(), wake.map(time)),
            "{what}"
        );
    }
}

#[test]
fn patience_ends() {
    let waiting = State {
        phase: Phase::Waiting,
        since: time(0),
    };
    let decision = decide(&plan(), waiting, &seen("blue", "green", 2, 3), time(60));
    assert_eq!(
        decision.state.phase,
        Phase::Failed("web needs 3 ready pods of green, and there are 2".to_owned())
    );
    let mut late = seen("green", "blue", 3, 3);
    late[0].is_followed = false;
    let checking = State {
        phase: Phase::Checking,
        since: time(0),
    };
    let decision = decide(&plan(), checking.clone(), &late, time(59));
    assert_eq!(
        (decision.state.phase, decision.wake),
        (Phase::Checking, Some(time(60)))
    );
    let decision = decide(&plan(), checking, &late, time(60));
    assert_eq!(
        decision.state.phase,
        Phase::Undoing("the endpoints of web do not show green alone".to_owned())
    );
    assert_eq!(decision.actions, [select(1, "blue", "green")]);
    let undoing = State {
        phase: Phase::Undoing("x".to_owned()),
        since: time(0),
    };
    let decision = decide(&plan(), undoing, &seen("green", "blue", 3, 0), time(60));
    assert_eq!(
        (decision.state.phase, decision.actions.len()),
        (Phase::Stranded("x".to_owned()), 0)
    );
    let settled = State {
        phase: Phase::Settling,
        since: time(0),
    };
    assert_eq!(
        decide(&plan(), settled, &seen("green", "blue", 3, 3), time(30))
            .state
            .phase,
        Phase::Done
    );
}

#[test]
fn who_is_stopped_comes_to_an_end_without_waiting() {
    let (whole, half, none) = (
        seen("green", "blue", 3, 3),
        seen("green", "green", 3, 3),
        seen("blue", "green", 3, 3),
    );
    let stranded = seen("green", "blue", 3, 0);
    let why = "told to".to_owned();
    for (phase, seen, expected, swapped) in [
        (
            Phase::Waiting,
            &none,
            Phase::Failed(why.clone()),
            [false; 2],
        ),
        (
            Phase::Swapping,
            &half,
            Phase::Undone(why.clone()),
            [false; 2],
        ),
        (
            Phase::Checking,
            &whole,
            Phase::Undone(why.clone()),
            [false; 2],
        ),
        (
            Phase::Checking,
            &stranded,
            Phase::Stranded(why.clone()),
            [true; 2],
        ),
        (Phase::Settling, &whole, Phase::Done, [true; 2]),
        (
            Phase::Undoing(why.clone()),
            &half,
            Phase::Undone(why.clone()),
            [false; 2],
        ),
    ] {
        let (mut seen, now) = (seen.clone(), time(50));
        let begun = State {
            phase: phase.clone(),
            since: now,
        };
        let mut state = stop(&plan(), begun, &why, now);
        for _ in 0..4 {
            let decision = decide(&plan(), state, &seen, now);
            state = decision.state;
            for Select { exchange, to, .. } in decision.actions {
                seen[exchange].selects = Some(to);
            }
        }
        assert!(state.is_end(), "{phase:?}");
        assert_eq!(state.phase, expected, "{phase:?}");
        let now_swapped = [
            seen[0].selects.as_deref() == Some("green"),
            seen[1].selects.as_deref() == Some("blue"),
        ];
        assert_eq!(now_swapped, swapped, "{phase:?}");
    }
}

proptest! {
    /// Whoever swaps dies before or after any write, is stopped, pods of either colour die and come back, the clock jumps.
    /// At the end both Services are swapped or none is, no Service that gets traffic has ever been taken from ready pods to
    /// none, and with pods that stay the swap succeeds.
    #[test]
    fn both_or_none(storm in prop::collection::vec(0_u8..10, 0..40), deaths in any::<bool>(), seed in any::<u64>()) {
        let mut luck = Luck::new(seed);
        let plan = plan();
        let mut now = time(0);
        let mut state = State::new(now);
        let mut colors = ["blue".to_owned(), "green".to_owned()];
        let (mut green, mut blue) = (3, 3);
        let mut followed = [String::from("blue"), String::from("green")];
        let mut stopped = false;
        for round in 0..1_000 {
            let misfortune = storm.get(round).copied().unwrap_or(7);
            let seen = |followed: &[String; 2]| {
                let mut all = seen(&colors[0], &colors[1], green, blue);
                for (seen, followed) in all.iter_mut().zip(followed) {
                    seen.is_followed &= seen.selects.as_deref() == Some(followed);
                }
                all
            };
            let observed = seen(&followed);
            let decision = decide(&plan, state, &observed, now);
            // Stored before anything is done; killed before it is done.
            state = decision.state;
            if misfortune != 0 {
                for select in decision.actions {
                    let at = select.exchange;
                    prop_assert_eq!(never_deserted(&plan.exchanges[at], &observed[at], &select), Ok(()));
                    if colors[at] == select.from {
                        colors[at] = select.to;
                    }
                }
            }
            match misfortune {
                1 if deaths => green = luck.below(4),
                2 => now += Duration::from_secs(u64::from(luck.below(40))),
                3 if deaths => blue = luck.below(4),
                4 if deaths => {
                    stopped = true;
                    state = stop(&plan, state, "told to", now);
                }
                _ => now += Duration::from_secs(u64::from(luck.below(4))),
            }
            if round >= storm.len() {
                (green, blue) = (3, 3);
            }
            if luck.below(3) == 0 {
                followed.clone_from(&colors);
            }
            if state.is_end() {
                break;
            }
        }
        let swapped = [colors[0] == "green", colors[1] == "blue"];
        match state.phase {
            Phase::Done => prop_assert_eq!(swapped, [true, true]),
            Phase::Undone(_) | Phase::Failed(_) | Phase::Refused(_) => {
                prop_assert_eq!(swapped, [false, false]);
                prop_assert!(deaths || stopped || storm.contains(&2));
            }
            Phase::Stranded(_) => prop_assert!(deaths && swapped[0]),
            other => prop_assert!(false, "no end: {other:?}"),
        }
    }
}
