//! Routing traffic: the objects of a router say what the step asks for, and the router has taken it.

mod endpoints;
mod gateways;
mod services;

use serde_json::{Value, json};
use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::record::changes::Entry;
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Resource};
use sortie_manifest::labels::{self, Marks};
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::routing::{
    self, Config, RouteKind, Routing, RoutingError, Services, changed_fields, configured, gaining,
    inherited,
};

use super::alter::{Altered, Subject, alter, awaited, settle};
use super::named::refuse_foreign;
use super::{apply, take};
use crate::adoption::object_of;
use crate::changes::Ledger;
use crate::failure::{Failure, FailureKind, chain};
use crate::locked::Locked;
use crate::protection::text;
use crate::report::Unit;
use crate::run::Run;
use crate::task::Apply;
use crate::units::Ended;

/// Route traffic. The outputs name the routes, and which of them were changed.
pub(crate) async fn run(run: &Run<'_>, asked: &Routing) -> Result<Value, Ended> {
    run.units.enter(Unit::Initialize);
    let locked = take(run).await?;
    let result = under_lease(run, asked, &locked).await;
    locked.release(run).await;
    result
}

/// A route object of the cluster.
#[derive(Clone, Debug)]
struct Live {
    id: ObjectId,
    resource: Resource,
    object: Value,
}

/// What is to be done.
#[derive(Debug)]
struct Plan {
    services: Services,
    /// What changes.
    edited: Vec<Live>,
    /// What is made.
    made: Vec<(Resource, Object)>,
}

async fn under_lease(run: &Run<'_>, asked: &Routing, locked: &Locked) -> Result<Value, Ended> {
    run.bounds
        .pending()
        .set("the routes were still being looked at");
    let plan = Box::pin(plan(run, asked));
    let plan = run.bounds.run(locked.lost(), plan).await?;
    let made: Vec<Object> = plan.made.iter().map(|(_, object)| object.clone()).collect();
    if !made.is_empty() {
        let options = Apply {
            skip_steady_state_check: true,
            ..Apply::default()
        };
        Box::pin(apply::under_lease(run, &options, made, locked)).await?;
    }
    run.units.enter(Unit::TrafficRouting);
    let write = async {
        run.bounds.check()?;
        let mut ledger = Ledger::open(run, locked).await?;
        let mut written = Vec::new();
        for live in &plan.edited {
            let changed = edit(run, locked, &mut ledger, (asked, &plan), live).await?;
            // One that this task has made before it was interrupted is as it should be.
            let changed = changed || ledger.noted(run, &live.id).is_some();
            written.push((live.resource.clone(), live.id.clone(), changed));
        }
        Ok(written)
    };
    let mut written = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    let namespace = &run.task.release.namespace;
    let made = plan.made.into_iter().map(|(resource, object)| {
        let id = object.id().in_namespace(namespace);
        (resource, id, true)
    });
    written.extend(made);
    // Told alike by whoever carries the task on, for whom what was made is there already.
    written.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
    let mut waiting = Vec::new();
    for (resource, id, changed) in &written {
        let patched = Patched {
            resource,
            id,
            subresource: None,
        };
        waiting.extend(awaited(run, patched, *changed).await?);
    }
    let gateways = gateways::of(run, &written);
    waiting.extend(run.bounds.run(locked.lost(), Box::pin(gateways)).await?);
    settle(run, locked, waiting).await?;
    let routes = written
        .iter()
        .map(|(_, id, changed)| json!({"object": id, "changed": changed}));
    Ok(json!({
        "releaseName": run.task.release.name,
        "namespace": namespace,
        "routes": routes.collect::<Vec<_>>(),
    }))
}

/// Look at what there is, and decide what of it changes. Nothing that is asked for can fail later for what is known now.
async fn plan(run: &Run<'_>, asked: &Routing) -> Result<Plan, Ended> {
    let hosts = destinations(asked);
    let services = services_of(run, &hosts).await?;
    let (live, missing) = match asked {
        Routing::Config(config) => of_config(run, config).await?,
        Routing::Inherit(_) => (of_release(run).await?, Vec::new()),
    };
    let wanted = wanted(run, asked, &services, &live)?;
    let is = |object: &Value, id: &ObjectId| {
        text(object, "/kind") == id.kind && text(object, "/metadata/name") == id.name
    };
    let mut plan = Plan {
        services,
        edited: Vec::new(),
        made: Vec::new(),
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
    endpoints::ready(run, gaining.collect()).await?;
    Ok(plan)
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

/// Change one object to what is asked for; whether that was necessary.
async fn edit(
    run: &Run<'_>,
    locked: &Locked,
    ledger: &mut Ledger,
    (asked, plan): (&Routing, &Plan),
    live: &Live,
) -> Result<bool, Failure> {
    let others = plan.edited.iter().filter(|other| other.id != live.id);
    let others: Vec<Live> = others.cloned().collect();
    let make = |now: &Value, _: Option<&Entry>| {
        let mut all = others.clone();
        all.push(Live {
            object: now.clone(),
            ..live.clone()
        });
        let wanted = wanted(run, asked, &plan.services, &all)?;
        let mut wanted = wanted.iter();
        let wanted = wanted.find(|wanted| {
            text(wanted, "/kind") == live.id.kind && text(wanted, "/metadata/name") == live.id.name
        });
        let operations = wanted.map(|wanted| changed_fields(now, wanted));
        Ok((Form::Json, operations.unwrap_or_default().into()))
    };
    let subject = Subject {
        patched: Patched {
            resource: &live.resource,
            id: &live.id,
            subresource: None,
        },
        unit: Unit::TrafficRouting,
        stays: false,
    };
    let Altered { changed, .. } = alter(run, locked, ledger, subject, &make).await?;
    Ok(changed)
}

/// What the objects shall be.
fn wanted(
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

/// The Services of the release, and the ports of those that are named.
async fn services_of(run: &Run<'_>, hosts: &[String]) -> Result<Services, Failure> {
    let cluster = &run.env.cluster;
    let namespace = &run.task.release.namespace;
    let resource = cluster.resolve("", "v1", "Service").await;
    let resource = resource.map_err(|error| Failure::cluster(&error))?;
    let selection = of_label(run, resource.clone());
    let all = cluster.list(&selection).await;
    let all = all.map_err(|error| Failure::cluster(&error))?;
    let all: Vec<Object> = all
        .into_iter()
        .filter_map(|service| typed(service, &resource))
        .collect();
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
async fn of_config(
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
async fn of_release(run: &Run<'_>) -> Result<Vec<Live>, Failure> {
    let cluster = &run.env.cluster;
    let mut live = Vec::new();
    for kind in RouteKind::ALL {
        let resource = match cluster.resolve_preferred(kind.group(), kind.kind()).await {
            Ok(resource) => resource,
            Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => continue,
            Err(error) => return Err(Failure::cluster(&error)),
        };
        let found = match cluster.list(&of_label(run, resource.clone())).await {
            Ok(found) => found,
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => {
                let text = format!("we have no right to look for a {}", kind.kind());
                run.warn(Unit::Initialize, text);
                continue;
            }
            Err(error) => return Err(Failure::cluster(&error)),
        };
        for object in found {
            let Some(object) = typed(object, &resource) else {
                continue;
            };
            live.push(Live {
                id: object.id(),
                resource: resource.clone(),
                object: object.value().clone().into(),
            });
        }
    }
    Ok(live)
}

/// An item of a list does not say what it is.
fn typed(mut item: Value, resource: &Resource) -> Option<Object> {
    item["apiVersion"] = resource.api_version().into();
    item["kind"] = resource.kind.clone().into();
    object_of(item)
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

fn refused(error: &RoutingError) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        error.code(),
        chain(error),
        error.advice(),
    )
}
