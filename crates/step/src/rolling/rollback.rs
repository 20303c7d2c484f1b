//! A rolling rollback: bring the last good release back, whole, and remove what the failed one added.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::delete::Doomed;
use sortie_cluster::record::{Status, Stored};
use sortie_manifest::{Object, ObjectId, versioning};

use super::deploy::{record_objects, recorded, wait};
use crate::apply;
use crate::environment::Environment;
use crate::failure::{Failure, FailureKind};
use crate::locked::{Locked, record_failure};
use crate::report::{Level, Unit};
use crate::steady::Pending;
use crate::task::{RollingRollback, Target, Task};
use crate::units::{Bounds, Ended, Units};

/// Kinds that a rollback keeps, because what they hold cannot be brought back.
const STORAGE: [&str; 4] = [
    "PersistentVolumeClaim",
    "PersistentVolume",
    "CustomResourceDefinition",
    "Namespace",
];

/// Roll back. The outputs name the release and the number that was brought back.
pub(crate) async fn run(
    task: &Task,
    options: &RollingRollback,
    env: &Environment,
    units: &Units<'_>,
    bounds: &Bounds,
) -> Result<Value, Ended> {
    let waiting = || "the release is held by another task".to_owned();
    let locked = async {
        units.enter(Unit::Initialize);
        let project = crate::policy::Project {
            organisation: &task.requested_by.organisation,
            project: &task.requested_by.project,
        };
        env.policy
            .check_namespace(project, &task.release.namespace)
            .map_err(|error| {
                let hint = "ask the cluster's owner to change the policy";
                Failure::new(
                    FailureKind::Authorization,
                    "SRT-T012",
                    error.to_string(),
                    hint,
                )
            })?;
        Ok(Locked::acquire(task, env).await?)
    };
    let locked = bounds
        .run(env, std::future::pending(), waiting, locked)
        .await?;
    let pending = Pending::default();
    let work = restore(task, options, env, units, &locked, &pending);
    let result = bounds
        .run(env, locked.lost(), || pending.describe(), work)
        .await;
    if result.is_ok() {
        locked.collect(env).await;
    }
    locked.release().await;
    result
}

/// What is to be brought back, and in whose place.
#[derive(Debug)]
struct Plan<'a> {
    good: &'a Stored,
    /// The newest record: what it added and `good` lacks is removed.
    failed: &'a Stored,
    /// The restored content gets a number of its own: somebody chose it although the newest is good.
    as_new_release: bool,
}

/// The decision, or the reason why there is nothing to do.
fn decide<'a>(
    target: Target,
    locked: &'a Locked,
    task: &Task,
) -> Result<Result<Plan<'a>, String>, Failure> {
    let history = &locked.history;
    let Some(newest) = history.newest() else {
        return Ok(Err(
            "there is no release yet: nothing to roll back".to_owned()
        ));
    };
    let newest_number = newest.head.number;
    match target {
        Target::Number(number) => {
            let good = history
                .number(number)
                .ok_or_else(|| no_such_number(number, locked))?;
            let as_new_release = newest.head.is_good() || number != newest_number;
            Ok(Ok(Plan {
                good,
                failed: newest,
                as_new_release,
            }))
        }
        Target::Below(failed) if failed < newest_number => {
            // Its own release is not the newest any more: undoing it would undo somebody else's.
            Err(Failure::new(
                FailureKind::Unknown,
                "SRT-T020",
                format!("release number {failed} was followed by number {newest_number} meanwhile"),
                "look at the newer release; roll it back if it is wrong as well",
            ))
        }
        Target::Below(failed) if failed > newest_number => Ok(Err(format!(
            "release number {failed} was never begun: nothing to roll back"
        ))),
        Target::Below(_) => Ok(below(newest, locked)),
        Target::LastGood => {
            let execution = &task.requested_by.execution;
            let other = !execution.is_empty() && newest.head.asked_by.execution != *execution;
            if newest.head.status == Status::Succeeded || (newest.head.is_good() && other) {
                let text = format!(
                    "the newest release, number {newest_number}, is good: nothing to roll back"
                );
                return Ok(Err(text));
            }
            Ok(below(newest, locked))
        }
    }
}

fn below<'a>(failed: &'a Stored, locked: &'a Locked) -> Result<Plan<'a>, String> {
    match locked.history.last_good(Some(failed.head.number)) {
        Some(good) => Ok(Plan {
            good,
            failed,
            as_new_release: false,
        }),
        None => Err(format!(
            "release number {} failed and no earlier one succeeded: nothing is removed",
            failed.head.number
        )),
    }
}

fn no_such_number(number: u64, locked: &Locked) -> Failure {
    let kept: Vec<String> = locked
        .history
        .heads()
        .map(|head| head.number.to_string())
        .collect();
    Failure::new(
        FailureKind::Configuration,
        "SRT-T021",
        format!("there is no release number {number}"),
        format!("the kept numbers are {}", kept.join(", ")),
    )
}

async fn restore(
    task: &Task,
    options: &RollingRollback,
    env: &Environment,
    units: &Units<'_>,
    locked: &Locked,
    pending: &Pending,
) -> Result<Value, Ended> {
    let sink = env.sink.as_ref();
    let plan = match decide(options.target, locked, task)? {
        Ok(plan) => plan,
        Err(reason) => {
            sink.log(Unit::Initialize, Level::Info, &reason);
            return Ok(
                json!({"releaseName": task.release.name, "rolledBack": false, "reason": reason}),
            );
        }
    };
    let good = plan.good.head.number;
    let objects = objects_of(plan.good, locked).await?;
    let removals = removals(&plan, locked, options.delete_storage, sink).await?;
    let mut stored = begin(&plan, task, locked, &objects).await?;

    units.enter(Unit::Rollback);
    let text = format!(
        "bringing release number {good} back: {} objects",
        objects.len()
    );
    sink.log(Unit::Rollback, Level::Info, &text);
    let result = bring_back(task, env, units, locked, &mut stored, objects, pending).await;
    // What the failed release added goes even when the restored one is not healthy: rollback stops over nothing.
    units.enter(Unit::DeleteFailedReleaseResources);
    let removed = apply::remove(env, locked, &removals).await;
    finish(&plan, locked, &mut stored, &result).await?;
    result?;
    removed?;
    units.enter(Unit::WrapUp);
    sink.log(
        Unit::WrapUp,
        Level::Info,
        &format!("release number {good} is back"),
    );
    Ok(json!({
        "releaseName": task.release.name,
        "releaseNumber": good,
        "namespace": task.release.namespace,
        "rolledBack": true,
    }))
}

/// Write the good release again and wait for it. What cannot be written is reported at the end and stops nothing.
async fn bring_back(
    task: &Task,
    env: &Environment,
    units: &Units<'_>,
    locked: &Locked,
    stored: &mut Stored,
    objects: Vec<Object>,
    pending: &Pending,
) -> Result<(), Ended> {
    let (planned, refusals) = apply::try_out_each(env, &task.release, objects).await?;
    let written = apply::whole_set(env, locked, stored, planned, Unit::Rollback).await?;
    units.enter(Unit::WaitForSteadyState);
    wait(env, &task.release, &written, pending).await?;
    if refusals.is_empty() {
        return Ok(());
    }
    Err(apply::refused(env, Unit::Rollback, &refusals).into())
}

async fn objects_of(stored: &Stored, locked: &Locked) -> Result<Vec<Object>, Failure> {
    let values = locked.records.objects(&stored.head).await;
    recorded(
        &stored.head,
        values.map_err(|error| record_failure(&error))?,
    )
}

/// Journal the beginning: in the failed head, or in a new one when a number of its own was asked for.
async fn begin(
    plan: &Plan<'_>,
    task: &Task,
    locked: &Locked,
    objects: &[Object],
) -> Result<Stored, Failure> {
    let now = clock::now();
    let text = format!("rollback to number {} begun", plan.good.head.number);
    if !plan.as_new_release {
        let mut stored = plan.failed.clone();
        if stored.head.status == Status::InProgress {
            stored.head.status = Status::Failed;
            stored.head.message = "interrupted, then rolled back".to_owned();
        }
        stored.head.note("Rollback", "", text, now);
        locked.update(&mut stored).await?;
        return Ok(stored);
    }
    let mut head = locked.next_head(task);
    head.inventory.clone_from(&plan.good.head.inventory);
    head.manifest_hash.clone_from(&plan.good.head.manifest_hash);
    head.note("Rollback", "", text, now);
    record_objects(locked, head, objects).await
}

async fn finish(
    plan: &Plan<'_>,
    locked: &Locked,
    stored: &mut Stored,
    result: &Result<(), Ended>,
) -> Result<(), Failure> {
    let head = &mut stored.head;
    let good = plan.good.head.number;
    let text = match result {
        Ok(()) => format!("rolled back to number {good}"),
        Err(_) => format!("rollback to number {good} failed"),
    };
    head.note("Rollback", "", text, clock::now());
    if plan.as_new_release {
        head.status = if result.is_ok() {
            Status::Succeeded
        } else {
            Status::Failed
        };
        head.message = format!("rollback to number {good}");
    } else if head.is_good() && result.is_ok() {
        // A release that had succeeded and was undone by a later step of its pipeline is good no more.
        head.status = Status::Failed;
        head.message = format!("rolled back to number {good}");
    }
    let number = head.number;
    locked.update(stored).await?;
    if plan.as_new_release && result.is_ok() {
        let superseded = locked
            .records
            .supersede(&locked.history, number, locked.guard())
            .await;
        superseded.map_err(|error| record_failure(&error))?;
    }
    Ok(())
}

/// What the failed release added. Storage stays unless asked for; versioned ConfigMaps and
/// Secrets stay for pods that may still name them.
async fn removals(
    plan: &Plan<'_>,
    locked: &Locked,
    delete_storage: bool,
    sink: &dyn crate::report::Sink,
) -> Result<Vec<Doomed>, Failure> {
    let kept: BTreeSet<&ObjectId> = plan
        .good
        .head
        .inventory
        .iter()
        .map(|tracked| &tracked.id)
        .collect();
    let versioned: BTreeSet<(String, String)> = objects_of(plan.failed, locked)
        .await?
        .iter()
        .filter(|object| object.annotation(versioning::ORIGINAL_NAME).is_some())
        .map(|object| (object.kind().to_owned(), object.name().to_owned()))
        .collect();
    let release = Some(locked.records.release().hash());
    let mut doomed = Vec::new();
    for tracked in &plan.failed.head.inventory {
        let id = &tracked.id;
        if kept.contains(id) || versioned.contains(&(id.kind.clone(), id.name.clone())) {
            continue;
        }
        if STORAGE.contains(&id.kind.as_str()) && !delete_storage {
            sink.log(
                Unit::Initialize,
                Level::Warning,
                &format!("{id} was added by the failed release and is kept"),
            );
            continue;
        }
        let (id, uid, release) = (id.clone(), tracked.uid.clone(), release.clone());
        doomed.push(Doomed { id, uid, release });
    }
    Ok(doomed)
}
