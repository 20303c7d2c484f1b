//! Autoscalers of workloads whose pods change sides: each is held at the number that the planner wants, and let go in the end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Error};
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::copy;

use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind};
use crate::locked::Locked;
use crate::protection::text;
use crate::run::Run;

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
    fn of(autoscaler: &Value) -> Option<Self> {
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

/// The autoscalers of a set, and those that are live beside it in these namespaces.
pub(crate) struct Autoscalers {
    of_set: Vec<Object>,
    live: Vec<Object>,
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
        let is_scaler = |object: &&Object| {
            matches!(
                (object.group(), object.kind()),
                ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject")
            )
        };
        let cluster = &run.env.cluster;
        let mut live = Vec::new();
        let mut namespaces: Vec<&str> = workloads
            .iter()
            .filter_map(|id| id.namespace.as_deref())
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        for (group, kind) in [
            ("autoscaling", "HorizontalPodAutoscaler"),
            ("keda.sh", "ScaledObject"),
        ] {
            let resource = match cluster.resolve_preferred(group, kind).await {
                Ok(resource) => resource,
                Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => continue,
                Err(error) => return Err(Failure::cluster(&error)),
            };
            for namespace in &namespaces {
                let listed = cluster
                    .list(&Selection::of(resource.clone(), namespace))
                    .await;
                let listed = listed.map_err(|error| Failure::cluster(&error))?;
                live.extend(listed.into_iter().filter_map(object_of));
            }
        }
        Ok(Self {
            of_set: objects.iter().filter(is_scaler).cloned().collect(),
            live,
        })
    }

    /// The one that scales a workload; `earlier`: what an earlier step has said of it.
    ///
    /// # Errors
    /// It cannot be held.
    pub(crate) fn of(
        &self,
        workload: &ObjectId,
        earlier: Option<&Scaler>,
    ) -> Result<Option<Scaler>, Failure> {
        let ids = [workload.clone()];
        let scales = |object: &&Object| {
            let here =
                object.namespace().is_none() || object.namespace() == workload.namespace.as_deref();
            here && copy::scales(object, &ids)
        };
        let mut all = self.live.iter().chain(&self.of_set).filter(scales);
        if let Some(other) = all.clone().find(|one| one.kind() == "ScaledObject") {
            return Err(foreign(workload, &other.id()));
        }
        let Some(found) = all.next() else {
            return Ok(None);
        };
        let home = workload.namespace.as_deref().unwrap_or_default();
        let object = found.id().in_namespace(home);
        let is_live = self.live.iter().any(|live| live.name() == found.name());
        let limits = Limits::of(&Value::Object(found.value().clone())).filter(|_| is_live);
        let known = earlier.filter(|earlier| earlier.object == object);
        Ok(Some(Scaler {
            object,
            limits: known.and_then(|known| known.limits).or(limits),
        }))
    }
}

/// Let an autoscaler allow exactly so many pods.
///
/// # Errors
/// The API server refuses it.
pub(super) async fn hold(
    run: &Run<'_>,
    locked: &Locked,
    scaler: &Scaler,
    replicas: u32,
) -> Result<(), Error> {
    limit(run, locked, &scaler.object, Limits::held(replicas)).await
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

fn foreign(workload: &ObjectId, scaler: &ObjectId) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T115",
        format!("{workload} cannot share its pods: {scaler} makes an autoscaler of its own"),
        "pause the ScaledObject and delete it for the time of the canary, or use a canary of type Standard",
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
}
