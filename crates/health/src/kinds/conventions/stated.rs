//! Fields of a status that say in words, in truth values or in counts how the object is: `phase`, `state`,
//! `lifecycleState`, `ready`, `error`, `readyReplicas`.

use serde_json::Value;

use super::Sign;
use super::words::{Sense, is_stopping, parts, sense};
use crate::line::are;

/// Fields that say how the whole object is.
const WHOLE: [&str; 10] = [
    "phase",
    "state",
    "status",
    "currentPhase",
    "currentState",
    "printableStatus",
    "overallStatus",
    "health",
    "healthStatus",
    "stage",
];

/// Fields that name one of the states which the object goes through, so that one which we do not know is not the end.
const ONE_OF_MANY: [&str; 4] = ["phase", "state", "currentPhase", "currentState"];

/// Last words of the names of fields that say something about it.
const NAMES: [&str; 6] = ["phase", "state", "status", "health", "stage", "robustness"];

/// First words of names that are not about the present.
const NOT_NOW: [&str; 6] = ["desired", "last", "next", "old", "previous", "target"];

/// Longest text that is a word rather than a document.
const LONGEST: usize = 200;

/// Fields and texts to explain a bad word with.
const EXPLANATIONS: [&str; 10] = [
    "message",
    "error",
    "errorMessage",
    "failureMessage",
    "failureReason",
    "lastError",
    "phaseReason",
    "healthMessage",
    "reason",
    "lastSyncError",
];

/// Texts that are there only when something is wrong.
const ERRORS: [&str; 4] = ["error", "errorMessage", "failureMessage", "failureReason"];

/// First words of the names of counts that all parts should reach.
const COUNTED: [&str; 3] = ["ready", "available", "updated"];

/// One stated word.
struct Word<'a> {
    field: &'a str,
    text: &'a str,
    sense: Option<Sense>,
    /// Is it about the whole object?
    whole: bool,
    /// What else is said beside it.
    beside: Option<&'a str>,
}

/// All that a status states.
pub(super) struct Stated<'a> {
    object: &'a Value,
    words: Vec<Word<'a>>,
}

// === impl Stated ===

impl<'a> Stated<'a> {
    pub(super) fn of(object: &'a Value, runs: bool) -> Self {
        let mut words = Vec::new();
        let status = object.pointer("/status").and_then(Value::as_object);
        for (name, value) in status.into_iter().flatten() {
            match value {
                Value::String(_) if says_how_it_is(name) => {
                    words.extend(word(name, value, object.pointer("/status"), runs));
                }
                Value::Object(inner) if is_about_now(name) => {
                    let stated = inner
                        .iter()
                        .filter(|(name, _)| NAMES.contains(&name.as_str()));
                    words.extend(stated.filter_map(|(_, text)| word("", text, Some(value), runs)));
                }
                _ => {}
            }
        }
        // The whole first, so that it explains.
        words.sort_by_key(|word| !word.whole);
        Self { object, words }
    }

    /// Is it said to be on its way to a stop?
    pub(super) fn stopping(&self) -> Option<&'a str> {
        self.words
            .iter()
            .map(|word| word.text)
            .find(|text| is_stopping(text))
    }

    /// A phase or state that we do not know.
    pub(super) fn unknown(&self) -> Option<&'a str> {
        self.words
            .iter()
            .find(|word| ONE_OF_MANY.contains(&word.field) && word.sense.is_none())
            .map(|word| word.text)
    }

    /// The signs in it. Where conditions sum the object up, only what is said about the whole of it counts.
    pub(super) fn signs(&self, summed_up: bool) -> Vec<Sign> {
        let mut signs: Vec<Sign> = self
            .words
            .iter()
            .filter(|word| word.whole || !summed_up)
            .filter_map(|word| {
                let sense = word.sense?;
                Some(Sign {
                    sense,
                    why: word.explain(sense),
                })
            })
            .collect();
        let status = self.object.pointer("/status");
        if status.is_some_and(|status| ["paused", "suspended"].iter().any(|name| is(status, name)))
        {
            signs.push(Sign {
                sense: Sense::Held,
                why: "its status says that it is held".to_owned(),
            });
        }
        if summed_up {
            return signs;
        }
        signs.extend(status.and_then(truth));
        signs.extend(self.counts());
        if signs.iter().all(|sign| sign.sense != Sense::Good)
            && let Some(why) = self.error()
        {
            signs.push(Sign {
                sense: Sense::Bad,
                why,
            });
        }
        signs
    }

    /// Parts that are not ready, not available or not of the latest change: `readyReplicas` beside `replicas`.
    fn counts(&self) -> Option<Sign> {
        let object = self.object;
        let status = object.pointer("/status").and_then(Value::as_object)?;
        status.iter().find_map(|(name, there)| {
            let what = COUNTED.iter().find(|what| name.starts_with(**what))?;
            let mut of_these = name[what.len()..].chars();
            let whole: String = of_these
                .next()
                .into_iter()
                .flat_map(char::to_lowercase)
                .chain(of_these)
                .collect();
            let wanted = ["spec", "status"]
                .into_iter()
                .find_map(|place| object.get(place)?.get(&whole)?.as_i64())?;
            let there = there.as_i64()?;
            (there < wanted).then(|| Sign {
                sense: Sense::Working,
                why: format!("{there} of {wanted} {whole} {} {what}", are(wanted)),
            })
        })
    }

    /// A text or list that is there only when something is wrong.
    fn error(&self) -> Option<String> {
        let status = self.object.pointer("/status")?;
        let text = ERRORS.iter().find_map(|name| {
            let error = status.get(name)?;
            let text = error.as_str().or_else(|| error.get("message")?.as_str())?;
            (!text.is_empty()).then(|| text.to_owned())
        });
        // Of the whole, or of each of those who look at it.
        let lists = status
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::values);
        let mut of_each = lists.filter_map(Value::as_array).flatten().chain([status]);
        text.or_else(|| {
            of_each.find_map(|place| {
                let first = place.get("errors")?.as_array()?.first()?;
                let told = first.as_str().or_else(|| first.get("message")?.as_str());
                Some(told.unwrap_or("it reports errors").to_owned())
            })
        })
    }
}

// === impl Word ===

impl Word<'_> {
    fn explain(&self, sense: Sense) -> String {
        let word = self.text;
        match self.beside {
            Some(beside) if sense != Sense::Good && beside != word => format!("{word}: {beside}"),
            _ => word.to_owned(),
        }
    }
}

/// The word in a field of the status; a field deeper in it has no name here.
fn word<'a>(
    field: &'a str,
    value: &'a Value,
    beside: Option<&'a Value>,
    runs: bool,
) -> Option<Word<'a>> {
    let text = value
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= LONGEST)?;
    let beside = beside.and_then(|beside| {
        EXPLANATIONS
            .iter()
            .find_map(|name| beside.get(name)?.as_str().filter(|text| !text.is_empty()))
    });
    Some(Word {
        field,
        text,
        sense: sense(text, runs),
        whole: WHOLE.contains(&field),
        beside,
    })
}

fn says_how_it_is(name: &str) -> bool {
    let parts = parts(name);
    is_about_now(name)
        && parts
            .last()
            .is_some_and(|last| NAMES.contains(&last.as_str()))
}

pub(super) fn is_about_now(name: &str) -> bool {
    let parts = parts(name);
    parts
        .first()
        .is_none_or(|first| !NOT_NOW.contains(&first.as_str()))
}

fn is(status: &Value, name: &str) -> bool {
    status.get(name) == Some(&Value::Bool(true))
}

/// What truth values say: `ready`, `valid`, `finished` and `successful`.
fn truth(status: &Value) -> Option<Sign> {
    let first = |names: &[&'static str]| {
        names
            .iter()
            .find_map(|name| Some((*name, status.get(name)?.as_bool()?)))
    };
    let finished = first(&["finished", "completed", "complete", "done"]);
    let succeeded = first(&["successful", "succeeded", "success"]);
    let sign = |sense, name: &str, value: bool| {
        Some(Sign {
            sense,
            why: format!("{name} is {value}"),
        })
    };
    match (finished, succeeded) {
        (Some((name, false)), _) => return sign(Sense::Working, name, false),
        (Some(_), Some((name, false))) => return sign(Sense::Bad, name, false),
        (Some((name, true)), _) => return sign(Sense::Good, name, true),
        (None, _) => {}
    }
    if let Some((name, value)) = first(&["valid", "isValid"]) {
        return sign(if value { Sense::Good } else { Sense::Bad }, name, value);
    }
    let (name, value) = first(&[
        "ready",
        "healthy",
        "available",
        "readyToUse",
        "isReady",
        "active",
    ])?;
    sign(
        if value { Sense::Good } else { Sense::Working },
        name,
        value,
    )
}
