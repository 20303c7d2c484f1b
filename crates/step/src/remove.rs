//! Removing what a failed release added.

use std::time::Duration;

use sortie_cluster::Error;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_health::Status as Health;
use sortie_manifest::ObjectId;

use crate::failure::chain;
use crate::locked::Locked;
use crate::report::{Change, Level, ObjectRow, Sink as _, Unit};
use crate::run::Run;

/// How long a deletion may take before its finalizers are named.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// Delete objects that are still the ones meant. Every one is tried; what could not be deleted comes back.
pub(crate) async fn remove(run: &Run<'_>, locked: &Locked, doomed: Vec<Doomed>) -> Vec<Error> {
    let unit = Unit::DeleteFailedReleaseResources;
    if doomed.is_empty() {
        run.info(unit, "nothing to remove");
        return Vec::new();
    }
    let names: Vec<String> = doomed.iter().map(|doomed| doomed.id.to_string()).collect();
    let pending = format!("the deletion of {}", names.join(", "));
    run.bounds.pending().set(pending);
    let deletion = run
        .env
        .cluster
        .delete_all(doomed, GONE_WITHIN, locked.guard());
    let mut errors = Vec::new();
    for (id, result) in deletion.await {
        match result {
            Ok(gone) => tell(run, unit, id, gone),
            Err(error) => {
                run.sink.log(unit, Level::Error, &chain(&error));
                errors.push(error);
            }
        }
    }
    errors
}

fn tell(run: &Run<'_>, unit: Unit, id: ObjectId, gone: Gone) {
    match gone {
        Gone::Deleted => {
            run.info(unit, format!("{id} deleted"));
            let row = ObjectRow {
                id,
                change: Change::Deleted,
                health: Health::Missing,
                message: "deleted".to_owned(),
            };
            run.sink.object(unit, row);
        }
        Gone::Absent => run.info(unit, format!("{id} is not there")),
        Gone::NotOurs => {
            run.warn(
                unit,
                format!("{id} left alone: another object has its name now"),
            );
        }
    }
}
