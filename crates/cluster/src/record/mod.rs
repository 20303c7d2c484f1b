//! The release record: what each release was, kept in Secrets of its infrastructure namespace.
//!
//! A release is a pair of infrastructure namespace and release name. Each release number has one
//! small *head*, updated by compare-and-set, and any number of immutable *parts*, named by their
//! content and written before the head that names them: the rendered objects, and an inventory or
//! journal that has grown large. Reading a record never needs anything but the cluster.
//!
//! [`Head`], [`History`] and the encoding are pure; [`Records`] is the reading and writing.

pub mod changes;
mod encoding;
mod head;
mod history;
mod notes;
mod part;
mod records;
mod removal;
mod tracked;
mod unreadable;

use sortie_manifest::labels;

pub use head::{
    Asker, CANARY, CANARY_DELETED, FORMAT_VERSION, Head, JournalEntry, Owner, PRIMARY, STAGE, Side,
    Status,
};
pub use history::{Collection, History, standing};
pub use notes::Notes;
pub use part::PartId;
pub use records::{Records, Stored, Survey};
pub use tracked::{Inventory, Tracked};
pub use unreadable::Unreadable;

/// Label with the release number.
pub const NUMBER_LABEL: &str = "sortie.dev/release-number";
/// Label with the release name, for people and selectors.
pub const NAME_LABEL: &str = "sortie.dev/release-name";
/// Label with the status of the release.
pub const STATUS_LABEL: &str = "sortie.dev/status";
/// Type of the Secrets that heads are.
pub const HEAD_TYPE: &str = "sortie.dev/release.v1";
/// Type of the Secrets that parts are.
pub const PART_TYPE: &str = "sortie.dev/part.v1";

/// Asks for metadata without content.
pub(crate) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

/// Selects the Secrets that are no records of ours.
pub(crate) fn no_records() -> String {
    let types = [HEAD_TYPE, PART_TYPE, changes::CHANGES_TYPE];
    types.map(|kind| format!("type!={kind}")).join(",")
}

/// Longest release name: it is a label value too.
const NAME_LIMIT: usize = 63;

/// A release: infrastructure namespace and release name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    namespace: String,
    name: String,
}

impl Release {
    /// Checks the name: a DNS subdomain of at most 63 characters, as it is part of object names and
    /// the value of a label.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Result<Self, RecordError> {
        let (namespace, name) = (namespace.into(), name.into());
        if name.len() > NAME_LIMIT || !is_dns_subdomain(&name) {
            return Err(RecordError::InvalidName { name });
        }
        Ok(Self { namespace, name })
    }

    /// Infrastructure namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Release name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands for the release in the label on all its objects, and in the Lease's name.
    pub fn hash(&self) -> String {
        labels::release_id(&self.namespace, &self.name)
    }

    /// Name of the release's Lease.
    pub fn lease_name(&self) -> String {
        format!("sortie.release.{}", self.hash())
    }

    /// Name of the head of release number `number`.
    pub fn head_name(&self, number: u64) -> String {
        format!("sortie.release.{}.{number}", self.name)
    }

    /// The release number in the name of a head.
    fn number_in(&self, head_name: &str) -> Option<u64> {
        let (_, number) = head_name.rsplit_once('.')?;
        let number = number.parse().ok()?;
        (self.head_name(number) == head_name).then_some(number)
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

fn is_dns_subdomain(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(is_label)
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The release name cannot be part of object names and labels.
    #[error(
        "release name {name:?} is not usable: it needs 1 to 63 lower-case letters, digits, '-' and '.'"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// Written by a newer version of Sortie, in a format that this one does not know.
    #[error("record {secret} has format {found}, and this version reads up to {FORMAT_VERSION}")]
    NewerFormat {
        /// Name of the head's Secret.
        secret: String,
        /// Its `formatVersion`.
        found: String,
    },
    /// The Secret does not hold what it should.
    #[error("record {secret} is damaged: {what}")]
    Damaged {
        /// Name of the Secret.
        secret: String,
        /// What is wrong with it.
        what: String,
    },
    /// A part that the head names is gone.
    #[error("record {} lacks its part {}", release.head_name(*number), part.secret_name())]
    PartMissing {
        /// The release.
        release: Release,
        /// The release number.
        number: u64,
        /// The part.
        part: PartId,
    },
    /// The release name is in use by somebody else.
    #[error("release {release} belongs to {owner}")]
    AnotherOwner {
        /// The release.
        release: Release,
        /// Whose it is.
        owner: Owner,
    },
    /// The head was changed by a later holder of the lease.
    #[error("release {release} number {number} was taken over by a later task (fence {fence})")]
    TakenOver {
        /// The release.
        release: Release,
        /// The release number.
        number: u64,
        /// Fence in the head, above ours.
        fence: u32,
    },
    /// More than a record may hold.
    #[error("the record of {release} would be {found} bytes; {limit} are allowed")]
    TooLarge {
        /// The release.
        release: Release,
        /// Size found.
        found: usize,
        /// Size allowed.
        limit: usize,
    },
    /// A value that JSON cannot hold.
    #[error("the record of {release} cannot be encoded")]
    Encode {
        /// The release.
        release: Release,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The cluster refused or was away.
    #[error(transparent)]
    Cluster(crate::Error),
}

impl RecordError {
    /// Whether it is about what a record holds, and not about reaching it: the other records of the release can be
    /// read all the same.
    pub(super) const fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::NewerFormat { .. }
                | Self::Damaged { .. }
                | Self::PartMissing { .. }
                | Self::TooLarge { .. }
        )
    }

    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "SRT-C030",
            Self::NewerFormat { .. } => "SRT-C031",
            Self::Damaged { .. } | Self::Encode { .. } => "SRT-C032",
            Self::PartMissing { .. } => "SRT-C033",
            Self::AnotherOwner { .. } => "SRT-C034",
            Self::TakenOver { .. } => "SRT-C035",
            Self::TooLarge { .. } => "SRT-C036",
            Self::Cluster(error) => error.code(),
        }
    }

    /// What the person who asked can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => {
                "Choose another release name: it is part of object names and labels."
            }
            Self::NewerFormat { .. } => "Use the version of Sortie that wrote it, or a later one.",
            Self::Damaged { .. } => {
                "Restore that Secret from a backup. Without one, save it and delete it with kubectl in the namespace of the release; deploying goes on without it."
            }
            Self::PartMissing { .. } => {
                "Restore the part from a backup. Without one, save the record's Secret and delete it with kubectl in the namespace of the release; deploying goes on without it."
            }
            Self::Encode { .. } => "Take the value that the reason names out of the manifest.",
            Self::AnotherOwner { .. } => {
                "Give this service its own release name, for example one with the infrastructure's key in it."
            }
            Self::TakenOver { .. } => "Nothing: the later task carries on with the release.",
            Self::TooLarge { .. } => "Split the manifest into several services.",
            Self::Cluster(error) => error.advice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_names_fit_into_object_names_and_labels() {
        for good in ["a", "web", "release-4f2a", "a.b", &"a".repeat(63)] {
            assert!(Release::new("shop", good).is_ok(), "{good}");
        }
        for bad in ["", "Web", "-a", "a-", "a..b", "a_b", "a/b", &"a".repeat(64)] {
            let error = Release::new("shop", bad).unwrap_err();
            assert_eq!(error.code(), "SRT-C030", "{bad}");
        }
        let longest = Release::new("n".repeat(63), "a".repeat(63)).unwrap();
        assert!(longest.head_name(u64::MAX).len() <= 253);
        assert!(longest.lease_name().len() <= 253);
    }

    #[test]
    fn a_missing_part_is_told_with_the_secrets_to_look_for() {
        let part = PartId::of("hash", b"content");
        let error = RecordError::PartMissing {
            release: Release::new("shop", "web").unwrap(),
            number: 7,
            part: part.clone(),
        };
        assert_eq!(
            error.to_string(),
            format!(
                "record sortie.release.web.7 lacks its part {}",
                part.secret_name()
            )
        );
    }

    #[test]
    fn the_same_name_in_two_namespaces_is_two_releases() {
        let (a, b) = (
            Release::new("a", "web").unwrap(),
            Release::new("b", "web").unwrap(),
        );
        assert_ne!(a.hash(), b.hash());
    }
}
