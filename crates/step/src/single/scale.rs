//! Changing how many pods a workload has, by its scale subresource.

use serde_json::{Value, json};
use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::record::changes::{Entry, Undo};
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Error, Resource};
use sortie_manifest::ObjectId;

use super::alter::{Altered, Subject, alter, awaited, settle};
use super::named::{Found, find};
use super::take;
use crate::changes::Ledger;
use crate::failure::{Failure, FailureKind, chain};
use crate::locked::Locked;
use crate::protection::{is_controlled, text};
use crate::report::Unit;
use crate::run::Run;
use crate::task::Scale;
use crate::units::Ended;

/// The subresource.
const SCALE: &str = "scale";

/// Pods that are named in the log; more are counted.
const NAMED: usize = 20;

/// Scale. The outputs name the workload and its number of pods before and after.
pub(crate) async fn run(run: &Run<'_>, options: &Scale) -> Result<Value, Ended> {
    run.units.enter(Unit::Initialize);
    let locked = take(run).await?;
    let result = under_lease(run, options, &locked).await;
    locked.release(run).await;
    result
}

async fn under_lease(run: &Run<'_>, options: &Scale, locked: &Locked) -> Result<Value, Ended> {
    let prepare = Box::pin(prepare(run, options, locked));
    let (found, mut ledger, before) = run.bounds.run(locked.lost(), prepare).await?;
    let patched = Patched {
        resource: &found.resource,
        id: &found.id,
        subresource: Some(SCALE),
    };
    run.units.enter(Unit::Scale);
    let subject = Subject {
        patched,
        unit: Unit::Scale,
        stays: false,
    };
    let to = options.to;
    let make = |scale: &Value, noted: Option<&Entry>| {
        let wanted = noted
            .and_then(meant)
            .unwrap_or_else(|| to.of(replicas(scale)));
        Ok((Form::Merge, json!({"spec": {"replicas": wanted}})))
    };
    let write = async {
        run.bounds.check()?;
        Ok(alter(run, locked, Some(&mut ledger), subject, &make).await?)
    };
    let Altered { after, changed, .. } = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    let count = replicas(&after);
    let text = format!("{}: {before} pods before, {count} wanted", found.id);
    run.info(Unit::Scale, text);
    if !options.skip_steady_state_check {
        let patched = Patched {
            subresource: None,
            ..patched
        };
        let target = awaited(run, patched, changed).await?;
        settle(run, locked, target.into_iter().collect()).await?;
        let gone = Box::pin(gone(run, &found.id, &after));
        run.bounds.run(locked.lost(), gone).await?;
    }
    run.units.enter(Unit::WrapUp);
    tell_pods(run, Unit::WrapUp, &found.id, &after, "after").await;
    Ok(json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "workload": found.id.to_string(),
        "previousReplicas": before,
        "replicas": count,
    }))
}

/// Everything that can be refused before anything is written. How many pods there were before the task began is part of
/// what comes back.
async fn prepare(
    run: &Run<'_>,
    options: &Scale,
    locked: &Locked,
) -> Result<(Found, Ledger, u32), Ended> {
    let found = find(run, &options.workload).await?;
    let patched = Patched {
        resource: &found.resource,
        id: &found.id,
        subresource: Some(SCALE),
    };
    let scale = run.env.cluster.read_patched(patched).await;
    let scale = scale.map_err(|error| Failure::cluster(&error))?;
    let scale = scale.ok_or_else(|| not_scalable(&found.id))?;
    if is_controlled(&found.live) {
        return Err(controlled(&found).into());
    }
    let ledger = Ledger::open(run, locked).await?;
    let noted = ledger.noted(run, &found.id);
    let current = replicas(&scale);
    let (before, wanted) = match noted.and_then(|noted| Some((was(noted)?, meant(noted)?))) {
        Some(noted) => noted,
        None => (current, options.to.of(current)),
    };
    run.info(
        Unit::Initialize,
        format!(
            "{}: {current} pods are wanted now, {wanted} from now on",
            found.id
        ),
    );
    check_autoscaler(run, &found.id, (before, wanted)).await?;
    tell_pods(run, Unit::Initialize, &found.id, &scale, "before").await;
    Ok((found, ledger, before))
}

/// The number of pods in a Scale object. Zero is left out there.
fn replicas(scale: &Value) -> u32 {
    let number = scale.pointer("/spec/replicas").and_then(Value::as_u64);
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or_default()
}

/// What an earlier attempt of the task meant to write.
fn meant(noted: &Entry) -> Option<u32> {
    noted_number(noted, false)
}

/// How many there were before the first attempt of the task.
fn was(noted: &Entry) -> Option<u32> {
    noted_number(noted, true)
}

fn noted_number(noted: &Entry, before: bool) -> Option<u32> {
    let (Undo::Fields(fields) | Undo::Stays(fields)) = &noted.undo else {
        return None;
    };
    let field = fields
        .iter()
        .find(|field| field.path.last().is_some_and(|key| key == "replicas"))?;
    let value = if before { &field.before } else { &field.after };
    // Zero is left out.
    let number = value.as_ref().map_or(Some(0), Value::as_u64)?;
    u32::try_from(number).ok()
}

fn not_scalable(id: &ObjectId) -> Failure {
    let (text, hint) = if (id.group.as_str(), id.kind.as_str()) == ("apps", "DaemonSet") {
        (
            format!("{id} cannot be scaled: a DaemonSet has one pod on each node that it selects"),
            "change its nodeSelector, or scale a Deployment or StatefulSet",
        )
    } else {
        (
            format!("{id} cannot be scaled: its kind has no scale subresource"),
            "name a Deployment, StatefulSet or ReplicaSet, or a custom resource whose definition has subresources.scale",
        )
    };
    Failure::new(FailureKind::Configuration, "SRT-T042", text, hint)
}

fn controlled(found: &Found) -> Failure {
    let owner = found.live.pointer("/metadata/ownerReferences/0");
    let owner = owner.map(|owner| format!("{}/{}", text(owner, "/kind"), text(owner, "/name")));
    let text = format!(
        "{} cannot be scaled: {} decides about it",
        found.id,
        owner.unwrap_or_default()
    );
    let hint = "scale the object that controls it";
    Failure::new(FailureKind::Configuration, "SRT-T042", text, hint)
}

/// An autoscaler would take the number back. It rests while its target has no pods.
async fn check_autoscaler(
    run: &Run<'_>,
    id: &ObjectId,
    (from, to): (u32, u32),
) -> Result<(), Failure> {
    let autoscaler = match autoscaler(run, id).await {
        Ok(Some(autoscaler)) => autoscaler,
        Ok(None) => return Ok(()),
        Err(error) => {
            let text = format!(
                "autoscalers are not known: {}; one that decides about {id} takes the number back",
                chain(&error)
            );
            run.warn(Unit::Initialize, text);
            return Ok(());
        }
    };
    let name = text(&autoscaler, "/metadata/name");
    let bound = |pointer: &str, default| {
        let bound = autoscaler.pointer(pointer).and_then(Value::as_u64);
        bound.unwrap_or(default)
    };
    let (least, most) = (bound("/spec/minReplicas", 1), bound("/spec/maxReplicas", 1));
    if to == 0 {
        let text = format!("HorizontalPodAutoscaler {name} rests while {id} has no pods");
        run.warn(Unit::Initialize, text);
        return Ok(());
    }
    if from == 0 {
        let text = format!(
            "HorizontalPodAutoscaler {name} decides about {id} again, between {least} and {most} pods"
        );
        run.warn(Unit::Initialize, text);
        return Ok(());
    }
    let text = format!(
        "HorizontalPodAutoscaler {name} decides how many pods {id} has, between {least} and {most}"
    );
    let hint = "change minReplicas and maxReplicas of the autoscaler, for example with a patch step, or delete it first";
    Err(Failure::new(
        FailureKind::Configuration,
        "SRT-T043",
        text,
        hint,
    ))
}

/// The autoscaler of a workload, where the cluster has such a kind.
async fn autoscaler(run: &Run<'_>, id: &ObjectId) -> Result<Option<Value>, Error> {
    let cluster = &run.env.cluster;
    let Some(namespace) = id.namespace.as_deref() else {
        return Ok(None);
    };
    let kind = "HorizontalPodAutoscaler";
    let resource = match cluster.resolve_preferred("autoscaling", kind).await {
        Ok(resource) => resource,
        Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let listed = cluster.list(&Selection::of(resource, namespace)).await?;
    Ok(listed.into_iter().find(|autoscaler| {
        let target = |key: &str| text(autoscaler, &format!("/spec/scaleTargetRef/{key}"));
        let group = target("apiVersion").split_once('/');
        let group = group.map_or("", |(group, _)| group);
        (group, target("kind"), target("name")) == (&id.group, &id.kind, &id.name)
    }))
}

/// The pods of a workload, as its Scale object selects them.
fn pods(id: &ObjectId, scale: &Value) -> Option<Selection> {
    let selector = text(scale, "/status/selector");
    let pods = Selection::of(Resource::pods(), id.namespace.as_deref()?);
    (!selector.is_empty()).then(|| pods.labelled(selector))
}

/// Whether a pod counts: it is somebody's and has not come to its end. One that is ending is still there.
fn counts(pod: &Value) -> bool {
    is_controlled(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Wait until pods that are one too many are gone: a workload counts them no more as soon as they begin to end.
async fn gone(run: &Run<'_>, id: &ObjectId, scale: &Value) -> Result<(), Ended> {
    let Some(selection) = pods(id, scale) else {
        return Ok(());
    };
    let mut watched = match run.env.cluster.watch(selection).await {
        Ok(watched) => watched,
        Err(error) => {
            let text = format!("pods that are ending are not seen: {}", chain(&error));
            run.warn(Unit::WaitForSteadyState, text);
            return Ok(());
        }
    };
    let is_ending =
        |pod: &Value| counts(pod) && pod.pointer("/metadata/deletionTimestamp").is_some();
    watched
        .until(|view| {
            let ending = view.objects.values().filter(|pod| is_ending(pod)).count();
            run.bounds
                .pending()
                .set(format!("pods of {id} that are still ending: {ending}"));
            (ending == 0).then_some(())
        })
        .await;
    Ok(())
}

/// Name the pods of a workload. It is for information: what cannot be read is left out.
async fn tell_pods(run: &Run<'_>, unit: Unit, id: &ObjectId, scale: &Value, when: &str) {
    let Some(selection) = pods(id, scale) else {
        return;
    };
    let Ok(pods) = run.env.cluster.list(&selection).await else {
        return;
    };
    let pods: Vec<&Value> = pods.iter().filter(|pod| counts(pod)).collect();
    let mut names: Vec<&str> = pods
        .iter()
        .take(NAMED)
        .map(|pod| text(pod, "/metadata/name"))
        .collect();
    let more = pods.len().saturating_sub(NAMED);
    let more = format!("{more} more");
    if pods.len() > NAMED {
        names.push(&more);
    }
    run.info(
        unit,
        format!("pods {when}: {}: {}", pods.len(), names.join(", ")),
    );
}

#[cfg(test)]
mod tests {
    use sortie_cluster::record::changes::fields;

    use super::*;
    use crate::task::Amount;

    #[test]
    fn parts_of_what_there_is_are_rounded_and_never_nothing() {
        for (to, current, expected) in [
            (Amount::Count(0), 7, 0),
            (Amount::Count(9), 7, 9),
            (Amount::Percent(50), 7, 4),
            (Amount::Percent(50), 5, 3),
            (Amount::Percent(49), 5, 2),
            (Amount::Percent(1), 5, 1),
            (Amount::Percent(100), 5, 5),
            (Amount::Percent(250), 4, 10),
            (Amount::Percent(0), 5, 0),
            (Amount::Percent(50), 0, 1),
            (Amount::Percent(u32::MAX), u32::MAX, u32::MAX),
        ] {
            assert_eq!(to.of(current), expected, "{to:?} of {current}");
        }
    }

    #[test]
    fn what_an_earlier_attempt_meant_is_read_from_its_note() {
        for (before, after) in [(5, 3), (0, 3), (3, 0)] {
            let scale = |count: u32| match count {
                0 => json!({"spec": {}}),
                count => json!({"spec": {"replicas": count}}),
            };
            let noted = Entry {
                task: "t".to_owned(),
                at: jiff::Timestamp::UNIX_EPOCH,
                what: "Scale".to_owned(),
                object: ObjectId {
                    group: "apps".to_owned(),
                    kind: "Deployment".to_owned(),
                    namespace: None,
                    name: "web".to_owned(),
                },
                uid: None,
                subresource: None,
                undo: Undo::Fields(fields(&scale(before), &scale(after))),
                undone: false,
            };
            assert_eq!((was(&noted), meant(&noted)), (Some(before), Some(after)));
        }
    }
}
