//! Removing the canaries of a release: the copies that run beside it, with what was made for them alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::delete::Doomed;
use sortie_cluster::record::{CANARY_DELETED, Head, History, JournalEntry, Status};
use sortie_manifest::ObjectId;

use crate::failure::{Failure, first_of};
use crate::locked::{self, Locked};
use crate::progressive;
use crate::remove::remove;
use crate::report::Unit;
use crate::rolling::{close_interrupted, noted};
use crate::run::Run;
use crate::shape;
use crate::single::traffic::{self, Sides};
use crate::units::Ended;

/// The unit under which it is journalled.
const JOURNAL: &str = CANARY_DELETED.0;
/// What is journalled once all that a canary ran is gone.
const DELETED: &str = CANARY_DELETED.1;
/// What is journalled before anything goes.
const DELETING: &str = "deleting";

/// Delete what canaries of the release run. The outputs say whether there was any.
pub(crate) async fn delete(run: &Run<'_>) -> Result<Value, Ended> {
    run.units.enter(Unit::Initialize);
    let look = async { Ok(locked::look(run).await?) };
    let look = run.bounds.run(std::future::pending(), Box::pin(look));
    let look = look.await?;
    if standing(&look.history).is_empty() && told(&look.history, run).is_none() {
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

/// What this task has told when it had ended, and its result was lost on the way.
fn told(history: &History, run: &Run<'_>) -> Option<Value> {
    let mut entries = history.heads().flat_map(|head| &head.journal);
    let ended = entries.find(|entry| entry.what == DELETED && is_of(entry, run));
    ended.and_then(|entry| entry.data.field("outputs"))
}

fn is_of(entry: &JournalEntry, run: &Run<'_>) -> bool {
    entry.unit == JOURNAL && entry.data.field("task").as_ref() == Some(&run.task.id)
}

/// The numbers of the canaries whose copies may be there.
fn standing(history: &History) -> Vec<u64> {
    let standing = history.heads().filter(|head| head.is_canary_left());
    standing.map(|head| head.number).collect()
}

async fn under_lease(run: &Run<'_>, locked: &mut Locked) -> Result<Value, Ended> {
    if close_interrupted(run, locked).await? {
        locked.history = locked::history(&locked.records, run.task).await?;
    }
    if let Some(told) = told(&locked.history, run) {
        locked.tidy(run, None).await;
        return Ok(told);
    }
    let doomed = doomed(run, &locked.history, &standing(&locked.history));
    let sides = sides(run, locked, &doomed).await?;
    let check = async { Ok(traffic::check(run, &sides).await?) };
    run.bounds.run(locked.lost(), Box::pin(check)).await?;
    Box::pin(progressive::give_back(run, locked)).await?;
    let outputs = remove_all(run, locked, &locked.history).await?;
    locked.tidy(run, None).await;
    Ok(outputs)
}

/// Remove the canaries of this history, which is the present one; what the outputs say of it.
///
/// # Errors
/// Something cannot be deleted or written down, or it is time to stop.
pub(crate) async fn remove_all(
    run: &Run<'_>,
    locked: &Locked,
    history: &History,
) -> Result<Value, Ended> {
    let numbers = standing(history);
    let doomed = doomed(run, history, &numbers);
    let is_resumed = history.heads().any(|head| begun(head, run).is_some());
    let sides = sides(run, locked, &doomed).await?;
    let begun = begin(run, (locked, history), &numbers, &doomed);
    let outputs = run.bounds.run(locked.lost(), Box::pin(begun)).await?;
    // Whoever gets requests keeps its pods.
    Box::pin(traffic::retreat(run, locked, &sides, is_resumed)).await?;
    run.units.enter(Unit::Delete);
    // A Service never leads to nobody.
    let is_service = |doomed: &Doomed| doomed.id.group.is_empty() && doomed.id.kind == "Service";
    let (services, others): (Vec<_>, Vec<_>) = doomed.into_iter().partition(is_service);
    let has_services = !services.is_empty();
    for doomed in has_services.then_some(services).into_iter().chain([others]) {
        let removal = async { Ok(remove(run, locked, doomed, Unit::Delete).await) };
        let removed = run.bounds.run(locked.lost(), Box::pin(removal)).await?;
        let errors: Vec<_> = removed
            .into_iter()
            .filter_map(|(_, result)| result.err())
            .collect();
        if !errors.is_empty() {
            return Err(first_of(&errors).into());
        }
    }
    run.units.enter(Unit::WrapUp);
    // The newest is the last: as long as it stands, whoever comes next goes on.
    let history = locked::history(&locked.records, run.task).await?;
    for number in numbers {
        let Some(mut stored) = history.number(number).cloned() else {
            continue;
        };
        let head = &mut stored.head;
        if head.status == Status::Succeeded {
            head.status = Status::Superseded;
        }
        let data = json!({"task": run.task.id, "outputs": outputs});
        head.note_with(JOURNAL, "", DELETED, data, clock::now());
        locked.update(&mut stored).await?;
    }
    Ok(outputs)
}

/// Which pods are a canary's, as long as they are there.
async fn sides(run: &Run<'_>, locked: &Locked, doomed: &[Doomed]) -> Result<Sides, Ended> {
    let copies = doomed.iter().map(|doomed| doomed.id.clone()).collect();
    let sides = async { Ok(Sides::of_copies(run, copies).await?) };
    run.bounds.run(locked.lost(), Box::pin(sides)).await
}

/// What this task has noted before anything goes.
fn begun(head: &Head, run: &Run<'_>) -> Option<Value> {
    let mut entries = head.journal.iter().rev();
    let begun = entries.find(|entry| entry.what == DELETING && is_of(entry, run));
    begun.and_then(|begun| begun.data.field("outputs"))
}

/// Note in the newest of these canaries what is deleted, or find it noted by a killed holder of this task; it is what the
/// outputs say.
async fn begin(
    run: &Run<'_>,
    (locked, history): (&Locked, &History),
    numbers: &[u64],
    doomed: &[Doomed],
) -> Result<Value, Ended> {
    let newest = numbers.last().and_then(|number| history.number(*number));
    let Some(mut stored) = newest.cloned() else {
        return Ok(Value::Null);
    };
    if let Some(outputs) = begun(&stored.head, run) {
        return Ok(outputs);
    }
    let ids = doomed.iter().map(|doomed| doomed.id.clone()).collect();
    let mut live = Vec::new();
    for (id, found) in run.env.cluster.survey(ids).await {
        if found.map_err(|error| Failure::cluster(&error))?.is_some() {
            live.push(id.to_string());
        }
    }
    let outputs = json!({
        "releaseName": run.task.release.name,
        "canaryDeleted": true,
        "deletedResourceIds": live,
    });
    let data = json!({"task": run.task.id, "outputs": outputs});
    stored
        .head
        .note_with(JOURNAL, "", DELETING, data, clock::now());
    locked.update(&mut stored).await?;
    Ok(outputs)
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
