//! Autoscalers of workloads whose pods change sides. While they do, each is held at the number that the planner wants; between
//! the steps its limits are its own in proportion to what the original has left; in the end they are as they were.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Error};
use sortie_manifest::{Object, ObjectId, labels};
use sortie_strategy::copy;
use sortie_strategy::progressive::Workload;

use super::progress::Both;

use crate::adoption::object_of;
use crate::autoscalers::is_autoscaler;
use crate::failure::{Failure, FailureKind};
use crate::locked::Locked;
use crate::protection::text;
use crate::report::Unit;
use crate::run::Run;
use crate::units::Ended;

/// How often an autoscaler that keeps changing under our hands is read anew.
const RACES: u32 = 8;

/// An autoscaler of a workload's stable side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scaler {
    /// Which.
    pub(crate) object: ObjectId,
    /// Its limits as they were before they were held; `None`: it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<Limits>,
}

/// How many pods an autoscaler allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    /// `minReplicas`, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<u64>,
    /// `maxReplicas`.
    pub(crate) max: u64,
}

impl Limits {
    pub(super) fn of(autoscaler: &Value) -> Option<Self> {
        let number = |pointer: &str| autoscaler.pointer(pointer).and_then(Value::as_u64);
        Some(Self {
            min: number("/spec/minReplicas"),
            max: number("/spec/maxReplicas")?,
        })
    }

    /// Exactly so many; an autoscaler allows no less than one, and rests where there is none.
    fn held(replicas: u32) -> Self {
        let replicas = u64::from(replicas.max(1));
        Self {
            min: Some(replicas),
            max: replicas,
        }
    }

    /// The number nearest to this one that they allow.
    pub(super) fn nearest(self, pods: u32) -> u32 {
        let least = self.min.unwrap_or(1).min(self.max);
        let nearest = u64::from(pods).clamp(least, self.max);
        u32::try_from(nearest).unwrap_or(u32::MAX)
    }

    /// What is left of them for a side that has so many pods, while the other has this percentage. Never so that the side
    /// would be scaled at once.
    fn left(self, percent: u32, pods: u32) -> Self {
        let (pods, left) = (
            u64::from(pods.max(1)),
            u64::from(100_u32.saturating_sub(percent)),
        );
        let max = self.max.saturating_mul(left).div_ceil(100).max(pods);
        let min = |min: u64| (min.saturating_mul(left) / 100).clamp(1, pods);
        Self {
            min: self.min.map(min),
            max,
        }
    }

    /// The patch that makes them so.
    fn operations(self, live: &Value) -> Value {
        let version = text(live, "/metadata/resourceVersion");
        let mut operations = vec![
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}),
            json!({"op": "replace", "path": "/spec/maxReplicas", "value": self.max}),
        ];
        let path = "/spec/minReplicas";
        match self.min {
            Some(min) => operations.push(json!({"op": "add", "path": path, "value": min})),
            None if live.pointer(path).is_some() => {
                operations.push(json!({"op": "remove", "path": path}));
            }
            None => {}
        }
        operations.into()
    }
}

/// The autoscalers of a set, and those that are live beside it in the namespaces of its workloads.
///
/// What an operator scales by itself is seen by the autoscaler that it makes, which has an owner: no right for objects of
/// the operator's own is needed.
pub(crate) struct Autoscalers {
    of_set: Vec<(ObjectId, Object)>,
    live: Vec<Object>,
    release: String,
}

impl Autoscalers {
    /// Look for them.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub(crate) async fn look(
        run: &Run<'_>,
        objects: &[Object],
        workloads: &[ObjectId],
    ) -> Result<Self, Failure> {
        let (cluster, namespace) = (&run.env.cluster, &run.task.release.namespace);
        let failed = |error: Error| Failure::cluster(&error);
        let kind = cluster.resolve_preferred("autoscaling", "HorizontalPodAutoscaler");
        let kind = kind.await.map_err(failed)?;
        let homes = workloads.iter().filter_map(|id| id.namespace.as_deref());
        let mut live = Vec::new();
        for home in homes.collect::<BTreeSet<_>>() {
            let listed = cluster.list(&Selection::of(kind.clone(), home)).await;
            live.extend(listed.map_err(failed)?.into_iter().filter_map(object_of));
        }
        let of_set = objects
            .iter()
            .filter(|object| is_autoscaler(&object.id()))
            .map(|object| (object.id().in_namespace(namespace), object.clone()));
        Ok(Self {
            of_set: of_set.collect(),
            live,
            release: run.release_id(),
        })
    }

    /// The one that scales a workload; `earlier`: what an earlier step has said of it.
    ///
    /// # Errors
    /// It is somebody else's.
    pub(crate) fn of(
        &self,
        workload: &ObjectId,
        earlier: Option<&Scaler>,
    ) -> Result<Option<Scaler>, Failure> {
        let ids = [workload.clone()];
        let scales = |id: &ObjectId, object: &Object| {
            id.namespace == workload.namespace && copy::scales(object, &ids)
        };
        let of_set = self.of_set.iter();
        let of_set: Vec<&ObjectId> = of_set
            .filter(|(id, object)| scales(id, object))
            .map(|(id, _)| id)
            .collect();
        let mut made = of_set
            .iter()
            .filter(|id| id.kind != "HorizontalPodAutoscaler");
        if let Some(maker) = made.next() {
            return Err(made_by(workload, &maker.to_string()));
        }
        let mut live = self.live.iter();
        let Some(live) = live.find(|object| scales(&object.id(), object)) else {
            return Ok(of_set.first().map(|id| Scaler {
                object: ObjectId::clone(id),
                limits: None,
            }));
        };
        let object = live.id();
        if let Some(owner) = owner(live) {
            return Err(made_by(workload, &owner));
        }
        if label(live) != Some(&self.release) && !of_set.contains(&&object) {
            return Err(foreign(workload, &object));
        }
        let known = earlier.filter(|earlier| earlier.object == object);
        let limits = Limits::of(&Value::Object(live.value().clone()));
        Ok(Some(Scaler {
            limits: known.and_then(|known| known.limits).or(limits),
            object,
        }))
    }
}

/// The release that a live object belongs to.
fn label(live: &Object) -> Option<&str> {
    let labels = live.value().get("metadata")?.get("labels")?;
    labels.get(labels::RELEASE)?.as_str()
}

/// What has made a live object, and will set it back.
fn owner(live: &Object) -> Option<String> {
    let owners = live.value().get("metadata")?.get("ownerReferences")?;
    let owner = owners.as_array()?.first()?;
    let (kind, name) = (text(owner, "/kind"), text(owner, "/name"));
    Some(format!("{kind} {name}"))
}

/// Let an autoscaler allow exactly so many pods. One whose limits nobody could give back is left alone.
///
/// # Errors
/// The API server refuses it.
pub(super) async fn hold(
    run: &Run<'_>,
    locked: &Locked,
    scaler: &Scaler,
    replicas: u32,
) -> Result<(), Error> {
    match scaler.limits {
        Some(_) => limit(run, locked, &scaler.object, Limits::held(replicas)).await,
        None => Ok(()),
    }
}

/// The autoscalers of the workloads of one walk.
pub(super) struct Scalers<'a> {
    run: &'a Run<'a>,
    locked: &'a Locked,
    of: Vec<Option<Scaler>>,
    are_held: bool,
}

impl<'a> Scalers<'a> {
    pub(super) fn of(run: &'a Run<'a>, locked: &'a Locked, workloads: &[Both]) -> Self {
        Self {
            run,
            locked,
            of: workloads.iter().map(|both| both.scaler.clone()).collect(),
            are_held: false,
        }
    }

    /// From now on they keep the originals as they are.
    ///
    /// # Errors
    /// The API server refuses it, or it is time to stop.
    pub(super) async fn hold(&mut self, seen: &[Workload]) -> Result<(), Ended> {
        if std::mem::replace(&mut self.are_held, true) {
            return Ok(());
        }
        let work = async {
            for (scaler, stable) in self.with_pods(seen) {
                let held = hold(self.run, self.locked, scaler, stable).await;
                held.map_err(|error| Failure::cluster(&error))?;
            }
            Ok(())
        };
        let bounds = &self.run.bounds;
        bounds.run_writes(self.locked.lost(), Box::pin(work)).await
    }

    /// They decide again, within what the originals have left beside this percentage. Where one side has all pods, they
    /// wait for what comes next.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub(super) async fn share(&self, percent: u32, seen: &[Workload]) -> Result<(), Ended> {
        if matches!(percent, 0 | 100) {
            return Ok(());
        }
        let work = async {
            for (scaler, stable) in self.with_pods(seen) {
                let shared = share(self.run, self.locked, scaler, (percent, stable)).await;
                shared.map_err(|error| Failure::cluster(&error))?;
            }
            Ok(())
        };
        let bounds = &self.run.bounds;
        bounds.run_writes(self.locked.lost(), Box::pin(work)).await
    }

    /// Each with the number of pods of its original.
    fn with_pods<'s>(&'s self, seen: &[Workload]) -> Vec<(&'s Scaler, u32)> {
        let of = self.of.iter().zip(seen);
        let of = of.filter_map(|(scaler, one)| Some((scaler.as_ref()?, one.sides.stable.wanted)));
        of.collect()
    }
}

/// Let an autoscaler decide within its share: its side has `pods`, and the other this percentage of all.
///
/// # Errors
/// The API server refuses it.
async fn share(
    run: &Run<'_>,
    locked: &Locked,
    scaler: &Scaler,
    (percent, pods): (u32, u32),
) -> Result<(), Error> {
    let Some(limits) = scaler.limits else {
        return Ok(());
    };
    let left = limits.left(percent, pods);
    let text = format!(
        "{}: from {} to {} pods of the original as long as the canary has its share",
        scaler.object,
        left.min.unwrap_or(1),
        left.max
    );
    run.info(Unit::WaitForSteadyState, text);
    limit(run, locked, &scaler.object, left).await
}

/// Let an autoscaler allow what it allowed before it was held.
///
/// # Errors
/// The API server refuses it.
pub(super) async fn let_go(run: &Run<'_>, locked: &Locked, scaler: &Scaler) -> Result<(), Error> {
    match scaler.limits {
        Some(limits) => limit(run, locked, &scaler.object, limits).await,
        None => Ok(()),
    }
}

async fn limit(run: &Run<'_>, locked: &Locked, id: &ObjectId, limits: Limits) -> Result<(), Error> {
    let cluster = &run.env.cluster;
    for _ in 0..RACES {
        let Some((resource, live)) = cluster.find(id).await? else {
            return Ok(());
        };
        if Limits::of(&live) == Some(limits) {
            return Ok(());
        }
        let operations = limits.operations(&live);
        match cluster
            .patch(&resource, id, &operations, locked.guard())
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("{RACES} times in a row");
    Err(Error::new(
        "limit",
        id.to_string(),
        Cause::Conflict { message },
    ))
}

/// That an autoscaler is made by somebody who keeps it as it is.
fn made_by(workload: &ObjectId, maker: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T115",
        format!("{workload} cannot share its pods: {maker} makes an autoscaler of its own"),
        "delete what makes it (a ScaledObject, say) for the time of the canary, or use a canary of type Standard",
    )
}

/// That an autoscaler is no part of the release.
fn foreign(workload: &ObjectId, scaler: &ObjectId) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T118",
        format!(
            "{workload} cannot share its pods: {scaler} decides about their number, and is no part of the release"
        ),
        "add it to the manifests of the service, so that its limits are scaled and given back; or delete it for the time of the canary, or use a canary of type Standard",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_held_and_come_back_as_they_were() {
        let autoscaler = |min: Option<u64>, max: u64| {
            let mut spec = json!({"maxReplicas": max});
            if let Some(min) = min {
                spec["minReplicas"] = min.into();
            }
            json!({"metadata": {"resourceVersion": "7"}, "spec": spec})
        };
        for (live, limits, expected) in [
            (
                autoscaler(Some(2), 9),
                Limits::held(4),
                json!([4, ["add", 4]]),
            ),
            (autoscaler(None, 9), Limits::held(0), json!([1, ["add", 1]])),
            (
                autoscaler(Some(4), 4),
                Limits { min: None, max: 9 },
                json!([9, ["remove", null]]),
            ),
            (
                autoscaler(None, 4),
                Limits { min: None, max: 9 },
                json!([9, null]),
            ),
        ] {
            let operations = limits.operations(&live);
            assert_eq!(operations[0]["value"], "7");
            assert_eq!(operations[1]["value"], expected[0]);
            let last = operations.get(2);
            assert_eq!(last.is_some(), expected[1].is_array(), "{operations}");
            if let Some(last) = last {
                assert_eq!(
                    (&last["op"], &last["value"]),
                    (&expected[1][0], &expected[1][1])
                );
            }
        }
    }

    #[test]
    fn what_is_left_of_limits_is_in_proportion_and_moves_no_pod() {
        for (min, max, percent, pods, expected) in [
            (Some(4), 10, 30, 3, (Some(2), 7)),
            (Some(3), 8, 30, 2, (Some(2), 6)),
            (Some(3), 8, 60, 1, (Some(1), 4)),
            (None, 10, 50, 2, (None, 5)),
            (Some(0), 10, 50, 2, (Some(1), 5)),
            // Two of both sides together: the one that is left has its pod.
            (Some(2), 2, 1, 1, (Some(1), 2)),
            // More pods than its share of the limits, or fewer.
            (Some(2), 4, 50, 3, (Some(1), 3)),
            (Some(8), 10, 25, 5, (Some(5), 8)),
            (Some(1), u64::MAX, 10, 1, (Some(1), u64::MAX.div_ceil(100))),
        ] {
            let left = Limits { min, max }.left(percent, pods);
            assert_eq!((left.min, left.max), expected, "{min:?}-{max} {percent} %");
        }
    }
}
