use jiff::Timestamp;
use serde_json::json;
use sortie_cluster::record::{Release, Side, Status};
use sortie_strategy::swap::{Phase, State};

use super::*;
use crate::task::{Action, Owner, RequestedBy, SwapServices};

fn task(id: &str, execution: &str) -> Task {
    Task {
        id: id.into(),
        epoch: 1,
        release: crate::task::Release {
            namespace: "shop".into(),
            name: "web".into(),
            owner: Owner::default(),
        },
        requested_by: RequestedBy {
            execution: execution.into(),
            ..RequestedBy::default()
        },
        undo_changes: false,
        hooks: Vec::new(),
        timeout: std::time::Duration::from_secs(1),
        action: Action::SwapServices(SwapServices {
            settle: std::time::Duration::ZERO,
            patience: std::time::Duration::ZERO,
            back: false,
        }),
    }
}

/// A blue-green deployment: number, colour, role, execution.
fn head((number, color, role, execution): (u64, &str, &str, &str)) -> Head {
    let release = Release::new("shop", "web").unwrap();
    let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
    head.status = Status::Succeeded;
    head.asked_by.execution = execution.into();
    head.side = Side {
        track: None,
        color: Some(color.into()),
        role: Some(role.into()),
    };
    let services = json!({"services": [
        {"namespace": "shop", "primary": "web", "stage": "web-stage", "key": "sortie.dev/color"},
    ]});
    head.note_with("Prepare", "", "opened", services, Timestamp::UNIX_EPOCH);
    head
}

fn choice(heads: &[Head], task: &Task, back: bool, looked: Option<u64>) -> Result<Choice, Failure> {
    let heads: Vec<&Head> = heads.iter().collect();
    choose(&heads, task, back, looked)
}

/// Colours and numbers from and to, or why not.
fn said(choice: Result<Choice, Failure>) -> String {
    match choice {
        Ok(Choice::Swap(one) | Choice::Over(one)) => {
            let number = |number: Option<u64>| {
                number.map_or_else(|| "-".to_owned(), |number| number.to_string())
            };
            let (from, to) = (&one.from, &one.to);
            let back = if one.back { " back" } else { "" };
            format!(
                "{}{} {}{}{back}",
                from.color,
                number(from.number),
                to.color,
                number(to.number)
            )
        }
        Ok(Choice::Nothing(reason)) => reason,
        Err(failure) => failure.code,
    }
}

/// What a swap by the task leaves behind.
fn swapped(heads: &mut [Head], task: &Task, back: bool, phase: Phase) {
    let Choice::Swap(mut exchange) = choice(heads, task, back, None).unwrap() else {
        panic!("nothing to swap");
    };
    let is_done = phase == Phase::Done;
    exchange.state = State {
        phase,
        since: Timestamp::UNIX_EPOCH,
    };
    exchange.over = exchange.state.is_end();
    for head in heads {
        if is_done && Some(head.number) == exchange.to.number {
            head.side.role = Some(PRIMARY.into());
        }
        if is_done && Some(head.number) == exchange.from.number {
            head.side.role = Some(STAGE.into());
        }
        if Some(head.number) == exchange.carrier() {
            exchange.note(head);
        }
    }
}

#[test]
fn the_stage_of_the_same_execution_gets_the_traffic() {
    let first = (1, "blue", "stage", "e1");
    let both = [(1, "blue", "primary", "e1"), (2, "green", "stage", "e2")];
    for (heads, execution, expected) in [
        (
            vec![],
            "",
            "nothing stands in the stage of this release: nothing to swap",
        ),
        (vec![first], "", "green- blue1"),
        (vec![first], "e1", "green- blue1"),
        (
            vec![first],
            "e2",
            "this execution has deployed nothing to the stage: nothing to swap",
        ),
        (both.to_vec(), "", "blue1 green2"),
        (both.to_vec(), "e2", "blue1 green2"),
        (
            both.to_vec(),
            "e1",
            "what this execution has deployed has the traffic already: nothing to swap",
        ),
        // Its newest deployment counts in each colour, also when the mark of the one before is missing.
        (
            vec![
                (1, "blue", "stage", "e1"),
                (2, "green", "stage", "e2"),
                (3, "blue", "primary", "e3"),
            ],
            "",
            "blue3 green2",
        ),
        (
            vec![(1, "blue", "stage", ""), (2, "blue", "stage", "")],
            "",
            "green- blue2",
        ),
        // Swapped back and forth by hand.
        (
            vec![(1, "blue", "stage", ""), (2, "green", "primary", "")],
            "",
            "green2 blue1",
        ),
    ] {
        let records: Vec<Head> = heads.iter().copied().map(head).collect();
        let found = choice(&records, &task("t", execution), false, None);
        assert_eq!(said(found), expected, "{heads:?} {execution}");
    }
    let mut failed = [head(first)];
    failed[0].status = Status::Failed;
    let found = said(choice(&failed, &task("t", ""), false, None));
    assert!(found.starts_with("nothing stands"), "{found}");
    let mut nameless = [head(first)];
    nameless[0].journal.clear();
    assert_eq!(
        said(choice(&nameless, &task("t", ""), false, None)),
        "SRT-T060"
    );
}

#[test]
fn what_was_deployed_over_is_never_swapped_in() {
    for status in [Status::Failed, Status::InProgress, Status::Succeeded] {
        for before in [Status::Succeeded, Status::Superseded] {
            let mut heads = [
                head((1, "blue", "primary", "e1")),
                head((2, "green", "stage", "e2")),
                head((3, "green", "stage", "e3")),
            ];
            (heads[1].status, heads[2].status) = (before, status);
            let found = said(choice(&heads, &task("t", "e2"), false, None));
            assert_eq!(found, "SRT-T070", "{before:?} {status:?}");
            let found = said(choice(&heads, &task("t", ""), false, None));
            let stands = status == Status::Succeeded;
            assert_eq!(found == "blue1 green3", stands, "{found}");
            assert_eq!(found.starts_with("nothing stands"), !stands, "{found}");
        }
    }
}

#[test]
fn of_two_swaps_of_the_same_the_second_has_nothing_to_do() {
    let mut heads = [
        head((1, "blue", "primary", "")),
        head((2, "green", "stage", "")),
    ];
    swapped(&mut heads, &task("a", ""), false, Phase::Done);
    let found = said(choice(&heads, &task("b", ""), false, Some(2)));
    assert_eq!(found, "release number 2 has got the traffic meanwhile");
    // Who looks now means the other direction.
    assert_eq!(
        said(choice(&heads, &task("b", ""), false, Some(1))),
        "green2 blue1"
    );
}

#[test]
fn a_task_goes_on_with_its_own_swap_and_tells_its_end_again() {
    let heads = || {
        [
            head((1, "blue", "primary", "e1")),
            head((2, "green", "stage", "e2")),
        ]
    };
    let own = task("t", "e2");
    for (phase, over) in [
        (Phase::Swapping, false),
        (Phase::Undoing("x".into()), false),
        (Phase::Done, true),
        (Phase::Undone("x".into()), true),
    ] {
        let mut heads = heads();
        swapped(&mut heads, &own, false, phase.clone());
        let found = choice(&heads, &own, false, None).unwrap();
        let (is_over, exchange) = match &found {
            Choice::Over(exchange) => (true, exchange),
            Choice::Swap(exchange) => (false, exchange),
            Choice::Nothing(reason) => panic!("{reason}"),
        };
        assert_eq!((is_over, &exchange.state.phase), (over, &phase));
        let told = exchange.told(&own.release);
        match phase {
            Phase::Done => {
                let told = told.unwrap();
                assert_eq!(
                    (&told["primaryColor"], &told["stageColor"]),
                    (&json!("green"), &json!("blue"))
                );
                assert_eq!(
                    (&told["swapped"], &told["releaseNumber"]),
                    (&json!(true), &json!(2))
                );
                assert_eq!(
                    told["services"][1],
                    json!({"name": "web-stage", "colorBefore": "green", "colorAfter": "blue"})
                );
            }
            _ => assert_eq!(told.unwrap_err().code, "SRT-T065"),
        }
    }
}

#[test]
fn only_a_swap_of_the_same_execution_goes_back() {
    let heads = || {
        [
            head((1, "blue", "primary", "e1")),
            head((2, "green", "stage", "e2")),
        ]
    };
    let back =
        |heads: &[Head], execution: &str| said(choice(heads, &task("b", execution), true, None));
    let not_swapped = "this execution has not swapped: nothing to swap back";
    assert_eq!(back(&heads(), "e2"), not_swapped);
    let forward = task("a", "e2");
    for (phase, expected) in [
        (Phase::Done, "green2 blue1 back"),
        (
            Phase::Undone("x".into()),
            "the swap of this execution to green is not in force: nothing to swap back",
        ),
        (
            Phase::Failed("x".into()),
            "the swap of this execution to green is not in force: nothing to swap back",
        ),
    ] {
        let mut heads = heads();
        swapped(&mut heads, &forward, false, phase);
        assert_eq!(back(&heads, "e2"), expected);
        assert_eq!(back(&heads, "e1"), not_swapped);
    }
    // Once.
    let mut heads = heads();
    swapped(&mut heads, &forward, false, Phase::Done);
    swapped(&mut heads, &task("b", "e2"), true, Phase::Done);
    assert_eq!(heads[0].side.role.as_deref(), Some(PRIMARY));
    let again = said(choice(&heads, &task("c", "e2"), true, None));
    assert_eq!(
        again,
        "the swap of this execution to blue is not in force: nothing to swap back"
    );
}

#[test]
fn nothing_goes_back_to_what_has_changed_since() {
    let mut heads = vec![
        head((1, "blue", "primary", "e1")),
        head((2, "green", "stage", "e2")),
    ];
    swapped(&mut heads, &task("a", "e2"), false, Phase::Done);
    let back = |heads: &[Head]| said(choice(heads, &task("b", "e2"), true, None));
    // Another execution has deployed to the former colour, whether it went well or not.
    for status in [Status::Succeeded, Status::Failed] {
        let mut later = heads.clone();
        later.push(head((3, "blue", "stage", "e3")));
        later[2].status = status;
        assert_eq!(back(&later), "SRT-T069");
    }
    // Another execution has swapped.
    let mut later = heads.clone();
    later[0].side.role = Some(PRIMARY.into());
    later[1].side.role = Some(STAGE.into());
    assert_eq!(back(&later), "SRT-T069");
    // Before the first one there was nothing.
    let mut first = [head((1, "blue", "stage", "e2"))];
    swapped(&mut first, &task("a", "e2"), false, Phase::Done);
    assert_eq!(back(&first), "blue1 green- back");
}
