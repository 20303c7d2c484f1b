//! Removing objects in the reverse of the order in which they would be applied.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sortie_cluster::delete::{Doomed, Gone, Held};
use sortie_cluster::{Cause, Error};
use sortie_health::Status as Health;
use sortie_manifest::{ObjectId, order};

use crate::adoption::object_of;
use crate::failure::chain;
use crate::locked::Locked;
use crate::report::{Change, Level, ObjectRow, Sink as _, Unit};
use crate::run::Run;

/// How long a deletion may take before it fails and its finalizers are named, when no pods end with the object that may
/// take longer.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// Objects that the failure at the deadline names.
const NAMED: usize = 10;

/// Delete objects that are still the ones meant, what stands on others before these: each batch is gone before the next
/// begins. Every one is tried; what became of each comes back.
pub(crate) async fn remove(
    run: &Run<'_>,
    locked: &Locked,
    doomed: Vec<Doomed>,
    unit: Unit,
) -> Vec<(ObjectId, Result<Gone, Error>)> {
    if doomed.is_empty() {
        run.info(unit, "nothing to remove");
        return Vec::new();
    }
    let waiting = Waiting::begin(run, unit, &doomed);
    let mut results = Vec::new();
    for batch in batches(run, doomed).await {
        for doomed in &batch {
            show(run, unit, &doomed.id, Health::Progressing, "being deleted");
        }
        let held = |id: &ObjectId, why: Option<&str>| waiting.held(id, why);
        let patience = (GONE_WITHIN, &held as Held<'_>);
        let cluster = &run.env.cluster;
        let deletion = cluster.delete_all(batch, patience, locked.guard());
        let deleted = deletion.await;
        waiting.over(deleted.iter().map(|(id, _)| id));
        for (id, result) in deleted {
            match &result {
                Ok(gone) => tell(run, unit, &id, *gone),
                Err(error) => {
                    let why = chain(error);
                    run.sink.log(unit, Level::Error, &why);
                    show(run, unit, &id, Health::Degraded, &why);
                }
            }
            results.push((id, result));
        }
        if results
            .iter()
            .any(|(_, result)| result.as_ref().is_err_and(is_final))
        {
            break;
        }
    }
    results
}

/// What is not gone yet, and what holds it: the failure at the deadline tells it.
struct Waiting<'a> {
    run: &'a Run<'a>,
    unit: Unit,
    /// Each with why it is still there, where that is known.
    open: Mutex<BTreeMap<ObjectId, Option<String>>>,
}

impl<'a> Waiting<'a> {
    fn begin(run: &'a Run<'a>, unit: Unit, doomed: &[Doomed]) -> Self {
        let open = doomed.iter().map(|doomed| (doomed.id.clone(), None));
        let open = Mutex::new(open.collect());
        let waiting = Self { run, unit, open };
        waiting.change(|_| {});
        waiting
    }

    fn held(&self, id: &ObjectId, why: Option<&str>) {
        self.change(|open| {
            if let Some(entry) = open.get_mut(id) {
                *entry = why.map(str::to_owned);
            }
        });
        show_held(self.run, self.unit, id, why);
    }

    fn over<'b>(&self, ids: impl Iterator<Item = &'b ObjectId>) {
        self.change(|open| ids.for_each(|id| drop(open.remove(id))));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<ObjectId, Option<String>>)) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut open);
        self.run.bounds.pending().replace(pending(&open));
    }
}

/// Lines for people: what is held, and why, before the rest.
fn pending(open: &BTreeMap<ObjectId, Option<String>>) -> Vec<String> {
    let held = open
        .iter()
        .filter_map(|(id, why)| Some((id, why.as_ref()?)));
    let mut lines: Vec<String> = held
        .take(NAMED)
        .map(|(id, why)| format!("the deletion of {id}, {why}"))
        .collect();
    let rest = open.iter().filter(|(_, why)| why.is_none());
    let room = NAMED.saturating_sub(lines.len());
    let mut rest: Vec<String> = rest.take(room).map(|(id, _)| id.to_string()).collect();
    let more = open.len().saturating_sub(lines.len() + rest.len());
    if more > 0 {
        rest.push(format!("{more} more"));
    }
    if !rest.is_empty() {
        lines.push(format!("the deletion of {}", rest.join(", ")));
    }
    lines
}

/// Whether nothing more can be written.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(error.cause(), Cause::LeaseLost { .. })
}

/// Groups of objects, each to be gone before the next is deleted: by what the live objects name and say about their
/// order. Objects that cannot be read or ordered go last, in the order of their kinds.
async fn batches(run: &Run<'_>, doomed: Vec<Doomed>) -> Vec<Vec<Doomed>> {
    let ids = doomed.iter().map(|doomed| doomed.id.clone()).collect();
    let survey = run.env.cluster.survey(ids).await;
    let (mut known, mut objects, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for (doomed, (_, live)) in doomed.into_iter().zip(survey) {
        match live.ok().flatten().and_then(object_of) {
            Some(object) => {
                objects.push(object);
                known.push(Some(doomed));
            }
            None => rest.push(doomed),
        }
    }
    let mut batches: Vec<Vec<Doomed>> = Vec::new();
    match order::plan(&objects, &run.task.release.namespace) {
        Ok(plan) => {
            for batch in plan.deletion() {
                let members = batch.into_iter().filter_map(|at| known.get_mut(at)?.take());
                batches.push(members.collect());
            }
        }
        Err(_) => rest.extend(known.into_iter().flatten()),
    }
    batches.push(rest);
    batches.retain(|batch| !batch.is_empty());
    batches
}

fn tell(run: &Run<'_>, unit: Unit, id: &ObjectId, gone: Gone) {
    match gone {
        Gone::Deleted => {
            run.info(unit, format!("{id} deleted"));
            show(run, unit, id, Health::Missing, "deleted");
        }
        Gone::Absent => {
            run.info(unit, format!("{id} is not there"));
            show(run, unit, id, Health::Missing, "is not there");
        }
        Gone::NotOurs => {
            let why = "left alone: another object has its name now";
            run.warn(unit, format!("{id} {why}"));
            show(run, unit, id, Health::Unknown, why);
        }
    }
}

/// Why an object that is being deleted is still there.
pub(crate) fn show_held(run: &Run<'_>, unit: Unit, id: &ObjectId, why: Option<&str>) {
    if let Some(why) = why {
        let message = format!("being deleted, {why}");
        show(run, unit, id, Health::Progressing, &message);
    }
}

fn show(run: &Run<'_>, unit: Unit, id: &ObjectId, health: Health, message: &str) {
    let row = ObjectRow {
        id: id.clone(),
        change: Change::Deleted,
        health,
        message: message.to_owned(),
    };
    run.sink.object(unit, row);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_names_what_is_held_before_the_rest() {
        let id = |name: usize| ObjectId {
            group: String::new(),
            kind: "Role".into(),
            namespace: None,
            name: format!("r{name:02}"),
        };
        let mut open: BTreeMap<ObjectId, Option<String>> =
            (0..3).map(|name| (id(name), None)).collect();
        assert_eq!(
            pending(&open),
            ["the deletion of Role/r00, Role/r01, Role/r02"]
        );
        open.insert(id(1), Some("for a reason".into()));
        let held = "the deletion of Role/r01, for a reason";
        assert_eq!(pending(&open), [held, "the deletion of Role/r00, Role/r02"]);
        open.extend((3..50).map(|name| (id(name), None)));
        let lines = pending(&open);
        assert_eq!((lines.len(), lines[0].as_str()), (2, held));
        assert!(lines[1].ends_with("Role/r09, 40 more"), "{lines:?}");
    }
}
