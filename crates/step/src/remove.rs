//! Removing objects in the reverse of the order in which they would be applied.

use std::time::Duration;

use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::{Cause, Error};
use sortie_health::Status as Health;
use sortie_manifest::{ObjectId, order};

use crate::adoption::object_of;
use crate::failure::chain;
use crate::locked::Locked;
use crate::report::{Change, Level, ObjectRow, Sink as _, Unit};
use crate::run::Run;

/// How long a deletion may take before its finalizers are named.
const GONE_WITHIN: Duration = Duration::from_secs(120);

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
    let names: Vec<String> = doomed.iter().map(|doomed| doomed.id.to_string()).collect();
    let pending = format!("the deletion of {}", names.join(", "));
    run.bounds.pending().set(pending);
    let mut results = Vec::new();
    for batch in batches(run, doomed).await {
        for doomed in &batch {
            show(run, unit, &doomed.id, Health::Progressing, "being deleted");
        }
        let deletion = run
            .env
            .cluster
            .delete_all(batch, GONE_WITHIN, locked.guard());
        for (id, result) in deletion.await {
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

fn show(run: &Run<'_>, unit: Unit, id: &ObjectId, health: Health, message: &str) {
    let row = ObjectRow {
        id: id.clone(),
        change: Change::Deleted,
        health,
        message: message.to_owned(),
    };
    run.sink.object(unit, row);
}
