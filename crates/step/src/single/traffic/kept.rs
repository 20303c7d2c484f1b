//! Routes of a set that is deployed again keep what steps have given them.

use serde_json::Value;
use sortie_cluster::Cause;
use sortie_cluster::record::History;
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::routing::{self, RouteKind};

use crate::adoption::object_of;
use crate::failure::Failure;
use crate::locked::{record_failure, records};
use crate::report::Unit;
use crate::run::Run;
use crate::steady::facts::carries;

/// Let the release's routes among these objects keep the weights and rules of steps. A route that is not live yet is as the
/// manifest says.
///
/// # Errors
/// The cluster cannot be asked.
pub(crate) async fn keep(
    run: &Run<'_>,
    history: &History,
    objects: &mut [Object],
) -> Result<(), Failure> {
    for object in objects {
        let manifest = Value::Object(object.value().clone());
        if RouteKind::of(&manifest).is_none() {
            continue;
        }
        let id = object.id().in_namespace(&run.task.release.namespace);
        let live = match run.env.cluster.find(&id).await {
            Ok(Some((_, live))) => live,
            // Its kind comes with the set.
            Ok(None) => continue,
            Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => continue,
            Err(error) => return Err(Failure::cluster(&error)),
        };
        if !carries(&live, &run.release_id()) || !routing::is_written_by_steps(&live) {
            continue;
        }
        let applied = applied(run, history, &id).await?;
        if !routing::is_steered(&live, applied.as_ref()) {
            continue;
        }
        let Some(kept) = routing::kept(&live, &manifest) else {
            continue;
        };
        // Neither name nor kind change, so that it stays an object.
        drop(object.edit(|whole| *whole = kept));
        let text = format!("{id} keeps the weights and rules that steps have given it");
        run.info(Unit::Initialize, text);
    }
    Ok(())
}

/// The object as the release has applied it last.
async fn applied(
    run: &Run<'_>,
    history: &History,
    id: &ObjectId,
) -> Result<Option<Value>, Failure> {
    let tracks = |head: &&sortie_cluster::record::Head| {
        let mut inventory = head.inventory.iter();
        inventory.any(|tracked| tracked.id == *id)
    };
    let Some(head) = history.heads().rev().find(tracks) else {
        return Ok(None);
    };
    let objects = records(run)?.objects(head).await;
    let objects = objects.map_err(|error| record_failure(&error))?;
    let namespace = &run.task.release.namespace;
    let is_it = |object: &Object| object.id().in_namespace(namespace) == *id;
    let mut objects = objects.into_iter().filter_map(object_of);
    let found = objects.find(is_it);
    Ok(found.map(|object| Value::Object(object.value().clone())))
}
