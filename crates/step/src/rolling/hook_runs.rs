//! Deleting the Jobs and Pods of hooks by their policy.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sortie_cluster::clock;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::{Head, Stored};
use sortie_manifest::{Object, ObjectId, Origin};

use crate::failure::chain;
use crate::hooks;
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;

/// How long a deletion may take.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// What is journalled before hooks that went well are deleted, with what they are.
const OVER: &str = "hooks are over";

/// The hooks of a release that have run and may be gone since: they are not run again.
pub(super) fn over(head: &Head) -> BTreeSet<ObjectId> {
    let entries = head.journal.iter().filter(|entry| entry.what == OVER);
    let noted = entries.filter_map(|entry| entry.data.read::<Vec<ObjectId>>());
    noted.flatten().collect()
}

/// Delete what the release's own hooks left behind, as far as their policy says so, and after a success those of earlier
/// releases. A success is closed afterwards, a failure before. A leftover harms nobody, so that failing to is told and no failure.
pub(super) async fn clear(run: &Run<'_>, locked: &Locked, stored: &mut Stored, succeeded: bool) {
    let runs = |id: &ObjectId| {
        matches!(
            (id.group.as_str(), id.kind.as_str()),
            ("batch", "Job") | ("", "Pod")
        )
    };
    let tracked = |stored: &Stored| -> BTreeSet<ObjectId> {
        let ids = stored.head.inventory.iter().map(|tracked| &tracked.id);
        ids.filter(|id| runs(id)).cloned().collect()
    };
    let own = tracked(stored);
    let earlier = locked.history.records().iter().flat_map(tracked);
    let all: BTreeSet<ObjectId> = own.iter().cloned().chain(earlier).collect();
    let over = over(&stored.head);
    let mut doomed = Vec::new();
    for (id, live) in run.env.cluster.survey(all.into_iter().collect()).await {
        let origin = Origin::outside("the cluster");
        if matches!(live, Ok(None)) && over.contains(&id) {
            stored.head.inventory.retain(|tracked| tracked.id != id);
        }
        let live = live.ok().flatten();
        let Some(object) = live.and_then(|live| Object::from_value(live, origin).ok()) else {
            continue;
        };
        let policy = hooks::policy(&object);
        let goes = match (own.contains(&id), succeeded) {
            (true, true) => policy.on_success,
            (true, false) => policy.on_failure,
            (false, true) => policy.before_next,
            (false, false) => false,
        };
        if goes && hooks::is_run(&object) {
            let release = Some(run.release_id());
            doomed.push(Doomed {
                id,
                uid: None,
                release,
            });
        }
    }
    if doomed.is_empty() {
        return;
    }
    if succeeded {
        let ids: Vec<&ObjectId> = doomed.iter().map(|doomed| &doomed.id).collect();
        let unit = Unit::WrapUp.name();
        let head = &mut stored.head;
        head.note_with(unit, "", OVER, json!(ids), clock::now());
        if let Err(failure) = locked.update(stored).await {
            let text = format!("hooks stay for now: {}", failure.message);
            return run.warn(Unit::WrapUp, text);
        }
    }
    let deletion = run
        .env
        .cluster
        .delete_all(doomed, GONE_WITHIN, locked.guard());
    for (id, result) in deletion.await {
        match result {
            Ok(Gone::Deleted | Gone::Absent) => {
                run.info(Unit::WrapUp, format!("{id}, a hook, deleted"));
                stored.head.inventory.retain(|tracked| tracked.id != id);
            }
            Ok(Gone::NotOurs) => {}
            Err(error) => run.warn(Unit::WrapUp, chain(&error)),
        }
    }
    let unit = Unit::WrapUp.name();
    stored.head.note(unit, "", "hooks cleared", clock::now());
    if !succeeded && let Err(failure) = locked.update(stored).await {
        // What is not there any more is told from the cluster.
        tracing::debug!(%failure.message, "the cleared hooks are not journalled");
    }
}
