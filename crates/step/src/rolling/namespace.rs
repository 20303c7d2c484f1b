//! The infrastructure namespace that a set brings itself.

use std::sync::Arc;

use sortie_cluster::lease::Guard;
use sortie_manifest::Object;

use super::opening::sequence;
use crate::failure::Failure;
use crate::plan::prepare;
use crate::report::Unit;
use crate::run::Run;
use crate::steady::{self, Awaited, facts};
use crate::task::RollingDeploy;
use crate::try_out::try_out;
use crate::units::Ended;

/// Create the release's namespace if the set contains it and it is missing: the one write before the record, which
/// lives in it. The set is tried out before.
pub(super) async fn bring(
    run: &Run<'_>,
    options: &RollingDeploy,
    objects: &[Object],
) -> Result<(), Ended> {
    let name = &run.task.release.namespace;
    let contained = objects.iter().any(|object| {
        object.group().is_empty() && object.kind() == "Namespace" && object.name() == name
    });
    if !contained {
        return Ok(());
    }
    let cluster = &run.env.cluster;
    let namespaces = sortie_cluster::Resource::namespaces();
    match cluster.get(&namespaces, None, name).await {
        Ok(None) => {}
        // It is there; or it cannot be known, and then the API server says later what is missing.
        Ok(Some(_)) | Err(_) => return Ok(()),
    }
    let (release, versioning) = (&run.task.release, options.versioning);
    let prepared = prepare(objects.to_vec(), release, versioning, (1, true))?;
    sequence(run, &prepared.objects, Unit::Initialize)?;
    let planned = try_out(run, prepared.objects, options, (true, &Arc::default())).await?;
    let ours = |id: &sortie_manifest::ObjectId| {
        id.group.is_empty() && id.kind == "Namespace" && id.name == *name
    };
    let Some(planned) = planned.iter().find(|planned| ours(&planned.target.id)) else {
        return Ok(());
    };
    let guard = Guard::unfenced();
    let applied = cluster.apply(planned, &guard).await;
    let applied = applied.map_err(|error| Failure::cluster(&error))?;
    let text = format!(
        "{} {}: the set contains it",
        applied.id,
        applied.change.name()
    );
    run.info(Unit::Initialize, text);
    let resource = planned.target.resource.clone();
    let awaited = Awaited::of(applied, resource, &facts::Set::default());
    steady::wait(run, &guard, vec![awaited]).await
}
