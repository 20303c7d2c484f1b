//! The set that a progressive canary was made of. Its record has it whole, because templates and hooks may give another one
//! each time: the next steps of the execution, and the release, go on with what the canary runs.

use sortie_cluster::record::{Head, History, PartId};
use sortie_manifest::{Object, hash};

use super::{Progress, is_complete};
use crate::failure::{Failure, FailureKind};
use crate::locked::{Locked, Look, record_failure};
use crate::report::Unit;
use crate::rolling::{Rendered, learn, noted, opened, recorded, render};
use crate::run::Run;
use crate::shape::{RENDERED, Shape};
use crate::task::RollingDeploy;
use crate::units::Ended;

/// Under this name the parts with the set are noted when a record is opened.
pub(crate) const RENDERING: &str = "rendering";
/// Under this name it is noted how its ConfigMaps and Secrets are versioned.
pub(crate) const VERSIONING: &str = "versioning";

/// Keep a set as it was rendered. The record that this head begins needs the result.
///
/// # Errors
/// It cannot be written.
pub(crate) async fn keep(
    locked: &Locked,
    head: &mut Head,
    objects: &[Object],
) -> Result<Vec<PartId>, Failure> {
    let values: Vec<_> = objects.iter().map(Object::value).collect();
    let parts = locked.records.keep(&values, locked.guard()).await;
    let parts = parts.map_err(|error| record_failure(&error))?;
    head.kept.extend(parts.iter().cloned());
    Ok(parts)
}

/// The set that a deployment of this shape brings in: that of a canary which it goes on with, or what its sources say.
///
/// # Errors
/// The canary is not there any more, its set cannot be read, or something cannot be fetched or rendered.
pub(crate) async fn set(
    run: &Run<'_>,
    (options, shape): (&RollingDeploy, Shape),
    look: &Look,
) -> Result<Rendered, Ended> {
    let Shape::Progressive { is_recorded, .. } = shape else {
        return match shape {
            Shape::Promotion => of(run, look, complete(run, &look.history)?).await,
            _ => render(run, options).await,
        };
    };
    if is_recorded {
        return of(run, look, canary(&look.history)?).await;
    }
    let rendered = render(run, options).await?;
    let known = canary(&look.history).ok();
    let execution = &run.task.requested_by.execution;
    let is_same = |head: &&Head| !execution.is_empty() && head.asked_by.execution == *execution;
    let Some(head) = known.filter(is_same) else {
        return Ok(rendered);
    };
    let hash = hash::manifest_in(&rendered.objects, &run.task.release.namespace);
    if opened::<String>(head, RENDERED).as_deref() == Some(&hash) {
        return Ok(rendered);
    }
    let text = format!(
        "the set is rendered otherwise than for number {} of the same execution: the canary goes on with what it runs",
        head.number
    );
    run.info(Unit::Initialize, text);
    of(run, look, head).await
}

/// The progressive canary of a release that stands, whoever has its pods.
///
/// # Errors
/// There is none.
pub(crate) fn canary(history: &History) -> Result<&Head, Failure> {
    let mut heads = history.heads().rev();
    let newest = heads.find(|head| head.is_canary_left() && Progress::of(head).is_some());
    let standing = newest.filter(|head| head.is_standing());
    standing.ok_or_else(nothing_stands)
}

/// The task's own canary that has all pods, where nobody has deployed since.
///
/// # Errors
/// It is not there any more.
pub(crate) fn complete<'a>(run: &Run<'_>, history: &'a History) -> Result<&'a Head, Failure> {
    let newest = history.newest().map(|stored| &stored.head);
    let complete = newest.filter(|head| is_complete(head, run.task));
    complete.ok_or_else(overtaken)
}

/// The set of a canary.
async fn of(run: &Run<'_>, look: &Look, head: &Head) -> Result<Rendered, Ended> {
    let number = head.number;
    let parts = noted::<PartId>(head, RENDERING);
    let values = look.records.kept(number, &parts).await;
    let values = values.map_err(|error| record_failure(&error))?;
    if values.is_empty() {
        return Err(unknown(number).into());
    }
    let text = format!("the set is the one that canary number {number} was made of");
    run.info(Unit::Initialize, text);
    let secrets: Vec<String> = noted(head, "secrets");
    learn(run, &secrets).await;
    Ok(Rendered {
        objects: recorded(run, head, values)?,
        secrets,
        versioning: opened(head, VERSIONING),
    })
}

/// That the canary whose set was to go on is not the newest any more.
pub(crate) fn overtaken() -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T112",
        "the canary cannot become the release: somebody else has worked on the release meanwhile",
        "run the step again with the set that is to become the release, or remove the canary",
    )
}

fn nothing_stands() -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T116",
        "no progressive canary of the release stands that could get all pods",
        "deploy the set as a canary first",
    )
}

fn unknown(number: u64) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T117",
        format!("the record of canary number {number} does not say what it was made of"),
        "deploy the set as a progressive canary again, which takes its place",
    )
}

/// The number under which the same execution has deployed this set as a whole, and nothing since.
pub(crate) fn is_what_runs(run: &Run<'_>, history: &History, rendered: &str) -> Option<u64> {
    let newest = &history.newest()?.head;
    let execution = &run.task.requested_by.execution;
    let hash: String = opened(newest, RENDERED)?;
    // Without a canary there was nothing to share: the first deployment is what all steps of its execution ask for.
    let is_first = !execution.is_empty() && Progress::of(newest).is_none();
    let is_same = newest.is_good()
        && newest.asked_by.execution == *execution
        && (is_first || hash == rendered);
    is_same.then_some(newest.number)
}
