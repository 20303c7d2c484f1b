//! The seam between the engine, which decides what to run, and the agent side, which finds a
//! delegate and talks to it.
//!
//! The engine calls a [`Dispatcher`]; the agent side calls [`TaskEvents`] and [`Resolver`]. Both
//! sides may repeat a call after a restart; a repeated call changes nothing.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sortie_proto::v1;
use sortie_store::Scope;
use zeroize::Zeroizing;

/// Work for a delegate.
#[derive(Debug, Clone)]
pub struct TaskRequest {
    /// UUID chosen by the engine: the same step and attempt always has the same one.
    pub id: String,
    /// Project of the execution; delegates of this project, its organisation or the account serve it.
    pub scope: Scope,
    /// A delegate's tags must contain all of these.
    pub selectors: Vec<String>,
    /// Whether another holder can go on where a lost one stopped.
    pub resumable: bool,
    /// When it must have ended, time in the queue included.
    pub deadline: Timestamp,
    /// What to do. `id` is the same as above; `epoch` is set when it is offered.
    pub task: v1::Task,
}

/// Finds a delegate for a task. Implemented by the agent side.
#[async_trait]
pub trait Dispatcher: Send + Sync {
    /// Stores a task and offers it to a delegate as soon as one fits. Enqueuing an id again is
    /// harmless: a task that has ended meanwhile is reported by [`TaskEvents::finished`] once more.
    async fn enqueue(&self, request: TaskRequest) -> Result<(), DispatchError>;

    /// Asks to stop a task: a queued one ends at once, a running one when its delegate says so. Both
    /// are reported by [`TaskEvents::finished`]. Unknown and ended tasks are left alone.
    async fn cancel(&self, task: &str) -> Result<(), DispatchError>;
}

/// Hears what becomes of tasks. Implemented by the engine. When a call returns an error it was not
/// stored and is made again later; until then the delegate gets no acknowledgement.
#[async_trait]
pub trait TaskEvents: Send + Sync {
    /// Nobody can take the task now; `reason` says of each delegate why not, in one line for people.
    /// An observer that shows nobody may ignore it.
    async fn waiting(&self, task: &str, reason: &str) -> Result<(), TaskEventError> {
        let (_, _) = (task, reason);
        Ok(())
    }

    /// A delegate accepted the task, `waited` after it was queued; `delegate` is its name, for people.
    async fn accepted(
        &self,
        task: &str,
        delegate: &str,
        waited: Duration,
    ) -> Result<(), TaskEventError>;

    /// Another delegate is to carry the task on, or does so. An observer that shows nobody may ignore it.
    async fn changed_hands(
        &self,
        task: &str,
        epoch: u64,
        handover: &Handover,
    ) -> Result<(), TaskEventError> {
        let (_, _, _) = (task, epoch, handover);
        Ok(())
    }

    /// The task ended, once and for all. Tasks that no delegate ran in time end here as well.
    async fn finished(&self, task: &str, outcome: TaskOutcome) -> Result<(), TaskEventError>;

    /// Where the task stands; an older revision never follows a newer one.
    async fn progress(&self, progress: v1::Progress) -> Result<(), TaskEventError>;

    /// The resources the task watches.
    async fn resources(&self, resources: v1::ResourceStatuses) -> Result<(), TaskEventError>;

    /// Lines of the task's log.
    async fn log(
        &self,
        task: &str,
        epoch: u64,
        lines: Vec<v1::LogLine>,
    ) -> Result<(), TaskEventError>;
}

/// Answers what a delegate asks for during a task. Implemented by the engine.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// One answer per name, in the same order. Every name is authorised against the project of the
    /// task's execution. Secrets leave the server only sealed to the delegate's key.
    async fn resolve(&self, task: &str, names: &[String]) -> Vec<Resolution>;
}

/// How a started task goes from one delegate to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handover {
    /// Its delegate is gone.
    Lost,
    /// Its delegate shuts down and has stopped it at a safe place.
    HandedBack,
    /// The next one carries it on.
    Resumed {
        /// Counts the delegates that accepted it: 2 for the first that resumes it.
        attempt: u32,
        /// Name of the delegate.
        delegate: String,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskOutcome {
    /// It did what it should.
    Succeeded(v1::Succeeded),
    /// It did not, or no delegate could be found for it.
    Failed(v1::Failed),
    /// It stopped because it was told to.
    Aborted(v1::Aborted),
}

/// What a name stands for.
#[derive(Clone)]
pub enum Resolution {
    /// A value that is no secret.
    Value(serde_json::Value),
    /// A secret's bytes.
    Secret(Zeroizing<Vec<u8>>),
    /// The task may not have it; one line for people.
    Denied(String),
    /// There is no such value.
    Undefined,
}

impl std::fmt::Debug for Resolution {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => formatter.write_str("Value(…)"),
            Self::Secret(_) => formatter.write_str("Secret(…)"),
            Self::Denied(reason) => formatter.debug_tuple("Denied").field(reason).finish(),
            Self::Undefined => formatter.write_str("Undefined"),
        }
    }
}

/// A task could not be queued or cancelled.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} the task {task}")]
pub struct DispatchError {
    /// `queue` or `cancel`.
    pub operation: &'static str,
    /// Id of the task.
    pub task: String,
    /// What the store said.
    #[source]
    pub source: sortie_store::Error,
}

/// What became of a task could not be stored; it is to be said again.
#[derive(Debug, thiserror::Error)]
#[error("could not store what became of the task {task}")]
pub struct TaskEventError {
    /// Id of the task.
    pub task: String,
    /// What the store said.
    #[source]
    pub source: sortie_store::Error,
}
