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

impl Changes {
    /// A line for each node and unit whose status is new.
    pub fn since_last(&mut self, nodes: &[Node], labels: &Labels, style: Style) -> Vec<String> {
        let mut lines = Vec::new();
        for node in nodes {
            let prefix = prefix(labels.label(&node.path), style);
            let seen = self.nodes.insert(node.path.clone(), node.status.clone());
            let state = State::of(&node.status);
            let is_new = seen.as_deref() != Some(node.status.as_str());
            // The end of a step is told after its units.
            if is_new && !state.is_bad() && !state.is_good() && state != State::Waiting {
                lines.push(format!("{prefix}{}", node_line(node, state, style)));
            }
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
                let mut line = format!("{prefix}{}: {word}", harmless(&unit.name));
                if let (Some(started), Some(ended)) = (unit.started_at, unit.ended_at) {
                    line.push_str(&format!(
                        " ({})",
                        duration::show(ended.duration_since(started))
                    ));
                }
                if !unit.message.is_empty() {
                    line.push_str(&format!(": {}", harmless(&unit.message)));
                }
                lines.push(line);
            }
            if is_new && (state.is_bad() || state.is_good()) {
                lines.push(format!("{prefix}{}", node_line(node, state, style)));
            }
        }
        lines
    }
}

fn node_line(node: &Node, state: State, style: Style) -> String {
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
    if let Some(message) = &node.message {
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
        let tone = match level.as_str() {
            "error" => Tone::Bad,
            "warn" => Tone::Warning,
            "debug" => Tone::Faint,
            _ => Tone::Plain,
        };
        lines.push(format!("{prefix}{}", style.paint(tone, &harmless(text))));
        lines
    }
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
