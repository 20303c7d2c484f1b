//! Deleting what earlier releases had and the new one lacks: planned and shown before the first write, done after the new
//! release has reached its steady state.

mod plan;

use std::collections::BTreeSet;

use serde_json::Value;
use sortie_cluster::apply::Planned;
use sortie_cluster::clock;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::{History, Side, Stored, Tracked};
use sortie_manifest::{Object, ObjectId, Origin};

use super::earlier::noted;
use crate::failure::{Failure, chain};
use crate::locked::Locked;
use crate::remove::{self, remove};
use crate::report::Unit;
use crate::run::Run;
use crate::task::Prune;
use crate::units::Ended;
use plan::{Plan, Present};

pub(crate) use plan::tracked;

/// Under this name the objects to delete are noted when the record is opened.
pub(super) const NOTED: &str = "prune";

/// Find out what a set makes superfluous on its side of the release and say it.
///
/// # Errors
/// It is more than may go unasked, or the cluster could not be asked. Nothing has been written.
pub(crate) async fn foresee(
    run: &Run<'_>,
    (history, side): (&History, &Side),
    planned: &[Planned],
    options: Prune,
    unit: Unit,
) -> Result<Vec<Tracked>, Failure> {
    run.bounds
        .pending()
        .set("the objects of earlier releases were still being read");
    let current: BTreeSet<ObjectId> = planned.iter().map(|of| of.target.id.clone()).collect();
    let heads: Vec<_> = history
        .heads()
        .filter(|head| side.takes_place_of(&head.side) && head.asked_by.task != run.task.id)
        .collect();
    let mut tracked = if heads.is_empty() && side.is_whole() {
        by_label(run, &current, unit).await?
    } else {
        tracked(heads.into_iter())
    };
    // What stands beside this side keeps what it has.
    let beside = history
        .heads()
        .filter(|head| head.is_standing() && !side.takes_place_of(&head.side));
    let beside: BTreeSet<&ObjectId> = beside
        .flat_map(|head| &head.inventory)
        .map(|tracked| &tracked.id)
        .collect();
    tracked.retain(|tracked| !beside.contains(&tracked.id));
    let (again, candidates): (Vec<_>, Vec<_>) = tracked
        .into_iter()
        .partition(|tracked| current.contains(&tracked.id));
    let before = again.len();
    let applied = again
        .into_iter()
        .filter_map(|tracked| tracked.uid)
        .collect();
    let plan = judge(run, candidates, &applied).await?;
    for (id, why) in &plan.kept {
        run.warn(
            unit,
            format!("{id} is not in the set any more and is kept: {why}"),
        );
    }
    for tracked in &plan.doomed {
        let text = format!(
            "{}: will be deleted once the release is healthy",
            tracked.id
        );
        run.info(unit, text);
    }
    plan.check(options, before + plan.doomed.len())?;
    Ok(plan.doomed)
}

/// Delete what was foreseen when the record was opened, as far as it is still the same. What could not be deleted stays
/// in the inventory, so that a later deployment tries again; the release is none the worse for it.
///
/// # Errors
/// The lease was lost, the record could not be written, or the step was told to stop.
pub(super) async fn prune(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
) -> Result<Vec<ObjectId>, Ended> {
    let unit = Unit::Prune;
    run.units.enter(unit);
    let foreseen: Vec<Tracked> = noted(&stored.head, NOTED);
    let foreseen_ids: Vec<ObjectId> = foreseen.iter().map(|tracked| tracked.id.clone()).collect();
    let in_set = |tracked: &&Tracked| !foreseen_ids.contains(&tracked.id);
    let inventory = stored.head.inventory.iter().filter(in_set);
    let applied = inventory
        .filter_map(|tracked| tracked.uid.clone())
        .collect();
    let Plan {
        doomed,
        kept,
        absent: mut pruned,
    } = judge(run, foreseen, &applied).await?;
    for (id, why) in kept {
        run.warn(unit, format!("{id} is kept: {why}"));
    }
    let release = run.release_id();
    let doomed = doomed.into_iter().map(|tracked| Doomed {
        id: tracked.id,
        uid: tracked.uid,
        release: Some(release.clone()),
    });
    let removal = remove(run, locked, doomed.collect(), unit);
    let mut left = BTreeSet::new();
    for (id, result) in removal.await {
        match result {
            Ok(Gone::Deleted | Gone::Absent) => pruned.push(id),
            Ok(Gone::NotOurs) => {}
            Err(error) if remove::is_final(&error) => return Err(Failure::cluster(&error).into()),
            Err(error) => {
                run.warn(unit, format!("left for the next time: {}", chain(&error)));
                left.insert(id);
            }
        }
    }
    let head = &mut stored.head;
    head.inventory
        .retain(|Tracked { id, .. }| left.contains(id) || !foreseen_ids.contains(id));
    let text = format!(
        "{} of {} objects pruned",
        pruned.len(),
        pruned.len() + left.len()
    );
    head.note(unit.name(), "", text, clock::now());
    locked.update(stored).await?;
    Ok(pruned)
}

/// What carries the label of the release, as far as it may be searched for: where records say nothing. The search is in
/// the release's namespace and in those of the `current` objects.
pub(crate) async fn by_label(
    run: &Run<'_>,
    current: &BTreeSet<ObjectId>,
    unit: Unit,
) -> Result<Vec<Tracked>, Failure> {
    let (namespace, name) = (&run.task.release.namespace, &run.task.release.name);
    let mut namespaces: BTreeSet<String> = current
        .iter()
        .filter_map(|id| id.namespace.clone())
        .collect();
    namespaces.insert(namespace.clone());
    let (label, named) = (run.release_id(), format!("{namespace}/{name}"));
    let labelled = run.env.cluster.labelled(&label, &named, &namespaces);
    let labelled = labelled.await.map_err(|error| Failure::cluster(&error))?;
    if let Some(error) = labelled.unseen.first() {
        let text = format!(
            "{} kinds cannot be searched for the label of the release: {}",
            labelled.unseen.len(),
            chain(error)
        );
        run.warn(unit, text);
    }
    let found = labelled.found.into_iter().map(|found| Tracked {
        id: found.id,
        uid: None,
    });
    Ok(found.collect())
}

/// Look at candidates and decide about each.
async fn judge(
    run: &Run<'_>,
    candidates: Vec<Tracked>,
    applied: &BTreeSet<String>,
) -> Result<Plan, Failure> {
    let ids = candidates
        .iter()
        .map(|tracked| tracked.id.clone())
        .collect();
    let release = run.release_id();
    let present = Present {
        release: &release,
        applied,
    };
    let mut plan = Plan::default();
    let survey = run.env.cluster.survey(ids).await;
    for (tracked, (id, live)) in candidates.into_iter().zip(survey) {
        let Some(live) = live.map_err(|error| Failure::cluster(&error))? else {
            plan.absent.push(id);
            continue;
        };
        if let Some(why) = forbidden(run, &live) {
            plan.kept.push((id, why));
            continue;
        }
        plan.consider(tracked, &live, present);
    }
    Ok(plan)
}

/// What the cluster's owner has against touching the object.
pub(crate) fn forbidden(run: &Run<'_>, live: &Value) -> Option<String> {
    let origin = Origin::outside("the cluster");
    let object = Object::from_value(live.clone(), origin).ok()?;
    let checked = run.check_objects(&[object]);
    checked.err().map(|failure| failure.message)
}
