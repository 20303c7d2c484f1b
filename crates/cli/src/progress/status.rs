//! Statuses as people see them.

use crate::style::Tone;

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its turn has not come.
    Waiting,
    /// It was handed out and nobody has begun.
    Queued,
    /// It is under way.
    Running,
    /// It was told to stop.
    Stopping,
    /// It ended well.
    Succeeded,
    /// It was not needed.
    Skipped,
    /// It failed, and that was to be ignored.
    Ignored,
    /// It failed.
    Failed,
    /// It took too long.
    Expired,
    /// Somebody ended it.
    Aborted,
    /// A status of a newer server.
    Other,
}

impl State {
    /// Reads a status of a node or a unit.
    #[must_use]
    pub fn of(status: &str) -> Self {
        match status {
            "NOT_STARTED" => Self::Waiting,
            "QUEUED" => Self::Queued,
            "RUNNING" => Self::Running,
            "DISCONTINUING" => Self::Stopping,
            "SUCCEEDED" => Self::Succeeded,
            "SKIPPED" => Self::Skipped,
            "IGNORE_FAILED" => Self::Ignored,
            "FAILED" => Self::Failed,
            "EXPIRED" => Self::Expired,
            "ABORTED" => Self::Aborted,
            _ => Self::Other,
        }
    }

    /// One word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "not started",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Ignored => "failed, which is ignored",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Aborted => "aborted",
            Self::Other => "in an unknown state",
        }
    }

    /// One character.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Waiting | Self::Other => "·",
            Self::Queued => "…",
            Self::Running | Self::Stopping => "▸",
            Self::Succeeded => "✓",
            Self::Skipped => "-",
            Self::Ignored => "!",
            Self::Failed | Self::Expired | Self::Aborted => "✗",
        }
    }

    /// What it means.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Waiting | Self::Skipped | Self::Other => Tone::Faint,
            Self::Queued | Self::Ignored | Self::Stopping => Tone::Warning,
            Self::Running => Tone::Active,
            Self::Succeeded => Tone::Good,
            Self::Failed | Self::Expired | Self::Aborted => Tone::Bad,
        }
    }

    /// Whether it ended and did no harm.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped | Self::Ignored)
    }

    /// Whether it ended badly.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Expired | Self::Aborted)
    }
}

/// The tone of a resource's health.
#[must_use]
pub(super) fn tone_of_health(health: &str) -> Tone {
    match health {
        "Healthy" => Tone::Good,
        "Degraded" | "Missing" => Tone::Bad,
        "Progressing" => Tone::Active,
        _ => Tone::Warning,
    }
}
