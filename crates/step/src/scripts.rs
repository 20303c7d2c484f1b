//! Running users' scripts away from everything that this program holds. Pure: who runs them is told by the program.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use sortie_render::SourceFile;

use crate::failure::{Failure, FailureKind};

/// Runs scripts where they can reach nothing that belongs to this program.
#[async_trait]
pub trait Scripts: Send + Sync + fmt::Debug {
    /// Run a script to its end and return the files that it leaves in its folder. When the future is dropped, the
    /// script and everything that it has started is ended. `hear` returns at once.
    async fn run(
        &self,
        script: Script,
        hear: &(dyn for<'a> Fn(Heard<'a>) + Send + Sync),
    ) -> Result<Vec<SourceFile>, ScriptError>;
}

/// A script with what it gets.
#[derive(Debug)]
pub struct Script {
    /// For bash.
    pub text: SecretString,
    /// What is in its folder.
    pub files: Vec<SourceFile>,
    /// Its environment, beside what every script gets.
    pub variables: Vec<(&'static str, String)>,
    /// It is ended after this time, should nobody do it before.
    pub limit: Duration,
}

/// What is heard of a script.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// It waits, and why.
    Waiting(&'a str),
    /// A line that it has written, as it is.
    Line(&'a str),
}

/// Why a script came to no good end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Nobody is there to run it.
    #[error("no runner is connected to the delegate for {} s", after.as_secs())]
    NoRunner {
        /// How long it was waited for.
        after: Duration,
    },
    /// It never ran.
    #[error("it could not be started: {reason}")]
    NotStarted {
        /// Why.
        reason: String,
    },
    /// It ended with an error.
    #[error("it ended with exit code {code}")]
    Exit {
        /// Its exit code.
        code: i32,
    },
    /// It was killed.
    #[error("it was ended by signal {signal}")]
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// Whoever ran it is gone, and it with them.
    #[error("the runner ended while it was running")]
    Lost,
    /// What it left cannot be used.
    #[error("what it left in its folder cannot be used: {reason}")]
    Files {
        /// Why.
        reason: String,
    },
}

impl ScriptError {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRunner { .. } => "SRT-T081",
            Self::NotStarted { .. } => "SRT-T082",
            Self::Exit { .. } | Self::Signal { .. } => "SRT-T083",
            Self::Lost => "SRT-T084",
            Self::Files { .. } => "SRT-T085",
        }
    }

    /// The failure of the step that `hook` was part of, with the last lines that it wrote.
    pub(crate) fn failure(&self, hook: &str, last_lines: &[String]) -> Failure {
        let (kind, hint) = match self {
            Self::NoRunner { .. } => (
                FailureKind::Connectivity,
                "look at the container runner of the delegate's pod",
            ),
            Self::NotStarted { .. } => (
                FailureKind::Configuration,
                "look at the image and the volumes of the container runner; it needs bash",
            ),
            Self::Exit { .. } | Self::Signal { .. } => {
                (FailureKind::Unknown, "correct the script, or what it calls")
            }
            Self::Lost => (
                FailureKind::Unknown,
                "raise runner.resources.limits.memory in the delegate's chart if it ran out of memory, or run the step again",
            ),
            Self::Files { .. } => (
                FailureKind::Configuration,
                "leave only files and folders in the folder, within its limits",
            ),
        };
        let mut text = format!("{hook}: {self}");
        if !last_lines.is_empty() {
            text.push_str("; it said: ");
            text.push_str(&last_lines.join(" / "));
        }
        Failure::new(kind, self.code(), text, hint)
    }
}
