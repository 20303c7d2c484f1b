//! What the conditions of an object say, by their types' words and polarity, their reasons and their severity.

use serde_json::Value;

use super::words::{Sense, ends_well, goes_on, parts, sense};
use super::{Sign, number};
use crate::read::{int, list, text};
use crate::verdict::Verdict;

/// Conditions that say of the whole object that it is as wished when they are True, and that it is not (yet) when not.
const SUMMARIES: [&str; 23] = [
    "ready",
    "available",
    "healthy",
    "succeeded",
    "complete",
    "completed",
    "finished",
    "done",
    "success",
    "successful",
    "programmed",
    "established",
    "synced",
    "reconciled",
    "accepted",
    "resolvedrefs",
    "deployed",
    "installed",
    "updated",
    "uptodate",
    "valid",
    "validated",
    "issued",
];

/// True says that it has ended; how well, the reason tells.
const ENDS: [&str; 4] = ["complete", "completed", "finished", "done"];

/// Last words of types that say so of a part, which counts where nothing says it of the whole.
const OF_PARTS: [&str; 9] = [
    "ready",
    "available",
    "healthy",
    "success",
    "succeeded",
    "synced",
    "reconciled",
    "valid",
    "deployed",
];

/// Conditions that tell of a change under way even while the object serves: `Ready` does not outweigh them.
const ROLLOUTS: [&str; 10] = [
    "progressing",
    "reconciling",
    "updating",
    "upgrading",
    "rolling",
    "deploying",
    "restarting",
    "migrating",
    "recovering",
    "rebalancing",
];

/// Where nothing else is said, these count too.
const LAST_RESORT: [&str; 8] = [
    "active",
    "admitted",
    "approved",
    "attached",
    "bound",
    "initialized",
    "provisioned",
    "registered",
];

/// Most lists of conditions that are read.
const LISTS: usize = 64;

/// Most conditions of one list that are read; real lists have up to about twenty.
const ENTRIES: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State<'a> {
    True,
    False,
    Unknown,
    /// A word in place of the three.
    Word(&'a str),
}

/// One condition.
struct Entry<'a> {
    /// Its type as written.
    name: &'a str,
    /// The words of its type, without the domain that it may begin with.
    parts: Vec<String>,
    state: State<'a>,
    reason: &'a str,
    message: &'a str,
    severity: &'a str,
    outdated: bool,
    /// Does it tell the generation that it is about?
    dated: bool,
}

/// The conditions of an object, list by list: one list for the whole, or one for each parent where there is none.
pub(super) struct Conditions<'a> {
    lists: Vec<Vec<Entry<'a>>>,
}

// === impl Conditions ===

impl<'a> Conditions<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        let generation = int(object, "/metadata/generation").unwrap_or(0);
        let read = |entries: &'a [Value]| -> Vec<Entry<'a>> {
            let mut latest: Vec<Entry<'a>> = Vec::new();
            for entry in entries
                .iter()
                .rev()
                .take(ENTRIES)
                .rev()
                .filter_map(|entry| Entry::of(entry, generation))
            {
                // Some keep a history: of one type, the last is of now.
                match latest.iter_mut().find(|before| before.name == entry.name) {
                    Some(before) => *before = entry,
                    None => latest.push(entry),
                }
            }
            latest
        };
        let whole = read(list(object, "/status/conditions"));
        if !whole.is_empty() {
            return Self { lists: vec![whole] };
        }
        let status = object.pointer("/status").and_then(Value::as_object);
        let lists = status
            .into_iter()
            .flat_map(serde_json::Map::values)
            .flat_map(|value| match value {
                Value::Array(parents) => parents.as_slice(),
                other => std::slice::from_ref(other),
            })
            .map(|parent| read(list(parent, "/conditions")))
            .filter(|entries| !entries.is_empty())
            .take(LISTS)
            .collect();
        Self { lists }
    }

    /// What the conventions put before everything else: Stalled is failed, Reconciling is on its way.
    pub(super) fn first_of_all(&self) -> Option<Verdict> {
        let find = |kind: &str| {
            self.lists.iter().flatten().find(|entry| {
                entry.joined() == kind && entry.state == State::True && !entry.outdated
            })
        };
        find("stalled")
            .map(|entry| Verdict::degraded(entry.explain()))
            .or_else(|| find("reconciling").map(|entry| Verdict::progressing(entry.explain())))
    }

    /// Is there a condition about the whole object?
    pub(super) fn sum_up(&self) -> bool {
        self.lists.iter().flatten().any(Entry::is_summary)
    }

    /// Does one tell the generation that it is about?
    pub(super) fn tell_generation(&self) -> bool {
        self.lists.iter().flatten().any(|entry| entry.dated)
    }

    /// Are there conditions, and all of an older generation?
    pub(super) fn are_outdated(&self) -> bool {
        let mut all = self.lists.iter().flatten().peekable();
        all.peek().is_some() && all.all(|entry| entry.outdated)
    }

    pub(super) fn signs(&self, runs: bool) -> Vec<Sign> {
        self.lists
            .iter()
            .flat_map(|entries| signs(entries, runs))
            .collect()
    }
}

fn signs(entries: &[Entry<'_>], runs: bool) -> Vec<Sign> {
    let mut signs: Vec<Sign> = entries.iter().filter_map(Entry::trouble).collect();
    let whole = entries.iter().any(Entry::is_summary);
    let belongs = |entry: &&Entry<'_>| {
        if whole {
            entry.is_summary()
        } else {
            entry.is_of_a_part()
        }
    };
    signs.extend(entries.iter().filter(belongs).map(Entry::success));
    let good = signs.iter().any(|sign| sign.sense == Sense::Good);
    signs.extend(entries.iter().filter_map(|entry| entry.under_way(good)));
    if signs.is_empty() {
        signs.extend(entries.iter().filter_map(|entry| entry.last_resort(runs)));
    }
    signs
}

// === impl Entry ===

impl<'a> Entry<'a> {
    fn of(entry: &'a Value, generation: i64) -> Option<Self> {
        let name = text(entry, "/type")?;
        let state = match entry.get("status")? {
            Value::Bool(true) => State::True,
            Value::Bool(false) => State::False,
            Value::String(word) => match word.to_ascii_lowercase().as_str() {
                "true" => State::True,
                "false" => State::False,
                "unknown" | "" => State::Unknown,
                _ => State::Word(word),
            },
            _ => return None,
        };
        let seen = entry.get("observedGeneration").and_then(number);
        Some(Self {
            name,
            parts: parts(name.rsplit(['/', '.']).next().unwrap_or(name)),
            state,
            reason: text(entry, "/reason").unwrap_or(""),
            message: text(entry, "/message").unwrap_or(""),
            severity: text(entry, "/severity").unwrap_or(""),
            outdated: seen.is_some_and(|seen| seen < generation),
            dated: seen.is_some(),
        })
    }

    fn joined(&self) -> String {
        self.parts.concat()
    }

    fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// `NotReady`, `Unavailable`: True says what False says of the others.
    fn is_inverse(&self) -> bool {
        matches!(
            self.joined().as_str(),
            "notready" | "unready" | "unavailable" | "notavailable" | "outofsync" | "unsynced"
        )
    }

    fn is_summary(&self) -> bool {
        self.is_inverse() || SUMMARIES.contains(&self.joined().as_str())
    }

    fn is_of_a_part(&self) -> bool {
        OF_PARTS.contains(&self.last()) && !self.is_minor()
    }

    /// Said to be of no weight.
    fn is_minor(&self) -> bool {
        self.severity.eq_ignore_ascii_case("info")
    }

    /// What a summary says.
    fn success(&self) -> Sign {
        let kind = self.joined();
        let good = if self.is_inverse() {
            State::False
        } else {
            State::True
        };
        let sense = if self.outdated {
            return Sign {
                sense: Sense::Working,
                why: format!("its condition {} is of an earlier generation", self.name),
            };
        } else if self.state == good {
            let failed = ENDS.contains(&kind.as_str()) && self.reasoned() == Some(Sense::Bad);
            if failed { Sense::Bad } else { Sense::Good }
        } else {
            self.failure(&kind)
        };
        let why = match sense {
            Sense::Good => self.parts.join(" "),
            Sense::Bad => self.explain(),
            _ if self.is_inverse() => self.explain(),
            _ => format!("not {}: {}", self.parts.join(" "), self.explain()),
        };
        Sign { sense, why }
    }

    /// A summary that is not as wished: failed, held, or not yet?
    fn failure(&self, kind: &str) -> Sense {
        match (self.state, self.reasoned()) {
            (State::Word(word), _) if sense(word, false) == Some(Sense::Bad) => Sense::Bad,
            (_, Some(Sense::Held)) => Sense::Held,
            (State::Unknown, _) => Sense::Working,
            _ if self.severity.eq_ignore_ascii_case("error") => Sense::Bad,
            _ if !self.severity.is_empty() => Sense::Working,
            (_, Some(Sense::Bad)) => Sense::Bad,
            // What is to succeed and has not, has failed, unless the reason is that it still runs.
            (State::False, Some(Sense::Working)) => Sense::Working,
            (State::False, _) if kind == "succeeded" && !self.reason.is_empty() => Sense::Bad,
            _ => Sense::Working,
        }
    }

    /// What the reason says.
    fn reasoned(&self) -> Option<Sense> {
        match self.reason {
            // As a reason alone: what should be there is not.
            "Unavailable" => Some(Sense::Bad),
            reason => sense(reason, false),
        }
    }

    /// A condition that names a failure or a hold, and is True.
    fn trouble(&self) -> Option<Sign> {
        // What ends in a word of success is about that, whatever else is in it: `FailedNodesReady`.
        let success = self.is_summary() || OF_PARTS.contains(&self.last());
        if self.state != State::True || self.outdated || self.is_minor() || success {
            return None;
        }
        let sense = sense(&self.parts.join(" "), false)
            .filter(|sense| matches!(sense, Sense::Bad | Sense::Held))?;
        Some(Sign {
            sense,
            why: self.explain(),
        })
    }

    /// A condition that names a change under way, and is True. While something says that the object is fine, only a
    /// rollout counts.
    fn under_way(&self, good: bool) -> Option<Sign> {
        if self.state != State::True || self.outdated || self.is_summary() || self.is_of_a_part() {
            return None;
        }
        let rollout = self
            .parts
            .iter()
            .any(|part| ROLLOUTS.contains(&part.as_str()));
        let going_on = matches!(self.last(), "pending" | "recoverable" | "progress")
            || (self.last() != "running" && goes_on(self.last()));
        let counts = rollout || (going_on && !good);
        // As for a Deployment, whose rollout is over when Progressing is True because of what has become available.
        let over = rollout && ends_well(self.reason);
        (counts && !over).then(|| Sign {
            sense: Sense::Working,
            why: self.explain(),
        })
    }

    /// What any other condition says where nothing better is said.
    fn last_resort(&self, runs: bool) -> Option<Sign> {
        if self.outdated || self.is_minor() {
            return None;
        }
        let known = LAST_RESORT.contains(&self.last());
        let sense = match self.state {
            State::True => (known && !runs).then_some(Sense::Good)?,
            _ => match self.reasoned() {
                Some(sense) if sense != Sense::Good => sense,
                _ => known.then_some(Sense::Working)?,
            },
        };
        let why = match sense {
            Sense::Good => self.parts.join(" "),
            _ => self.explain(),
        };
        Some(Sign { sense, why })
    }

    /// "Reason: message", or whichever of the two there is.
    fn explain(&self) -> String {
        match (self.reason, self.message) {
            ("", "") => {
                let state = match self.state {
                    State::True => "True",
                    State::False => "False",
                    State::Unknown => "Unknown",
                    State::Word(word) => word,
                };
                format!("condition {} is {state}", self.name)
            }
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}
