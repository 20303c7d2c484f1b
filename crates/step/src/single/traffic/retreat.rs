//! No request goes to the new side of a release any more, before its pods go.

use std::time::Duration;

use sortie_cluster::patch::{Form, Patched};
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::routing::{
    self, RouteKind, RoutingError, Services, changed_fields, retreat as without,
};

use super::super::alter::{Subject, alter};
use super::super::named::refuse_foreign;
use super::sides::{Leaving, NewSide, Sides, led, tell_preview};
use super::sight::{Live, of_namespace};
use super::{refused, waiting};
use crate::failure::Failure;
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;
use crate::steady;
use crate::units::Ended;

/// How long a router may take in a rollback, which nothing shall stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the new side can be left without pods: every rule that leads there can lead elsewhere.
///
/// # Errors
/// One cannot, somebody else decides what it says, or the cluster cannot be asked.
pub(crate) async fn check(run: &Run<'_>, sides: &Sides) -> Result<(), Failure> {
    look(run, sides, (&[], true)).await.map(drop)
}

/// Whether pods can change sides, as if `set` were there; where `both_leave`, until either side in turn has none.
///
/// # Errors
/// A rule would lead to nobody, or the cluster cannot be asked.
pub(crate) async fn check_exchange(
    run: &Run<'_>,
    sides: &Sides,
    (set, both_leave): (&[Object], bool),
) -> Result<(), Failure> {
    if !both_leave {
        return of_namespace(run).await.map(drop);
    }
    sides.check_stable(run, set, Leaving::StableInTime).await?;
    look(run, sides, (set, true)).await.map(drop)
}

/// Give the requests of a side to the stable one, in every route of the namespace, and wait until the router has taken it and
/// clients that are on their way have arrived. What this task has done before it was interrupted is waited for again.
///
/// # Errors
/// A rule leads to the side that cannot lead elsewhere, somebody else decides what a route says, the API server refuses a
/// change, or it is time to stop.
pub(crate) async fn retreat(
    run: &Run<'_>,
    locked: &Locked,
    sides: &Sides,
    is_resumed: bool,
) -> Result<(), Ended> {
    empty(run, locked, sides, is_resumed).await?;
    if sides.side == NewSide::Canary {
        // Nobody is on the way to its Service any more, so that no route need name it.
        leave_all(run, locked, sides, false).await?;
    }
    Ok(())
}

/// As [`retreat`], but routes go on naming a canary's Service, which stays.
///
/// # Errors
/// As [`retreat`].
pub(crate) async fn empty(
    run: &Run<'_>,
    locked: &Locked,
    sides: &Sides,
    is_resumed: bool,
) -> Result<(), Ended> {
    let Left {
        is_led,
        had_traffic,
    } = leave_all(run, locked, sides, true).await?;
    if had_traffic || (is_resumed && is_led) {
        drain(run, locked, sides.side.word()).await?;
    }
    Ok(())
}

/// What routes had to do with a side.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    /// One names it.
    is_led: bool,
    /// One sent requests there.
    had_traffic: bool,
}

/// Change every route that leads to a side, and wait until the router has taken it.
async fn leave_all(
    run: &Run<'_>,
    locked: &Locked,
    sides: &Sides,
    service_stays: bool,
) -> Result<Left, Ended> {
    let look = async { Ok(look(run, sides, (&[], service_stays)).await?) };
    let (services, found, mut left) = run.bounds.run(locked.lost(), Box::pin(look)).await?;
    if found.is_empty() {
        return Ok(left);
    }
    run.units.enter(Unit::TrafficRouting);
    let write = async {
        let mut written = Vec::new();
        for (live, had_traffic) in found {
            run.bounds.check()?;
            leave(run, locked, (sides.side, service_stays, &services), &live).await?;
            written.push((live.resource, live.id, had_traffic));
        }
        Ok(written)
    };
    let written = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    let taken = async {
        let waiting = waiting(run, &written).await?;
        steady::wait(run, locked.guard(), waiting).await
    };
    run.bounds.run(locked.lost(), Box::pin(taken)).await?;
    left.had_traffic = written.iter().any(|(_, _, had_traffic)| *had_traffic);
    Ok(left)
}

/// The routes that are to change, and whether they give the side requests.
async fn look(
    run: &Run<'_>,
    sides: &Sides,
    (set, service_stays): (&[Object], bool),
) -> Result<(Services, Vec<(Live, bool)>, Left), Failure> {
    run.bounds
        .pending()
        .set("the routes were still being looked at");
    let mut found = Vec::new();
    let mut left = Left::default();
    let routes = of_namespace(run).await?;
    if routes.is_empty() {
        return Ok((Services::default(), found, left));
    }
    let services = sides.services(run, set).await?;
    let word = sides.side.word();
    for live in routes {
        let without = without(&live.object, &services, word, service_stays);
        let Some(without) = without.map_err(|error| refused(&error))? else {
            continue;
        };
        left.is_led = true;
        if let Some(rule) = without.left.first().filter(|_| service_stays) {
            if !routing::is_preview(&live.object) {
                return Err(led(&live.id, rule, word, "stable"));
            }
            tell_preview(run, (&live.id, rule), word);
        }
        if changed_fields(&live.object, &without.object).is_empty() {
            continue;
        }
        refuse_foreign(run, &live.id, &live.object)?;
        if let Some(by) = routing::manager(&live.object, &run.release_id()) {
            let object = live.id.to_string();
            return Err(refused(&RoutingError::Managed { object, by }));
        }
        found.push((live, without.had_traffic));
    }
    Ok((services, found, left))
}

/// Change one route. That stays in a rollback: what the same execution had routed to the side before is taken back by it.
async fn leave(
    run: &Run<'_>,
    locked: &Locked,
    (side, service_stays, services): (NewSide, bool, &Services),
    live: &Live,
) -> Result<(), Failure> {
    let make = |now: &serde_json::Value, _: Option<&_>| {
        let without = without(now, services, side.word(), service_stays);
        let without = without.map_err(|error| refused(&error))?;
        let operations = without.map(|without| changed_fields(now, &without.object));
        Ok((Form::Json, operations.unwrap_or_default().into()))
    };
    let subject = Subject {
        patched: Patched {
            resource: &live.resource,
            id: &live.id,
            subresource: None,
        },
        unit: Unit::TrafficRouting,
        stays: true,
    };
    alter(run, locked, None, subject, &make).await.map(drop)
}

/// Let clients arrive that were sent to a side a moment ago.
async fn drain(run: &Run<'_>, locked: &Locked, side: &str) -> Result<(), Ended> {
    let text = format!("the {side} gets no requests any more, and some may still be on their way");
    settle(run, locked, &text).await
}

/// Let pass what a router and its clients may take.
pub(super) async fn settle(run: &Run<'_>, locked: &Locked, why: &str) -> Result<(), Ended> {
    let settle = run.env.limits.settle;
    let text = format!("{why}: {} s for that", settle.as_secs());
    run.info(Unit::TrafficRouting, text);
    run.bounds.pending().set(why);
    let wait = async {
        tokio::time::sleep(settle).await;
        Ok(())
    };
    run.bounds.run(locked.lost(), wait).await
}

/// Wait until the router has taken back what a rollback has just undone, and clients have arrived. A router that does not
/// answer is told, and stops no rollback.
///
/// # Errors
/// The cluster cannot be asked, or it is time to stop.
pub(crate) async fn settle_undone(
    run: &Run<'_>,
    locked: &Locked,
    undone: Vec<ObjectId>,
) -> Result<(), Ended> {
    let mut routes = Vec::new();
    for id in undone.into_iter().filter(is_route) {
        let found = run.env.cluster.find(&id).await;
        let found = found.map_err(|error| Failure::cluster(&error))?;
        routes.extend(found.map(|(resource, _)| (resource, id, true)));
    }
    if routes.is_empty() {
        return Ok(());
    }
    let taken = async {
        let waiting = waiting(run, &routes).await?;
        let wait = steady::wait(run, locked.guard(), waiting);
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(Ok(())) => {}
            Ok(Err(Ended::Failed(failure))) => run.warn(Unit::UndoChanges, failure.message),
            Ok(Err(ended)) => return Err(ended),
            Err(_) => {
                let text = "the router has not taken the former routes yet";
                run.warn(Unit::UndoChanges, text);
            }
        }
        Ok(())
    };
    run.bounds.run(locked.lost(), Box::pin(taken)).await?;
    drain(run, locked, "new side").await
}

/// Whether an object is a route.
pub(crate) fn is_route(id: &ObjectId) -> bool {
    let mut kinds = RouteKind::ALL.iter();
    kinds.any(|kind| (kind.group(), kind.kind()) == (&*id.group, &*id.kind))
}
