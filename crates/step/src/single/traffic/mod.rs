//! Routing traffic: the objects of a router say what is asked for, and the router has taken it. A step does that alone, and a
//! deployment at its end.

mod endpoints;
mod gateways;
mod kept;
mod plan;
mod retreat;
mod router;
mod services;
mod sides;
mod sight;

use serde_json::{Value, json};
use sortie_cluster::Resource;
use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::record::changes::Entry;
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::routing::{Routing, RoutingError, changed_fields, easing};

use super::alter::{Altered, Subject, Way, alter_by_way, awaited, settle};
use super::{apply, take};
use crate::changes::Ledger;
use crate::failure::{Failure, FailureKind, chain};
use crate::locked::Locked;
use crate::protection::text;
use crate::report::Unit;
use crate::run::Run;
use crate::steady::{self, Awaited};
use crate::units::Ended;
use plan::{Plan, wanted};
use sight::Live;

pub(crate) use kept::keep;
pub(crate) use retreat::{check, check_exchange, empty, is_route, retreat, settle_undone};
pub(crate) use router::Router;
pub(crate) use services::of_release as services_of_set;
pub(crate) use sides::{Leaving, Sides};

/// Route traffic. The outputs name the routes, and which of them were changed.
pub(crate) async fn run(run: &Run<'_>, asked: &Routing) -> Result<Value, Ended> {
    run.units.enter(Unit::Initialize);
    let locked = take(run).await?;
    let result = under_lease(run, asked, &locked).await;
    locked.release(run).await;
    result
}

async fn under_lease(run: &Run<'_>, asked: &Routing, locked: &Locked) -> Result<Value, Ended> {
    let (routes, waiting) = write(run, asked, locked).await?;
    settle(run, locked, waiting).await?;
    Ok(json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "routes": routes,
    }))
}

/// Refuse what the router cannot do, before a deployment writes `set`: as if that were there.
///
/// # Errors
/// It cannot do it, or somebody else decides what a route says.
pub(crate) async fn foresee(run: &Run<'_>, asked: &Routing, set: &[Object]) -> Result<(), Ended> {
    let Plan { edited, made, .. } = plan::foresee(run, asked, set).await?;
    for live in edited {
        let text = format!("{} leads there once everything is healthy", live.id);
        run.info(Unit::Initialize, text);
    }
    for (_, object) in made {
        let text = format!("{} is made once everything is healthy", object.id());
        run.info(Unit::Initialize, text);
    }
    Ok(())
}

/// Route traffic at the end of a deployment, and wait until the router has taken it. Which routes, and which were changed.
///
/// # Errors
/// The router cannot do it, a Service gets no ready endpoint, or the API server or the policy refuses a change.
pub(crate) async fn follow(
    run: &Run<'_>,
    asked: &Routing,
    locked: &Locked,
) -> Result<Value, Ended> {
    let (routes, waiting) = write(run, asked, locked).await?;
    let wait = steady::wait(run, locked.guard(), waiting);
    run.bounds.run(locked.lost(), Box::pin(wait)).await?;
    Ok(routes)
}

/// Make and change the routes; what to tell of them, and what to wait for.
async fn write(
    run: &Run<'_>,
    asked: &Routing,
    locked: &Locked,
) -> Result<(Value, Vec<Awaited>), Ended> {
    run.bounds
        .pending()
        .set("the routes were still being looked at");
    let plan = Box::pin(plan::plan(run, asked));
    let plan = run.bounds.run(locked.lost(), plan).await?;
    run.units.enter(Unit::TrafficRouting);
    prepare(run, locked, (asked, &plan)).await?;
    let made: Vec<Object> = plan.made.iter().map(|(_, object)| object.clone()).collect();
    let write = async {
        run.bounds.check()?;
        if !made.is_empty() {
            apply::make(run, made, locked, Unit::TrafficRouting).await?;
        }
        let mut ledger = Ledger::open(run, locked).await?;
        let mut written = Vec::new();
        for live in &plan.edited {
            run.bounds.check()?;
            let edited = edit(run, locked, &mut ledger, (asked, &plan), (live, &straight)).await?;
            let changed = edited.changed;
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
    let waiting = waiting(run, &written);
    let waiting = run.bounds.run(locked.lost(), Box::pin(waiting)).await?;
    let routes = written
        .iter()
        .map(|(_, id, changed)| json!({"object": id, "changed": changed}));
    Ok((routes.collect(), waiting))
}

/// Let the router know Services that no rule of a route names yet, before the first request is sent there: it may take the
/// rules before it has heard of them.
async fn prepare(
    run: &Run<'_>,
    locked: &Locked,
    (asked, plan): (&Routing, &Plan),
) -> Result<(), Ended> {
    let write = async {
        let mut ledger = Ledger::open(run, locked).await?;
        let mut prepared = Vec::new();
        let meant = wanted(run, asked, &plan.services, &plan.edited)?;
        let way = |now: &Value, then: &Value| easing(then, now);
        for live in &plan.edited {
            run.bounds.check()?;
            let then = meant.iter().find(|then| is_of(then, live));
            // What the task has noted it has prepared before it was interrupted.
            if then.is_none_or(|then| way(&live.object, then).is_none())
                || ledger.noted(run, &live.id).is_some()
            {
                continue;
            }
            let altered = edit(run, locked, &mut ledger, (asked, plan), (live, &way)).await?;
            if altered.halfway {
                prepared.push((live.resource.clone(), live.id.clone(), true));
            }
        }
        Ok(prepared)
    };
    let prepared = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    if prepared.is_empty() {
        return Ok(());
    }
    let taken = async {
        let waiting = waiting(run, &prepared).await?;
        steady::wait(run, locked.guard(), waiting).await
    };
    run.bounds.run(locked.lost(), Box::pin(taken)).await?;
    let text = "the router hears of new Services before requests go there";
    retreat::settle(run, locked, text).await
}

/// Routes that were written, with their gateways, to be waited for.
async fn waiting(
    run: &Run<'_>,
    written: &[(Resource, ObjectId, bool)],
) -> Result<Vec<Awaited>, Ended> {
    let mut waiting = Vec::new();
    for (resource, id, changed) in written {
        let patched = Patched {
            resource,
            id,
            subresource: None,
        };
        waiting.extend(awaited(run, patched, *changed).await?);
    }
    waiting.extend(gateways::of(run, written).await?);
    Ok(waiting)
}

fn is_of(route: &Value, live: &Live) -> bool {
    text(route, "/kind") == live.id.kind && text(route, "/metadata/name") == live.id.name
}

/// At once what is meant.
fn straight(_: &Value, _: &Value) -> Option<Value> {
    None
}

/// Change one object to what is asked for, by this way.
async fn edit(
    run: &Run<'_>,
    locked: &Locked,
    ledger: &mut Ledger,
    (asked, plan): (&Routing, &Plan),
    (live, way): (&Live, Way<'_>),
) -> Result<Altered, Failure> {
    let others = plan.edited.iter().filter(|other| other.id != live.id);
    let others: Vec<Live> = others.cloned().collect();
    let make = |now: &Value, _: Option<&Entry>| {
        let mut all = others.clone();
        all.push(Live {
            object: now.clone(),
            ..live.clone()
        });
        let wanted = wanted(run, asked, &plan.services, &all)?;
        let wanted = wanted.iter().find(|wanted| is_of(wanted, live));
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
    alter_by_way(run, locked, Some(ledger), subject, (&make, Some(way))).await
}

fn refused(error: &RoutingError) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        error.code(),
        chain(error),
        error.advice(),
    )
}
