//! The two sides of a release as routes know them: by the pods that their Services, and subsets of these, select.

use serde_json::Value;
use sortie_cluster::Cause;
use sortie_cluster::record::CANARY;
use sortie_cluster::watch::Selection;
use sortie_manifest::labels::{COLOR, OLDER_COLOR, OLDER_TRACK, TRACK};
use sortie_manifest::workload::{Workload, pod_template};
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::routing::{self, Labels, Reach, RouteKind, Services, bound_to_stable};

use super::refused;
use super::sight::{Live, of_namespace, services_of, unseen};
use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind};
use crate::report::Unit;
use crate::run::Run;

/// Which of the new sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewSide {
    /// The canary, whose Service goes with it.
    Canary,
    /// The colour without traffic, whose Service stays.
    Stage,
}

impl NewSide {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stage => "stage",
        }
    }
}

/// The labels of the pods of both sides, one map for each workload.
#[derive(Clone, Debug)]
pub(crate) struct Sides {
    pub(super) side: NewSide,
    stable: Vec<Labels>,
    new: Vec<Labels>,
}

/// What is about to have no pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The stable side, by and by: weights that move are no obstacle.
    StableInTime,
    /// The stable side now.
    Stable,
}

impl Sides {
    /// A canary of these originals; its copies.
    pub(crate) fn canary<'a>(
        originals: impl IntoIterator<Item = &'a Object>,
        copies: impl IntoIterator<Item = &'a Object>,
    ) -> Self {
        Self {
            side: NewSide::Canary,
            stable: originals.into_iter().map(pod_labels).collect(),
            new: copies.into_iter().map(pod_labels).collect(),
        }
    }

    /// A canary as it is live, by the names of its copies. An original that is not there would have the pods of its copy, but
    /// for the track.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub(crate) async fn of_copies(run: &Run<'_>, copies: Vec<ObjectId>) -> Result<Self, Failure> {
        let mut sides = Self::canary([], []);
        for id in copies {
            if Workload::of(&id.group, &id.kind).is_none() {
                continue;
            }
            let Some(copy) = live(run, &id).await? else {
                continue;
            };
            let labels = pod_labels(&copy);
            let name = id.name.strip_suffix(CANARY);
            let name = name.and_then(|name| name.strip_suffix('-'));
            let original = match name {
                Some(name) => {
                    let name = name.to_owned();
                    live(run, &ObjectId { name, ..id }).await?
                }
                None => None,
            };
            sides.stable.push(match original {
                Some(original) => pod_labels(&original),
                None => without(&labels, &[TRACK, OLDER_TRACK]),
            });
            sides.new.push(labels);
        }
        Ok(sides)
    }

    /// The colour without traffic, by its workloads. The `other` one, where there is one, has the same labels but for the
    /// colour.
    pub(crate) fn stage<'a>(
        workloads: impl IntoIterator<Item = &'a Object>,
        other: Option<&str>,
    ) -> Self {
        let new: Vec<Labels> = workloads.into_iter().map(pod_labels).collect();
        let stable = new.iter().filter_map(|labels| {
            let mut labels = labels.clone();
            for key in [COLOR, OLDER_COLOR] {
                if let Some(color) = labels.get_mut(key) {
                    *color = other?.into();
                }
            }
            Some(labels)
        });
        Self {
            side: NewSide::Stage,
            stable: stable.collect(),
            new,
        }
    }

    /// The Services of the release, and where those of its namespace and their subsets lead, as if those of `set` were there.
    ///
    /// # Errors
    /// We may not look at DestinationRules that there may be, or the cluster cannot be asked.
    pub(super) async fn services(
        &self,
        run: &Run<'_>,
        set: &[Object],
    ) -> Result<Services, Failure> {
        let cluster = &run.env.cluster;
        let namespace = &run.task.release.namespace;
        let failed = |error| Failure::cluster(&error);
        let mut services = services_of(run, &[], set).await?;
        let resource = cluster.resolve("", "v1", "Service").await.map_err(failed)?;
        let listed = cluster.list(&Selection::of(resource, namespace)).await;
        let mut known = listed.map_err(failed)?;
        let mut rules = match cluster
            .resolve_preferred("networking.istio.io", "DestinationRule")
            .await
        {
            Ok(resource) => {
                let listed = cluster.list(&Selection::of(resource, namespace)).await;
                listed.map_err(|error| unseen(&error))?
            }
            Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        for object in set {
            let list = match (object.group(), object.kind()) {
                ("", "Service") => &mut known,
                ("networking.istio.io", "DestinationRule") => &mut rules,
                _ => continue,
            };
            if object.namespace().is_none_or(|place| place == namespace) {
                let name = |one: &Value| crate::protection::text(one, "/metadata/name").to_owned();
                list.retain(|one| name(one) != object.name());
                list.push(object.value().clone().into());
            }
        }
        services.reach = Reach::of((&known, &rules), namespace, (&self.stable, &self.new));
        Ok(services)
    }

    /// Refuse what would leave the stable side without pods while a rule leads there.
    ///
    /// # Errors
    /// A rule does, or it cannot be known.
    pub(crate) async fn check_stable(
        &self,
        run: &Run<'_>,
        set: &[Object],
        leaving: Leaving,
    ) -> Result<(), Failure> {
        let is_steered = leaving == Leaving::StableInTime;
        let mut found = of_namespace(run).await?;
        let is_route = |object: &&Object| RouteKind::of(&object.value().clone().into()).is_some();
        let routes: Vec<&Object> = set.iter().filter(is_route).collect();
        for object in routes {
            let id = object.id().in_namespace(&run.task.release.namespace);
            if !found.iter().any(|live: &Live| live.id == id) {
                let resource = run.env.cluster.resolve_preferred(&id.group, &id.kind).await;
                let Ok(resource) = resource else { continue };
                let object = object.value().clone().into();
                found.push(Live {
                    id,
                    resource,
                    object,
                });
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let services = self.services(run, set).await?;
        for live in found {
            let bound = bound_to_stable(&live.object, &services, self.side.word(), is_steered);
            let bound = bound.map_err(|error| refused(&error))?;
            let Some(rule) = bound.first() else { continue };
            if routing::is_preview(&live.object) {
                tell_preview(run, (&live.id, rule), "stable side");
                continue;
            }
            return Err(led(&live.id, rule, "stable side", self.side.word()));
        }
        Ok(())
    }
}

/// A rule that leads to a side which is about to have no pods.
pub(super) fn led(route: &ObjectId, rule: &str, side: &str, other: &str) -> Failure {
    let beside = if other == "stable" { "stable" } else { "new" };
    Failure::new(
        FailureKind::Configuration,
        "SRT-T121",
        format!(
            "{rule} of {route} leads to the {side}, and no weight moves its requests away: without pods there it would lead to nobody"
        ),
        format!(
            "give the rule the {beside} Service as a second backend (weight 0 will do), or delete the rule; a route that is only there to look at a version may say so by the annotation {}: \"true\"",
            routing::PREVIEW
        ),
    )
}

/// That a rule leads to nobody from now on, as its author allows.
pub(super) fn tell_preview(run: &Run<'_>, (route, rule): (&ObjectId, &str), side: &str) {
    let text = format!("{rule} of {route} leads to nobody once the {side} has no pods");
    run.warn(Unit::Initialize, text);
}

async fn live(run: &Run<'_>, id: &ObjectId) -> Result<Option<Object>, Failure> {
    let found = run.env.cluster.find(id).await;
    let found = found.map_err(|error| Failure::cluster(&error))?;
    Ok(found.and_then(|(_, live)| object_of(live)))
}

fn pod_labels(workload: &Object) -> Labels {
    let labels =
        pod_template(workload).and_then(|template| template.get("metadata")?.get("labels"));
    labels
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn without(labels: &Labels, keys: &[&str]) -> Labels {
    let mut labels = labels.clone();
    labels.retain(|key, _| !keys.contains(&key.as_str()));
    labels
}
