//! Scaling the colour without traffic: down to nothing, and back to what it had.
//!
//! What each workload had is in the record of the stage deployment before anything is written; its autoscalers and
//! disruption budgets are kept in parts of that record, because an autoscaler would take the pods back.

mod memory;
mod side;
mod wake;

use serde_json::{Value, json};
use sortie_cluster::apply::Applied;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::{Head, History, PRIMARY, STAGE, Status, Stored};
use sortie_manifest::{Object, ObjectId};

use crate::failure::{Failure, FailureKind, chain, first_of};
use crate::inspect::fallen_stage;
use crate::locked::{self, Locked, record_failure};
use crate::remove::remove;
use crate::report::Unit;
use crate::rolling::{close_interrupted, recorded};
use crate::run::Run;
use crate::single::traffic::{self, Sides};
use crate::steady::{self, Awaited, facts};
use crate::swap::undo_interrupted;
use crate::task::{Amount, StageScaleDown, StageScaleUp};
use crate::units::Ended;
use memory::{Kept, Scaling, Size, former, wanted};
use side::Side;

pub(crate) use side::{Live, set_replicas};
pub(crate) use wake::wake;

/// How long the end of an object that goes already may take before it is made again.
const BACK_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Take all pods from the colour without traffic. The outputs say what each workload had.
pub(crate) async fn down(run: &Run<'_>, options: StageScaleDown) -> Result<Value, Ended> {
    match begin(run, false).await? {
        Begun::Told(told) => Ok(told),
        Begun::Locked(mut locked, looked) => {
            let looked = options.number.or(looked);
            let result = down_under_lease(run, &mut locked, looked).await;
            locked.release(run).await;
            result
        }
    }
}

/// Give the colour without traffic its pods back. The outputs say what each workload has.
pub(crate) async fn up(run: &Run<'_>, options: StageScaleUp) -> Result<Value, Ended> {
    match begin(run, true).await? {
        Begun::Told(told) => Ok(told),
        Begun::Locked(mut locked, looked) => {
            let result = up_under_lease(run, options, &mut locked, looked).await;
            locked.release(run).await;
            result
        }
    }
}

enum Begun {
    /// There is nothing to do.
    Told(Value),
    /// The release is ours; the number in the stage before we had it.
    Locked(Box<Locked>, Option<u64>),
}

async fn begin(run: &Run<'_>, is_up: bool) -> Result<Begun, Ended> {
    run.units.enter(Unit::Initialize);
    let look = async { Ok(locked::look(run).await?) };
    let look = run
        .bounds
        .run(std::future::pending(), Box::pin(look))
        .await?;
    if let Some(told) = told(run, &look.history, is_up) {
        if own(run, &look.history).is_some() {
            Locked::free(run, Unit::Initialize, look).await;
        }
        return Ok(Begun::Told(told));
    }
    let looked = stage(&look.history, is_up).map(|stored| stored.head.number);
    let acquire = async { Ok(Locked::acquire(run, Unit::Initialize, look).await?) };
    let acquire = run.bounds.run(std::future::pending(), Box::pin(acquire));
    Ok(Begun::Locked(Box::new(acquire.await?), looked))
}

/// What is told of a task that has come to its end, or that has nothing to do.
fn told(run: &Run<'_>, history: &History, is_up: bool) -> Option<Value> {
    if let Some(told) = own(run, history) {
        return Some(told);
    }
    let is_written = |head: &Head| head.status == Status::InProgress;
    if stage(history, is_up).is_some() || history.heads().any(is_written) {
        return None;
    }
    Some(nothing(
        run,
        is_up,
        "nothing stands in the stage of this release: nothing to scale",
    ))
}

/// The deployment whose pods come or go: what stands in the stage. Where nothing does, what a first deployment to it has
/// left that failed can go as well.
fn stage(history: &History, is_up: bool) -> Option<&Stored> {
    let fallen = || history.number(fallen_stage(history)?.number);
    let standing = history.standing(STAGE);
    standing.or_else(|| fallen().filter(|_| !is_up))
}

/// What this task has told at its end.
fn own(run: &Run<'_>, history: &History) -> Option<Value> {
    let mut last = history.heads().filter_map(Scaling::last);
    last.find(|scaling| scaling.task == run.task.id)?.told
}

fn nothing(run: &Run<'_>, is_up: bool, reason: &str) -> Value {
    run.info(Unit::Initialize, reason);
    let name = &run.task.release.name;
    json!({"releaseName": name, key(is_up): false, "reason": reason})
}

const fn key(is_up: bool) -> &'static str {
    if is_up {
        "stageScaledUp"
    } else {
        "stageScaledDown"
    }
}

/// The stage deployment, once nothing is half-way any more; or what is told when there is none. It is the one that was
/// `looked` at: whoever asked has not seen another.
async fn prepare(
    run: &Run<'_>,
    locked: &mut Locked,
    (is_up, looked): (bool, Option<u64>),
) -> Result<Result<Stored, Value>, Ended> {
    if close_interrupted(run, locked).await? {
        locked.history = locked::history(&locked.records, run.task).await?;
    }
    undo_interrupted(run, locked).await?;
    if let Some(told) = told(run, &locked.history, is_up) {
        return Ok(Err(told));
    }
    let stage = stage(&locked.history, is_up).cloned();
    if let (Some(looked), Some(now)) = (looked, &stage)
        && now.head.number != looked
    {
        return Err(another(looked, &now.head).into());
    }
    let gone = || {
        nothing(
            run,
            is_up,
            "nothing stands in the stage of this release any more",
        )
    };
    Ok(stage.ok_or_else(gone))
}

fn another(looked: u64, now: &Head) -> Failure {
    let color = now.side.color.as_deref().unwrap_or_default();
    Failure::new(
        FailureKind::Unknown,
        "SRT-T072",
        format!(
            "release number {looked} was in the stage, and now it is number {} ({color}): nothing was scaled",
            now.number
        ),
        "look which version has the traffic now, and repeat the step if it is still wanted",
    )
}

async fn down_under_lease(
    run: &Run<'_>,
    locked: &mut Locked,
    looked: Option<u64>,
) -> Result<Value, Ended> {
    let mut stored = match prepare(run, locked, (false, looked)).await? {
        Ok(stored) => stored,
        Err(told) => return Ok(told),
    };
    let look = async {
        let side = Side::of(run, &stored.head).await?;
        side.check_traffic(run, &stored.head).await?;
        Ok(side)
    };
    let side = run.bounds.run(locked.lost(), Box::pin(look)).await?;
    if side.workloads.is_empty() {
        return Ok(nothing(
            run,
            false,
            "the stage of this release has no workload that could be scaled",
        ));
    }
    let last = Scaling::last(&stored.head);
    let is_resumed = last.is_some_and(|last| !last.up && last.task == run.task.id);
    // A router may give the stage a share of its own.
    let objects = side.workloads.iter().map(|live| &live.object);
    let other = locked.history.standing(PRIMARY);
    let other = other.and_then(|other| other.head.side.color.as_deref());
    let sides = Sides::stage(objects, other);
    let check = async { Ok(traffic::check(run, &sides).await?) };
    run.bounds.run(locked.lost(), Box::pin(check)).await?;
    let mut scaling = remember(run, locked, &mut stored, &side).await?;
    Box::pin(traffic::retreat(run, locked, &sides, is_resumed)).await?;

    if !side.companions.is_empty() {
        run.units.enter(Unit::Delete);
        let doomed = side.companions.iter().map(|live| Doomed {
            id: live.id.clone(),
            uid: live.uid(),
            release: Some(run.release_id()),
        });
        let removal = async { Ok(remove(run, locked, doomed.collect(), Unit::Delete).await) };
        let removed = run.bounds.run(locked.lost(), Box::pin(removal)).await?;
        let errors: Vec<_> = removed
            .into_iter()
            .filter_map(|(_, gone)| gone.map(|_: Gone| ()).err())
            .collect();
        if !errors.is_empty() {
            return Err(first_of(&errors).into());
        }
    }

    run.units.enter(Unit::Scale);
    let write = async {
        // Somebody may have swapped by hand meanwhile.
        side.check_traffic(run, &stored.head).await?;
        let sizes: Vec<(&Live, u32)> = side.workloads.iter().map(|live| (live, 0)).collect();
        scale(run, locked, &sizes, Unit::Scale).await
    };
    let applied = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    settle(run, locked, applied).await?;

    run.units.enter(Unit::WrapUp);
    let names: Vec<String> = scaling
        .kept
        .iter()
        .map(|kept| kept.object.to_string())
        .collect();
    let workloads: Vec<Value> = scaling
        .workloads
        .iter()
        .map(|size| row(&size.object, (size.replicas, 0)))
        .collect();
    let mut outputs = outputs(run, &stored, false);
    outputs["workloads"] = workloads.into();
    outputs["deletedResourceIds"] = names.into();
    scaling.told = Some(outputs.clone());
    scaling.note(&mut stored.head);
    locked.update(&mut stored).await?;
    Ok(outputs)
}

fn outputs(run: &Run<'_>, stored: &Stored, is_up: bool) -> Value {
    json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "releaseNumber": stored.head.number,
        "stageColor": stored.head.side.color,
        key(is_up): true,
    })
}

fn row(id: &ObjectId, (before, after): (u32, u32)) -> Value {
    json!({"workload": id.to_string(), "previousReplicas": before, "replicas": after})
}

/// Write down what the colour has before anything is taken from it. What an interrupted attempt of this task, or of
/// another, has taken already is known from its note.
async fn remember(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    side: &Side,
) -> Result<Scaling, Ended> {
    if let Some(own) =
        Scaling::last(&stored.head).filter(|last| !last.up && last.task == run.task.id)
    {
        return Ok(own);
    }
    let before = Scaling::remembered(&stored.head);
    let size = |live: &Live| Size {
        object: live.id.clone(),
        replicas: former(
            live.replicas(),
            before.as_ref().and_then(|before| before.size(&live.id)),
        ),
        before: 0,
    };
    let is_there = |id: &ObjectId| side.companions.iter().any(|live| live.id == *id);
    let mut kept: Vec<Kept> = before
        .iter()
        .flat_map(|before| before.kept.clone())
        .collect();
    kept.retain(|kept| !is_there(&kept.object));
    let write = async {
        for live in &side.companions {
            let parts = locked
                .records
                .keep(&[live.object.value()], locked.guard())
                .await;
            let parts = parts.map_err(|error| record_failure(&error))?;
            kept.push(Kept {
                object: live.id.clone(),
                parts,
            });
        }
        let head = &mut stored.head;
        for part in kept.iter().flat_map(|kept| &kept.parts) {
            if !head.kept.contains(part) {
                head.kept.push(part.clone());
            }
        }
        let scaling = Scaling {
            task: run.task.id.clone(),
            up: false,
            workloads: side.workloads.iter().map(size).collect(),
            kept,
            told: None,
        };
        run.bounds.check()?;
        scaling.note(head);
        head.task_epoch = head.task_epoch.max(run.task.epoch);
        locked.update(stored).await?;
        Ok(scaling)
    };
    run.bounds.run_writes(locked.lost(), Box::pin(write)).await
}

/// Write numbers of pods. What was written, or was so already, comes back.
async fn scale(
    run: &Run<'_>,
    locked: &Locked,
    sizes: &[(&Live, u32)],
    unit: Unit,
) -> Result<Vec<(Live, Applied)>, Ended> {
    let mut applied = Vec::new();
    for (live, replicas) in sizes {
        run.bounds.check()?;
        let id = &live.id;
        match set_replicas(run, locked, live, *replicas).await {
            Ok(Some(after)) => {
                run.info(
                    unit,
                    format!("{id}: {} pods before, {replicas} wanted", live.replicas()),
                );
                applied.push(((*live).clone(), after));
            }
            Ok(None) => run.warn(unit, format!("{id} is not there any more")),
            Err(error) => return Err(Failure::cluster(&error).into()),
        }
    }
    Ok(applied)
}

/// Wait until each has the pods that it wants.
async fn settle(
    run: &Run<'_>,
    locked: &Locked,
    applied: Vec<(Live, Applied)>,
) -> Result<(), Ended> {
    run.units.enter(Unit::WaitForSteadyState);
    let rules = run.rules().await?;
    let set = facts::Set::default().with_rules(rules);
    let awaited = applied
        .into_iter()
        .map(|(live, applied)| Awaited::of(applied, live.resource, &set));
    let wait = steady::wait(run, locked.guard(), awaited.collect());
    run.bounds.run(locked.lost(), Box::pin(wait)).await
}

async fn up_under_lease(
    run: &Run<'_>,
    options: StageScaleUp,
    locked: &mut Locked,
    looked: Option<u64>,
) -> Result<Value, Ended> {
    let mut stored = match prepare(run, locked, (true, looked)).await? {
        Ok(stored) => stored,
        Err(told) => return Ok(told),
    };
    let mut raised = raise(run, locked, &mut stored, options.instances).await?;
    if raised.rows.is_empty() && raised.scaling.kept.is_empty() {
        let reason =
            "the workloads in the stage of this release have the pods that they should have";
        return Ok(nothing(run, true, reason));
    }
    if !options.skip_steady_state_check {
        settle(run, locked, std::mem::take(&mut raised.applied)).await?;
    }
    run.units.enter(Unit::WrapUp);
    close(run, locked, &mut stored, raised).await
}

/// Whether something is remembered that what a record runs had before it was scaled down.
pub(crate) fn is_scaled_down(head: &Head) -> bool {
    Scaling::remembered(head).is_some()
}

/// As [`up`], of whatever release number, for a swap that goes back to it. It does not wait for the pods.
pub(crate) async fn bring_back(
    run: &Run<'_>,
    locked: &mut Locked,
    number: u64,
) -> Result<(), Ended> {
    if let Some(mut stored) = locked.history.number(number).cloned() {
        let raised = raise(run, locked, &mut stored, None).await?;
        close(run, locked, &mut stored, raised).await?;
    }
    locked.history = locked::history(&locked.records, run.task).await?;
    Ok(())
}

async fn close(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    raised: Raised,
) -> Result<Value, Ended> {
    let Raised {
        mut scaling, rows, ..
    } = raised;
    let names: Vec<String> = scaling
        .kept
        .iter()
        .map(|kept| kept.object.to_string())
        .collect();
    let mut outputs = outputs(run, stored, true);
    outputs["workloads"] = rows.into();
    outputs["recreatedResourceIds"] = names.into();
    scaling.told = Some(outputs.clone());
    scaling.note(&mut stored.head);
    locked.update(stored).await?;
    Ok(outputs)
}

/// What has its pods back.
struct Raised {
    scaling: Scaling,
    applied: Vec<(Live, Applied)>,
    rows: Vec<Value>,
}

async fn raise(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    amount: Option<Amount>,
) -> Result<Raised, Ended> {
    let look = async {
        let side = Side::of(run, &stored.head).await?;
        let values = locked.records.objects(&stored.head).await;
        let values = values.map_err(|error| record_failure(&error))?;
        Ok((side, recorded(run, &stored.head, values)?))
    };
    let (side, objects) = run.bounds.run(locked.lost(), Box::pin(look)).await?;
    let remembered = Scaling::remembered(&stored.head);
    let own = Scaling::last(&stored.head).filter(|last| last.up && last.task == run.task.id);
    let wished = || to_raise(run, (&side, &objects), remembered.as_ref(), amount);
    let scaling = own.unwrap_or_else(wished);
    let write = async {
        if Scaling::last(&stored.head).as_ref() != Some(&scaling) {
            run.bounds.check()?;
            scaling.note(&mut stored.head);
            stored.head.task_epoch = stored.head.task_epoch.max(run.task.epoch);
            locked.update(stored).await?;
        }
        run.units.enter(Unit::Scale);
        let sizes = scaling.workloads.iter().filter_map(|size| {
            let live = side.workloads.iter().find(|live| live.id == size.object)?;
            Some((live, size.replicas))
        });
        let sizes: Vec<(&Live, u32)> = sizes.collect();
        let applied = scale(run, locked, &sizes, Unit::Scale).await?;
        for Kept { object, parts } in &scaling.kept {
            run.bounds.check()?;
            bring(run, locked, stored.head.number, (object, parts)).await?;
        }
        Ok(applied)
    };
    let applied = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    let rows = scaling
        .workloads
        .iter()
        .map(|size| row(&size.object, (size.before, size.replicas)));
    let rows = rows.collect();
    Ok(Raised {
        scaling,
        applied,
        rows,
    })
}

/// What gets its pods back, and which autoscalers and budgets come with them. What does not is told.
fn to_raise(
    run: &Run<'_>,
    (side, objects): (&Side, &[Object]),
    remembered: Option<&Scaling>,
    amount: Option<Amount>,
) -> Scaling {
    let home = &run.task.release.namespace;
    let mut workloads = Vec::new();
    for live in &side.workloads {
        let (id, has) = (&live.id, live.replicas());
        let before = remembered.and_then(|before| before.size(id));
        let is_it = |object: &&Object| object.id().in_namespace(home) == *id;
        let manifest = objects.iter().find(is_it).and_then(|object| {
            let replicas = object.value().get("spec")?.get("replicas")?.as_u64()?;
            u32::try_from(replicas).ok()
        });
        let Some(replicas) = wanted(has, before, manifest, amount) else {
            continue;
        };
        if let Some(scaler) = side.scaler(id).filter(|_| has > 0) {
            let text = format!("{id} is left as it is: {scaler} decides how many pods it has");
            run.warn(Unit::Initialize, text);
            continue;
        }
        workloads.push(Size {
            object: id.clone(),
            replicas,
            before: has,
        });
    }
    let (comes, stays): (Vec<Kept>, Vec<Kept>) = remembered
        .iter()
        .flat_map(|before| before.kept.clone())
        .partition(|kept| amount.is_none() || kept.object.kind == "PodDisruptionBudget");
    for Kept { object, .. } in stays {
        let text = format!("{object} does not come back: it would take the number of pods over");
        run.warn(Unit::Initialize, text);
    }
    Scaling {
        task: run.task.id.clone(),
        up: true,
        workloads,
        kept: comes,
        told: None,
    }
}

/// Make an autoscaler or a disruption budget again.
async fn bring(
    run: &Run<'_>,
    locked: &Locked,
    number: u64,
    (id, parts): (&ObjectId, &[sortie_cluster::record::PartId]),
) -> Result<(), Failure> {
    let kept = match locked.records.kept(number, parts).await {
        Ok(kept) => kept,
        Err(error) => {
            run.warn(Unit::Scale, format!("{id} is not back: {}", chain(&error)));
            return Ok(());
        }
    };
    for live in &kept {
        let back = run
            .env
            .cluster
            .bring_back(live, BACK_WITHIN, locked.guard())
            .await;
        let text = match back.map_err(|error| Failure::cluster(&error))? {
            true => format!("{id} is back"),
            false => format!("{id} is there already"),
        };
        run.info(Unit::Scale, text);
    }
    Ok(())
}
