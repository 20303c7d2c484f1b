//! Deleting the Jobs and Pods of hooks by their policy.

use std::collections::BTreeSet;
use std::time::Duration;

use sortie_cluster::clock;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::Stored;
use sortie_manifest::{Object, ObjectId, Origin};

use crate::failure::chain;
use crate::hooks;
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;

/// How long a deletion may take.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// Delete what the release's own hooks left behind, as far as their policy says so, and after a success those of earlier
/// releases. A leftover harms nobody, so that failing to is told and no failure.
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
    let mut doomed = Vec::new();
    for (id, live) in run.env.cluster.survey(all.into_iter().collect()).await {
        let origin = Origin {
            file: "the cluster".into(),
            document: 1,
            line: 1,
        };
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
}
