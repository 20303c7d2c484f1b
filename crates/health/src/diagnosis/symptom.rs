//! One thing that is wrong right now, and how long it may last.

use jiff::SignedDuration;
use serde_json::Value;

use super::cause::{Cause, Class};
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
        }
    }

    pub(crate) fn of_run(mut self, run: i64) -> Self {
        self.key.run = run;
        self
    }
}
