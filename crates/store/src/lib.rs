//! What the control plane keeps: entities, secrets, users, executions, logs, delegates, tasks and
//! blobs.
//!
//! One small async trait per concept; [`Store`] is all of them together. [`SqliteStore`] is the
//! implementation for one server: a SQLite file in WAL mode and a folder for blobs. The contract
//! suite in `tests/contract.rs` is written against `dyn Store`, so that another database joins by
//! passing it.
//!
//! The crate reads no clock and knows no YAML, no plan and no key: texts, JSON and ciphertexts
//! come in as they are, and times come in as arguments.

mod blobs;
mod delegates;
mod entities;
mod error;
mod executions;
mod logs;
mod retention;
mod secrets;
mod settings;
mod sqlite;
mod steps;
mod tasks;
mod users;

pub use blobs::{BlobHash, Blobs};
pub use delegates::{DelegateRecord, Delegates, Enrolled, Enrolment, JoinToken};
pub use entities::{
    Change, Entities, EntityKey, EntityVersion, EntityWrite, Scope, Stored, StoredOutcome,
};
pub use error::Error;
pub use executions::{
    Advance, Execution, ExecutionEvent, ExecutionFilter, ExecutionHead, Executions, NewExecution,
};
pub use logs::{LogLine, Logs, NewLogLine};
pub use retention::{EndedExecution, Retention};
pub use secrets::{SecretCiphertext, SecretWrite, Secrets};
pub use settings::Settings;
pub use sqlite::SqliteStore;
pub use steps::{NewStep, StepRecord, Steps};
pub use tasks::{NewTask, TaskChange, TaskRecord, Tasks};
pub use users::{ApiToken, User, Users};

/// Everything the control plane keeps.
pub trait Store:
    Entities
    + Secrets
    + Blobs
    + Users
    + Executions
    + Steps
    + Logs
    + Settings
    + Delegates
    + Tasks
    + Retention
    + Send
    + Sync
    + 'static
{
}

impl<T> Store for T where
    T: Entities
        + Secrets
        + Blobs
        + Users
        + Executions
        + Steps
        + Logs
        + Settings
        + Delegates
        + Tasks
        + Retention
        + Send
        + Sync
        + 'static
{
}

/// Result of an operation of the store.
pub type Result<T> = std::result::Result<T, Error>;
