//! What changes of the routes for what is asked for.

use serde_json::Value;
use sortie_cluster::Resource;
use sortie_manifest::labels::{self, Marks};
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::routing::{
    self, RouteKind, Routing, RoutingError, Services, configured, gaining, inherited,
};

use super::super::named::refuse_foreign;
use super::sight::{Live, of_config, of_release, services_of};
use super::{endpoints, refused};
use crate::adoption::object_of;
use crate::failure::Failure;
use crate::protection::text;
use crate::run::Run;
use crate::units::Ended;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) services: Services,
    /// What changes.
    pub(super) edited: Vec<Live>,
    /// What is made.
    pub(super) made: Vec<(Resource, Object)>,
    /// Services that get more requests than before.
    gaining: Vec<String>,
}

/// Look at what there is, and decide what of it changes. Nothing that is asked for can fail later for what is known now.
///
/// # Errors
/// The router cannot do it, a Service has no ready endpoint in time, or somebody else decides what a route says.
pub(super) async fn plan(run: &Run<'_>, asked: &Routing) -> Result<Plan, Ended> {
    let plan = decide(run, asked, &[]).await?;
    endpoints::ready(run, plan.gaining.iter().cloned().collect()).await?;
    Ok(plan)
}

/// The same before `set` is written: as if it were there.
///
/// # Errors
/// As [`plan`], but nobody has endpoints yet.
pub(super) async fn foresee(run: &Run<'_>, asked: &Routing, set: &[Object]) -> Result<Plan, Ended> {
    decide(run, asked, set).await
}

async fn decide(run: &Run<'_>, asked: &Routing, set: &[Object]) -> Result<Plan, Ended> {
    let hosts = destinations(asked);
    let services = services_of(run, &hosts, set).await?;
    let (mut live, mut missing) = match asked {
        Routing::Config(config) => of_config(run, config).await?,
        Routing::Inherit(_) => (of_release(run).await?, Vec::new()),
    };
    expect(run, asked, set, (&mut live, &mut missing)).await?;
    let wanted = wanted(run, asked, &services, &live)?;
    let is = |object: &Value, id: &ObjectId| {
        text(object, "/kind") == id.kind && text(object, "/metadata/name") == id.name
    };
    let mut plan = Plan {
        services,
        edited: Vec::new(),
        made: Vec::new(),
        gaining: Vec::new(),
    };
    for one in live {
        if !wanted.iter().any(|wanted| is(wanted, &one.id)) {
            continue;
        }
        refuse_foreign(run, &one.id, &one.object)?;
        if let Some(by) = routing::manager(&one.object, &run.release_id()) {
            let object = one.id.to_string();
            return Err(refused(&RoutingError::Managed { object, by }).into());
        }
        plan.edited.push(one);
    }
    for (resource, id) in missing {
        let new = wanted.iter().find(|wanted| is(wanted, &id)).cloned();
        plan.made
            .extend(new.and_then(|new| made(run, resource, new)));
    }
    let objects: Vec<Object> = plan.made.iter().map(|(_, object)| object.clone()).collect();
    run.check_objects(&objects)?;
    let gaining = wanted.iter().flat_map(|wanted| {
        let mut live = plan.edited.iter();
        let live = live.find(|live| is(wanted, &live.id));
        gaining(live.map(|live| &live.object), wanted)
    });
    plan.gaining = gaining.collect();
    Ok(plan)
}

/// Take the routes of a set that is about to be written for live ones.
async fn expect(
    run: &Run<'_>,
    asked: &Routing,
    set: &[Object],
    (live, missing): (&mut Vec<Live>, &mut Vec<(Resource, ObjectId)>),
) -> Result<(), Failure> {
    let namespace = &run.task.release.namespace;
    for object in set {
        let whole: Value = object.value().clone().into();
        let id = object.id().in_namespace(namespace);
        if RouteKind::of(&whole).is_none() || live.iter().any(|live| live.id == id) {
            continue;
        }
        let is_missing = missing.iter().any(|(_, missing)| *missing == id);
        if !is_missing && matches!(asked, Routing::Config(_)) {
            continue;
        }
        missing.retain(|(_, missing)| *missing != id);
        let resource = run.env.cluster.resolve_preferred(&id.group, &id.kind).await;
        live.push(Live {
            id,
            resource: resource.map_err(|error| Failure::cluster(&error))?,
            object: whole,
        });
    }
    Ok(())
}

/// A new object as it is written: part of the release.
fn made(run: &Run<'_>, resource: Resource, mut new: Value) -> Option<(Resource, Object)> {
    new["apiVersion"] = resource.api_version().into();
    let mut object = object_of(new)?;
    let marks = Marks {
        namespace: run.task.release.namespace.clone(),
        release: run.task.release.name.clone(),
        track: None,
        color: None,
    };
    labels::stamp(&mut object, &marks);
    Some((resource, object))
}

/// What the objects shall be.
pub(super) fn wanted(
    run: &Run<'_>,
    asked: &Routing,
    services: &Services,
    live: &[Live],
) -> Result<Vec<Value>, Failure> {
    let objects: Vec<Value> = live.iter().map(|live| live.object.clone()).collect();
    let namespace = &run.task.release.namespace;
    let wanted = match asked {
        Routing::Config(config) => configured(config, services, namespace, &objects),
        Routing::Inherit(inherit) => inherited(inherit, services, &objects),
    };
    wanted.map_err(|error| refused(&error))
}

/// The hosts of all destinations.
fn destinations(asked: &Routing) -> Vec<String> {
    let of = |all: &[routing::Destination]| all.iter().map(|one| one.host.clone()).collect();
    let lists: Vec<Vec<String>> = match asked {
        Routing::Config(config) => config
            .routes
            .iter()
            .map(|it| of(&it.destinations))
            .collect(),
        Routing::Inherit(inherit) => inherit
            .routes
            .iter()
            .map(|it| of(&it.destinations))
            .collect(),
    };
    lists.into_iter().flatten().collect()
}
