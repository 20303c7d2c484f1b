//! What a node is doing or how it ended.

use serde::{Deserialize, Serialize};

/// The status of a pipeline, stage, group or step. Serialised as Harness expressions print it (`SUCCEEDED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Its turn has not come.
    NotStarted,
    /// A step that was handed out and that no delegate has begun.
    Queued,
    /// Under way.
    Running,
    /// A step that was told to stop and has not answered.
    Discontinuing,
    /// Done.
    Succeeded,
    /// Not run: its condition was false, or the run took another way. Counts as success.
    Skipped,
    /// It or a child failed, and a failure strategy says to ignore that.
    IgnoreFailed,
    /// It or a child failed.
    Failed,
    /// It or a child took longer than its timeout.
    Expired,
    /// A person or a failure strategy ended the run.
    Aborted,
}

impl Status {
    /// Whether the status can never change again.
    pub fn is_final(self) -> bool {
        self >= Self::Succeeded
    }

    /// Whether the node ended and did no harm: succeeded, skipped or ignored.
    pub fn is_positive(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped | Self::IgnoreFailed)
    }

    /// Whether the node ended by a failure. An abort is none.
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Failed | Self::Expired)
    }
}

/// The status of a node whose children have all ended, in an execution that was not aborted.
pub(crate) fn aggregate(children: &[Status]) -> Status {
    let any = |wanted: Status| children.contains(&wanted);
    if children.iter().all(|status| status.is_positive()) {
        return if any(Status::IgnoreFailed) {
            Status::IgnoreFailed
        } else {
            Status::Succeeded
        };
    }
    let only_expired = any(Status::Expired) && !any(Status::Failed);
    if only_expired {
        Status::Expired
    } else {
        Status::Failed
    }
}
