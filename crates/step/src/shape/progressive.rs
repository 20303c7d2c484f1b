//! A progressive canary: copies that begin without pods and get them from the originals; and the release that follows it.

use serde_json::json;
use sortie_cluster::record::History;
use sortie_manifest::{Object, ObjectId, hash};
use sortie_strategy::copy;
use sortie_strategy::replicas::pair;

use super::canary::{WORD, shaped};
use super::copies::{self, Copies, Seen, set_in_spec};
use super::{OUTPUTS, RENDERED, Shaped, Wanted};
use crate::failure::Failure;
use crate::progressive::{self, Autoscalers, Both, NOTED, Progress};
use crate::rolling::opened;
use crate::run::Run;
use crate::single::traffic::{self, Sides};

/// The copies of a set for a canary that is to have this percentage of the pods.
///
/// # Errors
/// Another canary has taken the place of the one whose set it is, there is nothing to copy, a workload cannot share its pods, a name becomes too long, or the cluster cannot be asked.
pub(super) async fn shape(
    run: &Run<'_>,
    history: &History,
    objects: &[Object],
    (percent, is_recorded): (u32, bool),
) -> Result<Wanted, Failure> {
    let namespace = &run.task.release.namespace;
    let rendered = hash::manifest_in(objects, namespace);
    if is_recorded
        && opened::<String>(progressive::canary(history)?, RENDERED).as_ref() != Some(&rendered)
    {
        return Err(progressive::overtaken());
    }
    if let Some(number) = progressive::is_what_runs(run, history, &rendered) {
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
    let (mut instances, mut empties) = (0, false);
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
        empties |= share.stable == 0;
        made.notes.push(format!(
            "{}: {} of {} pods for the canary, {} stay",
            both.object, share.canary, both.replicas, share.stable
        ));
        workloads.push(both);
    }
    let both_leave = percent == 100 || empties;
    let copies = made.workloads.iter().map(|(_, copy)| copy);
    let sides = Sides::canary(seen.iter().filter_map(|one| one.live.as_ref()), copies);
    Box::pin(traffic::check_exchange(run, &sides, (objects, both_leave))).await?;
    only_originals_are_scaled(&mut made, &workloads);
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
/// The canary is not there any more.
pub(super) fn promotion(run: &Run<'_>, history: &History) -> Result<Shaped, Failure> {
    let head = progressive::complete(run, history)?;
    let mut shaped = Shaped::default();
    if let (Some(rendered), Some(progress)) = (opened::<String>(head, RENDERED), Progress::of(head))
    {
        note(&mut shaped, &rendered, &progress);
    }
    Ok(shaped)
}

/// The numbers of pods of these copies are the planner's alone.
fn only_originals_are_scaled(made: &mut Copies, workloads: &[Both]) {
    let copies: Vec<ObjectId> = workloads.iter().map(|both| both.copy.clone()).collect();
    let others = std::mem::take(&mut made.others);
    let (scalers, others): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|object| copy::scales(object, &copies));
    made.others = others;
    let line = |scaler: &Object| {
        let id = scaler.id();
        format!("{id} is not made: the pods of the canary are its share")
    };
    made.notes.extend(scalers.iter().map(line));
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
