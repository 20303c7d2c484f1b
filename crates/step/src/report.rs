//! What a step says while it runs: units, log lines and one row per object.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use sortie_health::Status as Health;
use sortie_manifest::{Object, ObjectId};

use crate::confidential::Confidential;
use crate::disguise::{forms, mask_beginnings, mask_ends};
use crate::task::Release;

/// A part of a step with its own log and status, in the order a user sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Sources and values files are brought to the delegate.
    FetchFiles,
    /// Manifests are rendered, checked and tried out; the release is locked and its history read.
    Initialize,
    /// The objects get their labels and versioned names; the release record is opened.
    Prepare,
    /// Objects are written.
    Apply,
    /// The previous release is written again.
    Rollback,
    /// What the failed release added is removed.
    DeleteFailedReleaseResources,
    /// Workloads become healthy.
    WaitForSteadyState,
    /// What earlier releases had and this one lacks is deleted.
    Prune,
    /// The objects of a release that is uninstalled, or that somebody named, are deleted.
    Delete,
    /// The Services of a blue-green release exchange their colours.
    SwapServices,
    /// What a set comes to is judged, and nothing is written.
    DryRun,
    /// A workload gets another number of pods.
    Scale,
    /// Fields of an object are changed.
    Patch,
    /// Routes of a router are written.
    TrafficRouting,
    /// Revisions of workloads are listed, restarted, stopped or brought back.
    Rollout,
    /// What earlier steps of the same execution have changed is undone.
    UndoChanges,
    /// The record is closed and old ones are collected.
    WrapUp,
}

impl Unit {
    /// The name in logs and events, as Harness users know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FetchFiles => "Fetch Files",
            Self::Initialize => "Initialize",
            Self::Prepare => "Prepare",
            Self::Apply => "Apply",
            Self::Rollback => "Rollback",
            Self::WaitForSteadyState => "Wait for Steady State",
            Self::DeleteFailedReleaseResources => "Delete Failed Release Resources",
            Self::Prune => "Prune",
            Self::Delete => "Delete",
            Self::SwapServices => "Swap Services",
            Self::DryRun => "Dry Run",
            Self::Scale => "Scale",
            Self::Patch => "Patch",
            Self::TrafficRouting => "Traffic Routing",
            Self::Rollout => "Rollout",
            Self::UndoChanges => "Undo Changes",
            Self::WrapUp => "Wrap Up",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitStatus {
    /// It has begun.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended the step.
    Failed,
    /// It was cut short by an abort.
    Aborted,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What happened.
    Info,
    /// What a person should look at though the step goes on.
    Warning,
    /// Why the step fails.
    Error,
}

/// What a step did to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Created,
    /// It was changed.
    Configured,
    /// It was as wished already; nothing was written.
    Unchanged,
    /// It was removed.
    Deleted,
}

impl Change {
    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// The state of one object as a user follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// Which object.
    pub id: ObjectId,
    /// What was done to it.
    pub change: Change,
    /// Its health.
    pub health: Health,
    /// One line of reason.
    pub message: String,
}

/// Receives what a step says. Implementations return at once: a slow reader must never hold a deployment up.
pub trait Sink: Send + Sync + fmt::Debug {
    /// A unit changed its status.
    fn unit(&self, unit: Unit, status: UnitStatus);
    /// One log line of a unit, without a line break.
    fn log(&self, unit: Unit, level: Level, text: &str);
    /// An object changed; rows of one object replace each other.
    fn object(&self, unit: Unit, row: ObjectRow);
}

/// What replaces a secret's value in anything a person reads.
pub(crate) const MASK: &str = "**************";

/// A sink that lets no known secret through. Secrets are made known before the first line that could hold them.
#[derive(Debug)]
pub struct Masked {
    inner: Arc<dyn Sink>,
    secrets: Mutex<Vec<SecretString>>,
    /// What the Secrets of the set hold.
    held: Mutex<Confidential>,
}

impl Masked {
    /// Wrap `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Sink>) -> Self {
        Self {
            inner,
            secrets: Mutex::new(Vec::new()),
            held: Mutex::default(),
        }
    }

    /// From now on `secret` is masked: as it is, each of its lines, and as base64, URLs and JSON hold it.
    pub fn learn(&self, secret: &SecretString) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.extend(forms(secret));
        // The longest first, so that a secret which contains another is masked whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
    }

    /// From now on what the Secrets among `objects` hold is masked, beside `public` words and what the objects show
    /// elsewhere than in a Secret.
    pub(crate) fn learn_set(&self, objects: &[Object], public: &Release) {
        let public = [public.name.as_str(), public.namespace.as_str()];
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.learn(objects.iter(), &public);
    }

    /// `text` with every known secret masked.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = held.mask(text, MASK);
        drop(held);
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets.iter() {
            if text.contains(secret.expose_secret()) {
                text = text.replace(secret.expose_secret(), MASK);
            }
            text = mask_beginnings(&text, secret.expose_secret(), MASK);
            text = mask_ends(&text, secret.expose_secret(), MASK);
        }
        text
    }
}

impl Sink for Masked {
    fn unit(&self, unit: Unit, status: UnitStatus) {
        self.inner.unit(unit, status);
    }

    fn log(&self, unit: Unit, level: Level, text: &str) {
        for line in self.mask(text).lines() {
            self.inner.log(unit, level, line);
        }
    }

    fn object(&self, unit: Unit, mut row: ObjectRow) {
        row.message = self.mask(&row.message);
        self.inner.object(unit, row);
    }
}

/// Hears nothing.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Deaf;

#[cfg(test)]
impl Sink for Deaf {
    fn unit(&self, _: Unit, _: UnitStatus) {}
    fn log(&self, _: Unit, _: Level, _: &str) {}
    fn object(&self, _: Unit, _: ObjectRow) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<String>>);

    impl Sink for Recorder {
        fn unit(&self, _: Unit, _: UnitStatus) {}
        fn log(&self, _: Unit, _: Level, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
        fn object(&self, _: Unit, row: ObjectRow) {
            self.0.lock().unwrap().push(row.message);
        }
    }

    #[test]
    fn no_known_secret_passes_in_whole_or_by_line() {
        let recorder = Arc::new(Recorder::default());
        let sink = Masked::new(recorder.clone());
        sink.learn(&SecretString::from("hunter22"));
        sink.learn(&SecretString::from("hunter22-long"));
        sink.learn(&SecretString::from(
            "-----BEGIN KEY-----\nQUJDREVG\n-----END KEY-----",
        ));
        sink.log(
            Unit::Apply,
            Level::Info,
            "password hunter22-long and hunter22\nsecond QUJDREVG",
        );
        let lines = recorder.0.lock().unwrap().clone();
        assert_eq!(lines.len(), 2, "a line break in a message makes two lines");
        assert!(
            lines
                .iter()
                .all(|line| !line.contains("hunter22") && !line.contains("QUJDREVG"))
        );
        assert!(
            !lines[0].contains("-long"),
            "the longer secret is masked whole: {}",
            lines[0]
        );
    }

    #[test]
    fn an_encoded_secret_is_masked_whole() {
        let sink = Masked::new(Arc::new(Recorder::default()));
        sink.learn(&SecretString::from("hunter2hunter2"));
        assert_eq!(
            sink.mask("SRT-R040: web.yaml:3:5: aHVudGVyMmh1bnRlcjI= is wrong"),
            format!("SRT-R040: web.yaml:3:5: {MASK} is wrong")
        );
    }

    #[test]
    fn what_is_cut_in_the_middle_of_a_secret_shows_nothing_of_it() {
        let sink = Masked::new(Arc::new(Recorder::default()));
        sink.learn(&SecretString::from("first  part\tof a long secret"));
        for (text, expected) in [
            ("log: \"a first part of…\"", "log: \"a **************…\""),
            ("first part of a long secret", MASK),
        ] {
            assert_eq!(sink.mask(text), expected);
        }
    }

    #[test]
    fn short_values_do_not_mask_ordinary_words() {
        let sink = Masked::new(Arc::new(Recorder::default()));
        sink.learn(&SecretString::from("a"));
        assert_eq!(sink.mask("a plain line"), "a plain line");
    }
}
