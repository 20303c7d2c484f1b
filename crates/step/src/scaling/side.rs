//! The workloads of a colour as they are live, and how their numbers of pods are written.

use std::sync::Arc;

use serde_json::{Value, json};
use sortie_cluster::apply::{Applied, Change};
use sortie_cluster::record::Head;
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Error, Resource};
use sortie_manifest::workload::Workload;
use sortie_manifest::{Object, ObjectId, annotations, labels, selector};
use sortie_strategy::copy;

use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind};
use crate::locked::Locked;
use crate::protection::text;
use crate::report::Unit;
use crate::rolling::noted;
use crate::run::Run;
use crate::shape::{COPIES, Pair, SERVICES};
use crate::steady::facts::carries;
use crate::swap::pods;

/// How often a workload that keeps changing under our hands is read anew.
const RACES: u32 = 8;

/// What a colour runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// Workloads whose number of pods can be written.
    pub(super) workloads: Vec<Live>,
    /// Autoscalers and disruption budgets of their own.
    pub(super) companions: Vec<Live>,
}

/// An object as it is live.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) id: ObjectId,
    pub(crate) resource: Resource,
    pub(crate) object: Object,
}

impl Live {
    /// How many pods a workload wants.
    pub(super) fn replicas(&self) -> u32 {
        pods(&Value::Object(self.object.value().clone()))
    }

    pub(super) fn uid(&self) -> Option<String> {
        let uid = self.object.value().get("metadata")?.get("uid")?;
        uid.as_str().map(str::to_owned)
    }
}

impl Side {
    /// What a stage deployment has made and is still there. What cannot be scaled is told.
    ///
    /// # Errors
    /// The cluster cannot be asked, or the policy forbids it.
    pub(super) async fn of(run: &Run<'_>, head: &Head) -> Result<Self, Failure> {
        let release = run.release_id();
        let mut side = Self::default();
        for id in noted::<ObjectId>(head, COPIES) {
            let is_companion = is_companion(&id);
            let workload = Workload::of(&id.group, &id.kind);
            if workload.is_none() && !is_companion {
                continue;
            }
            let found = run.env.cluster.find(&id).await;
            let Some((resource, live)) = found.map_err(|error| Failure::cluster(&error))? else {
                continue;
            };
            if !carries(&live, &release) {
                run.warn(
                    Unit::Initialize,
                    format!("{id} is not of this release any more, and is left alone"),
                );
                continue;
            }
            let Some(object) = object_of(live) else {
                continue;
            };
            if annotations::is_set(&object, annotations::DIRECT_APPLY) {
                run.info(
                    Unit::Initialize,
                    format!("{id} is left as it is: its annotation direct-apply says so"),
                );
                continue;
            }
            if workload == Some(Workload::DaemonSet) {
                run.warn(
                    Unit::Initialize,
                    format!("{id} keeps its pods: a DaemonSet cannot be scaled"),
                );
                continue;
            }
            let live = Live {
                id,
                resource,
                object,
            };
            if is_companion {
                side.companions.push(live);
            } else if live
                .object
                .value()
                .get("spec")
                .is_some_and(|spec| spec.get("replicas").is_some())
            {
                side.workloads.push(live);
            }
        }
        let objects = side.workloads.iter().chain(&side.companions);
        let objects: Vec<Object> = objects.map(|live| live.object.clone()).collect();
        run.check_objects(&objects)?;
        Ok(side)
    }

    /// The autoscaler among the companions that decides about a workload.
    pub(super) fn scaler(&self, id: &ObjectId) -> Option<&ObjectId> {
        let ids = [id.clone()];
        let mut scalers = self
            .companions
            .iter()
            .filter(|live| copy::scales(&live.object, &ids));
        scalers.next().map(|live| &live.id)
    }

    /// No Service may select these pods but the one for the stage.
    ///
    /// # Errors
    /// One does: the colour gets traffic. Or the cluster cannot be asked.
    pub(super) async fn check_traffic(&self, run: &Run<'_>, head: &Head) -> Result<(), Failure> {
        let pairs: Vec<Pair> = noted(head, SERVICES);
        let cluster = &run.env.cluster;
        let failed = |error: Error| Failure::cluster(&error);
        let resource = cluster.resolve("", "v1", "Service").await.map_err(failed)?;
        let namespaces = self
            .workloads
            .iter()
            .filter_map(|live| live.id.namespace.as_deref());
        let mut namespaces: Vec<&str> = namespaces.collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        for namespace in namespaces {
            let services = cluster
                .list(&Selection::of(resource.clone(), namespace))
                .await;
            for service in services.map_err(failed)? {
                let name = text(&service, "/metadata/name");
                let is_stage = |pair: &Pair| pair.namespace == namespace && pair.stage == name;
                let in_place = self
                    .workloads
                    .iter()
                    .filter(|live| live.id.namespace.as_deref() == Some(namespace));
                let mut selected = in_place.filter(|live| is_led_to(&service, &live.object));
                if let Some(live) = selected.next().filter(|_| !pairs.iter().any(is_stage)) {
                    return Err(has_traffic(
                        &format!("Service/{namespace}/{name}"),
                        &live.id,
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether a Service selects pods of the workload by their colour.
fn is_led_to(service: &Value, workload: &Object) -> bool {
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    let labels = sortie_manifest::workload::pod_template(workload)
        .and_then(|template| template.get("metadata")?.get("labels")?.as_object());
    let (Some(selector), Some(labels)) = (selector, labels) else {
        return false;
    };
    let names_color = [labels::COLOR, labels::OLDER_COLOR]
        .iter()
        .any(|key| selector.contains_key(*key));
    names_color && selector::matches_map(selector, labels)
}

fn is_companion(id: &ObjectId) -> bool {
    matches!(
        (id.group.as_str(), id.kind.as_str()),
        ("autoscaling", "HorizontalPodAutoscaler")
            | ("keda.sh", "ScaledObject")
            | ("policy", "PodDisruptionBudget")
    )
}

fn has_traffic(service: &str, workload: &ObjectId) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T067",
        format!(
            "{workload} is not scaled down: {service} selects its colour, which gets the traffic"
        ),
        "swap first, or let the Service select the other colour",
    )
}

/// Write a workload's number of pods. What it is then comes back, with whether it was written; `None`: it is gone.
///
/// # Errors
/// The API server refuses it.
pub(crate) async fn set_replicas(
    run: &Run<'_>,
    locked: &Locked,
    workload: &Live,
    replicas: u32,
) -> Result<Option<Applied>, Error> {
    let (cluster, id) = (&run.env.cluster, &workload.id);
    let applied = |object: Value, change| {
        Some(Applied {
            id: id.clone(),
            object: Arc::new(object),
            change,
            conflicts: Vec::new(),
        })
    };
    for _ in 0..RACES {
        let live = cluster
            .get(&workload.resource, id.namespace.as_deref(), &id.name)
            .await?;
        let Some(live) = live else {
            return Ok(None);
        };
        if pods(&live) == replicas {
            return Ok(applied(live, Change::Unchanged));
        }
        let operations = json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": text(&live, "/metadata/resourceVersion")},
            {"op": "replace", "path": "/spec/replicas", "value": replicas},
        ]);
        match cluster
            .patch(&workload.resource, id, &operations, locked.guard())
            .await
        {
            Ok(after) => return Ok(applied(after, Change::Configured)),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("{RACES} times in a row");
    Err(Error::new(
        "scale",
        id.to_string(),
        Cause::Conflict { message },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_leads_to_what_it_selects_by_colour() {
        let workload = object_of(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web-blue"},
            "spec": {"template": {"metadata": {"labels": {
                "app": "web", "sortie.dev/color": "blue", "harness.io/color": "blue",
            }}}},
        }));
        let workload = workload.unwrap();
        for (selector, expected) in [
            (json!({"app": "web", "sortie.dev/color": "blue"}), true),
            (json!({"harness.io/color": "blue"}), true),
            (json!({"app": "web", "sortie.dev/color": "green"}), false),
            (json!({"app": "api", "sortie.dev/color": "blue"}), false),
            (json!({"app": "web"}), false),
            (Value::Null, false),
        ] {
            let service = json!({"spec": {"selector": selector}});
            assert_eq!(is_led_to(&service, &workload), expected, "{service}");
        }
    }
}
