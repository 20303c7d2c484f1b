//! The gateways that routes are attached to: weights count once they are in force.

use std::collections::BTreeSet;

use serde_json::Value;
use sortie_cluster::Resource;
use sortie_cluster::patch::Patched;
use sortie_manifest::ObjectId;

use super::super::alter::awaited;
use crate::failure::Failure;
use crate::report::Unit;
use crate::run::Run;
use crate::steady::Awaited;
use crate::units::Ended;

const GROUP: &str = "gateway.networking.k8s.io";

/// The gateways of routes that were written, to be waited for. One that we may not look at is told and left: then the
/// route's own state has to do.
pub(super) async fn of(
    run: &Run<'_>,
    written: &[(Resource, ObjectId, bool)],
) -> Result<Vec<Awaited>, Ended> {
    let cluster = &run.env.cluster;
    let mut ids = BTreeSet::new();
    for (resource, id, _) in written.iter().filter(|(_, id, _)| id.group == GROUP) {
        let live = cluster.get(resource, id.namespace.as_deref(), &id.name);
        let live = live.await.map_err(|error| Failure::cluster(&error))?;
        ids.extend(live.iter().flat_map(|live| parents(live, id)));
    }
    let mut found = Vec::new();
    for id in ids {
        let resource = cluster.resolve_preferred(&id.group, &id.kind).await;
        let resource = resource.map_err(|error| Failure::cluster(&error))?;
        let namespace = id.namespace.as_deref();
        let mut may = true;
        for verb in ["get", "list", "watch"] {
            let allowed = cluster.can_i(verb, &resource, namespace).await;
            may &= allowed.map_err(|error| Failure::cluster(&error))?;
        }
        if !may {
            let text = format!("{id} is not waited for: we have no right to look at it");
            run.warn(Unit::TrafficRouting, text);
            continue;
        }
        let there = cluster.get(&resource, namespace, &id.name).await;
        if there.map_err(|error| Failure::cluster(&error))?.is_none() {
            // The route says so, too.
            continue;
        }
        let patched = Patched {
            resource: &resource,
            id: &id,
            subresource: None,
        };
        found.extend(awaited(run, patched, false).await?);
    }
    Ok(found)
}

/// The gateways that a route names.
fn parents(route: &Value, id: &ObjectId) -> Vec<ObjectId> {
    let parents = route.pointer("/spec/parentRefs").and_then(Value::as_array);
    let gateway = |parent: &Value| {
        let text = |key: &str| parent.get(key).and_then(Value::as_str);
        let is_gateway = text("group").unwrap_or(GROUP) == GROUP
            && text("kind").unwrap_or("Gateway") == "Gateway";
        let namespace = text("namespace").map(str::to_owned);
        is_gateway.then_some(ObjectId {
            group: GROUP.to_owned(),
            kind: "Gateway".to_owned(),
            namespace: namespace.or_else(|| id.namespace.clone()),
            name: text("name")?.to_owned(),
        })
    };
    parents.into_iter().flatten().filter_map(gateway).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parents_are_gateways_of_the_routes_namespace_unless_said() {
        let id = ObjectId {
            group: GROUP.to_owned(),
            kind: "HTTPRoute".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        let route = json!({"spec": {"parentRefs": [
            {"name": "gw"},
            {"name": "edge", "namespace": "infra", "sectionName": "http"},
            {"group": "", "kind": "Service", "name": "web"},
        ]}});
        let found: Vec<String> = parents(&route, &id)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["Gateway/shop/gw", "Gateway/infra/edge"]);
        assert!(parents(&json!({"spec": {}}), &id).is_empty());
    }
}
