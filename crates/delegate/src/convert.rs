//! Task messages and what the `step` crate works with: the only place where both are known.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use sortie_health::Status as Health;
use sortie_proto::v1;
use sortie_step::report::{Change, Level, ObjectRow, UnitStatus};
use sortie_step::task::{HookAction, HookTime, Owner, Release, RequestedBy, ServiceHook, Task};
use sortie_step::{Failure, FailureKind, Outcome};

use self::action::Files;

mod action;
mod outputs;
mod traffic;

/// A step without a timeout of its own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// A task message that cannot be carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that is always there is not.
    #[error("the task has no {0}")]
    Missing(&'static str),
    /// A field has a value that is of a newer protocol, or says nothing.
    #[error("the task's {0} is not known to this delegate; upgrade it")]
    Unknown(&'static str),
    /// The step type is of a newer protocol.
    #[error("the step type is not known to this delegate; upgrade it")]
    UnknownStep,
    /// The context is not a JSON object.
    #[error("the context of the task is not JSON")]
    Context,
}

/// Blobs of a task by their hash.
pub type Blobs = HashMap<String, Vec<u8>>;

/// A task as the `step` crate takes it.
///
/// # Errors
/// Something is missing or of an unknown kind.
pub fn task(task: v1::Task, blobs: &Blobs) -> Result<Task, Malformed> {
    let context = match &task.context {
        None => Value::Object(serde_json::Map::new()),
        Some(blob) => {
            let bytes = blobs
                .get(&blob.sha256)
                .ok_or(Malformed::Missing("context"))?;
            serde_json::from_slice(bytes).map_err(|_| Malformed::Context)?
        }
    };
    let timeout = timeout(&task);
    let step = task.step.ok_or(Malformed::UnknownStep)?;
    let release = release(step.release().cloned())?;
    let files = Files { blobs, context };
    let action = files.action(step)?;
    let requested_by = task.requested_by.unwrap_or_default();
    Ok(Task {
        id: task.id,
        epoch: task.epoch,
        release,
        requested_by: RequestedBy {
            organisation: requested_by.organisation,
            project: requested_by.project,
            user: requested_by.user,
            execution: requested_by.execution_id,
        },
        undo_changes: task.undo_changes,
        hooks: hooks(task.hooks)?,
        timeout,
        action,
    })
}

/// Whether [`task`] has a chance, told before any blob is there.
///
/// # Errors
/// The step is unknown, or its release is not named.
pub fn check(task: &v1::Task) -> Result<(), Malformed> {
    let step = task.step.as_ref().ok_or(Malformed::UnknownStep)?;
    release(step.release().cloned()).map(drop)
}

/// How long the task may take, from its start.
#[must_use]
pub const fn timeout(task: &v1::Task) -> Duration {
    match task.timeout_ms {
        0 => DEFAULT_TIMEOUT,
        ms => Duration::from_millis(ms),
    }
}

fn release(release: Option<v1::KubernetesRelease>) -> Result<Release, Malformed> {
    let release = release.ok_or(Malformed::Missing("release"))?;
    if release.namespace.is_empty() {
        return Err(Malformed::Missing("release namespace"));
    }
    if release.name.is_empty() {
        return Err(Malformed::Missing("release name"));
    }
    let owner = Owner {
        service: release.service_id,
        environment: release.environment_id,
        infrastructure: release.infrastructure_id,
    };
    Ok(Release {
        namespace: release.namespace,
        name: release.name,
        owner,
    })
}

fn hooks(hooks: Vec<v1::ServiceHook>) -> Result<Vec<ServiceHook>, Malformed> {
    let hook = |hook: v1::ServiceHook| {
        // Not by the generated iterator, which leaves out what it does not know.
        let known = |action: &i32| match v1::ServiceHookAction::try_from(*action) {
            Ok(v1::ServiceHookAction::FetchFiles) => Ok(HookAction::FetchFiles),
            Ok(v1::ServiceHookAction::TemplateManifest) => Ok(HookAction::TemplateManifest),
            Ok(v1::ServiceHookAction::SteadyStateCheck) => Ok(HookAction::SteadyStateCheck),
            Ok(v1::ServiceHookAction::Unspecified) | Err(_) => {
                Err(Malformed::Unknown("action of a hook"))
            }
        };
        let actions = hook.actions.iter().map(known);
        Ok(ServiceHook {
            actions: actions.collect::<Result<_, _>>()?,
            time: match hook.after {
                false => HookTime::Before,
                true => HookTime::After,
            },
            id: hook.id,
            script: hook.script,
        })
    };
    hooks.into_iter().map(hook).collect()
}

/// A step's end as a task's result.
#[must_use]
pub fn outcome(outcome: Outcome) -> v1::task_result::Outcome {
    match outcome {
        Outcome::Succeeded { outputs } => v1::task_result::Outcome::Succeeded(v1::Succeeded {
            outputs_json: outputs::fitting(outputs),
        }),
        Outcome::Failed(failure) => v1::task_result::Outcome::Failed(failed(failure)),
        Outcome::Aborted => v1::task_result::Outcome::Aborted(v1::Aborted {
            outputs_json: String::new(),
        }),
    }
}

fn failed(failure: Failure) -> v1::Failed {
    let Failure {
        kind,
        code,
        message,
        hint,
        release_number,
    } = failure;
    let kind = match kind {
        FailureKind::Connectivity => v1::FailureType::Connectivity,
        FailureKind::Authentication => v1::FailureType::Authentication,
        FailureKind::Authorization => v1::FailureType::Authorization,
        FailureKind::Timeout => v1::FailureType::Timeout,
        FailureKind::Configuration | FailureKind::Unknown => v1::FailureType::Unknown,
    };
    let outputs = release_number.map(|number| serde_json::json!({ "releaseNumber": number }));
    v1::Failed {
        failure_type: kind.into(),
        code,
        message,
        hint,
        outputs_json: outputs
            .map(|outputs| outputs.to_string())
            .unwrap_or_default(),
    }
}

/// A unit's status on the wire.
#[must_use]
pub const fn unit_status(status: UnitStatus) -> v1::UnitStatus {
    match status {
        UnitStatus::Running => v1::UnitStatus::Running,
        UnitStatus::Succeeded => v1::UnitStatus::Succeeded,
        UnitStatus::Failed | UnitStatus::Aborted => v1::UnitStatus::Failed,
    }
}

/// A log level on the wire.
#[must_use]
pub const fn log_level(level: Level) -> v1::LogLevel {
    match level {
        Level::Info => v1::LogLevel::Info,
        Level::Warning => v1::LogLevel::Warn,
        Level::Error => v1::LogLevel::Error,
    }
}

/// An object's row on the wire.
#[must_use]
pub fn row(row: ObjectRow) -> v1::ResourceStatus {
    let health = match row.health {
        Health::Healthy => v1::Health::Healthy,
        Health::Progressing => v1::Health::Progressing,
        Health::Degraded => v1::Health::Degraded,
        Health::Suspended => v1::Health::Suspended,
        Health::Missing => v1::Health::Missing,
        Health::Unknown => v1::Health::Unknown,
    };
    let change = match row.change {
        Change::Created => v1::Change::Created,
        Change::Configured => v1::Change::Configured,
        Change::Unchanged => v1::Change::Unchanged,
        Change::Deleted => v1::Change::Deleted,
    };
    v1::ResourceStatus {
        group: row.id.group,
        kind: row.id.kind,
        namespace: row.id.namespace.unwrap_or_default(),
        name: row.id.name,
        health: health.into(),
        message: row.message,
        change: change.into(),
    }
}

#[cfg(test)]
mod step_tests;
#[cfg(test)]
mod tests;
