//! Progress as a tree: what is under way in detail, what is over in one line.

use jiff::Timestamp;

use super::State;
use super::lines::own_message;
use super::status::tone_of_health;
use crate::client::wire::{Node, Resource, Unit};
use crate::duration;
use crate::print::cut;
use crate::style::{Style, Tone, harmless};
use unicode_width::UnicodeWidthStr as _;

/// Resources that a running step shows one by one.
const MOST_RESOURCES: usize = 12;

/// Columns that the names of resources take at most before what follows is moved to the right.
const WIDEST_NAME: usize = 44;

/// Columns of a duration.
const AGE: usize = 9;

/// What can have been done to a resource, in the order in which it is counted.
const CHANGES: [&str; 4] = ["created", "configured", "deleted", "unchanged"];

/// Columns of a resource's name below which the row of a narrow terminal does not say what was done to it.
const NARROWEST_NAME: usize = 10;

/// One line of the tree: pieces with their tones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pieces: Vec<(Tone, String)>,
    /// In the row of a resource, which piece is its name; a gap and its health follow.
    name: Option<usize>,
}

impl Line {
    /// A line of plain text.
    pub(super) fn of(text: &str) -> Self {
        Self::default().push(Tone::Plain, text)
    }

    fn indented(depth: usize) -> Self {
        Self::default().push(Tone::Plain, &"  ".repeat(depth))
    }

    fn push(mut self, tone: Tone, text: &str) -> Self {
        self.pieces.push((tone, harmless(text)));
        self
    }

    /// The next piece is a resource's name.
    fn named(self) -> Self {
        Self {
            name: Some(self.pieces.len()),
            ..self
        }
    }

    /// A piece that is as wide as its column, and a gap.
    fn cell(self, tone: Tone, text: &str, width: usize) -> Self {
        let gap = width.saturating_sub(text.width()) + 2;
        self.push(tone, text).push(Tone::Plain, &" ".repeat(gap))
    }

    /// The line, cut to `width` columns.
    #[must_use]
    pub fn fit(&self, width: usize, style: Style) -> String {
        match self.squeezed(width) {
            Some(squeezed) => squeezed.cut_to(width, style),
            None => self.cut_to(width, style),
        }
    }

    /// The row of a resource whose health would be cut off: without what follows that, and with as much of the name as
    /// there is room for.
    fn squeezed(&self, width: usize) -> Option<Self> {
        let at = self.name?;
        let (before, rest) = self.pieces.split_at_checked(at)?;
        let [(tone, name), (_, gap), health, after @ ..] = rest else {
            return None;
        };
        let wide = |pieces: &[(Tone, String)]| -> usize {
            pieces.iter().map(|(_, text)| text.width()).sum()
        };
        let row = wide(before) + name.width() + gap.width() + health.1.width();
        let end = if wide(after) > 0 { row + 1 } else { row };
        if end <= width {
            return None;
        }
        let room =
            |before: &[(Tone, String)]| width.saturating_sub(wide(before) + health.1.width());
        let indent = before.get(..1)?;
        let before = if room(before) > NARROWEST_NAME {
            before
        } else {
            indent
        };
        let room = room(before);
        let name = shortened(name, room.saturating_sub(1));
        let gap = " ".repeat(room.saturating_sub(name.width()));
        let mut pieces = before.to_vec();
        pieces.extend([(*tone, name), (Tone::Plain, gap), health.clone()]);
        Some(Self { pieces, name: None })
    }

    fn cut_to(&self, width: usize, style: Style) -> String {
        let whole: usize = self.pieces.iter().map(|(_, text)| text.width()).sum();
        let mut left = if whole <= width {
            whole
        } else {
            width.saturating_sub(1)
        };
        let mut shown = String::new();
        for (tone, text) in &self.pieces {
            let (piece, rest) = cut(text, left);
            left -= piece.width();
            shown.push_str(&style.paint(*tone, piece));
            if !rest.is_empty() {
                break;
            }
        }
        if whole > width {
            shown.push('…');
        }
        shown
    }
}

/// A name in at most `width` columns; of a longer one more of the end is left than of the beginning.
fn shortened(name: &str, width: usize) -> String {
    if name.width() <= width {
        return name.to_owned();
    }
    let head = width / 3;
    let tail = width.saturating_sub(head + 1);
    let skipped = name.width() - tail;
    // A wide character in the middle of the cut goes.
    let (left, right) = cut(name, skipped);
    let right = if left.width() < skipped {
        right
            .chars()
            .next()
            .map_or(right, |c| &right[c.len_utf8()..])
    } else {
        right
    };
    format!("{}…{right}", cut(name, head).0)
}

/// The tree of an execution at a moment.
#[must_use]
pub fn tree(nodes: &[Node], now: Timestamp) -> Vec<Line> {
    let mut lines = Vec::new();
    // Below a node that is over and did no harm nothing is shown.
    let mut collapsed_at: Option<usize> = None;
    for (place, node) in nodes.iter().enumerate() {
        if collapsed_at.is_some_and(|depth| node.depth > depth) {
            continue;
        }
        collapsed_at = None;
        let state = State::of(&node.status);
        if node.rollback && matches!(state, State::Waiting | State::Skipped) {
            continue;
        }
        if state.is_good() {
            collapsed_at = Some(node.depth);
        }
        lines.push(node_line(node, own_message(nodes, place), state, now));
        if matches!(state, State::Running | State::Stopping) {
            details(node, now, &mut lines);
        }
    }
    lines
}

fn node_line(node: &Node, message: Option<&str>, state: State, now: Timestamp) -> Line {
    let name = if node.name.is_empty() {
        &node.identifier
    } else {
        &node.name
    };
    let tone = if matches!(state, State::Waiting | State::Skipped) {
        Tone::Faint
    } else {
        Tone::Strong
    };
    let mut line = Line::indented(node.depth)
        .push(state.tone(), state.mark())
        .push(Tone::Plain, " ")
        .push(tone, name);
    match state {
        State::Queued => line = line.push(Tone::Warning, "  waiting for a delegate"),
        State::Stopping => line = line.push(Tone::Warning, "  stopping"),
        State::Skipped => line = line.push(Tone::Faint, "  skipped"),
        _ => {}
    }
    if let (State::Running, Some(delegate)) = (state, &node.delegate) {
        line = line.push(Tone::Faint, &format!("  on {delegate}"));
    }
    if state != State::Skipped {
        line = with_time(line, node.started_at, node.ended_at, now);
    }
    match message {
        Some(message) if state.is_bad() => line.push(Tone::Bad, &format!("  {message}")),
        Some(message) if state == State::Ignored => {
            line.push(Tone::Warning, &format!("  {message}"))
        }
        _ => line,
    }
}

/// Units and resources of a running step.
fn details(node: &Node, now: Timestamp, lines: &mut Vec<Line>) {
    let depth = node.depth + 1;
    let over: Vec<&str> = node
        .units
        .iter()
        .filter(|unit| State::of(&unit.status).is_good())
        .map(|unit| unit.name.as_str())
        .collect();
    if !over.is_empty() {
        let line = Line::indented(depth).push(Tone::Good, "✓ ");
        lines.push(line.push(Tone::Faint, &over.join(", ")));
    }
    for unit in &node.units {
        let state = State::of(&unit.status);
        if state == State::Running || state.is_bad() {
            lines.push(unit_line(unit, state, depth, now));
        }
    }
    resources(&node.resources, depth + 1, now, lines);
}

fn unit_line(unit: &Unit, state: State, depth: usize, now: Timestamp) -> Line {
    let line = Line::indented(depth)
        .push(state.tone(), state.mark())
        .push(Tone::Plain, " ")
        .push(Tone::Plain, &unit.name);
    let line = with_time(line, unit.started_at, unit.ended_at, now);
    if unit.message.is_empty() {
        line
    } else {
        line.push(Tone::Faint, &format!("  {}", unit.message))
    }
}

/// What is not done one by one, what is in trouble first; the rest as a number.
fn resources(resources: &[Resource], depth: usize, now: Timestamp, lines: &mut Vec<Line>) {
    let (done, mut open): (Vec<_>, Vec<_>) =
        resources.iter().partition(|resource| is_done(resource));
    open.sort_by_key(|resource| tone_of_health(&resource.health) != Tone::Bad);
    let shown = &open[..open.len().min(MOST_RESOURCES)];
    let name = |resource: &Resource| format!("{}/{}", resource.kind, resource.name);
    let widest = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or_default();
    let columns = [
        widest(&mut shown.iter().map(|one| one.change.width())),
        widest(&mut shown.iter().map(|one| name(one).width())).min(WIDEST_NAME),
        widest(&mut shown.iter().map(|one| one.health.width())),
    ];
    for resource in shown {
        let mut line = Line::indented(depth);
        if columns[0] > 0 {
            line = line.cell(Tone::Faint, &resource.change, columns[0]);
        }
        line = line.named().cell(Tone::Plain, &name(resource), columns[1]);
        line = line.cell(
            tone_of_health(&resource.health),
            &resource.health,
            columns[2],
        );
        if let Some(since) = resource.since {
            let age = duration::show(now.duration_since(since));
            line = line.cell(Tone::Faint, &age, AGE);
        }
        lines.push(line.push(Tone::Faint, &resource.message));
    }
    let more = open.len() - shown.len();
    if more > 0 {
        lines.push(Line::indented(depth).push(Tone::Faint, &format!("and {more} more")));
    }
    if !done.is_empty() {
        let text = format!("{} of {} done", done.len(), resources.len());
        let line = Line::indented(depth).push(Tone::Good, &text);
        lines.push(line.push(Tone::Faint, &by_change(&done)));
    }
}

/// Whether nothing more is waited for.
fn is_done(resource: &Resource) -> bool {
    match resource.health.as_str() {
        "Healthy" | "Suspended" => true,
        "Missing" => resource.change == "deleted",
        _ => false,
    }
}

/// `: 2 created, 1 unchanged`.
fn by_change(resources: &[&Resource]) -> String {
    let counted = CHANGES.iter().filter_map(|change| {
        let count = resources.iter().filter(|one| one.change == *change).count();
        (count > 0).then(|| format!("{count} {change}"))
    });
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() {
        String::new()
    } else {
        format!(": {}", counted.join(", "))
    }
}

fn with_time(
    line: Line,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    now: Timestamp,
) -> Line {
    let Some(started) = started else { return line };
    let elapsed = ended.unwrap_or(now).duration_since(started);
    line.push(Tone::Faint, &format!("  {}", duration::show(elapsed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node(depth: usize, name: &str, status: &str) -> Node {
        Node {
            depth,
            name: name.to_owned(),
            status: status.to_owned(),
            started_at: (status != "NOT_STARTED").then(|| at(0)),
            ..Node::default()
        }
    }

    fn unit(name: &str, status: &str) -> Unit {
        Unit {
            name: name.to_owned(),
            status: status.to_owned(),
            ..Unit::default()
        }
    }

    fn resource(name: &str, health: &str, message: &str) -> Resource {
        Resource {
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
            health: health.to_owned(),
            message: message.to_owned(),
            ..Resource::default()
        }
    }

    fn shown(nodes: &[Node]) -> String {
        let lines = tree(nodes, at(42));
        lines
            .iter()
            .map(|line| line.fit(70, Style::none()))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn what_is_under_way_is_shown_in_detail() {
        let running = Node {
            delegate: Some("demo".to_owned()),
            units: vec![
                unit("Fetch Files", "SUCCEEDED"),
                unit("Apply", "SUCCEEDED"),
                Unit {
                    started_at: Some(at(40)),
                    ..unit("Wait for Steady State", "RUNNING")
                },
                unit("Wrap Up", "QUEUED"),
            ],
            resources: vec![
                resource(
                    "web",
                    "Progressing",
                    "1 of 3 pods are ready and this is a long story about them",
                ),
                resource("db", "Healthy", ""),
            ],
            ..node(2, "rolling", "RUNNING")
        };
        let nodes = [
            node(0, "build", "SUCCEEDED"),
            node(1, "hidden", "SUCCEEDED"),
            node(0, "deploy", "RUNNING"),
            node(1, "group", "RUNNING"),
            running,
            node(1, "after", "NOT_STARTED"),
            Node {
                rollback: true,
                ..node(1, "undo", "NOT_STARTED")
            },
        ];
        insta::assert_snapshot!(shown(&nodes), @r"
        ✓ build  42 s
        ▸ deploy  42 s
          ▸ group  42 s
            ▸ rolling  on demo  42 s
              ✓ Fetch Files, Apply
              ▸ Wait for Steady State  2.0 s
                Deployment/web  Progressing  1 of 3 pods are ready and this i…
                1 of 2 done
          · after
        ");
    }

    #[test]
    fn failures_keep_their_reason_and_rollback_steps_appear() {
        let failed = Node {
            ended_at: Some(at(12)),
            message: Some("no such image".to_owned()),
            ..node(1, "rolling", "FAILED")
        };
        let nodes = [
            node(0, "deploy", "RUNNING"),
            failed,
            node(1, "after", "SKIPPED"),
            Node {
                rollback: true,
                ..node(1, "undo", "QUEUED")
            },
        ];
        insta::assert_snapshot!(shown(&nodes), @r"
        ▸ deploy  42 s
          ✗ rolling  12 s  no such image
          - after  skipped
          … undo  waiting for a delegate  42 s
        ");
    }

    #[test]
    fn what_runs_here_is_a_table_with_trouble_first_and_what_is_done_counted() {
        let known = |name: &str, change: &str, health: &str, second| Resource {
            change: change.to_owned(),
            since: Some(at(second)),
            ..resource(name, health, "why")
        };
        let nodes = [Node {
            resources: vec![
                known("web", "configured", "Progressing", 40),
                known("db", "created", "Degraded", 2),
                known("old", "deleted", "Missing", 0),
                known("gone", "created", "Missing", 1),
                known("idle", "unchanged", "Suspended", 1),
                known("api", "created", "Healthy", 1),
            ],
            ..node(0, "rolling", "RUNNING")
        }];
        insta::assert_snapshot!(shown(&nodes), @r"
        ▸ rolling  42 s
            created     Deployment/db    Degraded     40 s       why
            created     Deployment/gone  Missing      41 s       why
            configured  Deployment/web   Progressing  2.0 s      why
            3 of 6 done: 1 created, 1 deleted, 1 unchanged
        ");
    }

    #[test]
    fn a_narrow_terminal_shows_health_and_a_piece_of_the_name() {
        let known = |name: &str, change: &str, health: &str| Resource {
            change: change.to_owned(),
            since: Some(at(2)),
            ..resource(name, health, "why")
        };
        let nodes = [Node {
            resources: vec![
                known("checkout-service", "configured", "Progressing"),
                known("日本語の名前", "created", "Degraded"),
                known("web", "created", "Unknown"),
            ],
            ..node(0, "rolling", "RUNNING")
        }];
        let lines = tree(&nodes, at(42));
        for width in 1..120 {
            for line in &lines {
                let line = line.fit(width, Style::none());
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        for width in 24..120 {
            let shown: Vec<String> = lines[1..4]
                .iter()
                .map(|line| line.fit(width, Style::none()))
                .collect();
            for (line, (health, name)) in shown.iter().zip([
                ("Degraded", "前"),
                ("Progressing", "ice"),
                ("Unknown", "web"),
            ]) {
                assert!(
                    line.contains(health) && line.contains(name),
                    "{width}: {line}"
                );
            }
        }
        let shown: Vec<String> = lines
            .iter()
            .map(|line| line.fit(29, Style::none()))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        ▸ rolling  42 s
            Deplo…本語の名前 Degraded
            Depl…-service Progressing
            Deployment/web    Unknown
        ");
    }

    #[test]
    fn many_resources_do_not_flood_the_screen() {
        let resources = (0..30)
            .map(|n| resource(&n.to_string(), "Progressing", ""))
            .collect();
        let nodes = [Node {
            resources,
            ..node(0, "rolling", "RUNNING")
        }];
        let text = shown(&nodes);
        assert_eq!(text.lines().count(), 1 + MOST_RESOURCES + 1, "{text}");
        assert!(text.ends_with("and 18 more"), "{text}");
    }

    #[test]
    fn a_line_is_cut_where_the_screen_ends() {
        let line = Line::default()
            .push(Tone::Plain, "abc")
            .push(Tone::Bad, "def");
        assert_eq!(line.fit(6, Style::none()), "abcdef");
        assert_eq!(line.fit(5, Style::none()), "abcd…");
        assert_eq!(line.fit(1, Style::none()), "…");
        let wide = Line::default()
            .push(Tone::Plain, "日本")
            .push(Tone::Plain, "語x");
        assert_eq!(wide.fit(7, Style::none()), "日本語x");
        assert_eq!(wide.fit(6, Style::none()), "日本…");
        let style = Style::new(true, false);
        assert_eq!(line.fit(5, style), "abc\u{1b}[31md\u{1b}[0m…");
    }
}
