//! The head of a record: everything about one release number except its rendered objects.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sortie_manifest::ObjectId;

use super::notes::Notes;
use super::part::PartId;
use super::tracked::Inventory;

/// Version of the format that is written. A reader refuses a larger first number, and keeps fields
/// that it does not know.
pub const FORMAT_VERSION: &str = "1.0";

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// A task is at work on it, or was killed at it and the next will carry on.
    InProgress,
    /// It reached its steady state and is what runs now.
    Succeeded,
    /// It did not reach its steady state.
    Failed,
    /// It had succeeded, and a later one took its place.
    Superseded,
}

impl Status {
    /// The word in label and record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Superseded => "Superseded",
        }
    }
}

/// Who or what a release belongs to. Empty fields match anything: the local command line knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owner {
    /// Identifier of the service, with its scope.
    pub service: String,
    /// Identifier of the environment, with its scope.
    pub environment: String,
    /// Identifier of the infrastructure definition.
    pub infrastructure: String,
}

/// Who asked for a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Asker {
    /// Organisation and project, as `org/project`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// Person or robot.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Execution of a pipeline.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub execution: String,
    /// Task that did it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub task: String,
}

/// One step of the work, written before or after it was done as the step's rules say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// Command unit, such as `Apply`.
    pub unit: String,
    /// Stage inside it; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// What was decided or done.
    pub what: String,
    /// When, for people.
    pub at: Timestamp,
    /// What the one who carries on needs to know.
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub data: Notes,
}

/// Which of several sides of a release this number is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Side {
    /// `stable` or `canary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// `blue` or `green`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// `primary` or `stage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// The [`Side::track`] of a canary.
pub const CANARY: &str = "canary";
/// Unit and deed of the journal entry that says that all that a canary ran is gone.
pub const CANARY_DELETED: (&str, &str) = ("Canary", "deleted");
/// The [`Side::role`] of the colour that gets the traffic.
pub const PRIMARY: &str = "primary";
/// The [`Side::role`] of the colour that gets none.
pub const STAGE: &str = "stage";

impl Side {
    /// The side of a canary.
    pub fn canary() -> Self {
        Self {
            track: Some(CANARY.to_owned()),
            ..Self::default()
        }
    }

    /// Whether it is a canary's.
    pub fn is_canary(&self) -> bool {
        self.track.as_deref() == Some(CANARY)
    }

    /// Whether a number with this side is about the whole release: neither a canary nor one of two colours.
    pub fn is_whole(&self) -> bool {
        !self.is_canary() && self.color.is_none()
    }

    /// Whether a success with this side takes the place of one with the other.
    pub fn takes_place_of(&self, other: &Self) -> bool {
        (self.is_canary(), &self.color) == (other.is_canary(), &other.color)
    }
}

/// Everything about one release number except its rendered objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Version of the format it was written in.
    pub format_version: String,
    /// Infrastructure namespace.
    pub namespace: String,
    /// Release name.
    pub release: String,
    /// Release number, from 1.
    pub number: u64,
    /// What became of it.
    pub status: Status,
    /// One line on why it failed, or how it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Track, colour and role.
    #[serde(default)]
    pub side: Side,
    /// Whose release it is.
    #[serde(default)]
    pub owner: Owner,
    /// Who asked for it.
    #[serde(default)]
    pub asked_by: Asker,
    /// SHA-256 of the rendered objects.
    pub manifest_hash: String,
    /// Parts with the rendered objects, in order.
    #[serde(default)]
    pub parts: Vec<PartId>,
    /// Parts with live objects that were kept before they were replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<PartId>,
    /// `leaseTransitions` of the Lease under which it was last written.
    pub fence: u32,
    /// Epoch of the task that last wrote it.
    #[serde(default)]
    pub task_epoch: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// Every object that belongs to it: the superset before the first write, exact after pruning.
    #[serde(skip)]
    pub inventory: Inventory,
    /// What was done, oldest first.
    #[serde(skip)]
    pub journal: Vec<JournalEntry>,
    /// Fields of later versions of the format.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Head {
    /// A head of a release that is about to begin.
    pub fn new(release: &super::Release, number: u64, now: Timestamp) -> Self {
        Self {
            format_version: FORMAT_VERSION.to_owned(),
            namespace: release.namespace().to_owned(),
            release: release.name().to_owned(),
            number,
            status: Status::InProgress,
            message: String::new(),
            side: Side::default(),
            owner: Owner::default(),
            asked_by: Asker::default(),
            manifest_hash: String::new(),
            parts: Vec::new(),
            kept: Vec::new(),
            fence: 0,
            task_epoch: 0,
            created_at: now,
            updated_at: now,
            inventory: Inventory::default(),
            journal: Vec::new(),
            unknown: Map::new(),
        }
    }

    /// Whether the release had once reached its steady state, whole.
    pub fn is_good(&self) -> bool {
        self.side.is_whole() && matches!(self.status, Status::Succeeded | Status::Superseded)
    }

    /// Whether it is a canary whose copies may be there: it was not [deleted](CANARY_DELETED), however it ended.
    pub fn is_canary_left(&self) -> bool {
        let is_end =
            |entry: &JournalEntry| (entry.unit.as_str(), entry.what.as_str()) == CANARY_DELETED;
        self.side.is_canary() && !self.journal.iter().any(is_end)
    }

    /// Whether it is a canary or a colour that runs beside others of its release.
    pub fn is_standing(&self) -> bool {
        !self.side.is_whole() && self.status == Status::Succeeded
    }

    /// The UID under which an object is tracked.
    pub fn uid(&self, id: &ObjectId) -> Option<&str> {
        self.inventory
            .iter()
            .find(|tracked| tracked.id == *id)?
            .uid
            .as_deref()
    }

    /// Tracks an object, or notes its UID when it is tracked already.
    pub fn track(&mut self, id: ObjectId, uid: Option<String>) {
        self.inventory.track(id, uid);
    }

    /// Adds to the journal.
    pub fn note(&mut self, unit: &str, stage: &str, what: impl Into<String>, at: Timestamp) {
        self.note_with(unit, stage, what, (), at);
    }

    /// Adds to the journal, with what the one who carries on needs to know.
    pub fn note_with(
        &mut self,
        unit: &str,
        stage: &str,
        what: impl Into<String>,
        data: impl Serialize,
        at: Timestamp,
    ) {
        let (unit, stage, what) = (unit.to_owned(), stage.to_owned(), what.into());
        let data = Notes::of(&data);
        self.journal.push(JournalEntry {
            unit,
            stage,
            what,
            at,
            data,
        });
    }

    /// Whether this reader knows the format: the first number counts. `None` when it has none.
    pub(super) fn is_known_format(version: &str) -> Option<bool> {
        let major = |text: &str| {
            text.split('.')
                .next()
                .and_then(|first| first.parse::<u32>().ok())
        };
        Some(major(version)? <= major(FORMAT_VERSION)?)
    }
}

impl Owner {
    /// Whether `other` may deploy under the same release name. A field that either leaves empty
    /// does not count.
    pub fn matches(&self, other: &Self) -> bool {
        let fits =
            |ours: &str, theirs: &str| ours.is_empty() || theirs.is_empty() || ours == theirs;
        fits(&self.service, &other.service)
            && fits(&self.environment, &other.environment)
            && fits(&self.infrastructure, &other.infrastructure)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "service {:?}, environment {:?}, infrastructure {:?}",
            self.service, self.environment, self.infrastructure
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_major_format_is_refused() {
        for (version, known) in [
            ("1.0", Some(true)),
            ("1.7", Some(true)),
            ("1", Some(true)),
            ("0.9", Some(true)),
            ("2.0", Some(false)),
            ("10", Some(false)),
            ("", None),
            ("one", None),
        ] {
            assert_eq!(Head::is_known_format(version), known, "{version}");
        }
    }

    #[test]
    fn an_owner_without_names_fits_everybody() {
        let owner = |service: &str| Owner {
            service: service.into(),
            ..Owner::default()
        };
        assert!(owner("web").matches(&owner("web")));
        assert!(owner("web").matches(&owner("")));
        assert!(!owner("web").matches(&owner("api")));
    }
}
