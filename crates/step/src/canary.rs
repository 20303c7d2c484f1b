//! Removing the canaries of a release: the copies that run beside it, with what was made for them alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::{Head, History, Status};
use sortie_manifest::ObjectId;

use crate::failure::first_of;
use crate::locked::{self, Locked};
use crate::remove::remove;
use crate::report::Unit;
use crate::rolling::{close_interrupted, noted};
use crate::run::Run;
use crate::shape;
use crate::units::Ended;

/// The unit under which it is journalled.
const JOURNAL: &str = "Canary";
/// What is journalled once all that a canary ran is gone.
const DELETED: &str = "deleted";

/// Delete what canaries of the release run. The outputs say whether there was any.
pub(crate) async fn delete(run: &Run<'_>) -> Result<Value, Ended> {
    run.units.enter(Unit::Initialize);
    let look = async { Ok(locked::look(run).await?) };
    let look = run
        .bounds
        .run(std::future::pending(), Box::pin(look))
        .await?;
    if standing(&look.history).is_empty() {
        let reason = "there is no canary of this release: nothing to delete";
        run.info(Unit::Initialize, reason);
        let name = &run.task.release.name;
        return Ok(json!({"releaseName": name, "canaryDeleted": false, "reason": reason}));
    }
    let acquire = async { Ok(Locked::acquire(run, Unit::Initialize, look).await?) };
    let acquire = run.bounds.run(std::future::pending(), Box::pin(acquire));
    let mut locked = acquire.await?;
    let result = under_lease(run, &mut locked).await;
    locked.release(run).await;
    result
}

/// The numbers of the canaries whose copies may be there.
fn standing(history: &History) -> Vec<u64> {
    let is_deleted = |head: &Head| {
        let mut entries = head.journal.iter();
        entries.any(|entry| entry.unit == JOURNAL && entry.what == DELETED)
    };
    let standing = history
        .heads()
        .filter(|head| head.side.is_canary() && !is_deleted(head));
    standing.map(|head| head.number).collect()
}

async fn under_lease(run: &Run<'_>, locked: &mut Locked) -> Result<Value, Ended> {
    if close_interrupted(run, locked).await? {
        locked.history = locked::history(&locked.records, run.task).await?;
    }
    let numbers = standing(&locked.history);
    let doomed = doomed(run, &locked.history, &numbers);
    run.units.enter(Unit::Delete);
    let removal = async { Ok(remove(run, locked, doomed, Unit::Delete).await) };
    let removed = run.bounds.run(locked.lost(), Box::pin(removal)).await?;
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for (id, result) in removed {
        match result {
            Ok(Gone::Deleted) => deleted.push(id.to_string()),
            Ok(Gone::Absent | Gone::NotOurs) => {}
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(first_of(&errors).into());
    }
    run.units.enter(Unit::WrapUp);
    for number in numbers {
        let Some(mut stored) = locked.history.number(number).cloned() else {
            continue;
        };
        let head = &mut stored.head;
        if head.status == Status::Succeeded {
            head.status = Status::Superseded;
        }
        head.note(JOURNAL, "", DELETED, clock::now());
        locked.update(&mut stored).await?;
    }
    locked.tidy(run, None).await;
    Ok(json!({
        "releaseName": run.task.release.name,
        "canaryDeleted": true,
        "deletedResourceIds": deleted,
    }))
}

/// The copies of these canaries, each by the UID under which it was last tracked.
fn doomed(run: &Run<'_>, history: &History, numbers: &[u64]) -> Vec<Doomed> {
    let release = run.release_id();
    let mut copies: BTreeMap<ObjectId, Option<String>> = BTreeMap::new();
    for head in history.heads() {
        if !numbers.contains(&head.number) {
            continue;
        }
        for id in noted::<ObjectId>(head, shape::COPIES) {
            let uid = head.uid(&id).map(str::to_owned);
            let known = copies.entry(id).or_default();
            *known = uid.or_else(|| known.take());
        }
    }
    let doom = |(id, uid)| Doomed {
        id,
        uid,
        release: Some(release.clone()),
    };
    copies.into_iter().map(doom).collect()
}
