//! What must hold before a swap begins: each Service is ours to change, and the new colour wants pods for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Error};
use sortie_manifest::selector;
use sortie_manifest::workload::Workload;

use sortie_strategy::writer::is_ours_or_a_persons;

use super::exchange::Exchange;
use super::sight::of_color;
use crate::failure::{Failure, FailureKind};
use crate::protection::{is_controlled, text};
use crate::run::Run;

/// What a primary Service finds in its new colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    /// `Service namespace/name`.
    pub(super) service: String,
    /// How many pods workloads want that it would select; `None`: no workload has such pods.
    pub(super) wanted: Option<u32>,
    /// How many of those that it selects in the other colour are wanted.
    pub(super) before: u32,
}

/// Look at what each primary Service would find, in their order.
///
/// # Errors
/// A Service is gone or belongs to another controller, or the cluster cannot be asked.
pub(super) async fn look(run: &Run<'_>, exchange: &Exchange) -> Result<Vec<Ground>, Failure> {
    let cluster = &run.env.cluster;
    let failed = |error: sortie_cluster::Error| Failure::cluster(&error);
    let services = cluster.resolve("", "v1", "Service").await.map_err(failed)?;
    let mut known: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut ground = Vec::new();
    let primaries = exchange.services.len();
    for (at, (namespace, name, key)) in exchange.services().enumerate() {
        let live = cluster.get(&services, Some(namespace), name).await;
        let Some(live) = live.map_err(failed)? else {
            return Err(gone(&format!("Service/{namespace}/{name}")));
        };
        let service = format!("Service/{namespace}/{name}");
        check(&service, &live)?;
        if at >= primaries {
            continue;
        }
        if !known.contains_key(namespace) {
            let found = workloads(run, namespace).await?;
            let found = found.into_iter().map(|(_, live)| live).collect();
            known.insert(namespace.to_owned(), found);
        }
        let found = known.get(namespace).map(Vec::as_slice).unwrap_or_default();
        let selector = live.pointer("/spec/selector").and_then(Value::as_object);
        let wanted = |color: &str| {
            let selector = selector.map(|selector| of_color(selector, key, color));
            wanted(found, &selector.unwrap_or_default())
        };
        ground.push(Ground {
            service,
            wanted: wanted(&exchange.to.color),
            before: wanted(&exchange.from.color).unwrap_or(0),
        });
    }
    Ok(ground)
}

/// Whether a live Service is ours to change.
///
/// # Errors
/// It belongs to another controller.
pub(crate) fn check(service: &str, live: &Value) -> Result<(), Failure> {
    match controller(live) {
        Some(owner) => Err(controlled(service, &owner)),
        None => Ok(()),
    }
}

/// What is live in a namespace of the kinds that get copies, each with its group. Kinds that the cluster does not serve, or
/// of which nothing may be read, have none.
pub(crate) async fn workloads(
    run: &Run<'_>,
    namespace: &str,
) -> Result<Vec<(&'static str, Value)>, Failure> {
    let cluster = &run.env.cluster;
    let mut found = Vec::new();
    for (group, kind) in Workload::MANAGED {
        let listed = async {
            let resource = cluster.resolve_preferred(group, kind).await?;
            cluster.list(&Selection::of(resource, namespace)).await
        };
        match listed.await {
            Ok(listed) => found.extend(listed.into_iter().map(|live| (group, live))),
            Err(error) if is_nowhere(group, &error) => {}
            Err(error) => return Err(Failure::cluster(&error)),
        }
    }
    Ok(found)
}

/// Whether there can be nothing of a kind that not every cluster has.
fn is_nowhere(group: &str, error: &Error) -> bool {
    let is_unknown = matches!(
        error.cause(),
        Cause::UnknownKind { .. } | Cause::Forbidden { .. }
    );
    group != "apps" && is_unknown
}

/// How many pods the workloads want that have these labels; `None`: none has such pods.
fn wanted(workloads: &[Value], selector: &Map<String, Value>) -> Option<u32> {
    let has_pods = |workload: &&Value| {
        let labels = workload.pointer("/spec/template/metadata/labels");
        let labels = labels.and_then(Value::as_object);
        !selector.is_empty() && labels.is_some_and(|labels| selector::matches_map(selector, labels))
    };
    let mut found = workloads.iter().filter(has_pods).peekable();
    found.peek()?;
    Some(found.map(pods).fold(0, u32::saturating_add))
}

/// How many pods a live workload wants.
pub(crate) fn pods(workload: &Value) -> u32 {
    let pointer = match text(workload, "/kind") {
        "DaemonSet" => "/status/desiredNumberScheduled",
        _ => "/spec/replicas",
    };
    let count = workload.pointer(pointer).and_then(Value::as_u64);
    count
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0)
}

/// Who else decides what a live Service selects.
fn controller(service: &Value) -> Option<String> {
    if is_controlled(service) {
        let owner = service.pointer("/metadata/ownerReferences/0")?;
        return Some(format!("{} {}", text(owner, "/kind"), text(owner, "/name")));
    }
    let annotation = "argo-rollouts.argoproj.io/managed-by-rollouts";
    if let Some(rollout) = crate::protection::annotation(service, annotation) {
        return Some(format!("Rollout {rollout}"));
    }
    let entries = service.pointer("/metadata/managedFields")?.as_array()?;
    let decides = |entry: &&Value| {
        let selector = entry.pointer("/fieldsV1/f:spec/f:selector");
        let manager = text(entry, "/manager");
        selector.is_some() && !is_ours_or_a_persons(manager)
    };
    let manager = entries.iter().find(decides)?;
    Some(format!("field manager {:?}", text(manager, "/manager")))
}

fn gone(service: &str) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "SRT-T060",
        format!("{service} is to be swapped and is not there"),
        "deploy the stage again by a blue-green deployment, which makes it, then swap",
    )
}

fn controlled(service: &str, owner: &str) -> Failure {
    Failure::new(
        FailureKind::Authorization,
        "SRT-T064",
        format!("{service} belongs to another controller: {owner} decides what it selects"),
        "let that controller leave the Service alone, or set its selector once with kubectl, then run the step again",
    )
}

/// No workload of the colour would get what comes through the Service.
pub(crate) fn nobody(service: &str, color: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T063",
        format!("no workload of {color} has pods that {service} would select"),
        "compare the selector of the Service with the labels of the pods, and deploy the stage again",
    )
}

/// Its workloads want no pods.
pub(super) fn empty(service: &str, color: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T066",
        format!("{color} has been scaled down: {service} would find no pod there"),
        "bring its pods back by the step that scales the stage up, then swap",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_wanted_by_what_is_selected() {
        let workload = |kind: &str, app: &str, count: u32| {
            let mut workload = json!({
                "kind": kind,
                "spec": {"replicas": count, "template": {"metadata": {"labels": {"app": app, "color": "green"}}}},
            });
            if kind == "DaemonSet" {
                workload["status"]["desiredNumberScheduled"] = count.into();
                workload["spec"]["replicas"] = 50.into();
            }
            workload
        };
        let all = [
            workload("Deployment", "web", 3),
            workload("StatefulSet", "web", 2),
            workload("DaemonSet", "web", 4),
            workload("Deployment", "api", 0),
        ];
        for (selector, expected) in [
            (json!({"app": "web", "color": "green"}), Some(9)),
            (json!({"app": "api", "color": "green"}), Some(0)),
            (json!({"app": "web", "color": "blue"}), None),
            (json!({}), None),
        ] {
            let selector = selector.as_object().unwrap();
            assert_eq!(wanted(&all, selector), expected, "{selector:?}");
        }
    }

    #[test]
    fn a_service_that_somebody_else_steers_is_left_to_them() {
        let set_by = |manager: &str, fields: Value| {
            json!({"metadata": {"managedFields": [
                {"manager": "sortie", "fieldsV1": {"f:spec": {"f:selector": {}}}},
                {"manager": manager, "fieldsV1": fields},
            ]}})
        };
        let selector = json!({"f:spec": {"f:selector": {".": {}}}});
        for ours in [
            "sortie-control",
            "kubectl-patch",
            "kubectl",
            "helm",
            "harness-delegate",
        ] {
            assert_eq!(controller(&set_by(ours, selector.clone())), None, "{ours}");
        }
        let found = controller(&set_by("rollouts-controller", selector));
        assert_eq!(found.unwrap(), "field manager \"rollouts-controller\"");
        let status = json!({"f:status": {}});
        assert_eq!(controller(&set_by("kube-controller-manager", status)), None);
        let owned = json!({"metadata": {"ownerReferences": [{"kind": "Rollout", "name": "web", "controller": true}]}});
        assert_eq!(controller(&owned).unwrap(), "Rollout web");
        let argo = json!({"metadata": {"annotations": {"argo-rollouts.argoproj.io/managed-by-rollouts": "web"}}});
        assert_eq!(controller(&argo).unwrap(), "Rollout web");
        assert_eq!(controller(&json!({"metadata": {}})), None);
    }
}
