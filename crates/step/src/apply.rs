//! Writing a set of objects: tried out as a whole, then stage by stage with barriers, journalled in the record.

use std::time::Duration;

use serde_json::Value;
use sortie_cluster::apply::{self, Applied, Planned, Scope, Target};
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::Stored;
use sortie_cluster::{Cause, Error, Resource, clock};
use sortie_health::Status as Health;
use sortie_manifest::{Object, ObjectId, annotations, labels, order, workload};

use crate::environment::Environment;
use crate::failure::{Failure, chain};
use crate::locked::Locked;
use crate::report::{Change, Level, ObjectRow, Unit};
use crate::steady::{self, Awaited, Pending};
use crate::task::Release;

/// How long a deletion may take before its finalizers are named.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// An object after its write.
#[derive(Debug)]
pub(crate) struct Written {
    id: ObjectId,
    resource: Resource,
    answer: Value,
    change: Change,
    awaited: bool,
}

/// The value of the release's label.
pub(crate) fn release_id(release: &Release) -> String {
    labels::release_id(&release.namespace, &release.name)
}

/// Let the API server judge every object of the set. Nothing is written.
///
/// # Errors
/// What it refuses: all of it in the log, the first in the failure.
pub(crate) async fn try_out(
    env: &Environment,
    release: &Release,
    objects: Vec<Object>,
    adopt: bool,
) -> Result<Vec<Planned>, Failure> {
    let targets = locate(env, release, objects).await?;
    let scope = Scope {
        release: release_id(release),
        adopt,
    };
    let planned = env.cluster.plan(targets, &scope).await;
    planned.map_err(|errors| refused(env, Unit::Initialize, &errors))
}

/// As [`try_out`], for a rollback: what is refused is left out and comes back as errors.
pub(crate) async fn try_out_each(
    env: &Environment,
    release: &Release,
    objects: Vec<Object>,
) -> Result<(Vec<Planned>, Vec<Error>), Failure> {
    let targets = locate(env, release, objects).await?;
    let scope = Scope {
        release: release_id(release),
        adopt: false,
    };
    if let Ok(planned) = env.cluster.plan(targets.clone(), &scope).await {
        return Ok((planned, Vec::new()));
    }
    let (mut accepted, mut refusals) = (Vec::new(), Vec::new());
    for target in targets {
        match env.cluster.plan(vec![target], &scope).await {
            Ok(planned) => accepted.extend(planned),
            Err(errors) => refusals.extend(errors),
        }
    }
    Ok((accepted, refusals))
}

async fn locate(
    env: &Environment,
    release: &Release,
    objects: Vec<Object>,
) -> Result<Vec<Target>, Failure> {
    let targets = env.cluster.locate(objects, &release.namespace).await;
    targets.map_err(|errors| refused(env, Unit::Initialize, &errors))
}

/// Write the set stage by stage. A stage begins when the one before is done and, for namespaces and definitions, in
/// force. Every object of a stage is tried; a stage with a failure is the last.
pub(crate) async fn whole_set(
    env: &Environment,
    locked: &Locked,
    stored: &mut Stored,
    planned: Vec<Planned>,
    unit: Unit,
) -> Result<Vec<Written>, Failure> {
    let release_id = locked.records.release().hash();
    let mut all = Vec::new();
    for stage in stages(planned) {
        let Some(first) = stage.first() else { continue };
        let name = order::stage(&first.target.id.group, &first.target.id.kind);
        let results = env.cluster.apply_stage(&stage, locked.guard()).await;
        let (mut written, mut errors) = (Vec::new(), Vec::new());
        for (planned, result) in stage.iter().zip(results) {
            match result {
                Ok(applied) => written.push(report(env, unit, planned, applied)),
                Err(error) => errors.push(error),
            }
        }
        for object in &written {
            let uid = object
                .answer
                .pointer("/metadata/uid")
                .and_then(Value::as_str);
            stored.head.track(object.id.clone(), uid.map(str::to_owned));
        }
        let what = format!("{} of {} objects written", written.len(), stage.len());
        stored
            .head
            .note(unit.name(), &format!("{name:?}"), what, clock::now());
        locked.update(stored).await?;
        if !errors.is_empty() {
            return Err(refused(env, unit, &errors));
        }
        if name == order::Stage::Foundation {
            in_force(env, &release_id, &written).await?;
        }
        all.extend(written);
    }
    Ok(all)
}

/// Wait until namespaces and definitions can be used.
async fn in_force(env: &Environment, release_id: &str, written: &[Written]) -> Result<(), Failure> {
    let awaited = written.iter().map(Written::to_awaited).collect();
    let pending = Pending::default();
    let waited = steady::wait(
        &env.cluster,
        release_id,
        awaited,
        env.sink.as_ref(),
        &pending,
    );
    waited.await.map_err(|stop| match stop {
        steady::Stop::Failed { cause, last_words } => Failure::health(&cause, &last_words),
        steady::Stop::Cluster(error) => Failure::cluster(&error),
    })
}

fn stages(planned: Vec<Planned>) -> Vec<Vec<Planned>> {
    let mut stages: Vec<(order::Stage, Vec<Planned>)> = Vec::new();
    for object in planned {
        let stage = order::stage(&object.target.id.group, &object.target.id.kind);
        match stages.last_mut() {
            Some((last, objects)) if *last == stage => objects.push(object),
            _ => stages.push((stage, vec![object])),
        }
    }
    stages.into_iter().map(|(_, objects)| objects).collect()
}

/// The change as the report names it.
pub(crate) const fn change(change: apply::Change) -> Change {
    match change {
        apply::Change::Created => Change::Created,
        apply::Change::Configured => Change::Configured,
        apply::Change::Unchanged => Change::Unchanged,
    }
}

fn report(env: &Environment, unit: Unit, planned: &Planned, applied: Applied) -> Written {
    let change = change(applied.change);
    env.sink.log(
        unit,
        Level::Info,
        &format!("{} {}", applied.id, change.as_str()),
    );
    for conflict in &applied.conflicts {
        let text = format!(
            "{}: {} taken from {}",
            applied.id, conflict.path, conflict.manager
        );
        env.sink.log(unit, Level::Warning, &text);
    }
    let (health, message) = (Health::Progressing, String::new());
    env.sink.object(
        unit,
        ObjectRow {
            id: applied.id.clone(),
            change,
            health,
            message,
        },
    );
    Written {
        awaited: is_awaited(&planned.target.object),
        id: applied.id,
        resource: planned.target.resource.clone(),
        answer: Value::clone(&applied.object),
        change,
    }
}

/// Whether a deployment waits for the object: everything of Kubernetes itself that has a health, and custom resources
/// that ask for it. `direct-apply` takes a workload out.
fn is_awaited(object: &Object) -> bool {
    if annotations::is_set(object, annotations::DIRECT_APPLY) {
        return false;
    }
    let group = object.group();
    let built_in = !group.contains('.') || group.ends_with(".k8s.io");
    built_in || workload::is_managed(object)
}

/// Those of the written objects that are waited for.
pub(crate) fn awaited(written: &[Written]) -> Vec<Awaited> {
    written
        .iter()
        .filter(|object| object.awaited)
        .map(Written::to_awaited)
        .collect()
}

impl Written {
    fn to_awaited(&self) -> Awaited {
        Awaited {
            id: self.id.clone(),
            resource: self.resource.clone(),
            answer: self.answer.clone(),
            change: self.change,
        }
    }
}

/// Delete objects that are still the ones meant. Every one is tried.
pub(crate) async fn remove(
    env: &Environment,
    locked: &Locked,
    doomed: &[Doomed],
) -> Result<(), Failure> {
    let unit = Unit::DeleteFailedReleaseResources;
    if doomed.is_empty() {
        env.sink
            .log(unit, Level::Info, "nothing was added by the failed release");
        return Ok(());
    }
    let mut errors = Vec::new();
    for (id, result) in env
        .cluster
        .delete_all(doomed.to_vec(), GONE_WITHIN, locked.guard())
        .await
    {
        match result {
            Ok(Gone::Deleted) => {
                env.sink.log(unit, Level::Info, &format!("{id} deleted"));
                let (change, health) = (Change::Deleted, Health::Missing);
                let message = "deleted".to_owned();
                env.sink.object(
                    unit,
                    ObjectRow {
                        id,
                        change,
                        health,
                        message,
                    },
                );
            }
            Ok(Gone::Absent) => {
                env.sink
                    .log(unit, Level::Info, &format!("{id} was not there"));
            }
            Ok(Gone::NotOurs) => {
                let text = format!("{id} left alone: another object has its name now");
                env.sink.log(unit, Level::Warning, &text);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(refused(env, unit, &errors))
    }
}

/// All refusals in the log, the first in the failure. A lost lease goes before everything: the others follow from it.
pub(crate) fn refused(env: &Environment, unit: Unit, errors: &[Error]) -> Failure {
    for error in errors {
        env.sink.log(unit, Level::Error, &chain(error));
    }
    let lost = errors
        .iter()
        .find(|error| matches!(error.cause(), Cause::LeaseLost { .. }));
    let Some(first) = lost.or_else(|| errors.first()) else {
        return Failure::new(
            crate::FailureKind::Unknown,
            "SRT-T016",
            "the API server refused the set without a reason",
            "look at the API server's own log",
        );
    };
    let mut failure = Failure::cluster(first);
    if errors.len() > 1 {
        failure
            .message
            .push_str(&format!(" (and {} more)", errors.len() - 1));
    }
    failure
}
