//! The one vocabulary of health.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::line;

/// Health of an object. The order is severity, so that the worst of several is their maximum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Status {
    /// As wished, and the controller has said so for the current generation.
    Healthy,
    /// Stopped on purpose (paused or suspended). Ends a wait.
    Suspended,
    /// On its way, or being deleted.
    Progressing,
    /// Not there.
    Missing,
    /// Failed, or reported as failing by its controller.
    Degraded,
    /// Cannot be judged.
    Unknown,
}

/// Health of an object and one line that says why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The health.
    pub status: Status,
    /// One line that a person understands, such as "1 of 3 updated replicas are ready".
    pub message: String,
}

// === impl Status ===

impl Status {
    /// The worst of several, [`Status::Healthy`] if there is none.
    #[must_use]
    pub fn worst(statuses: impl IntoIterator<Item = Self>) -> Self {
        statuses.into_iter().max().unwrap_or(Self::Healthy)
    }

    /// The name as users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl Verdict ===

impl Verdict {
    /// A verdict; the message is reduced to one bounded line, since parts of it come from the cluster.
    #[must_use]
    pub fn new(status: Status, message: impl AsRef<str>) -> Self {
        Self {
            status,
            message: line::one_line(message.as_ref(), line::MESSAGE_LIMIT),
        }
    }

    /// The verdict on an object that does not exist.
    #[must_use]
    pub fn missing() -> Self {
        Self::new(Status::Missing, "does not exist")
    }

    pub(crate) fn healthy(message: impl AsRef<str>) -> Self {
        Self::new(Status::Healthy, message)
    }

    pub(crate) fn progressing(message: impl AsRef<str>) -> Self {
        Self::new(Status::Progressing, message)
    }

    pub(crate) fn degraded(message: impl AsRef<str>) -> Self {
        Self::new(Status::Degraded, message)
    }

    pub(crate) fn suspended(message: impl AsRef<str>) -> Self {
        Self::new(Status::Suspended, message)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_status_wins() {
        assert_eq!(Status::worst([]), Status::Healthy);
        assert_eq!(
            Status::worst([Status::Healthy, Status::Progressing, Status::Suspended]),
            Status::Progressing
        );
        assert_eq!(
            Status::worst([Status::Degraded, Status::Missing]),
            Status::Degraded
        );
    }

    #[test]
    fn names_are_the_same_in_json_and_text() {
        assert_eq!(serde_json::to_value(Status::Degraded).unwrap(), "Degraded");
        assert_eq!(format!("{:>8}", Status::Unknown), " Unknown");
    }
}
