use std::time::Duration;

use super::*;
use crate::client::wire::Unit;

/// The nodes of a rollout with a group, a step in it and a rollback step: statuses, and the step's units.
fn look(statuses: [&str; 4], units: &[(&str, &str)]) -> Vec<Node> {
    let names = [(0, "deploy"), (1, "rollout"), (2, "rolling"), (1, "undo")];
    let unit = |(name, status): &(&str, &str)| Unit {
        name: (*name).to_owned(),
        status: (*status).to_owned(),
        ..Unit::default()
    };
    let nodes = names.iter().zip(statuses).map(|((depth, name), status)| {
        let failed = status == "FAILED";
        Node {
            path: format!("pipeline.{name}"),
            depth: *depth,
            identifier: (*name).to_owned(),
            status: status.to_owned(),
            rollback: *name == "undo",
            message: failed.then(|| "no such image".to_owned()),
            units: if *name == "rolling" {
                units.iter().map(unit).collect()
            } else {
                Vec::new()
            },
            ..Node::default()
        }
    });
    nodes.collect()
}

fn line(unit: &str, seq: i64, text: &str) -> LogLine {
    LogLine {
        node: "pipeline.rolling".to_owned(),
        unit: unit.to_owned(),
        level: "info".to_owned(),
        seq,
        text: text.to_owned(),
    }
}

#[derive(Clone)]
enum Event {
    State(Vec<Node>),
    Log(LogLine),
}

const R: &str = "RUNNING";
const S: &str = "SUCCEEDED";
const F: &str = "FAILED";
const N: &str = "NOT_STARTED";

/// What a failed rollout shows, look by look.
fn looks() -> Vec<Event> {
    let looks = [
        look([R, N, N, N], &[]),
        look([R, R, "QUEUED", N], &[]),
        look([R, R, R, N], &[("Apply", "QUEUED")]),
        // Units are known when they begin.
        look([R, R, R, N], &[("Apply", R)]),
        look([R, R, R, N], &[("Apply", S), ("Wait", R)]),
        look([R, F, F, R], &[("Apply", S), ("Wait", F)]),
        // The stage is told as failed while its rollback still runs.
        look([F, F, F, R], &[("Apply", S), ("Wait", F)]),
        look([F, F, F, S], &[("Apply", S), ("Wait", F)]),
    ];
    looks.into_iter().map(Event::State).collect()
}

fn log() -> Vec<Event> {
    let lines = [
        line("Apply", 1, "web created"),
        line("Apply", 2, "db created"),
        line("Wait", 3, "web waits"),
        line("Wait", 4, "web failed"),
    ];
    lines.into_iter().map(Event::Log).collect()
}

fn tell(events: &[Event]) -> Vec<String> {
    let mut narrator = Narrator::new(Style::none());
    let mut told = Vec::new();
    for event in events {
        told.extend(match event.clone() {
            Event::State(nodes) => narrator.state(&nodes, Duration::ZERO),
            Event::Log(line) => narrator.log(line, Duration::ZERO),
        });
    }
    told.extend(narrator.rest());
    told
}

/// Both streams in every order that keeps each of them as it is.
fn interleaved(one: &[Event], other: &[Event]) -> Vec<Vec<Event>> {
    let mut all = Vec::new();
    for (from, rest) in [(one, other), (other, one)] {
        if let Some((first, more)) = from.split_first() {
            for mut tail in interleaved(more, rest) {
                tail.insert(0, first.clone());
                all.push(tail);
            }
        }
    }
    if all.is_empty() {
        all.push(Vec::new());
    }
    all
}

#[test]
fn the_order_is_the_same_whichever_stream_is_quicker() {
    let expected = "\
[deploy] running
[rollout] running
[rolling] queued
[rolling] running
[rolling] Apply: running
[rolling: Apply] web created
[rolling: Apply] db created
[rolling] Apply: succeeded
[rolling] Wait: running
[rolling: Wait] web waits
[rolling: Wait] web failed
[rolling] Wait: failed
[rolling] failed: no such image
[rollout] failed
[undo] running
[undo] succeeded
[deploy] failed";
    let expected = expected.replace("[rolling", "[rollout/rolling");
    let orders = interleaved(&looks(), &log());
    assert_eq!(orders.len(), 495);
    for events in orders {
        let shown: Vec<&str> = events
            .iter()
            .map(|event| match event {
                Event::State(_) => "state",
                Event::Log(line) => line.text.as_str(),
            })
            .collect();
        assert_eq!(tell(&events).join("\n"), expected, "{shown:?}");
    }
}

#[test]
fn what_looks_skip_is_told_in_the_same_order() {
    // A follower that comes late sees the end alone, then the whole log.
    let events: Vec<Event> = looks()
        .into_iter()
        .next_back()
        .into_iter()
        .chain(log())
        .collect();
    insta::assert_snapshot!(tell(&events).join("\n"), @r"
    [rollout/rolling: Apply] web created
    [rollout/rolling: Apply] db created
    [rollout/rolling] Apply: succeeded
    [rollout/rolling: Wait] web waits
    [rollout/rolling: Wait] web failed
    [rollout/rolling] Wait: failed
    [rollout/rolling] failed: no such image
    [rollout] failed
    [undo] succeeded
    [deploy] failed
    ");
}

#[test]
fn an_end_waits_for_the_log_and_no_longer() {
    let at = Duration::from_millis;
    let mut narrator = Narrator::new(Style::none());
    let running = look([R, R, R, N], &[("Apply", R)]);
    assert_eq!(narrator.state(&running, at(0)).len(), 4);
    assert_eq!(narrator.next(), None);
    // What is logged while the unit runs is told at once.
    assert_eq!(
        narrator.log(line("Apply", 1, "a"), at(10)),
        ["[rollout/rolling: Apply] a"]
    );
    let over = look([R, R, R, N], &[("Apply", S), ("Wait", R)]);
    assert_eq!(narrator.state(&over, at(100)), Vec::<String>::new());
    assert_eq!(narrator.next(), Some(at(600)));
    assert_eq!(
        narrator.log(line("Apply", 2, "b"), at(400)),
        ["[rollout/rolling: Apply] b"]
    );
    assert_eq!(narrator.next(), Some(at(900)), "more may be on its way");
    assert_eq!(narrator.due(at(899)), Vec::<String>::new());
    assert_eq!(
        narrator.due(at(900)),
        [
            "[rollout/rolling] Apply: succeeded",
            "[rollout/rolling] Wait: running"
        ]
    );
    // A line of a later unit says that the one before has said everything.
    let over = look([R, R, R, N], &[("Apply", S), ("Wait", S), ("Wrap Up", R)]);
    assert_eq!(narrator.state(&over, at(1000)), Vec::<String>::new());
    assert_eq!(
        narrator.log(line("Wrap Up", 3, "c"), at(1001)),
        [
            "[rollout/rolling] Wait: succeeded",
            "[rollout/rolling] Wrap Up: running",
            "[rollout/rolling: Wrap Up] c"
        ]
    );
    // What comes too late is told late, and not lost.
    assert_eq!(
        narrator.log(line("Apply", 4, "d"), at(2000)),
        ["[rollout/rolling: Apply] d"]
    );
}

#[test]
fn lines_of_nodes_that_are_not_known_yet_wait_for_their_names() {
    // After a restart of the server the log is often there before the first state.
    let mut narrator = Narrator::new(Style::none());
    let line = line("Apply", 1, "a");
    assert_eq!(
        narrator.log(line.clone(), Duration::ZERO),
        Vec::<String>::new()
    );
    let running = look([R, R, R, N], &[("Apply", R)]);
    let told = narrator.state(&running, Duration::ZERO);
    assert_eq!(told.last().unwrap(), "[rollout/rolling: Apply] a");
    // A state that never comes loses nothing.
    let mut narrator = Narrator::new(Style::none());
    narrator.log(line, Duration::ZERO);
    assert_eq!(narrator.rest(), ["[pipeline.rolling: Apply] a"]);
}

#[test]
fn a_line_of_a_unit_that_is_never_known_waits_for_a_while() {
    let mut narrator = Narrator::new(Style::none());
    narrator.state(&look([R, R, R, N], &[("Apply", R)]), Duration::ZERO);
    let held = narrator.log(line("Something", 1, "a"), Duration::from_secs(1));
    assert_eq!(held, Vec::<String>::new());
    assert_eq!(narrator.next(), Some(Duration::from_secs(3)));
    let told = narrator.due(Duration::from_secs(3));
    assert_eq!(told, ["[rollout/rolling: Something] a"]);
    assert_eq!(narrator.next(), None);
}

#[test]
fn what_waits_is_bounded() {
    let mut narrator = Narrator::new(Style::none());
    let mut told = 0;
    for seq in 0..30_000 {
        told += narrator.log(line("Apply", seq, "a"), Duration::ZERO).len();
    }
    assert_eq!(told, 25_000);
}

#[test]
fn what_a_queued_step_waits_for_is_told_when_it_is_known() {
    let mut narrator = Narrator::new(Style::none());
    let mut nodes = look([R, R, "QUEUED", N], &[]);
    narrator.state(&nodes, Duration::ZERO);
    nodes[2].message = Some("waiting: no delegate is connected".to_owned());
    let told = ["[rollout/rolling] queued: waiting: no delegate is connected"];
    assert_eq!(narrator.state(&nodes, Duration::ZERO), told);
    assert_eq!(narrator.state(&nodes, Duration::ZERO), Vec::<String>::new());
}
