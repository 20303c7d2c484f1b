//! Letting the API server judge a set of objects. Nothing is written.

use std::collections::HashSet;
use std::sync::Arc;

use sortie_cluster::Error;
use sortie_cluster::apply::{Planned, Scope, Target};
use sortie_manifest::{Object, ObjectId};

use crate::autoscalers::tell_unseen;
use crate::failure::{Failure, refused};
use crate::replacement::Asked;
use crate::report::Unit;
use crate::run::Run;
use crate::task::RollingDeploy;

/// Judge every object of the set; `first`: no release has succeeded before, so that probably none of it is there;
/// `steered`: workloads whose numbers of pods are not the manifest's affair.
///
/// # Errors
/// What is refused: all of it in the log, the first in the failure.
pub(crate) async fn try_out(
    run: &Run<'_>,
    objects: Vec<Object>,
    options: &RollingDeploy,
    (first, steered): (bool, &Arc<[ObjectId]>),
) -> Result<Vec<Planned>, Failure> {
    let scope = Scope {
        adopt: options.adopt,
        first,
        steered: Arc::clone(steered),
        ..scope(run)
    };
    judge(run, objects, scope, asked(options)).await
}

/// Who asks for replacements in a deployment.
pub(crate) const fn asked(options: &RollingDeploy) -> Asked {
    if options.replace {
        Asked::ByTask
    } else {
        Asked::Not
    }
}

/// As [`try_out`], whoever asks for replacements.
pub(crate) async fn judge(
    run: &Run<'_>,
    objects: Vec<Object>,
    scope: Scope,
    asked: Asked,
) -> Result<Vec<Planned>, Failure> {
    let cluster = run.env.cluster.until(run.bounds.deadline());
    let namespace = &run.task.release.namespace;
    let located = cluster.locate_each(objects, namespace).await;
    let (mut targets, mut errors) = located.map_err(|error| Failure::cluster(&error))?;
    allow(&mut targets, asked);
    // What is wrong with some objects does not hide what the API server says of the others.
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

/// As [`try_out`], for a rollback: what is refused is left out and comes back as errors.
///
/// # Errors
/// The API server cannot be asked at all.
pub(crate) async fn try_out_each(
    run: &Run<'_>,
    objects: Vec<Object>,
    steered: Arc<[ObjectId]>,
) -> Result<(Vec<Planned>, Vec<Error>), Failure> {
    let namespace = &run.task.release.namespace;
    let cluster = run.env.cluster.until(run.bounds.deadline());
    let located = cluster.locate_each(objects, namespace).await;
    let (mut targets, mut refusals) = located.map_err(|error| Failure::cluster(&error))?;
    allow(&mut targets, Asked::ByRollback);
    let scope = Scope {
        steered,
        ..scope(run)
    };
    loop {
        let errors = match cluster.plan(targets.clone(), &scope).await {
            Ok(planned) => {
                tell_unseen(run, Unit::Rollback, &planned);
                return Ok((planned, refusals));
            }
            Err(errors) => errors,
        };
        let left = targets.len();
        let bad = named(&errors);
        targets.retain(|target| !bad.contains(&target.id.to_string()));
        if targets.len() == left {
            return Err(refused(run.sink, Unit::Rollback, &errors));
        }
        refusals.extend(errors);
    }
}

fn allow(targets: &mut [Target], asked: Asked) {
    for target in targets {
        target.immutable = asked.of(&target.object);
    }
}

/// The objects that errors are about.
fn named(errors: &[Error]) -> HashSet<String> {
    errors
        .iter()
        .map(|error| error.target().to_owned())
        .collect()
}

/// The objects of the task's release.
pub(crate) fn scope(run: &Run<'_>) -> Scope {
    Scope {
        release: run.release_id(),
        ..Scope::default()
    }
}
