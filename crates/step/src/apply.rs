//! Writing a set of objects batch by batch with barriers, journalled in the record.

use sortie_cluster::apply::{self, Applied, Planned};
use sortie_cluster::record::Stored;
use sortie_cluster::{Error, clock};
use sortie_health::Status as Health;
use sortie_manifest::order::Stage;
use sortie_manifest::{Object, ObjectId, annotations, order, workload};

use crate::changes::Ledger;
use crate::failure::{Failure, chain};
use crate::hooks;
use crate::instances::Instances;
use crate::locked::Locked;
use crate::remove::is_final;
use crate::replacement::replace;
use crate::report::{Change, Level, ObjectRow, Sink as _, Unit};
use crate::run::Run;
use crate::sequence::Sequence;
use crate::steady::{self, Awaited, facts};
use crate::units::Ended;

/// What to do when the API server refuses an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRefusal {
    /// The batch is finished and is the last.
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
    /// What was not there before.
    pub(crate) created: Vec<ObjectId>,
    /// What can be reached.
    pub(crate) instances: Instances,
    /// Whether nothing was written and nothing waited for, so that `awaited` is as it was when the set was tried out.
    pub(crate) untouched: bool,
}

/// Where it is written down how far a set has come.
pub(crate) enum Journal<'a> {
    /// The record of a release number.
    Record(&'a mut Stored),
    /// The changes of an execution, and the objects that were made.
    Changes(&'a mut Ledger, Vec<(ObjectId, String)>),
}

impl Journal<'_> {
    /// An object was written.
    fn wrote(&mut self, applied: &Applied) {
        let uid = applied.uid().map(str::to_owned);
        match self {
            Self::Record(stored) => stored.head.track(applied.id.clone(), uid),
            Self::Changes(_, made) if applied.change == apply::Change::Created => {
                made.extend(uid.map(|uid| (applied.id.clone(), uid)));
            }
            Self::Changes(..) => {}
        }
    }

    /// A batch was written; `counts`: there is something that the next holder has to know.
    async fn over(
        &mut self,
        run: &Run<'_>,
        locked: &Locked,
        (unit, batch, what): (Unit, &str, String),
        counts: bool,
    ) -> Result<(), Failure> {
        match self {
            Self::Record(stored) => {
                stored.head.note(unit.name(), batch, what, clock::now());
                match counts {
                    true => locked.update(stored).await,
                    false => Ok(()),
                }
            }
            Self::Changes(ledger, made) => {
                let made = std::mem::take(made);
                ledger.made(run, locked, &made).await
            }
        }
    }
}

/// Write the set of a release number. See [`write_set`].
///
/// # Errors
/// As [`write_set`].
pub(crate) async fn whole_set(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    planned: (Vec<Planned>, &Sequence),
    manner: Manner,
) -> Result<Outcome, Ended> {
    let mut journal = Journal::Record(stored);
    Box::pin(write_set(run, locked, &mut journal, planned, manner)).await
}

/// Write the set in its sequence. A batch begins when the one before is done and what stands on it may begin: namespaces
/// and definitions are in force, and what an annotation makes others wait for is healthy.
///
/// # Errors
/// The record could not be written, something waited for on the way failed, or it is time to stop; looked at between two
/// batches.
pub(crate) async fn write_set(
    run: &Run<'_>,
    locked: &Locked,
    journal: &mut Journal<'_>,
    planned: (Vec<Planned>, &Sequence),
    manner: Manner,
) -> Result<Outcome, Ended> {
    let (planned, sequence) = planned;
    let set = facts::Set::of(planned.iter().map(|planned| &planned.target.object));
    let set = set.with_rules(run.rules.get().cloned().unwrap_or_default());
    let mut outcome = Outcome::default();
    let release = run.release_id();
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut untouched = true;
    for mut step in sequence.arrange(planned, |planned| planned.target.id.clone()) {
        run.bounds.check()?;
        run.bounds
            .pending()
            .set("the objects were still being written");
        let members = std::mem::take(&mut step.members);
        let count = members.len();
        let (mut written, mut changed) = (0, false);
        let done = |journal: &mut Journal<'_>, planned: Planned, result: Result<Applied, Error>| {
            match result {
                Ok(applied) => {
                    written += 1;
                    changed |= applied.change != apply::Change::Unchanged;
                    journal.wrote(&applied);
                    if applied.change == apply::Change::Created && planned.replaces().is_none() {
                        outcome.created.push(applied.id.clone());
                    }
                    outcome
                        .instances
                        .note(&applied.id, &applied.object, &release);
                    let needed = Needed::of(&planned.target.object, manner);
                    tell(run, manner.unit, &planned, &applied, needed);
                    if needed != Needed::Never {
                        let object = Awaited::of(applied, planned.target.resource, &set);
                        waiting.push(Waiting { object, needed });
                    }
                }
                Err(error) => {
                    run.sink.log(manner.unit, Level::Error, &chain(&error));
                    outcome.errors.push(error);
                }
            }
        };
        let all = Box::pin(write(run, locked, journal, (members, manner), done)).await?;
        let what = format!("{written} of {count} objects written");
        let counts = changed || !outcome.errors.is_empty();
        let noted = (manner.unit, step.label.as_str(), what);
        journal.over(run, locked, noted, counts).await?;
        if !all {
            run.bounds.check()?;
        }
        untouched &= !counts;
        let stop = manner.on_refusal == OnRefusal::Stop && !outcome.errors.is_empty();
        if stop || outcome.errors.iter().any(is_final) {
            return Ok(outcome);
        }
        if !step.is_last {
            let barrier = barrier(&mut waiting, |id| sequence.is_barrier(&step, id));
            if !(barrier.is_empty() || untouched && steady::is_reached(run, &barrier)) {
                untouched = false;
                in_force(run, locked, barrier, manner.on_refusal).await?;
            }
        }
    }
    let rest = waiting
        .into_iter()
        .filter(|waiting| waiting.needed != Needed::OnTheWay);
    outcome.awaited = rest.map(|waiting| waiting.object).collect();
    outcome.untouched = untouched;
    Ok(outcome)
}

/// Write a batch; `done` is told what became of each. What has to be replaced comes last, and stays as it is when the
/// batch is to end with a refusal. `false` when it was time to stop before the end.
async fn write(
    run: &Run<'_>,
    locked: &Locked,
    journal: &mut Journal<'_>,
    (members, manner): (Vec<Planned>, Manner),
    mut done: impl FnMut(&mut Journal<'_>, Planned, Result<Applied, Error>),
) -> Result<bool, Failure> {
    let (doomed, members): (Vec<_>, Vec<_>) = members
        .into_iter()
        .partition(|planned| planned.replaces().is_some());
    let mut stop = false;
    let each = |planned: Planned, result: Result<Applied, Error>| {
        stop |= result
            .as_ref()
            .is_err_and(|error| manner.on_refusal == OnRefusal::Stop || is_final(error));
        done(journal, planned, result);
    };
    let cluster = &run.env.cluster;
    cluster.apply_stage(members, locked.guard(), each).await;
    if stop {
        return Ok(true);
    }
    let count = doomed.len();
    // Only what has a record is ever planned as a replacement.
    let replaced = match journal {
        Journal::Record(stored) => replace(run, locked, stored, manner.unit, doomed).await?,
        Journal::Changes(..) => Vec::new(),
    };
    let all = replaced.len() == count;
    for (planned, result) in replaced {
        done(journal, planned, result);
    }
    Ok(all)
}

/// A written object that something may wait for.
struct Waiting {
    object: Awaited,
    needed: Needed,
}

/// When an object must be healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// Never.
    Never,
    /// Where others wait for it.
    OnTheWay,
    /// Where others wait for it; otherwise at the end. In force once, it stays so.
    Once,
    /// Where others wait for it, and at the end with all others.
    AtTheEnd,
}

impl Needed {
    fn of(object: &Object, manner: Manner) -> Self {
        if annotations::is_set(object, annotations::DIRECT_APPLY) {
            Self::Never
        } else if order::stage(object.group(), object.kind()) == Stage::Foundation {
            Self::Once
        } else if is_awaited(object, manner) {
            Self::AtTheEnd
        } else {
            Self::OnTheWay
        }
    }
}

/// What must be healthy now, of what was written so far.
fn barrier(waiting: &mut Vec<Waiting>, is_now: impl Fn(&ObjectId) -> bool) -> Vec<Awaited> {
    let mut barrier = Vec::new();
    waiting.retain(|Waiting { object, needed }| {
        if !is_now(&object.id) {
            return true;
        }
        barrier.push(object.clone());
        *needed == Needed::AtTheEnd
    });
    barrier
}

/// Wait until what others stand on can be used.
async fn in_force(
    run: &Run<'_>,
    locked: &Locked,
    awaited: Vec<Awaited>,
    on_refusal: OnRefusal,
) -> Result<(), Ended> {
    let waited = run
        .bounds
        .run(
            locked.lost(),
            Box::pin(steady::wait(run, locked.guard(), awaited)),
        )
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

/// The change as a report names it.
pub(crate) const fn change(change: apply::Change) -> Change {
    match change {
        apply::Change::Created => Change::Created,
        apply::Change::Configured => Change::Configured,
        apply::Change::Unchanged => Change::Unchanged,
    }
}

fn tell(run: &Run<'_>, unit: Unit, planned: &Planned, applied: &Applied, needed: Needed) {
    let change = change(applied.change);
    let word = match planned.replaces() {
        Some(_) => "replaced",
        None => change.as_str(),
    };
    run.info(unit, format!("{} {word}", applied.id));
    for conflict in &applied.conflicts {
        let text = format!(
            "{}: {} taken from {}",
            applied.id, conflict.path, conflict.manager
        );
        run.warn(unit, text);
    }
    // What nobody waits for is told once, as it is now.
    let (health, message) = match needed {
        Needed::Once | Needed::AtTheEnd => (Health::Progressing, String::new()),
        Needed::Never | Needed::OnTheWay => {
            let verdict = sortie_health::assess(&applied.object);
            let message = format!("not waited for: {}", verdict.message);
            (verdict.status, message)
        }
    };
    let row = ObjectRow {
        id: applied.id.clone(),
        change,
        health,
        message,
    };
    run.sink.object(unit, row);
}

/// Whether a step that changes the object waits for it.
pub(crate) fn is_waited_for(object: &Object) -> bool {
    let manner = Manner {
        unit: Unit::WaitForSteadyState,
        on_refusal: OnRefusal::Stop,
        wait_for_jobs: true,
    };
    Needed::of(object, manner) == Needed::AtTheEnd
}

/// Whether a deployment waits for the object: everything of Kubernetes itself that has a health, and custom resources
/// that ask for it.
fn is_awaited(object: &Object, manner: Manner) -> bool {
    let is_job = (object.group(), object.kind()) == ("batch", "Job");
    if is_job && !manner.wait_for_jobs && !hooks::is_run(object) {
        return false;
    }
    let group = object.group();
    let built_in = !group.contains('.') || group.ends_with(".k8s.io");
    built_in || workload::is_managed(object)
}
