//! Progress as lines, for logs of CI systems and for pipes: one line per change of state.

use std::collections::HashMap;

use super::{Labels, State};
use crate::client::wire::{LogLine, Node};
use crate::duration;
use crate::style::{Style, Tone, harmless};

/// Tells one look at an execution from the next.
#[derive(Debug, Default)]
pub struct Changes {
    nodes: HashMap<String, String>,
    units: HashMap<(String, usize), String>,
}

/// A change of state, told as a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Path of the node.
    pub(super) node: String,
    /// Place of the unit among those of its step.
    pub(super) unit: Option<usize>,
    /// Whether it is over: nothing more is to be told of it.
    pub(super) end: bool,
    /// The line.
    pub(super) text: String,
}

/// The end of a node, until everything below it has been told.
struct End {
    depth: usize,
    change: Change,
    /// Something below it is still under way.
    early: bool,
}

impl Changes {
    /// A line for each node and unit whose status is new.
    pub fn since_last(&mut self, nodes: &[Node], labels: &Labels, style: Style) -> Vec<String> {
        let changes = self.changes(nodes, labels, style);
        changes.into_iter().map(|change| change.text).collect()
    }

    /// What is new, in the order in which it is told: the begin of a parent before that of its children, its end after
    /// theirs. An end that comes before that of a child is kept back for the next look.
    pub(super) fn changes(&mut self, nodes: &[Node], labels: &Labels, style: Style) -> Vec<Change> {
        let mut told = Vec::new();
        let mut ends: Vec<End> = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            self.close(&mut ends, node.depth, &mut told);
            let prefix = prefix(labels.label(&node.path), style);
            let state = State::of(&node.status);
            let over = state.is_bad() || state.is_good();
            if matches!(state, State::Queued | State::Running | State::Stopping) {
                ends.iter_mut().for_each(|end| end.early = true);
            }
            let key = match (&node.message, state) {
                (Some(message), State::Queued) => format!("{}: {message}", node.status),
                _ => node.status.clone(),
            };
            let is_new = self.nodes.get(&node.path) != Some(&key);
            self.nodes.insert(node.path.clone(), key);
            let line = || Change {
                node: node.path.clone(),
                unit: None,
                end: over,
                text: format!("{prefix}{}", node_line(nodes, place, state, style)),
            };
            if is_new && !over && state != State::Waiting {
                told.push(line());
            }
            self.units(node, &prefix, style, &mut told);
            if is_new && over {
                ends.push(End {
                    depth: node.depth,
                    change: line(),
                    early: false,
                });
            }
        }
        self.close(&mut ends, 0, &mut told);
        told
    }

    /// Tells the ends of nodes that are as deep as this or deeper.
    fn close(&mut self, ends: &mut Vec<End>, depth: usize, told: &mut Vec<Change>) {
        while let Some(end) = ends.pop_if(|end| end.depth >= depth) {
            if end.early {
                self.nodes.remove(&end.change.node);
            } else {
                told.push(end.change);
            }
        }
    }

    fn units(&mut self, node: &Node, prefix: &str, style: Style, told: &mut Vec<Change>) {
        for (place, unit) in node.units.iter().enumerate() {
            let key = (node.path.clone(), place);
            let seen = self.units.insert(key, unit.status.clone());
            let state = State::of(&unit.status);
            if seen.as_deref() == Some(unit.status.as_str())
                || matches!(state, State::Waiting | State::Queued)
            {
                continue;
            }
            let word = style.paint(state.tone(), state.word());
            let mut text = format!("{prefix}{}: {word}", harmless(&unit.name));
            if let (Some(started), Some(ended)) = (unit.started_at, unit.ended_at) {
                let took = duration::show(ended.duration_since(started));
                text.push_str(&format!(" ({took})"));
            }
            if !unit.message.is_empty() {
                text.push_str(&format!(": {}", harmless(&unit.message)));
            }
            told.push(Change {
                node: node.path.clone(),
                unit: Some(place),
                end: state.is_bad() || state.is_good(),
                text,
            });
        }
    }
}

/// Why a node ended as it did; `None` for a parent that only repeats what one below it says.
pub(super) fn own_message(nodes: &[Node], place: usize) -> Option<&str> {
    let node = nodes.get(place)?;
    let message = node.message.as_deref()?;
    let mut below = nodes
        .iter()
        .skip(place + 1)
        .take_while(|next| next.depth > node.depth);
    let repeats = below.any(|next| next.message.as_deref() == Some(message));
    (!repeats).then_some(message)
}

fn node_line(nodes: &[Node], place: usize, state: State, style: Style) -> String {
    let Some(node) = nodes.get(place) else {
        return String::new();
    };
    let mut line = style.paint(state.tone(), state.word());
    if let (State::Running, Some(delegate)) = (state, &node.delegate) {
        line.push_str(&format!(" on {}", harmless(delegate)));
    }
    if let (Some(started), Some(ended)) = (node.started_at, node.ended_at)
        && state != State::Skipped
    {
        line.push_str(&format!(
            " after {}",
            duration::show(ended.duration_since(started))
        ));
    }
    if let Some(message) = own_message(nodes, place) {
        line.push_str(&format!(": {}", harmless(message)));
    }
    line
}

/// Shows log lines, and where some were lost.
#[derive(Debug, Default)]
pub struct LogLines {
    seen: HashMap<String, i64>,
}

impl LogLines {
    /// The lines to print for one line of the log.
    pub fn show(&mut self, line: &LogLine, labels: &Labels, style: Style) -> Vec<String> {
        let LogLine {
            node,
            unit,
            level,
            seq,
            text,
        } = line;
        let label = labels.label(node);
        let place = if unit.is_empty() {
            label.to_owned()
        } else {
            format!("{label}: {unit}")
        };
        let prefix = prefix(&place, style);
        let mut lines = Vec::new();
        let before = self.seen.insert(node.clone(), *seq);
        if let Some(lost) = before
            .map(|before| seq - before - 1)
            .filter(|lost| *lost > 0)
        {
            lines.push(format!(
                "{prefix}{}",
                style.paint(Tone::Warning, &lost_lines(lost))
            ));
        }
        lines.push(format!("{prefix}{}", logged(level, text, style)));
        lines
    }
}

/// The text of a line of the log, marked by how much it matters: colour is not everywhere.
#[must_use]
pub fn logged(level: &str, text: &str, style: Style) -> String {
    let (tone, mark) = match level {
        "error" => (Tone::Bad, ""),
        "warn" => (Tone::Warning, "warning: "),
        "debug" => (Tone::Faint, ""),
        _ => (Tone::Plain, ""),
    };
    style.paint(tone, &format!("{mark}{}", harmless(text)))
}

fn lost_lines(lost: i64) -> String {
    if lost == 1 {
        "(1 line was lost)".to_owned()
    } else {
        format!("({lost} lines were lost)")
    }
}

fn prefix(label: &str, style: Style) -> String {
    format!(
        "{} ",
        style.paint(Tone::Faint, &format!("[{}]", harmless(label)))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::wire::Unit;

    fn node(status: &str, units: &[(&str, &str)]) -> Node {
        let unit = |(name, status): &(&str, &str)| Unit {
            name: (*name).to_owned(),
            status: (*status).to_owned(),
            ..Unit::default()
        };
        Node {
            path: "p".to_owned(),
            identifier: "rolling".to_owned(),
            status: status.to_owned(),
            delegate: Some("demo".to_owned()),
            units: units.iter().map(unit).collect(),
            ..Node::default()
        }
    }

    #[test]
    fn each_change_is_one_line_and_nothing_is_said_twice() {
        let mut changes = Changes::default();
        let failed = Node {
            message: Some("image not found\u{1b}[2J".to_owned()),
            ..node("FAILED", &[("Apply", "FAILED"), ("Wrap Up", "NOT_STARTED")])
        };
        let looks = [
            node("NOT_STARTED", &[]),
            node("QUEUED", &[]),
            node("RUNNING", &[("Apply", "QUEUED")]),
            node("RUNNING", &[("Apply", "RUNNING")]),
            node("RUNNING", &[("Apply", "RUNNING")]),
            failed,
        ];
        let mut lines = Vec::new();
        for look in looks {
            let nodes = [look];
            lines.extend(changes.since_last(&nodes, &Labels::of(&nodes), Style::none()));
        }
        insta::assert_snapshot!(lines.join("\n"), @"
        [rolling] queued
        [rolling] running on demo
        [rolling] Apply: running
        [rolling] Apply: failed
        [rolling] failed: image not found�[2J
        ");
    }

    #[test]
    fn a_warning_is_marked_with_and_without_colour() {
        assert_eq!(
            logged("warn", "x is kept", Style::none()),
            "warning: x is kept"
        );
        assert_eq!(
            logged("warn", "x is kept", Style::new(true, false)),
            "\u{1b}[33mwarning: x is kept\u{1b}[0m"
        );
        assert_eq!(logged("info", "x", Style::new(true, false)), "x");
    }

    #[test]
    fn lost_lines_are_shown() {
        let line = |seq, text: &str| LogLine {
            node: "p".to_owned(),
            unit: "Apply".to_owned(),
            level: "info".to_owned(),
            seq,
            text: text.to_owned(),
        };
        let mut log = LogLines::default();
        let labels = Labels::default();
        let shown: Vec<String> = [
            line(1, "a"),
            line(2, "b"),
            line(5, "c"),
            line(1, "new holder"),
            line(3, "d"),
        ]
        .iter()
        .flat_map(|line| log.show(line, &labels, Style::none()))
        .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        [p: Apply] a
        [p: Apply] b
        [p: Apply] (2 lines were lost)
        [p: Apply] c
        [p: Apply] new holder
        [p: Apply] (1 line was lost)
        [p: Apply] d
        ");
    }
}
