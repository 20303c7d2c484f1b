use proptest::prelude::*;

use super::*;
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
            Phase::Failed(text("web selects red, neither blue nor green")),
            None,
            None,
        ),
        (
            "no colour",
            Phase::Waiting,
            seen("blue", "", 3, 3),
            Phase::Failed(text("web-stage selects no colour")),
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

proptest! {
    /// Whoever swaps dies before or after any write, pods die and come back, the clock jumps. At the end both Services are
    /// swapped or none is, no Service that gets traffic is left with a colour without pods while the other has some, and with
    /// pods that stay the swap succeeds.
    #[test]
    fn both_or_none(storm in prop::collection::vec(0_u8..8, 0..40), deaths in any::<bool>(), seed in any::<u64>()) {
        let mut luck = Luck::new(seed);
        let plan = plan();
        let mut now = time(0);
        let mut state = State::new(now);
        let mut colors = ["blue".to_owned(), "green".to_owned()];
        let (mut green, blue) = (3, 3);
        let mut followed = [String::from("blue"), String::from("green")];
        for round in 0..1_000 {
            let misfortune = storm.get(round).copied().unwrap_or(7);
            let seen = |followed: &[String; 2]| {
                let mut all = seen(&colors[0], &colors[1], green, blue);
                for (seen, followed) in all.iter_mut().zip(followed) {
                    seen.is_followed &= seen.selects.as_deref() == Some(followed);
                }
                all
            };
            let decision = decide(&plan, state, &seen(&followed), now);
            // Stored before anything is done; killed before it is done.
            state = decision.state;
            if misfortune != 0 {
                for Select { exchange, from, to } in decision.actions {
                    if colors[exchange] == from {
                        colors[exchange] = to;
                    }
                }
            }
            match misfortune {
                1 if deaths => green = luck.below(4),
                2 => now += Duration::from_secs(u64::from(luck.below(40))),
                _ => now += Duration::from_secs(u64::from(luck.below(4))),
            }
            if round >= storm.len() {
                green = 3;
            }
            if luck.below(3) == 0 {
                followed.clone_from(&colors);
            }
            if matches!(state.phase, Phase::Done | Phase::Undone(_) | Phase::Failed(_)) {
                break;
            }
        }
        let swapped = [colors[0] == "green", colors[1] == "blue"];
        match state.phase {
            Phase::Done => prop_assert_eq!(swapped, [true, true]),
            Phase::Undone(_) | Phase::Failed(_) => {
                prop_assert_eq!(swapped, [false, false]);
            }
            other => prop_assert!(false, "no end: {other:?}"),
        }
    }
}
