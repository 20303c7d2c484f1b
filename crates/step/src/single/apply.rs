//! Applying listed files as they are: without versions, without a release number, without tracking.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sortie_cluster::apply::{Change, Outcome, Planned, Scope, Target};
use sortie_cluster::clock;
use sortie_cluster::record::changes::{Entry, Undo, fields, fields_since};
use sortie_manifest::labels::{self, Marks};
use sortie_manifest::order::External;
use sortie_manifest::{Object, ObjectId};

use super::set::{self, Marked};
use super::{take, traffic};
use crate::adoption::object_of;
use crate::apply::{self as writing, Journal, Manner, OnRefusal};
use crate::autoscalers::tell_unseen;
use crate::changes::Ledger;
use crate::external;
use crate::failure::{Failure, first_of, refused};
use crate::health_rules;
use crate::locked::Locked;
use crate::protection::text;
use crate::report::Unit;
use crate::rolling::{accepted, sequence};
use crate::run::Run;
use crate::sequence::Sequence;
use crate::service_hooks::AroundWait;
use crate::shape::keep_color;
use crate::steady;
use crate::steady::facts::carries;
use crate::task::Apply;
use crate::units::Ended;

/// Apply. The outputs say what was done to each object.
pub(crate) async fn run(run: &Run<'_>, options: &Apply) -> Result<Value, Ended> {
    let render = async {
        run.check_namespace()?;
        let objects = set::render(run, &options.set, Marked::Kept).await?;
        run.check_objects(&objects)?;
        let rules = run.rules().await?;
        health_rules::check(run, &objects, &rules)?;
        Ok(objects)
    };
    let objects = run
        .bounds
        .run(std::future::pending(), Box::pin(render))
        .await?;
    let locked = take(run).await?;
    let result = under_lease(run, options, objects, &locked).await;
    locked.release(run).await;
    result
}

async fn under_lease(
    run: &Run<'_>,
    options: &Apply,
    objects: Vec<Object>,
    locked: &Locked,
) -> Result<Value, Ended> {
    let opening = Box::pin(open(run, objects, locked, Unit::Initialize));
    let opened = run.bounds.run_writes(locked.lost(), opening).await?;
    let (planned, sequence, mut ledger) = opened;
    let rows = planned.iter().map(|planned| row(run, &ledger, planned));
    let rows: Vec<Value> = rows.collect();
    run.units.enter(Unit::Apply);
    let manner = Manner {
        unit: Unit::Apply,
        on_refusal: OnRefusal::Stop,
        wait_for_jobs: !options.skip_steady_state_check,
    };
    let written = planned.iter().map(|planned| &planned.target.object);
    let around = AroundWait::of(run, written, &options.set.context);
    let mut journal = Journal::Changes(&mut ledger, Vec::new());
    let set = writing::write_set(run, locked, &mut journal, (planned, &sequence), manner);
    let set = run.bounds.run_writes(locked.lost(), Box::pin(set)).await?;
    if !set.errors.is_empty() {
        return Err(first_of(&set.errors).into());
    }
    if !options.skip_steady_state_check {
        run.units.enter(Unit::WaitForSteadyState);
        if set.awaited.is_empty() {
            run.info(Unit::WaitForSteadyState, "nothing to wait for");
        }
        around.before(run, locked).await?;
        let wait = steady::wait(run, locked.guard(), set.awaited);
        run.bounds.run(locked.lost(), Box::pin(wait)).await?;
        around.after(run, locked).await?;
    }
    run.units.enter(Unit::WrapUp);
    let mut outputs = json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "objects": rows,
    });
    set.instances.tell(run, &mut outputs).await;
    Ok(outputs)
}

/// Make objects as part of what a unit is at, and wait for none of them.
///
/// # Errors
/// The API server or the policy refuses one, or it is time to stop.
pub(super) async fn make(
    run: &Run<'_>,
    objects: Vec<Object>,
    locked: &Locked,
    unit: Unit,
) -> Result<(), Ended> {
    let (planned, sequence, mut ledger) = Box::pin(open(run, objects, locked, unit)).await?;
    let manner = Manner {
        unit,
        on_refusal: OnRefusal::Stop,
        wait_for_jobs: false,
    };
    let mut journal = Journal::Changes(&mut ledger, Vec::new());
    let set = writing::write_set(run, locked, &mut journal, (planned, &sequence), manner).await?;
    match set.errors.is_empty() {
        true => Ok(()),
        false => Err(first_of(&set.errors).into()),
    }
}

/// What happens to an object, by what is noted: a task that is carried on tells the same. What only changes hands is
/// unchanged.
fn row(run: &Run<'_>, ledger: &Ledger, planned: &Planned) -> Value {
    let id = &planned.target.id;
    let change = match ledger.noted(run, id) {
        None => Change::Unchanged,
        Some(noted) if noted.fields().is_empty() => Change::Created,
        Some(_) => Change::Configured,
    };
    json!({"object": id, "change": change.name()})
}

/// Let the API server judge the set, wait for what it depends on, and note what it will change.
async fn open(
    run: &Run<'_>,
    mut objects: Vec<Object>,
    locked: &Locked,
    unit: Unit,
) -> Result<(Vec<Planned>, Sequence, Ledger), Ended> {
    run.bounds
        .pending()
        .set("the API server was still judging the objects");
    Box::pin(traffic::keep(run, &locked.history, &mut objects)).await?;
    let mut planned = judge(run, objects.clone()).await?;
    // Stopped until now, nothing has happened.
    run.bounds.check()?;
    if take_fields(run, &planned, locked).await? {
        planned = judge(run, objects).await?;
    }
    let objects: Vec<Object> = planned.iter().map(|of| of.target.object.clone()).collect();
    let sequence = sequence(run, &objects, unit)?;
    run.info(unit, accepted(planned.len()));
    for External { object, dependency } in &sequence.external {
        let ready = external::ready(run, object, dependency);
        run.bounds.run(locked.lost(), Box::pin(ready)).await?;
    }
    if unit == Unit::Initialize {
        run.units.enter(Unit::Prepare);
    }
    let mut ledger = Ledger::open(run, locked).await?;
    run.bounds.check()?;
    let entries: Vec<Entry> = planned
        .iter()
        .filter_map(|planned| entry(run, &ledger, planned))
        .collect();
    ledger.note(run, locked, entries).await?;
    planned.iter_mut().for_each(Planned::forget_content);
    Ok((planned, sequence, ledger))
}

/// Let fields that kubectl or helm had set become ours before anything is noted: what applying removes of them would not
/// be known. Says whether there were any.
async fn take_fields(run: &Run<'_>, planned: &[Planned], locked: &Locked) -> Result<bool, Failure> {
    let mut any = false;
    for planned in planned {
        let taken = run.env.cluster.take_fields(planned, locked.guard()).await;
        any |= taken.map_err(|error| Failure::cluster(&error))?;
    }
    Ok(any)
}

/// Judge every object. What this release tracks goes on being tracked; everything else is not.
async fn judge(run: &Run<'_>, objects: Vec<Object>) -> Result<Vec<Planned>, Failure> {
    let cluster = &run.env.cluster;
    let namespace = &run.task.release.namespace;
    let located = cluster.locate_each(objects, namespace).await;
    let (mut targets, mut errors) = located.map_err(|error| Failure::cluster(&error))?;
    let ids = targets.iter().map(|target| target.id.clone()).collect();
    let lives: BTreeMap<ObjectId, Value> = cluster
        .survey(ids)
        .await
        .into_iter()
        // What cannot be read is refused below.
        .filter_map(|(id, live)| Some((id, live.ok().flatten()?)))
        .collect();
    for target in &mut targets {
        if let Some(live) = lives.get(&target.id)
            && carries(live, &run.release_id())
        {
            track(run, target, live);
        }
    }
    let scope = Scope {
        release: run.release_id(),
        ..Scope::default()
    };
    match cluster.plan(targets, &scope).await {
        Ok(planned) if errors.is_empty() => {
            tell_unseen(run, Unit::Initialize, &planned);
            return Ok(planned);
        }
        Ok(_) => {}
        Err(refusals) => errors.extend(refusals),
    }
    Err(refused(run.sink, Unit::Initialize, &errors))
}

/// Mark an object as what it is already: part of this release, on its side of it, and with the colour that gets its requests.
fn track(run: &Run<'_>, target: &mut Target, live: &Value) {
    let live = object_of(live.clone());
    let side = |of: fn(&Object) -> Option<&str>| live.as_ref().and_then(of).map(str::to_owned);
    let marks = Marks {
        namespace: run.task.release.namespace.clone(),
        release: run.task.release.name.clone(),
        track: side(labels::track),
        color: side(labels::color),
    };
    labels::stamp(&mut target.object, &marks);
    let color = live.and_then(|live| keep_color(&mut target.object, &live));
    if let Some(color) = color {
        let text = format!(
            "{} goes on selecting {color}: a swap changes that",
            target.id
        );
        run.info(Unit::Initialize, text);
    }
}

/// What is noted about an object before it is written; `None`: nothing will happen to it.
fn entry(run: &Run<'_>, ledger: &Ledger, planned: &Planned) -> Option<Entry> {
    let id = &planned.target.id;
    let noted = ledger.noted(run, id);
    let made = noted.is_some_and(|noted| noted.fields().is_empty());
    let (uid, undo) = match &planned.outcome {
        Outcome::Accepted {
            live: Some(live),
            result,
            ..
        } => {
            let live = live.value();
            let uid = text(&live, "/metadata/uid").to_owned();
            let earlier = noted.map(Entry::fields).unwrap_or_default();
            let undo = if made {
                Undo::Created
            } else {
                Undo::Fields(fields_since(earlier, &live, &result.value()))
            };
            let changes = !fields(&live, &result.value()).is_empty();
            if !changes && !made {
                return None;
            }
            (Some(uid), undo)
        }
        Outcome::Accepted { live: None, .. } | Outcome::Deferred { .. } => (None, Undo::Created),
        // Not asked for, so that it was refused.
        Outcome::Replacement { .. } => return None,
    };
    Some(Entry {
        task: run.task.id.clone(),
        at: clock::now(),
        what: Unit::Apply.name().to_owned(),
        object: id.clone(),
        uid,
        subresource: None,
        undo,
        undone: false,
    })
}
