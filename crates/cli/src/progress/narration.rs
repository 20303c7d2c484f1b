//! An execution told as lines. Changes of state and lines of the log come on two streams, and neither waits for the
//! other; what is told has one order all the same: what a step logs stands between its begin and its end.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::lines::Change;
use super::{Changes, Labels, LogLines, State};
use crate::client::wire::{LogLine, Node};
use crate::style::Style;

/// How long the end of a unit or a step waits for lines of its log that are still on their way.
const TRAILING: Duration = Duration::from_millis(500);

/// How long a line of the log waits until its unit is said to have begun.
const LEADING: Duration = Duration::from_secs(2);

/// Most lines that wait; beyond that the oldest are told in the order in which they came.
const MOST: usize = 5_000;

/// Takes what both streams say, with the time since the beginning, and gives the lines to print now.
#[derive(Debug, Default)]
pub struct Narrator {
    style: Style,
    changes: Changes,
    log: LogLines,
    labels: Labels,
    nodes: HashMap<String, Known>,
    /// What is to be told, in its order.
    queue: VecDeque<Waiting>,
    /// Lines of the log whose unit has not begun, as far as is known, each with the time of its coming.
    early: VecDeque<(LogLine, Duration)>,
}

/// What is known of a node.
#[derive(Debug)]
struct Known {
    state: State,
    units: Vec<(String, State)>,
}

#[derive(Debug)]
struct Waiting {
    node: String,
    unit: Option<usize>,
    /// The end of the unit or the node, before which what it logged is told.
    end: bool,
    due: Duration,
    text: String,
}

impl Narrator {
    /// Tells in this style.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self {
            style,
            ..Self::default()
        }
    }

    /// The execution stands like this.
    pub fn state(&mut self, nodes: &[Node], now: Duration) -> Vec<String> {
        self.labels = Labels::of(nodes);
        self.nodes = nodes.iter().map(known).collect();
        for change in self.changes.changes(nodes, &self.labels, self.style) {
            let Change {
                node,
                unit,
                end,
                text,
            } = change;
            let due = if end { now + TRAILING } else { now };
            self.queue.push_back(Waiting {
                node,
                unit,
                end,
                due,
                text,
            });
        }
        for (line, since) in std::mem::take(&mut self.early) {
            self.log_line(line, since, now);
        }
        self.due(now)
    }

    /// A line was logged.
    pub fn log(&mut self, line: LogLine, now: Duration) -> Vec<String> {
        self.log_line(line, now, now);
        self.due(now)
    }

    /// What has waited long enough.
    pub fn due(&mut self, now: Duration) -> Vec<String> {
        let mut told = Vec::new();
        while self.early.len() > MOST || self.leads_for_too_long(now) {
            let Some((line, _)) = self.early.pop_front() else {
                break;
            };
            let unit = self.unit(&line);
            self.put(&line, unit, now);
        }
        let ready = |queue: &VecDeque<Waiting>| {
            queue.len() > MOST || queue.front().is_some_and(|first| first.due <= now)
        };
        while ready(&self.queue) {
            told.extend(self.queue.pop_front().map(|first| first.text));
        }
        told
    }

    /// When [`Narrator::due`] has something to tell, unless something comes before.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        let told = self.queue.front().map(|first| first.due);
        let early = self.early.front();
        let early = early.filter(|(line, _)| self.nodes.contains_key(&line.node));
        let early = early.map(|(_, since)| *since + LEADING);
        told.into_iter().chain(early).min()
    }

    /// Everything that is left: nothing comes any more.
    pub fn rest(mut self) -> Vec<String> {
        for (line, since) in std::mem::take(&mut self.early) {
            self.put(&line, self.unit(&line), since);
        }
        self.queue.into_iter().map(|waiting| waiting.text).collect()
    }

    fn log_line(&mut self, line: LogLine, since: Duration, now: Duration) {
        let unit = self.unit(&line);
        if self.has_begun(&line, unit) {
            self.put(&line, unit, now);
        } else {
            self.early.push_back((line, since));
        }
    }

    /// The place of a line's unit among those that are known.
    fn unit(&self, line: &LogLine) -> Option<usize> {
        let known = self.nodes.get(&line.node)?;
        known.units.iter().position(|(name, _)| *name == line.unit)
    }

    /// Whether the begin of what logged this line has been told, or never will be.
    fn has_begun(&self, line: &LogLine, unit: Option<usize>) -> bool {
        let Some(known) = self.nodes.get(&line.node) else {
            return false;
        };
        let begun = |state| !matches!(state, State::Waiting | State::Queued);
        let unit_begun = match unit.and_then(|unit| known.units.get(unit)) {
            Some((_, state)) => begun(*state),
            None => line.unit.is_empty(),
        };
        known.state.is_good() || known.state.is_bad() || (begun(known.state) && unit_begun)
    }

    /// Whether the state says nothing about the first early line, though it says something about its node.
    fn leads_for_too_long(&self, now: Duration) -> bool {
        let first = self.early.front();
        first.is_some_and(|(line, since)| {
            self.nodes.contains_key(&line.node) && *since + LEADING <= now
        })
    }

    /// Puts a line of the log before the end of its unit or its step, or behind everything else.
    fn put(&mut self, line: &LogLine, unit: Option<usize>, now: Duration) {
        // A step logs in the order of its units: those before this one have said everything.
        for waiting in &mut self.queue {
            if waiting.node == line.node && waiting.unit.is_some_and(|before| Some(before) < unit) {
                waiting.due = waiting.due.min(now);
            }
        }
        let last_of = |unit: Option<usize>| {
            let mut backwards = self.queue.iter().enumerate().rev();
            let last =
                backwards.find(|(_, waiting)| waiting.node == line.node && waiting.unit == unit);
            last.filter(|(_, waiting)| waiting.end)
                .map(|(place, _)| place)
        };
        let end = last_of(unit).or_else(|| last_of(None));
        if let Some(waiting) = end.and_then(|end| self.queue.get_mut(end)) {
            // More of it may be on its way.
            waiting.due = waiting.due.max(now + TRAILING);
        }
        let place = end.unwrap_or(self.queue.len());
        for (offset, text) in self.shown(line).into_iter().enumerate() {
            self.queue.insert(
                place + offset,
                Waiting {
                    node: line.node.clone(),
                    unit,
                    end: false,
                    due: now,
                    text,
                },
            );
        }
    }

    fn shown(&mut self, line: &LogLine) -> Vec<String> {
        self.log.show(line, &self.labels, self.style)
    }
}

fn known(node: &Node) -> (String, Known) {
    let unit = |unit: &crate::client::wire::Unit| (unit.name.clone(), State::of(&unit.status));
    let known = Known {
        state: State::of(&node.status),
        units: node.units.iter().map(unit).collect(),
    };
    (node.path.clone(), known)
}

#[cfg(test)]
mod tests;
