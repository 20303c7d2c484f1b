//! One thing that is wrong right now, and how long it may last.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::cause::{Cause, Class};
use crate::line::seconds;
use crate::read::uid;

/// What makes a symptom the same one at the next look: its clock runs on as long as it is there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) subject: String,
    pub(crate) container: String,
    pub(crate) class: Class,
    /// The run of the container, for trouble that starts anew with each run.
    pub(crate) run: i64,
}

/// How long a symptom may last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// It is a failure now.
    Over,
    /// It is a failure when it has lasted that long.
    For(SignedDuration),
    /// It is worth saying and never a failure by itself.
    Endless,
}

/// One thing that is wrong right now.
#[derive(Clone, Debug)]
pub(crate) struct Symptom {
    pub(crate) key: Key,
    pub(crate) patience: Patience,
    pub(crate) cause: Cause,
    /// What it is as long as that lasts: no trouble.
    pub(crate) start: Option<Start>,
}

/// A container that runs and whose readiness probe has time to succeed, by the clock of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// When the probe first asks.
    pub(crate) probed: Timestamp,
    /// Until when it is no wonder that the probe has not succeeded.
    pub(crate) until: Timestamp,
}

impl Symptom {
    pub(crate) fn new(subject: &Value, patience: Patience, cause: Cause) -> Self {
        let key = Key {
            subject: uid(subject).unwrap_or("").to_owned(),
            container: cause.container.clone().unwrap_or_default(),
            class: cause.class,
            run: 0,
        };
        Self {
            key,
            patience,
            cause,
            start: None,
        }
    }

    pub(crate) fn of_run(mut self, run: i64) -> Self {
        self.key.run = run;
        self
    }

    /// "pod web-x container web: its readiness probe begins in 42 s", where it is no trouble yet.
    pub(crate) fn starting(&self, now: Timestamp) -> Option<String> {
        let start = self.start.as_ref().filter(|start| now < start.until)?;
        let (what, moment) = if now < start.probed {
            ("its readiness probe begins in", start.probed)
        } else {
            ("its readiness probe may still succeed within", start.until)
        };
        // A part of a second counts as one.
        let left = (moment.duration_since(now).as_millis() + 999) / 1000;
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        Some(format!("{}: {what} {}", self.cause.place(), seconds(left)))
    }
}
