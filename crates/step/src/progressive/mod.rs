//! The progressive canary: each step gives it a larger share of the pods, the last one makes its version the release's.
//!
//! A step deploys the set as a canary does. How many pods both sides have is decided by the planner of `sortie_strategy` and
//! written by it alone, as JSON patches; an apply leaves these numbers as they are. At 100 % a second record takes the
//! place of the release: the originals get the new version, pods move back to them, and the canary goes.

mod back;
mod beside;
mod progress;
mod rendering;
mod scaler;
mod sight;
mod walk;

use serde_json::Value;
use sortie_cluster::record::{Head, Stored};
use sortie_manifest::Object;

use crate::apply::{Manner, OnRefusal};
use crate::autoscalers;
use crate::canary;
use crate::failure::{Failure, first_of};
use crate::locked::{self, Locked};
use crate::report::Unit;
use crate::rolling::{self, recorded};
use crate::run::Run;
use crate::shape::Shape;
use crate::steady;
use crate::task::{ProgressiveDeploy, RollingDeploy, Task};
use crate::units::Ended;
use walk::Walk;

pub(crate) use back::rollback;
pub(crate) use beside::{BESIDE, Beside, beside};
pub(crate) use progress::{
    Both, NOTED, Progress, both, check, replicas, standing, steered, unfinished_promotion, written,
};
pub(crate) use rendering::{
    RENDERING, VERSIONING, canary, complete, is_what_runs, keep, overtaken, set,
};
pub(crate) use scaler::Autoscalers;

/// Give the canary its share; at 100 % its version becomes the release's. The outputs are those of a canary's deployment, at
/// 100 % of a rolling one.
pub(crate) async fn deploy(run: &Run<'_>, options: &ProgressiveDeploy) -> Result<Value, Ended> {
    let ProgressiveDeploy {
        deploy,
        percent,
        is_recorded,
    } = options;
    if newest(run).await? != Newest::Release {
        let shape = Shape::Progressive {
            percent: *percent,
            is_recorded: *is_recorded,
        };
        let beside = RollingDeploy {
            prune: None,
            ..deploy.clone()
        };
        let told = Box::pin(rolling::deploy::run(run, &beside, shape)).await?;
        let is_over = *percent < 100 || deploy.dry_run || newest(run).await? != Newest::Canary;
        if is_over {
            return Ok(told);
        }
    }
    Box::pin(rolling::deploy::run(run, deploy, Shape::Promotion)).await
}

/// What the task has begun last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newest {
    Nothing,
    Canary,
    Release,
}

async fn newest(run: &Run<'_>) -> Result<Newest, Ended> {
    let look = async { Ok(locked::look(run).await?) };
    let look = Box::pin(look);
    let look = run.bounds.run(std::future::pending(), look).await?;
    let mut heads = look.history.heads().rev();
    let newest = heads.find(|head| head.asked_by.task == run.task.id);
    Ok(
        newest.map_or(Newest::Nothing, |head| match head.side.is_canary() {
            true => Newest::Canary,
            false => Newest::Release,
        }),
    )
}

/// Whether a record is about the task's own canary that has got everything.
pub(crate) fn is_complete(head: &Head, task: &Task) -> bool {
    head.side.is_canary()
        && head.is_standing()
        && head.asked_by.task == task.id
        && Progress::of(head).is_some_and(|progress| progress.percent == 100)
}

/// What is to be done once the objects of a record are written and healthy: pods change sides.
///
/// # Errors
/// A pod cannot start, something cannot be written, or it is time to stop.
pub(crate) async fn follow(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
) -> Result<(), Ended> {
    let Some(progress) = Progress::of(&stored.head) else {
        return Ok(());
    };
    if stored.head.side.is_canary() {
        let mut walk = Walk::new((run, locked), stored, &progress);
        return walk.go(stored).await;
    }
    if progress::is_over(&stored.head) {
        return Ok(());
    }
    let values = locked.records.objects(&stored.head).await;
    let values = values.map_err(|error| locked::record_failure(&error))?;
    let objects = recorded(run, &stored.head, values)?;
    come_back(run, locked, stored, (&progress, &objects)).await
}

/// Give the pods of a canary back to the originals, which have the version that they are to have; then the canary goes, and
/// the numbers of pods are again what these `objects` say.
///
/// # Errors
/// As [`follow`].
pub(crate) async fn come_back(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    (progress, objects): (&Progress, &[Object]),
) -> Result<(), Ended> {
    let returning = Progress {
        percent: 0,
        ..progress.clone()
    };
    let mut walk = Walk::new((run, locked), stored, &returning);
    walk.go(stored).await?;
    let history = locked::history(&locked.records, run.task).await?;
    canary::remove_all(run, locked, &history).await?;
    run.units.enter(Unit::Scale);
    hand_back(run, locked, stored, (progress, objects)).await?;
    progress::note_over(&mut stored.head);
    locked.update(stored).await?;
    Ok(())
}

/// Let the manifests say again how many pods the originals have.
async fn hand_back(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    (progress, objects): (&Progress, &[Object]),
) -> Result<(), Ended> {
    let namespace = &run.task.release.namespace;
    let is_original = |object: &&Object| {
        let id = object.id().in_namespace(namespace);
        let is_it = |both: &Both| {
            let scaler = both.scaler.as_ref().map(|scaler| &scaler.object);
            both.object == id || scaler == Some(&id)
        };
        progress.workloads.iter().any(is_it)
    };
    let_go(run, locked, progress).await?;
    let originals = objects.iter().filter(is_original).cloned().collect();
    let manner = Manner {
        unit: Unit::Scale,
        on_refusal: OnRefusal::Stop,
        wait_for_jobs: true,
    };
    let again = autoscalers::write_again(run, locked, stored, (originals, Vec::new()), manner);
    let again = Box::pin(again);
    let again = run.bounds.run_writes(locked.lost(), again).await?;
    if !again.errors.is_empty() {
        return Err(first_of(&again.errors).into());
    }
    let wait = Box::pin(steady::wait(run, locked.guard(), again.awaited));
    run.bounds.run(locked.lost(), wait).await
}

/// Let the autoscalers of the originals decide again.
async fn let_go(run: &Run<'_>, locked: &Locked, progress: &Progress) -> Result<(), Ended> {
    let work = async {
        for both in &progress.workloads {
            if let Some(scaler) = &both.scaler {
                let free = scaler::let_go(run, locked, scaler).await;
                free.map_err(|error| Failure::cluster(&error))?;
            }
        }
        Ok(())
    };
    run.bounds.run_writes(locked.lost(), Box::pin(work)).await
}

/// Before a canary goes, the originals get their pods back: as many as they had before, or, where they have the new version
/// already, as many as they are to have.
///
/// # Errors
/// As [`follow`].
pub(crate) async fn give_back(run: &Run<'_>, locked: &mut Locked) -> Result<(), Ended> {
    let Some((head, progress)) = standing(&locked.history) else {
        return Ok(());
    };
    let (number, is_canary) = (head.number, head.side.is_canary());
    let progress = match is_canary {
        true => progress.backwards(),
        false => Progress {
            percent: 0,
            ..progress
        },
    };
    let Some(mut stored) = locked.history.number(number).cloned() else {
        return Ok(());
    };
    run.units.enter(Unit::WaitForSteadyState);
    let mut walk = Walk::new((run, locked), &stored, &progress);
    walk.go(&mut stored).await?;
    let_go(run, locked, &progress).await?;
    if !is_canary {
        progress::note_over(&mut stored.head);
        locked.update(&mut stored).await?;
    }
    locked.history = locked::history(&locked.records, run.task).await?;
    Ok(())
}
