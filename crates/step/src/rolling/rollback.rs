//! A rolling rollback: bring the last good release back, whole, and remove what the failed one added.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sortie_cluster::apply::{Change, Planned};
use sortie_cluster::clock;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::{Head, PartId, Status, Stored};
use sortie_health::Status as Health;
use sortie_manifest::{Object, ObjectId, versioning};

use super::behind::{Behind, Spared};
use super::closing::{close, told};
use super::decision::{Decision, Known, Place, Plan, decide, good_numbers};
use super::deploy::learn;
use super::earlier::noted;
use super::opening::{close_interrupted, gone, objects_of, record_objects};
use super::removals::{Removals, Undone, removals};
use crate::apply::{self, Manner, OnRefusal};
use crate::autoscalers;
use crate::failure::{Failure, chain, first_of};
use crate::health_rules;
use crate::hooks;
use crate::instances::Instances;
use crate::locked::{self, Locked, record_failure};
use crate::progressive::{self, BESIDE, Beside};
use crate::remove::remove;
use crate::replacement;
use crate::report::Unit;
use crate::run::Run;
use crate::sequence::{Sequence, disordered};
use crate::steady;
use crate::task::RollingRollback;
use crate::try_out::try_out_each;
use crate::units::Ended;

/// Roll back. The outputs name the release and the number that was brought back.
pub(crate) async fn run(run: &Run<'_>, options: &RollingRollback) -> Result<Value, Ended> {
    let before = run
        .bounds
        .run(std::future::pending(), before(run, options))
        .await?;
    let mut locked = match before {
        Before::Nothing(outputs) => return Ok(outputs),
        Before::Locked(locked) => locked,
    };
    let result = under_lease(run, options, &mut locked).await;
    locked.release(run).await;
    result
}

/// How far it comes without the right to write.
enum Before {
    /// There is nothing to do.
    Nothing(Value),
    /// The release is ours.
    Locked(Box<Locked>),
}

/// Of a release without records no Lease is made: nobody would ever delete it.
async fn before(run: &Run<'_>, options: &RollingRollback) -> Result<Before, Ended> {
    let unit = Unit::Initialize;
    run.units.enter(unit);
    let look = locked::look(run).await?;
    if look.history.is_empty() {
        let known = Known {
            heads: &[],
            unreadable: &[],
        };
        if let Decision::Nothing(reason) = decide(known, options.target, run.task)? {
            return Ok(Before::Nothing(nothing(run, &reason)));
        }
    }
    let locked = Locked::acquire(run, unit, look).await?;
    Ok(Before::Locked(Box::new(locked)))
}

fn nothing(run: &Run<'_>, reason: &str) -> Value {
    run.info(Unit::Initialize, reason);
    let name = &run.task.release.name;
    json!({"releaseName": name, "rolledBack": false, "reason": reason})
}

async fn under_lease(
    run: &Run<'_>,
    options: &RollingRollback,
    locked: &mut Locked,
) -> Result<Value, Ended> {
    let unit = Unit::Initialize;
    if close_interrupted(run, locked).await? {
        locked.history = locked::history(&locked.records, run.task).await?;
    }
    let whole = |head: &&Head| head.side.is_whole();
    let heads: Vec<&Head> = locked.history.heads().filter(whole).collect();
    let unreadable = locked.history.unreadable().iter();
    let unreadable: Vec<u64> = unreadable.filter_map(|record| record.number).collect();
    let known = Known {
        heads: &heads,
        unreadable: &unreadable,
    };
    let plan = match decide(known, options.target, run.task)? {
        Decision::Restore(plan) => plan,
        Decision::Needs(number) => return Err(unreadable_one(locked, number, &heads).into()),
        Decision::Nothing(reason) => return Ok(nothing(run, &reason)),
        Decision::Done(number) => {
            let head = &numbered(locked, number)?.head;
            locked.tidy(run, Some(head)).await;
            return Ok(told(&run.task.release, head));
        }
    };
    locked.warn_of_unreadable(run, unit);
    let begin = run
        .bounds
        .run_writes(locked.lost(), Box::pin(begin(run, options, locked, &plan)));
    let Begun {
        mut stored,
        objects,
        doomed,
        beside,
    } = begin.await?;
    let restored = restore(run, locked, &mut stored, &plan, objects, doomed).await;
    let (result, restored) = match restored {
        Ok(restored) => (Ok(()), restored),
        Err(ended) => (Err(ended), Restored::default()),
    };
    if !matches!(result, Ok(()) | Err(Ended::HandedOver)) {
        let own = |task: &str| task == run.task.id;
        replacement::restore(run, locked, &mut stored, Unit::Rollback, own).await;
    }
    if result.is_ok() {
        run.units.enter(Unit::WrapUp);
        let text = format!("release number {} is back", plan.good);
        run.info(Unit::WrapUp, text.as_str());
        // Recorded together with the end: until everything is back, the canary's own numbers hold.
        if let Some(beside) = beside {
            let data = json!({BESIDE: beside});
            stored
                .head
                .note_with("Rollback", "", text, data, clock::now());
        }
    }
    let result = match result {
        Ok(()) => Ok(told_of(run, &stored.head, &plan, restored).await),
        Err(ended) => Err(ended),
    };
    match plan.record {
        Place::New | Place::Open(_) => close(run, locked, &mut stored, &result).await?,
        Place::Undone(_) => finish(run, locked, &mut stored, &plan, &result).await?,
    }
    result
}

/// What a rollback that went well tells.
async fn told_of(run: &Run<'_>, head: &Head, plan: &Plan, restored: Restored) -> Value {
    let mut outputs = outputs(run, plan.good);
    if !matches!(plan.record, Place::Undone(_)) {
        outputs["recordNumber"] = head.number.into();
    }
    restored.instances.tell(run, &mut outputs).await;
    let replaced = replacement::replaced(head, &run.task.id);
    // One that a killed holder of this task had deleted for that was not there any more.
    let mut created = restored.created;
    created.retain(|id| !replaced.contains(id));
    for (key, ids) in [
        ("recreatedResourceIds", created),
        ("replacedResourceIds", replaced),
    ] {
        if !ids.is_empty() {
            let names: Vec<String> = ids.iter().map(ObjectId::to_string).collect();
            outputs[key] = names.into();
        }
    }
    outputs
}

fn outputs(run: &Run<'_>, number: u64) -> Value {
    json!({
        "releaseName": run.task.release.name,
        "releaseNumber": number,
        "namespace": run.task.release.namespace,
        "rolledBack": true,
    })
}

/// A rollback whose beginning is recorded.
struct Begun {
    stored: Stored,
    objects: Vec<Object>,
    doomed: Vec<Doomed>,
    beside: Option<Beside>,
}

async fn begin(
    run: &Run<'_>,
    options: &RollingRollback,
    locked: &Locked,
    plan: &Plan,
) -> Result<Begun, Ended> {
    run.bounds
        .pending()
        .set("the release's records were still being read");
    let good = numbered(locked, plan.good)?;
    let mut objects = objects_of(run, good, locked).await?;
    // They were for the way there.
    objects.retain(|object| !hooks::is_run(object));
    run.check_objects(&objects)?;
    match run.rules().await {
        Ok(rules) => health_rules::warn(run, &objects, &rules),
        Err(failure) => run.warn(Unit::Initialize, failure.message),
    }
    let secrets: Vec<String> = noted(&good.head, "secrets");
    learn(run, &secrets).await;
    let (doomed, left) = doomed(run, options, locked, plan).await?;
    let text = format!("rollback to number {} begun", plan.good);
    let ids: Vec<&ObjectId> = doomed.iter().map(|doomed| &doomed.id).collect();
    let set = (objects.as_slice(), run.task.release.namespace.as_str());
    let beside = progressive::beside((&locked.history, locked.guard().fence()), set, &ids);
    let now = clock::now();
    let stored = match plan.record {
        Place::Undone(number) | Place::Open(number) => {
            let mut stored = numbered(locked, number)?.clone();
            let head = &mut stored.head;
            head.task_epoch = head.task_epoch.max(run.task.epoch);
            head.note("Rollback", "", text, now);
            locked.update(&mut stored).await?;
            stored
        }
        Place::New => {
            let mut head = locked.next_head(run.task);
            head.inventory.clone_from(&good.head.inventory);
            for id in left {
                head.track(id, None);
            }
            head.manifest_hash.clone_from(&good.head.manifest_hash);
            head.note_with("Prepare", "", "opened", json!({"secrets": secrets}), now);
            head.note("Rollback", "", text, now);
            // They were read a moment ago.
            let present: Vec<PartId> = good.all_parts().cloned().collect();
            record_objects(locked, head, &objects, &present).await?
        }
    };
    Ok(Begun {
        stored,
        objects,
        doomed,
        beside,
    })
}

/// A rollback that takes a record which cannot be read.
fn unreadable_one(locked: &Locked, number: u64, heads: &[&Head]) -> Failure {
    let mut records = locked.history.unreadable().iter();
    let Some(record) = records.find(|record| record.number == Some(number)) else {
        return gone(number);
    };
    let mut failure = record_failure(&record.why);
    failure.message = format!(
        "a rollback needs release number {number}: {}",
        failure.message
    );
    failure.hint = format!(
        "{} Or bring another release back by its number: {}.",
        failure.hint,
        good_numbers(heads)
    );
    failure
}

fn numbered(locked: &Locked, number: u64) -> Result<&Stored, Failure> {
    locked.history.number(number).ok_or_else(|| gone(number))
}

/// What a rollback brought back.
#[derive(Debug, Default)]
struct Restored {
    /// Objects that were gone.
    created: Vec<ObjectId>,
    instances: Instances,
}

/// Write the good release again, remove what was added, and wait. What is refused is reported at the end and stops
/// nothing.
async fn restore(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    plan: &Plan,
    objects: Vec<Object>,
    mut doomed: Vec<Doomed>,
) -> Result<Restored, Ended> {
    run.units.enter(Unit::Rollback);
    let (good, count) = (plan.good, objects.len());
    run.info(
        Unit::Rollback,
        format!(
            "bringing release number {good} back: {count} object{}",
            if count == 1 { "" } else { "s" }
        ),
    );
    let sequence = Sequence::of(&objects, &run.task.release.namespace).unwrap_or_else(|errors| {
        let (_, failure) = disordered(&errors);
        run.warn(Unit::Rollback, failure.message);
        Sequence::by_kind(&objects, &run.task.release.namespace)
    });
    let promotion = progressive::unfinished_promotion(&stored.head);
    let steered = promotion.as_ref().map(|promotion| promotion.steered(false));
    let originals = promotion.as_ref().map(|_| objects.clone());
    let scaled = autoscalers::scaled(doomed.iter().map(|doomed| &doomed.id), &objects);
    let manner = Manner {
        unit: Unit::Rollback,
        on_refusal: OnRefusal::GoOn,
        wait_for_jobs: true,
    };
    let release = locked.records.release().hash();
    let write = async {
        let (planned, refusals) = try_out_each(run, objects, steered.unwrap_or_default()).await?;
        let (planned, running) = without_jobs(run, (planned, good), &release);
        for text in planned.iter().filter_map(replacement::foretold) {
            run.warn(Unit::Rollback, text);
        }
        let mut set = apply::whole_set(run, locked, stored, (planned, &sequence), manner).await?;
        set.errors.extend(refusals);
        Ok((set, running))
    };
    let (set, running) = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    doomed.extend(running);
    let inventory = &numbered(locked, good)?.head.inventory;
    let behind = Behind::read(run, inventory, &set.errors).await;
    let (doomed, spared) = behind.part(doomed);
    for Spared { doomed, by } in spared {
        let text = format!("{} is kept: {by} needs it, which is not back", doomed.id);
        run.warn(Unit::Rollback, text);
        stored.head.track(doomed.id, doomed.uid);
    }
    // What cannot go back of what must not be lost is left as it is.
    let (left, mut errors): (Vec<_>, Vec<_>) = set
        .errors
        .into_iter()
        .partition(|error| behind.leaves(error));
    for error in &left {
        run.warn(Unit::Rollback, format!("left as it is: {}", chain(error)));
    }
    if !errors.is_empty() {
        run.units.mark_failed();
    }

    if let (Some(promotion), Some(originals)) = (promotion, originals) {
        let wait = steady::wait(run, locked.guard(), set.awaited.clone());
        run.bounds.run(locked.lost(), Box::pin(wait)).await?;
        let former = (&promotion.backwards(), originals.as_slice());
        Box::pin(progressive::come_back(run, locked, stored, former)).await?;
    }

    run.units.enter(Unit::DeleteFailedReleaseResources);
    let unit = Unit::DeleteFailedReleaseResources;
    let removal = async { Ok(remove(run, locked, doomed, unit).await) };
    let removed = run.bounds.run(locked.lost(), Box::pin(removal)).await?;
    let mut gone = Vec::new();
    let mut stuck = Vec::new();
    for (id, result) in removed {
        match result {
            Ok(Gone::Deleted | Gone::Absent) => gone.push(id),
            Ok(Gone::NotOurs) => {}
            Err(error) => stuck.push(error),
        }
    }
    let again = autoscalers::take_back(run, locked, stored, (scaled, gone), manner);
    let again = run
        .bounds
        .run_writes(locked.lost(), Box::pin(again))
        .await?;
    stuck.extend(again.errors);
    if !stuck.is_empty() {
        run.units.mark_failed();
    }
    errors.extend(stuck);
    let mut awaited = set.awaited;
    awaited.retain(|one| !again.awaited.iter().any(|anew| anew.id == one.id));
    awaited.extend(again.awaited);

    run.units.enter(Unit::WaitForSteadyState);
    let wait = steady::wait(run, locked.guard(), awaited);
    run.bounds.run(locked.lost(), Box::pin(wait)).await?;
    if errors.is_empty() {
        Ok(Restored {
            created: set.created,
            instances: set.instances,
        })
    } else {
        Err(first_of(&errors).into())
    }
}

/// A Job that is not there any more, or is another one now, ran under the good release, and is not run again. What runs in
/// its place is the undone release's, and is to go.
fn without_jobs(
    run: &Run<'_>,
    (planned, good): (Vec<Planned>, u64),
    release: &str,
) -> (Vec<Planned>, Vec<Doomed>) {
    let (jobs, planned): (Vec<_>, Vec<_>) = planned.into_iter().partition(|planned| {
        let id = &planned.target.id;
        let anew = planned.change() == Some(Change::Created) || planned.replaces().is_some();
        id.group == "batch" && id.kind == "Job" && anew
    });
    let mut running = Vec::new();
    for planned in jobs {
        let id = planned.target.id.clone();
        let mut text = format!("{id} ran under release number {good} and is not run again");
        if let Some((live, _)) = planned.replaces() {
            let live = live.value();
            let status = sortie_health::assess(&live).status;
            if !matches!(status, Health::Healthy | Health::Degraded) {
                text.push_str("; what runs in its place is deleted");
                let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
                running.push(Doomed {
                    id,
                    uid: uid.map(str::to_owned),
                    release: Some(release.to_owned()),
                });
            }
        }
        run.info(Unit::Rollback, text);
    }
    (planned, running)
}

/// Journal the end in the record of the release that was undone; there is none of one that is handed over.
async fn finish(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    plan: &Plan,
    result: &Result<Value, Ended>,
) -> Result<(), Failure> {
    let head = &mut stored.head;
    let good = plan.good;
    let text = match result {
        Ok(_) => format!("rolled back to number {good}"),
        Err(Ended::Aborted) => format!("rollback to number {good} aborted"),
        Err(Ended::Failed(_)) => format!("rollback to number {good} failed"),
        Err(Ended::HandedOver) => return Ok(()),
    };
    head.note("Rollback", "", text.clone(), clock::now());
    if head.is_good() && result.is_ok() {
        // A release that had succeeded and was undone by a later step of its pipeline is good no more.
        head.status = Status::Failed;
        head.message = text;
    }
    if let Err(failure) = locked.update(stored).await {
        if result.is_ok() {
            return Err(failure);
        }
        let text = format!("the record could not be closed: {}", failure.message);
        run.warn(Unit::WrapUp, text);
        return Ok(());
    }
    if result.is_ok() {
        let mut restored = numbered(locked, good)?.clone();
        if restored.head.status == Status::Superseded {
            // It is what runs now.
            restored.head.status = Status::Succeeded;
            locked.update(&mut restored).await?;
        }
        locked.tidy(run, None).await;
    }
    Ok(())
}

/// What the undone releases added, to be deleted, and what of it stays, which is said.
async fn doomed(
    run: &Run<'_>,
    options: &RollingRollback,
    locked: &Locked,
    plan: &Plan,
) -> Result<(Vec<Doomed>, Vec<ObjectId>), Failure> {
    for number in &plan.unknown {
        let text = format!(
            "what release number {number} added is not known and stays: its record cannot be read"
        );
        run.warn(Unit::Initialize, text);
    }
    let mut undone = Vec::new();
    for number in &plan.undone {
        let stored = numbered(locked, *number)?;
        let versioned = versioned(run, locked, stored).await;
        let head = &stored.head;
        undone.push(Undone { head, versioned });
    }
    let good = &numbered(locked, plan.good)?.head;
    let Removals {
        doomed,
        kept,
        older,
    } = removals(good, &undone, options.delete_storage);
    for id in &kept {
        let text = format!(
            "{id} was added since release number {} and is kept",
            plan.good
        );
        run.warn(Unit::Initialize, text);
    }
    for id in &older {
        let text = format!("{id} was there before it was taken over, and is left as it is");
        run.warn(Unit::Initialize, text);
    }
    let release = locked.records.release().hash();
    let doom = |tracked: sortie_cluster::record::Tracked| Doomed {
        id: tracked.id,
        uid: tracked.uid,
        release: Some(release.clone()),
    };
    let doomed = doomed.into_iter().map(doom).collect();
    Ok((doomed, [kept, older].concat()))
}

/// ConfigMaps and Secrets of a release that have versioned names; all of them when its objects cannot be read.
async fn versioned(run: &Run<'_>, locked: &Locked, stored: &Stored) -> BTreeSet<ObjectId> {
    let namespace = &run.task.release.namespace;
    match objects_of(run, stored, locked).await {
        Ok(objects) => objects
            .iter()
            .filter(|object| object.annotation(versioning::ORIGINAL_NAME).is_some())
            .map(|object| object.id().in_namespace(namespace))
            .collect(),
        Err(failure) => {
            run.warn(Unit::Initialize, failure.message);
            let ids = stored.head.inventory.iter().map(|tracked| &tracked.id);
            ids.filter(|id| id.group.is_empty())
                .filter(|id| id.kind == "ConfigMap" || id.kind == "Secret")
                .cloned()
                .collect()
        }
    }
}
