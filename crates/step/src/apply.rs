//! Writing a set of objects stage by stage with barriers, journalled in the record.

use std::sync::Arc;

use sortie_cluster::apply::{self, Applied, Planned};
use sortie_cluster::record::Stored;
use sortie_cluster::{Cause, Error, clock};
use sortie_health::Status as Health;
use sortie_manifest::order::Stage;
use sortie_manifest::{Object, annotations, order, workload};

use crate::failure::chain;
use crate::locked::Locked;
use crate::report::{Change, Level, ObjectRow, Sink as _, Unit};
use crate::run::Run;
use crate::steady::{self, Awaited, facts};
use crate::units::Ended;

/// What to do when the API server refuses an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRefusal {
    /// The stage is finished and is the last.
    Stop,
    /// Everything else is written all the same: a rollback stops over nothing.
    GoOn,
}

/// How a set is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// The unit that tells of it.
    pub(crate) unit: Unit,
    /// What a refusal means.
    pub(crate) on_refusal: OnRefusal,
    /// Whether the end of Jobs is waited for.
    pub(crate) wait_for_jobs: bool,
}

/// What became of a set.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was written, and is waited for.
    pub(crate) awaited: Vec<Awaited>,
    /// What was refused.
    pub(crate) errors: Vec<Error>,
}

/// Write the set. A stage begins when the one before is done and, for namespaces and definitions, in force.
///
/// # Errors
/// The record could not be written, or it is time to stop; looked at between two stages.
pub(crate) async fn whole_set(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    planned: Vec<Planned>,
    manner: Manner,
) -> Result<Outcome, Ended> {
    let Manner {
        unit, on_refusal, ..
    } = manner;
    let set = facts::Set::of(planned.iter().map(|planned| &planned.target.object));
    let mut outcome = Outcome::default();
    for (name, stage) in stages(planned) {
        run.bounds.check()?;
        run.bounds
            .pending()
            .set("the objects were still being written");
        let results = run.env.cluster.apply_stage(&stage, locked.guard()).await;
        let mut awaited = Vec::new();
        let mut written = 0;
        for (planned, result) in stage.iter().zip(results) {
            match result {
                Ok(applied) => {
                    written += 1;
                    let uid = applied.uid().map(str::to_owned);
                    stored.head.track(applied.id.clone(), uid);
                    tell(run, unit, &applied);
                    if name == Stage::Foundation || is_awaited(&planned.target.object, manner) {
                        awaited.push(to_await(planned, &applied, &set));
                    }
                }
                Err(error) => {
                    run.sink.log(unit, Level::Error, &chain(&error));
                    outcome.errors.push(error);
                }
            }
        }
        let what = format!("{written} of {} objects written", stage.len());
        stored
            .head
            .note(unit.name(), &format!("{name:?}"), what, clock::now());
        locked.update(stored).await?;
        if outcome.errors.iter().any(is_final) {
            return Ok(outcome);
        }
        if !outcome.errors.is_empty() && on_refusal == OnRefusal::Stop {
            return Ok(outcome);
        }
        if name == Stage::Foundation {
            in_force(run, locked, awaited, on_refusal).await?;
        } else {
            outcome.awaited.extend(awaited);
        }
    }
    Ok(outcome)
}

/// Wait until namespaces and definitions can be used.
async fn in_force(
    run: &Run<'_>,
    locked: &Locked,
    awaited: Vec<Awaited>,
    on_refusal: OnRefusal,
) -> Result<(), Ended> {
    let waited = run
        .bounds
        .run(locked.lost(), steady::wait(run, locked.guard(), awaited))
        .await;
    match waited {
        // What stands on it is refused by the API server, one by one.
        Err(Ended::Failed(failure)) if on_refusal == OnRefusal::GoOn => {
            run.warn(Unit::WaitForSteadyState, failure.message);
            run.bounds.check()
        }
        waited => waited,
    }
}

/// Whether nothing more can be written.
fn is_final(error: &Error) -> bool {
    matches!(error.cause(), Cause::LeaseLost { .. })
}

fn stages(planned: Vec<Planned>) -> Vec<(Stage, Vec<Planned>)> {
    let mut stages: Vec<(Stage, Vec<Planned>)> = Vec::new();
    for object in planned {
        let stage = order::stage(&object.target.id.group, &object.target.id.kind);
        match stages.last_mut() {
            Some((last, objects)) if *last == stage => objects.push(object),
            _ => stages.push((stage, vec![object])),
        }
    }
    stages
}

/// The change as a report names it.
pub(crate) const fn change(change: apply::Change) -> Change {
    match change {
        apply::Change::Created => Change::Created,
        apply::Change::Configured => Change::Configured,
        apply::Change::Unchanged => Change::Unchanged,
    }
}

fn tell(run: &Run<'_>, unit: Unit, applied: &Applied) {
    let change = change(applied.change);
    run.info(unit, format!("{} {}", applied.id, change.as_str()));
    for conflict in &applied.conflicts {
        let text = format!(
            "{}: {} taken from {}",
            applied.id, conflict.path, conflict.manager
        );
        run.warn(unit, text);
    }
    let row = ObjectRow {
        id: applied.id.clone(),
        change,
        health: Health::Progressing,
        message: String::new(),
    };
    run.sink.object(unit, row);
}

fn to_await(planned: &Planned, applied: &Applied, set: &facts::Set) -> Awaited {
    Awaited {
        id: applied.id.clone(),
        resource: planned.target.resource.clone(),
        facts: set.about(&applied.id, &applied.object),
        answer: Arc::unwrap_or_clone(applied.object.clone()),
        change: change(applied.change),
    }
}

/// Whether a deployment waits for the object: everything of Kubernetes itself that has a health, and custom resources
/// that ask for it. `direct-apply` takes a workload out.
fn is_awaited(object: &Object, manner: Manner) -> bool {
    let is_job = (object.group(), object.kind()) == ("batch", "Job");
    if annotations::is_set(object, annotations::DIRECT_APPLY) || (is_job && !manner.wait_for_jobs) {
        return false;
    }
    let group = object.group();
    let built_in = !group.contains('.') || group.ends_with(".k8s.io");
    built_in || workload::is_managed(object)
}
