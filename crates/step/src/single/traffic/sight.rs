//! What there is of Services and routes.

use serde_json::Value;
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Error, Resource};
use sortie_manifest::{Object, ObjectId, labels};
use sortie_strategy::routing::{self, Config, RouteKind, Services};

use super::services;
use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind, chain};
use crate::report::Unit;
use crate::run::Run;

/// A route object of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) id: ObjectId,
    pub(super) resource: Resource,
    pub(super) object: Value,
}

/// The Services of the release, as if those of `set` were there, and the ports of those that are named.
pub(super) async fn services_of(
    run: &Run<'_>,
    hosts: &[String],
    set: &[Object],
) -> Result<Services, Failure> {
    let cluster = &run.env.cluster;
    let namespace = &run.task.release.namespace;
    let resource = cluster.resolve("", "v1", "Service").await;
    let resource = resource.map_err(|error| Failure::cluster(&error))?;
    let selection = of_label(run, resource.clone());
    let all = cluster.list(&selection).await;
    let all = all.map_err(|error| Failure::cluster(&error))?;
    let mut all: Vec<Object> = all.into_iter().filter_map(object_of).collect();
    let is_here = |object: &&Object| {
        let place = object.namespace().unwrap_or(namespace);
        (object.group(), object.kind(), place) == ("", "Service", namespace)
    };
    for service in set.iter().filter(is_here) {
        all.retain(|known| known.name() != service.name());
        all.push(service.clone());
    }
    let mut services = services::of_release(&all);
    for host in hosts {
        let Some(name) = services.named(host).map(str::to_owned) else {
            continue;
        };
        if services.ports.contains_key(&name) || name.contains(['.', '/']) {
            continue;
        }
        let found = cluster.get(&resource, Some(namespace), &name).await;
        let found = found.map_err(|error| Failure::cluster(&error))?;
        let port = found
            .and_then(object_of)
            .and_then(|service| services::first_port(&service));
        services.ports.extend(port.map(|port| (name, port)));
    }
    Ok(services)
}

/// The objects of a configuration: those that are there, and those that are not. All their kinds are served.
pub(super) async fn of_config(
    run: &Run<'_>,
    config: &Config,
) -> Result<(Vec<Live>, Vec<(Resource, ObjectId)>), Failure> {
    let cluster = &run.env.cluster;
    let namespace = &run.task.release.namespace;
    let (mut live, mut missing) = (Vec::new(), Vec::new());
    for id in routing::objects(config, namespace) {
        let resource = cluster.resolve_preferred(&id.group, &id.kind).await;
        let resource = resource.map_err(|error| Failure::cluster(&error))?;
        let found = cluster.get(&resource, Some(namespace), &id.name).await;
        match found.map_err(|error| Failure::cluster(&error))? {
            Some(object) => live.push(Live {
                id,
                resource,
                object,
            }),
            None => missing.push((resource, id)),
        }
    }
    Ok((live, missing))
}

/// The route objects of the release, of all kinds that are served and that we may look at.
pub(super) async fn of_release(run: &Run<'_>) -> Result<Vec<Live>, Failure> {
    let mut routes = Vec::new();
    for resource in kinds(run).await? {
        match listed(run, (&resource, of_label(run, resource.clone()))).await {
            Ok(found) => routes.extend(found),
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => {
                let text = format!("we have no right to look for a {}", resource.kind);
                run.warn(Unit::Initialize, text);
            }
            Err(error) => return Err(Failure::cluster(&error)),
        }
    }
    Ok(routes)
}

/// The route objects of the release's namespace, whosever they are.
///
/// # Errors
/// We may not look at a kind that is served: then nobody can say which pods still get requests.
pub(super) async fn of_namespace(run: &Run<'_>) -> Result<Vec<Live>, Failure> {
    let namespace = &run.task.release.namespace;
    let mut routes = Vec::new();
    for resource in kinds(run).await? {
        let selection = Selection::of(resource.clone(), namespace);
        routes.extend(
            listed(run, (&resource, selection))
                .await
                .map_err(|error| unseen(&error))?,
        );
    }
    Ok(routes)
}

/// What is told where nobody can know whether requests are sent to pods that are about to go.
pub(super) fn unseen(error: &Error) -> Failure {
    if !matches!(error.cause(), Cause::Forbidden { .. }) {
        return Failure::cluster(error);
    }
    Failure::new(
        FailureKind::Authorization,
        "SRT-T120",
        format!(
            "nobody can say whether a router sends requests to pods that are to go: {}",
            chain(error)
        ),
        "give the account that rule (list, watch and patch where routes are to change), and run the step again",
    )
}

/// The kinds of routes that are served.
async fn kinds(run: &Run<'_>) -> Result<Vec<Resource>, Failure> {
    let mut kinds = Vec::new();
    for kind in RouteKind::ALL {
        let resource = run.env.cluster.resolve_preferred(kind.group(), kind.kind());
        match resource.await {
            Ok(resource) => kinds.push(resource),
            Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => {}
            Err(error) => return Err(Failure::cluster(&error)),
        }
    }
    Ok(kinds)
}

async fn listed(
    run: &Run<'_>,
    (resource, selection): (&Resource, Selection),
) -> Result<Vec<Live>, Error> {
    let found = run.env.cluster.list(&selection).await?;
    let objects = found.into_iter().filter_map(object_of);
    let live = objects.map(|object| Live {
        id: object.id(),
        resource: resource.clone(),
        object: object.value().clone().into(),
    });
    Ok(live.collect())
}

fn of_label(run: &Run<'_>, resource: Resource) -> Selection {
    Selection {
        resource,
        namespace: Some(run.task.release.namespace.clone()),
        labels: Some(format!("{}={}", labels::RELEASE, run.release_id())),
        fields: None,
        metadata_only: false,
    }
}
