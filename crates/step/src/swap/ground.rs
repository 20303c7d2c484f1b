//! What must hold before a swap begins: each Service is ours to change, and the new colour wants pods for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sortie_cluster::watch::Selection;
use sortie_manifest::selector;

use super::exchange::Exchange;
use super::sight::of_color;
use crate::failure::{Failure, FailureKind};
use crate::protection::{is_controlled, text};
use crate::run::Run;

/// Kinds of `apps` whose pods have the traffic.
const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

/// Beginnings of the names of field managers who may have set the colour: we, and what people deploy by.
const MANAGERS: [&str; 7] = [
    "sortie",
    "kubectl",
    "helm",
    "Helm",
    "harness",
    "Harness",
    "before-first-apply",
];

/// What a primary Service finds in its new colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    /// `Service namespace/name`.
    pub(super) service: String,
    /// How many pods workloads want that it would select; `None`: no workload has such pods.
    pub(super) wanted: Option<u32>,
}

/// Look at what each primary Service would find, in their order.
///
/// # Errors
/// A Service is gone or belongs to another controller, or the cluster cannot be asked.
pub(super) async fn look(run: &Run<'_>, exchange: &Exchange) -> Result<Vec<Ground>, Failure> {
    let cluster = &run.env.cluster;
    let failed = |error: sortie_cluster::Error| Failure::cluster(&error);
    let services = cluster.resolve("", "v1", "Service").await.map_err(failed)?;
    let mut workloads: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut ground = Vec::new();
    let primaries = exchange.services.len();
    for (at, (namespace, name, key)) in exchange.services().enumerate() {
        let live = cluster.get(&services, Some(namespace), name).await;
        let Some(live) = live.map_err(failed)? else {
            return Err(gone(&format!("Service/{namespace}/{name}")));
        };
        let service = format!("Service/{namespace}/{name}");
        if let Some(owner) = controller(&live) {
            return Err(controlled(&service, &owner));
        }
        if at >= primaries {
            continue;
        }
        if !workloads.contains_key(namespace) {
            let mut found = Vec::new();
            for kind in WORKLOADS {
                let resource = cluster.resolve("apps", "v1", kind).await.map_err(failed)?;
                let selection = Selection::of(resource, namespace);
                found.extend(cluster.list(&selection).await.map_err(failed)?);
            }
            workloads.insert(namespace.to_owned(), found);
        }
        let found = workloads
            .get(namespace)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let selector = live.pointer("/spec/selector").and_then(Value::as_object);
        let selector = selector.map(|selector| of_color(selector, key, &exchange.to.color));
        let wanted = wanted(found, &selector.unwrap_or_default());
        ground.push(Ground { service, wanted });
    }
    Ok(ground)
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
        selector.is_some() && !MANAGERS.iter().any(|known| manager.starts_with(known))
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
        "let that controller leave the Service alone, or set its selector once with kubectl, then swap",
    )
}

/// No workload of the colour would get what comes through the Service.
pub(super) fn nobody(service: &str, color: &str) -> Failure {
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
