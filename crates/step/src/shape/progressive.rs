//! A progressive canary: copies that begin without pods and get them from the originals; and the release that follows it.

use serde_json::json;
use sortie_cluster::record::History;
use sortie_manifest::{Object, ObjectId, hash};
use sortie_strategy::replicas::pair;

use super::canary::{WORD, shaped};
use super::copies::{self, Seen, set_in_spec};
use super::{OUTPUTS, RENDERED, Shaped, Wanted};
use crate::failure::{Failure, FailureKind};
use crate::progressive::{self, Autoscalers, Both, NOTED, Progress};
use crate::rolling::opened;
use crate::run::Run;

/// The copies of a set for a canary that is to have this percentage of the pods.
///
/// # Errors
/// There is nothing to copy, a workload cannot share its pods, a name becomes too long, or the cluster cannot be asked.
pub(super) async fn shape(
    run: &Run<'_>,
    history: &History,
    objects: &[Object],
    percent: u32,
) -> Result<Wanted, Failure> {
    let namespace = &run.task.release.namespace;
    let rendered = hash::manifest_in(objects, namespace);
    if let Some(number) = is_what_runs(run, history, &rendered) {
        let reason = format!("the set is release number {number} already: nothing to shift");
        run.info(crate::report::Unit::Initialize, &reason);
        let name = &run.task.release.name;
        let told = json!({"releaseName": name, "canaryWorkloadDeployed": false, "reason": reason});
        return Ok(Wanted::Skip(told));
    }
    let seen = copies::look(run, objects, WORD).await?;
    if seen.iter().all(|one| one.live.is_none()) {
        return Ok(Wanted::Deploy(Box::new(first(&rendered))));
    }
    for one in &seen {
        progressive::check(&one.original)?;
    }
    let earlier = progressive::standing(history).map(|(_, progress)| progress);
    let originals: Vec<ObjectId> = seen
        .iter()
        .map(|one| one.original.id().in_namespace(namespace))
        .collect();
    let scalers = Autoscalers::look(run, objects, &originals).await?;
    let mut made = copies::make(objects, &seen, namespace, WORD)?;
    let mut workloads = Vec::new();
    let mut instances = 0;
    for (at, copy) in &mut made.workloads {
        let Some(one) = seen.get(*at) else { continue };
        let id = copy.id().in_namespace(namespace);
        let known = (earlier.as_ref(), &scalers);
        let Some(both) = both_of(one, (id, namespace), known)? else {
            let pods = progressive::replicas(copy).unwrap_or(1);
            instances += pods;
            made.notes.push(format!(
                "{} is new: all its pods are the canary's",
                one.original.id()
            ));
            continue;
        };
        set_in_spec(copy, "replicas", 0.into());
        let share = pair(both.replicas, percent, both.slack);
        instances += share.canary;
        made.notes.push(format!(
            "{}: {} of {} pods for the canary, {} stay",
            both.object, share.canary, both.replicas, share.stable
        ));
        workloads.push(both);
    }
    let mut shaped = shaped(run, made, instances);
    if let Some(outputs) = shaped.noted.get_mut(OUTPUTS) {
        outputs["targetPercentage"] = percent.into();
    }
    note(&mut shaped, &rendered, &Progress { percent, workloads });
    Ok(Wanted::Deploy(Box::new(shaped)))
}

/// The set of the task's canary, in place of what the release was.
///
/// # Errors
/// The canary is not there any more, or had another set.
pub(super) fn promotion(
    run: &Run<'_>,
    history: &History,
    objects: &[Object],
) -> Result<Shaped, Failure> {
    let rendered = hash::manifest_in(objects, &run.task.release.namespace);
    let newest = history.newest().map(|stored| &stored.head);
    let complete = newest.filter(|head| progressive::is_complete(head, run.task));
    let Some((head, progress)) = complete.and_then(|head| Some((head, Progress::of(head)?))) else {
        return Err(overtaken(
            "somebody else has worked on the release since its canary got all pods",
        ));
    };
    if opened::<String>(head, RENDERED).as_deref() != Some(&rendered) {
        return Err(overtaken(
            "the sources have changed since its canary was deployed",
        ));
    }
    let mut shaped = Shaped::default();
    note(&mut shaped, &rendered, &progress);
    Ok(shaped)
}

fn note(shaped: &mut Shaped, rendered: &str, progress: &Progress) {
    shaped.steered = progress.steered(shaped.side.is_canary());
    shaped.noted.insert(RENDERED.to_owned(), rendered.into());
    shaped.noted.insert(NOTED.to_owned(), json!(progress));
}

/// A first deployment: there are no pods to take.
fn first(rendered: &str) -> Shaped {
    let mut shaped = Shaped::default();
    let text = "nothing of the set runs yet: it is deployed as a whole, without a canary";
    shaped.notes.push(text.to_owned());
    shaped.noted.insert(RENDERED.to_owned(), rendered.into());
    shaped
}

/// The number under which the same execution has deployed this very set as a whole, and nothing since.
fn is_what_runs(run: &Run<'_>, history: &History, rendered: &str) -> Option<u64> {
    let newest = &history.newest()?.head;
    let is_same = newest.is_good()
        && newest.asked_by.execution == run.task.requested_by.execution
        && opened::<String>(newest, RENDERED).as_deref() == Some(rendered);
    is_same.then_some(newest.number)
}

fn both_of(
    one: &Seen,
    (copy, namespace): (ObjectId, &str),
    (earlier, scalers): (Option<&Progress>, &Autoscalers),
) -> Result<Option<Both>, Failure> {
    let Some(live) = &one.live else {
        return Ok(None);
    };
    let object = one.original.id().in_namespace(namespace);
    let is_same = |both: &&Both| both.object == object;
    let earlier = earlier.and_then(|progress| progress.workloads.iter().find(is_same));
    let scaler = earlier.and_then(|earlier| earlier.scaler.as_ref());
    let scaler = scalers.of(&object, scaler)?;
    let named = (object, copy, scaler);
    let both = progressive::both(&one.original, live, named, earlier);
    Ok(Some(both))
}

fn overtaken(why: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T112",
        format!("the canary cannot become the release: {why}"),
        "run the step again with the set that is to become the release, or remove the canary",
    )
}
