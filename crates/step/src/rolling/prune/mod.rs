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

/// Objects that are named as left; more are counted.
const NAMED: usize = 5;

/// What a set makes superfluous.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreseen {
    /// What will be deleted, each by the UID that is live.
    pub(crate) doomed: Vec<Tracked>,
    /// What is the release's and stays: later deployments have to know of it, however long ago it was deployed.
    pub(crate) left: Vec<Tracked>,
}

/// Find out what a set makes superfluous on its side of the release and say it. Without options nothing is deleted. What was
/// of no side, and belongs to this one since, is `former`.
///
/// # Errors
/// It is more than may go unasked, or the cluster could not be asked. Nothing has been written.
pub(crate) async fn foresee(
    run: &Run<'_>,
    (history, side, former): (&History, &Side, &[ObjectId]),
    planned: &[Planned],
    options: Option<Prune>,
    unit: Unit,
) -> Result<Foreseen, Failure> {
    if options.is_none() && side.is_canary() {
        // It goes with all that it has.
        return Ok(Foreseen::default());
    }
    run.bounds
        .pending()
        .set("the objects of earlier releases were still being read");
    let current: BTreeSet<ObjectId> = planned.iter().map(|of| of.target.id.clone()).collect();
    let heads: Vec<_> = history
        .heads()
        .filter(|head| side.takes_place_of(&head.side) && head.asked_by.task != run.task.id)
        .collect();
    let mut tracked = if heads.is_empty() && side.is_whole() && options.is_some() {
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
    tracked.retain(|tracked| !former.contains(&tracked.id));
    tracked.extend(former.iter().map(|id| Tracked {
        id: id.clone(),
        uid: None,
    }));
    let (again, candidates): (Vec<_>, Vec<_>) = tracked
        .into_iter()
        .partition(|tracked| current.contains(&tracked.id));
    let before = again.len();
    let applied = again
        .into_iter()
        .filter_map(|tracked| tracked.uid)
        .collect();
    let plan = judge(run, candidates, &applied, options.is_none()).await?;
    let Some(options) = options else {
        let left = [plan.doomed, plan.protected].concat();
        if let Some(text) = told_of(&left) {
            run.info(unit, text);
        }
        let doomed = Vec::new();
        return Ok(Foreseen { doomed, left });
    };
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
    Ok(Foreseen {
        doomed: plan.doomed,
        left: plan.protected,
    })
}

/// What stays though the set lacks it, when nobody asked for pruning.
fn told_of(left: &[Tracked]) -> Option<String> {
    let mut names: Vec<String> = left.iter().map(|of| of.id.to_string()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let are = match left.len() {
        0 => return None,
        1 => "is",
        _ => "are",
    };
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    Some(format!(
        "left: {text} {are} not in the set any more; only a deployment with pruning deletes what a set lacks"
    ))
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
        ..
    } = judge(run, foreseen, &applied, false).await?;
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

/// Look at candidates and decide about each. What cannot be looked at is an error, or kept.
async fn judge(
    run: &Run<'_>,
    candidates: Vec<Tracked>,
    applied: &BTreeSet<String>,
    unseen_stays: bool,
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
        let live = match live {
            Ok(Some(live)) => live,
            Ok(None) => {
                plan.absent.push(id);
                continue;
            }
            Err(error) if unseen_stays && !remove::is_final(&error) => {
                plan.protected.push(tracked);
                continue;
            }
            Err(error) => return Err(Failure::cluster(&error)),
        };
        if let Some(why) = forbidden(run, &live) {
            plan.kept.push((id, why));
            plan.protected.push(tracked);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_and_counted_when_there_is_much() {
        let left = |count: usize| -> Vec<Tracked> {
            let id = |number| ObjectId {
                group: String::new(),
                kind: "Role".into(),
                namespace: None,
                name: format!("r{number}"),
            };
            let all = (0..count).map(|number| Tracked {
                id: id(number),
                uid: None,
            });
            all.collect()
        };
        assert_eq!(told_of(&[]), None);
        let one = told_of(&left(1)).unwrap();
        assert!(one.starts_with("left: Role/r0 is not in the set"), "{one}");
        let many = told_of(&left(8)).unwrap();
        assert!(many.contains("Role/r4 and 3 more are not"), "{many}");
    }
}
