//! Task messages and what the `step` crate works with: the only place where both are known.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use sortie_health::Status as Health;
use sortie_proto::v1;
use sortie_render::SourceFile;
use sortie_render::git::Reference;
use sortie_step::report::{Change, Level, ObjectRow, UnitStatus};
use sortie_step::task::{
    Action, Git, Owner, Prune, Release, RequestedBy, RollingDeploy, RollingRollback, Source,
    Target, Task, Versioning,
};
use sortie_step::{Failure, FailureKind, Outcome};

/// A step without a timeout of its own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// A task message that cannot be carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that is always there is not.
    #[error("the task has no {0}")]
    Missing(&'static str),
    /// The step type is of a newer protocol.
    #[error("the step type is not known to this delegate; upgrade it")]
    UnknownStep,
    /// The context is not a JSON object.
    #[error("the context of the task is not JSON")]
    Context,
}

/// Blobs of a task by their hash.
pub type Blobs = HashMap<String, Vec<u8>>;

/// The blobs that must be fetched before [`task`] can be called.
#[must_use]
pub fn blobs(task: &v1::Task) -> Vec<v1::BlobRef> {
    let sources = match &task.step {
        Some(v1::task::Step::KubernetesRollingDeploy(deploy)) => {
            deploy.manifests.iter().chain(&deploy.values).collect()
        }
        _ => Vec::new(),
    };
    let files = sources
        .into_iter()
        .filter_map(|source| match &source.from {
            Some(v1::source::From::Inline(inline)) => Some(&inline.files),
            _ => None,
        })
        .flatten()
        .filter_map(|file| match &file.content {
            Some(v1::inline_file::Content::Blob(blob)) => Some(blob.clone()),
            _ => None,
        });
    task.context.iter().cloned().chain(files).collect()
}

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
    let (release, action) = match task.step.ok_or(Malformed::UnknownStep)? {
        v1::task::Step::KubernetesRollingDeploy(deploy) => rolling_deploy(deploy, blobs, context)?,
        v1::task::Step::KubernetesRollingRollback(rollback) => rolling_rollback(rollback)?,
    };
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
        undo_changes: false,
        timeout,
        action,
    })
}

/// Whether [`task`] has a chance, told before any blob is there.
///
/// # Errors
/// The step is unknown, or its release is not named.
pub fn check(task: &v1::Task) -> Result<(), Malformed> {
    let named = match task.step.as_ref().ok_or(Malformed::UnknownStep)? {
        v1::task::Step::KubernetesRollingDeploy(deploy) => &deploy.release,
        v1::task::Step::KubernetesRollingRollback(rollback) => &rollback.release,
    };
    release(named.clone()).map(drop)
}

/// How long the task may take, from its start.
#[must_use]
pub const fn timeout(task: &v1::Task) -> Duration {
    match task.timeout_ms {
        0 => DEFAULT_TIMEOUT,
        ms => Duration::from_millis(ms),
    }
}

fn rolling_deploy(
    deploy: v1::KubernetesRollingDeploy,
    blobs: &Blobs,
    context: Value,
) -> Result<(Release, Action), Malformed> {
    let versioning = match deploy.versioning() {
        v1::Versioning::Unspecified | v1::Versioning::ContentHash => Versioning::ContentHash,
        v1::Versioning::ReleaseNumber => Versioning::ReleaseNumber,
        v1::Versioning::Off => Versioning::Off,
    };
    let sources = |sources: Vec<v1::Source>| -> Result<Vec<Source>, Malformed> {
        sources
            .into_iter()
            .map(|source| self::source(source, blobs))
            .collect()
    };
    let action = RollingDeploy {
        manifests: sources(deploy.manifests)?,
        values: sources(deploy.values)?,
        versioning,
        adopt: deploy.adopt,
        replace: deploy.replace,
        prune: deploy.prune.then_some(Prune {
            limit: deploy.prune_limit,
        }),
        wait_for_jobs: !deploy.skip_job_wait,
        context,
        dry_run: false,
    };
    let (release, _) = release(deploy.release)?;
    Ok((release, Action::RollingDeploy(action)))
}

fn rolling_rollback(
    rollback: v1::KubernetesRollingRollback,
) -> Result<(Release, Action), Malformed> {
    let (release, number) = release(rollback.release)?;
    let target = number.map_or(Target::LastGood, Target::Below);
    let action = RollingRollback {
        target,
        delete_storage: rollback.delete_storage,
    };
    Ok((release, Action::RollingRollback(action)))
}

fn release(release: Option<v1::KubernetesRelease>) -> Result<(Release, Option<u64>), Malformed> {
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
    Ok((
        Release {
            namespace: release.namespace,
            name: release.name,
            owner,
        },
        release.number,
    ))
}

fn source(source: v1::Source, blobs: &Blobs) -> Result<Source, Malformed> {
    match source.from.ok_or(Malformed::Missing("source"))? {
        v1::source::From::Git(git) => Ok(Source::Git(Git {
            reference: match git.revision.ok_or(Malformed::Missing("Git revision"))? {
                v1::git_source::Revision::Branch(name) => Reference::Branch(name),
                v1::git_source::Revision::Commit(id) => Reference::Commit(id),
                v1::git_source::Revision::Tag(name) => Reference::Tag(name),
            },
            url: git.url,
            paths: git.paths,
            credentials: (!git.password_secret.is_empty())
                .then_some((git.username, git.password_secret)),
        })),
        v1::source::From::Inline(inline) => {
            let files = inline.files.into_iter().map(|file| {
                let data = match file.content {
                    Some(v1::inline_file::Content::Data(data)) => data,
                    Some(v1::inline_file::Content::Blob(blob)) => blobs
                        .get(&blob.sha256)
                        .cloned()
                        .ok_or(Malformed::Missing("file content"))?,
                    None => Vec::new(),
                };
                Ok(SourceFile::new(file.path, data))
            });
            Ok(Source::Inline(files.collect::<Result<_, _>>()?))
        }
    }
}

/// A step's end as a task's result.
#[must_use]
pub fn outcome(outcome: Outcome) -> v1::task_result::Outcome {
    match outcome {
        Outcome::Succeeded { outputs } => v1::task_result::Outcome::Succeeded(v1::Succeeded {
            outputs_json: outputs.to_string(),
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
mod tests;
