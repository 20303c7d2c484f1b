//! Restarting, stopping, listing and bringing back revisions of workloads.

mod revision;

use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::record::changes::{Entry, redoing};
use sortie_cluster::watch::Selection;

use self::revision::{Kind, Revision, of_deployment, of_history, wanted};
use super::alter::{Altered, Subject, alter, awaited, settle};
use super::named::{Found, find, missing, refuse_foreign};
use super::set::{self, Marked};
use super::take;
use crate::changes::Ledger;
use crate::failure::{Failure, FailureKind};
use crate::locked::{self, Locked};
use crate::protection::text;
use crate::report::Unit;
use crate::rolling::tracked;
use crate::run::Run;
use crate::steady;
use crate::task::{Resources, Rollout, RolloutCommand};
use crate::units::Ended;

/// The annotation of a pod template that `kubectl rollout restart` sets.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// A workload with its kind.
struct Workload {
    kind: Kind,
    found: Found,
}

/// Carry the command out. The outputs name the workloads, and their revisions when they are asked for.
pub(crate) async fn run(run: &Run<'_>, options: &Rollout) -> Result<Value, Ended> {
    let look = Box::pin(workloads(run, &options.resources));
    let workloads = run.bounds.run(std::future::pending(), look).await?;
    let names = workloads
        .iter()
        .map(|workload| workload.found.id.to_string());
    let mut outputs = json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "workloads": names.collect::<Vec<_>>(),
    });
    match options.command {
        RolloutCommand::Status => {
            let wait = Box::pin(status(run, &workloads));
            run.bounds.run(std::future::pending(), wait).await?;
        }
        RolloutCommand::History => {
            run.units.enter(Unit::Rollout);
            let history = Box::pin(history(run, &workloads));
            let history = run.bounds.run(std::future::pending(), history).await?;
            outputs["history"] = history;
        }
        command => {
            let locked = take(run).await?;
            let result = under_lease(run, command, &workloads, &locked).await;
            locked.release(run).await;
            result?;
        }
    }
    Ok(outputs)
}

/// The workloads that the command is for, as they are now: at least one.
async fn workloads(run: &Run<'_>, resources: &Resources) -> Result<Vec<Workload>, Ended> {
    let mut workloads = Vec::new();
    match resources {
        Resources::Names(names) => {
            run.units.enter(Unit::Initialize);
            run.check_namespace()?;
            for name in names {
                let found = find(run, name).await?;
                let kind =
                    Kind::of(&found.id).ok_or_else(|| no_revisions(&found.id.to_string()))?;
                workloads.push(Workload { kind, found });
            }
        }
        Resources::Manifests(set) => {
            run.check_namespace()?;
            let objects = set::render(run, set, Marked::LeftOut).await?;
            run.check_objects(&objects)?;
            for object in objects {
                let id = object.id().in_namespace(&run.task.release.namespace);
                if let Some(kind) = Kind::of(&id) {
                    let found = run.env.cluster.find(&id).await;
                    let found = found.map_err(|error| Failure::cluster(&error))?;
                    let (resource, live) = found.ok_or_else(|| missing(&id))?;
                    refuse_foreign(run, &id, &live)?;
                    let found = Found { id, resource, live };
                    workloads.push(Workload { kind, found });
                }
            }
        }
        Resources::Release => {
            run.units.enter(Unit::Initialize);
            let look = locked::look(run).await?;
            for tracked in tracked(look.history.heads()) {
                let id = tracked.id;
                let Some(kind) = Kind::of(&id) else { continue };
                let found = run.env.cluster.find(&id).await;
                let found = found.map_err(|error| Failure::cluster(&error))?;
                let Some((resource, live)) = found else {
                    continue;
                };
                if steady::facts::carries(&live, &run.release_id()) {
                    let found = Found { id, resource, live };
                    workloads.push(Workload { kind, found });
                }
            }
        }
    }
    if workloads.is_empty() {
        return Err(no_revisions("what is named").into());
    }
    Ok(workloads)
}

fn no_revisions(what: &str) -> Failure {
    let text = format!("{what} has no revisions: only a Deployment, StatefulSet or DaemonSet has");
    let hint = "name such a workload, or a release or manifest with one";
    Failure::new(FailureKind::Configuration, "SRT-T045", text, hint)
}

/// A merge patch or a JSON patch; `None`: what the task has noted before it was interrupted.
type Made = Option<(Form, Value)>;

async fn under_lease(
    run: &Run<'_>,
    command: RolloutCommand,
    workloads: &[Workload],
    locked: &Locked,
) -> Result<(), Ended> {
    let mut ledger = Ledger::open(run, locked).await?;
    let plan = Box::pin(plan(run, command, workloads, &ledger));
    let patches = run.bounds.run(locked.lost(), plan).await?;
    run.units.enter(Unit::Rollout);
    let write = write(run, command, (workloads, patches), (locked, &mut ledger));
    let write = Box::pin(write);
    let changed = run.bounds.run_writes(locked.lost(), write).await?;
    if command == RolloutCommand::Pause {
        return Ok(());
    }
    let mut objects = Vec::new();
    for (workload, changed) in workloads.iter().zip(changed) {
        let found = &workload.found;
        objects.extend(awaited(run, patched(found), changed).await?);
    }
    settle(run, locked, objects).await
}

/// The patch of each workload. What cannot be done is refused before anything is written.
async fn plan(
    run: &Run<'_>,
    command: RolloutCommand,
    workloads: &[Workload],
    ledger: &Ledger,
) -> Result<Vec<Made>, Ended> {
    let mut patches = Vec::new();
    let now = clock::now().to_string();
    for workload in workloads {
        let found = &workload.found;
        let is_deployment = workload.kind == Kind::Deployment;
        let paused =
            is_deployment && found.live.pointer("/spec/paused") == Some(&Value::Bool(true));
        if ledger.noted(run, &found.id).is_some() {
            // A revision that was brought back has another number by now.
            patches.push(None);
            continue;
        }
        patches.push(Some(match command {
            RolloutCommand::Pause | RolloutCommand::Resume if !is_deployment => {
                return Err(only_deployments(found).into());
            }
            RolloutCommand::Restart | RolloutCommand::Undo { .. } if paused => {
                return Err(is_paused(found).into());
            }
            RolloutCommand::Restart => {
                let annotations = json!({RESTARTED: now});
                let template = json!({"metadata": {"annotations": annotations}});
                (Form::Merge, json!({"spec": {"template": template}}))
            }
            RolloutCommand::Pause => (Form::Merge, json!({"spec": {"paused": true}})),
            RolloutCommand::Resume => (Form::Merge, json!({"spec": {"paused": null}})),
            RolloutCommand::Undo { to_revision } => {
                let revisions = revisions(run, workload).await?;
                let revision = wanted(&found.id, &revisions, to_revision)?;
                let text = format!("{}: back to revision {}", found.id, revision.number);
                run.info(Unit::Initialize, text);
                let replace =
                    json!({"op": "replace", "path": "/spec/template", "value": revision.template});
                (Form::Json, json!([replace]))
            }
            RolloutCommand::Status | RolloutCommand::History => continue,
        }));
    }
    Ok(patches)
}

async fn write(
    run: &Run<'_>,
    command: RolloutCommand,
    (workloads, patches): (&[Workload], Vec<Made>),
    (locked, ledger): (&Locked, &mut Ledger),
) -> Result<Vec<bool>, Ended> {
    let mut changed = Vec::new();
    for (workload, patch) in workloads.iter().zip(patches) {
        run.bounds.check()?;
        let subject = Subject {
            patched: patched(&workload.found),
            unit: Unit::Rollout,
            // To restart pods once more would not undo it.
            stays: command == RolloutCommand::Restart,
        };
        let make = |live: &Value, noted: Option<&Entry>| match &patch {
            Some(patch) => Ok(patch.clone()),
            None => {
                let fields = noted.map(Entry::fields).unwrap_or_default();
                Ok((Form::Json, redoing(fields, live).into()))
            }
        };
        let altered = alter(run, locked, Some(&mut *ledger), subject, &make).await?;
        changed.push(matches!(altered, Altered { changed: true, .. }));
    }
    Ok(changed)
}

const fn patched(found: &Found) -> Patched<'_> {
    Patched {
        resource: &found.resource,
        id: &found.id,
        subresource: None,
    }
}

fn only_deployments(found: &Found) -> Failure {
    let text = format!(
        "{} cannot be paused or resumed: only a Deployment can",
        found.id
    );
    let hint = "name a Deployment; an update of a StatefulSet is held back by spec.updateStrategy.rollingUpdate.partition";
    Failure::new(FailureKind::Configuration, "SRT-T045", text, hint)
}

fn is_paused(found: &Found) -> Failure {
    let text = format!(
        "{} is paused: a change of its pods would not be rolled out",
        found.id
    );
    let hint = "resume it first: a rollout step with the command resume";
    Failure::new(FailureKind::Configuration, "SRT-T048", text, hint)
}

/// Wait until all workloads are as they should be. Nothing is written.
async fn status(run: &Run<'_>, workloads: &[Workload]) -> Result<(), Ended> {
    run.units.enter(Unit::WaitForSteadyState);
    let mut objects = Vec::new();
    for workload in workloads {
        objects.extend(awaited(run, patched(&workload.found), false).await?);
    }
    steady::wait_only(run, objects).await
}

/// The revisions of all workloads, as a table in the log and for later steps.
async fn history(run: &Run<'_>, workloads: &[Workload]) -> Result<Value, Ended> {
    let mut all = Vec::new();
    for workload in workloads {
        let id = &workload.found.id;
        let revisions = revisions(run, workload).await?;
        run.info(Unit::Rollout, id.to_string());
        for line in revision::table(&revisions) {
            run.info(Unit::Rollout, line);
        }
        let rows = revisions.iter().map(Revision::output);
        all.push(json!({"workload": id.to_string(), "revisions": rows.collect::<Vec<_>>()}));
    }
    Ok(all.into())
}

/// The revisions of a workload that are still there, the oldest first.
async fn revisions(run: &Run<'_>, workload: &Workload) -> Result<Vec<Revision>, Failure> {
    let Workload { kind, found } = workload;
    let cluster = &run.env.cluster;
    let history = match kind {
        Kind::Deployment => "ReplicaSet",
        Kind::StatefulSet | Kind::DaemonSet => "ControllerRevision",
    };
    let failed = |error: &sortie_cluster::Error| Failure::cluster(error);
    let resource = cluster.resolve("apps", "v1", history).await;
    let resource = resource.map_err(|error| failed(&error))?;
    let namespace = found.id.namespace.as_deref().unwrap_or_default();
    let listed = cluster.list(&Selection::of(resource, namespace)).await;
    let listed = listed.map_err(|error| failed(&error))?;
    let uid = text(&found.live, "/metadata/uid");
    let owned = listed.iter().filter(|object| {
        let owners = object.pointer("/metadata/ownerReferences");
        let owners = owners.and_then(Value::as_array).into_iter().flatten();
        owners.into_iter().any(|owner| text(owner, "/uid") == uid)
    });
    let read = match kind {
        Kind::Deployment => of_deployment,
        Kind::StatefulSet | Kind::DaemonSet => of_history,
    };
    let mut revisions: Vec<Revision> = owned.filter_map(read).collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}
