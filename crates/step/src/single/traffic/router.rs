//! The router of a release, as far as it shares requests between the stable side and the new one: for whoever moves pods and
//! weights in turns.

use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::watch::{Selection, Watched};
use sortie_health::{Facts, Status, Written, assess_after};
use sortie_manifest::ObjectId;
use sortie_strategy::progressive::Route;
use sortie_strategy::routing::{self, RoutingError, Services, canary_share, changed_fields, split};

use super::super::alter::{Subject, alter};
use super::super::named::refuse_foreign;
use super::refused;
use super::sides::Sides;
use super::sight::{Live, of_namespace, unseen};
use crate::failure::{Failure, FailureKind};
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;

/// The routes of a release's namespace with a rule that leads to both sides.
#[derive(Debug)]
pub(crate) struct Router {
    services: Services,
    routes: Vec<Shared>,
}

/// A route with a rule that leads to both sides.
#[derive(Debug)]
struct Shared {
    live: Live,
    watched: Watched,
    /// What our last write was answered with, as long as the watch may be older.
    written: Option<Written>,
}

impl Router {
    /// Look for the routes and watch them. `None`: pods alone make the shares.
    ///
    /// # Errors
    /// Somebody else decides what one of them says, or the cluster cannot be asked.
    pub(crate) async fn open(run: &Run<'_>, sides: &Sides) -> Result<Option<Self>, Failure> {
        let found = of_namespace(run).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let services = sides.services(run, &[]).await?;
        let mut routes = Vec::new();
        for live in found {
            if canary_share(&live.object, &services).is_none() {
                continue;
            }
            refuse_foreign(run, &live.id, &live.object)?;
            if let Some(by) = routing::manager(&live.object, &run.release_id()) {
                let object = live.id.to_string();
                return Err(refused(&RoutingError::Managed { object, by }));
            }
            let namespace = &run.task.release.namespace;
            let selection = Selection::of(live.resource.clone(), namespace).named(&live.id.name);
            let watched = run.env.cluster.watch(selection).await;
            routes.push(Shared {
                live,
                watched: watched.map_err(|error| unseen(&error))?,
                written: None,
            });
        }
        let router = Self { services, routes };
        Ok((!router.routes.is_empty()).then_some(router))
    }

    /// What the routes say now, and whether the router has taken it. As long as they do not say the same, nothing is taken.
    /// `None`: there is none.
    ///
    /// # Errors
    /// One of them is gone, or leads to one side alone by now: nobody can say any more which pods get its requests.
    pub(crate) fn look(&self) -> Result<Option<Route>, Failure> {
        let mut seen: Option<Route> = None;
        for Shared {
            live,
            watched,
            written,
        } in &self.routes
        {
            let view = watched.view();
            let object = view.objects.get(&live.id.name);
            let mut object = object
                .ok_or_else(|| lost(&live.id, "was deleted"))?
                .as_ref();
            let facts = Facts::default();
            let is_old = written
                .as_ref()
                .is_some_and(|written| written.unseen(object).is_some());
            if is_old {
                object = &live.object;
            }
            let canary = canary_share(object, &self.services);
            let canary = canary.ok_or_else(|| lost(&live.id, "leads to both sides no more"))?;
            // A mesh that reports nothing has no rule of health, and is healthy as it is.
            let verdict = match written {
                Some(written) => assess_after(object, written, &facts),
                None => sortie_health::assess_with(object, &facts),
            };
            let is_accepted = !is_old && verdict.status == Status::Healthy;
            let agreed = seen.is_none_or(|seen| seen.canary == canary);
            seen = Some(Route {
                canary: seen.map_or(canary, |seen| seen.canary),
                is_accepted: is_accepted && agreed && seen.is_none_or(|seen| seen.is_accepted),
            });
        }
        Ok(seen)
    }

    /// The watches that show something new when [`look`](Self::look) may.
    pub(crate) fn watches(&mut self) -> impl Iterator<Item = &mut Watched> {
        self.routes.iter_mut().map(|shared| &mut shared.watched)
    }

    /// Ask for these percents for the new side, and the rest for the stable one. A rollback of the execution does not take it
    /// back: whoever asks has a journal of its own, and its own way back.
    ///
    /// # Errors
    /// A route is gone, cannot say the percentage beside other backends, or the API server or the policy refuses it.
    pub(crate) async fn ask(
        &mut self,
        run: &Run<'_>,
        locked: &Locked,
        canary: u32,
    ) -> Result<(), Failure> {
        let services = &self.services;
        for Shared { live, written, .. } in &mut self.routes {
            let make = |now: &serde_json::Value, _: Option<&_>| {
                let wanted = split(now, services, canary).map_err(|error| refused(&error))?;
                Ok((Form::Json, changed_fields(now, &wanted).into()))
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
            let altered = alter(run, locked, None, subject, &make).await?;
            *written = Some(Written::of(&altered.after));
            live.object = altered.after;
        }
        Ok(())
    }
}

fn lost(route: &ObjectId, how: &str) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "SRT-T122",
        format!(
            "{route} {how}, so that nobody can say which pods get its requests: pods and weights stay as they are"
        ),
        "let the route lead to both sides again, or let none lead to the canary; then run the step again or roll back",
    )
}
