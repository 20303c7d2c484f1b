//! Waiting for what a set depends on without containing it.

use sortie_cluster::watch::{Selection, View};
use sortie_health::{Status, assess};
use sortie_manifest::ObjectId;

use crate::failure::Failure;
use crate::report::Unit;
use crate::run::Run;
use crate::units::Ended;

/// Wait until `dependency`, which `object` names in an annotation, is there and healthy. The caller ends it in time.
///
/// # Errors
/// The cluster does not serve its kind, or the account may not watch it.
pub(crate) async fn ready(
    run: &Run<'_>,
    object: &ObjectId,
    dependency: &ObjectId,
) -> Result<(), Ended> {
    let cluster = &run.env.cluster;
    let resource = cluster
        .resolve_preferred(&dependency.group, &dependency.kind)
        .await
        .map_err(|error| Failure::cluster(&error))?;
    let namespace = dependency.namespace.as_ref().or(object.namespace.as_ref());
    let namespace = namespace.unwrap_or(&run.task.release.namespace);
    let mut dependency = dependency.clone();
    if resource.namespaced {
        dependency = dependency.in_namespace(namespace);
    }
    let selection = Selection::of(resource, namespace).named(&dependency.name);
    let mut watched = cluster
        .watch(selection)
        .await
        .map_err(|error| Failure::cluster(&error))?;
    let mut said = false;
    let healthy = watched.until(|view| {
        let Some(why) = unready(view, &dependency.name) else {
            return Some(());
        };
        let text = format!("{object} depends on {dependency}: {why}");
        if !said {
            run.info(Unit::Prepare, format!("waiting: {text}"));
            said = true;
        }
        run.bounds.pending().set(text);
        None
    });
    healthy.await;
    Ok(())
}

/// Why the object cannot be depended on yet.
fn unready(view: &View, name: &str) -> Option<String> {
    let Some(live) = view.objects.get(name) else {
        return Some("it is not there".to_owned());
    };
    let verdict = assess(live);
    match verdict.status {
        Status::Healthy | Status::Suspended => None,
        Status::Progressing | Status::Missing | Status::Degraded | Status::Unknown => {
            Some(format!("{}, {}", verdict.status, verdict.message))
        }
    }
}
