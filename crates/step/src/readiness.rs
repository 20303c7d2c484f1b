//! Workloads of which nothing tells when they work. Pure.

use serde_json::Value;
use sortie_cluster::apply::{Change, Planned};
use sortie_manifest::{Object, workload};

/// Workloads named one by one; more are counted.
const NAMED: usize = 5;

/// A warning about workloads that a deployment changes and whose pods count as ready as soon as they run: a version that
/// ends a moment later is taken for a good one.
pub(crate) fn untold(planned: &[Planned]) -> Option<String> {
    let changed = planned
        .iter()
        .filter(|planned| planned.change() != Some(Change::Unchanged));
    let blind = changed.filter(|planned| is_blind(&planned.target.object));
    let names: Vec<String> = blind.map(|planned| planned.target.id.to_string()).collect();
    told(&names)
}

fn told(names: &[String]) -> Option<String> {
    let (first, rest) = names.split_at(names.len().min(NAMED));
    let more = match rest.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    (!first.is_empty()).then(|| {
        format!(
            "{}{more}: without readiness probe and minReadySeconds, pods count as ready as soon as they run; one that ends a moment later comes too late to be noticed",
            first.join(", ")
        )
    })
}

/// Whether the pods of a managed workload are ready by running alone.
fn is_blind(object: &Object) -> bool {
    let number = |key: &str| object.value().get("spec")?.get(key)?.as_u64();
    if !workload::is_managed(object)
        || number("replicas") == Some(0)
        || number("minReadySeconds").unwrap_or(0) > 0
    {
        return false;
    }
    let containers = workload::pod_template(object)
        .and_then(|template| template.get("spec")?.get("containers")?.as_array());
    let probe = |container: &Value| {
        container
            .get("readinessProbe")
            .is_some_and(Value::is_object)
    };
    containers.is_some_and(|all| !all.is_empty() && !all.iter().any(probe))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::Origin;

    use super::*;

    #[test]
    fn only_running_pods_without_any_probe_are_warned_of() {
        let probe = json!({"name": "a", "readinessProbe": {"httpGet": {"port": 80}}});
        let bare = json!({"name": "b"});
        for (kind, spec, containers, expected) in [
            ("Deployment", json!({}), json!([bare]), true),
            ("StatefulSet", json!({}), json!([bare, bare]), true),
            ("Deployment", json!({}), json!([bare, probe]), false),
            ("Deployment", json!({"replicas": 0}), json!([bare]), false),
            (
                "Deployment",
                json!({"minReadySeconds": 5}),
                json!([bare]),
                false,
            ),
            ("Deployment", json!({}), json!([]), false),
            ("ReplicaSet", json!({}), json!([bare]), false),
        ] {
            let mut value = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec});
            value["spec"]["template"] = json!({"spec": {"containers": containers}});
            let origin = Origin::outside("test");
            let object = Object::from_value(value.clone(), origin).unwrap();
            assert_eq!(is_blind(&object), expected, "{value}");
        }
    }

    #[test]
    fn one_line_tells_all_of_them() {
        let names = |count: usize| (0..count).map(|n| format!("w{n}")).collect::<Vec<_>>();
        assert_eq!(told(&[]), None);
        assert!(told(&names(2)).unwrap().starts_with("w0, w1: without"));
        assert!(
            told(&names(9))
                .unwrap()
                .starts_with("w0, w1, w2, w3, w4 and 4 more: without")
        );
    }
}
