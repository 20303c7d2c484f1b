//! Whether somebody else decides how many replicas a workload has.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value;
use sortie_manifest::ObjectId;

use super::{CONTROL_MANAGER, MANAGER, Scope, Target, managed_fields_of};
use crate::connect::Cluster;
use crate::error::Error;
use crate::watch::Selection;

/// The field, in the form of managed fields.
pub(super) const REPLICAS: &[&str] = &["f:spec", "f:replicas"];

/// Workloads whose replicas an autoscaler decides about.
#[derive(Debug, Default)]
pub(super) struct Autoscaled {
    targets: HashSet<Scaled>,
    /// Namespaces whose live autoscalers could not be listed, and why.
    unseen: BTreeMap<String, Arc<Error>>,
}

/// A scale target: namespace, group, kind, name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Scaled {
    namespace: String,
    group: String,
    kind: String,
    name: String,
}

impl Cluster {
    /// The workloads of the set that an autoscaler of the set, or one that is live beside it, scales.
    pub(super) async fn autoscaled(&self, targets: &[Target], scope: &Scope) -> Autoscaled {
        let mut autoscaled = Autoscaled::default();
        for target in targets {
            let namespace = target.id.namespace.as_deref().unwrap_or_default();
            autoscaled.read(&target.id.group, &target.id.kind, namespace, |pointer| {
                target
                    .object
                    .value()
                    .get("spec")?
                    .pointer(pointer)?
                    .as_str()
            });
        }
        let namespaces: BTreeSet<&str> = targets
            .iter()
            .filter(|target| may_be_scaled(target))
            .filter_map(|target| target.id.namespace.as_deref())
            .collect();
        if namespaces.is_empty() {
            return autoscaled;
        }
        let kind = "HorizontalPodAutoscaler";
        let Ok(resource) = self.resolve_preferred("autoscaling", kind).await else {
            return autoscaled;
        };
        for namespace in namespaces {
            match self.list(&Selection::of(resource.clone(), namespace)).await {
                Ok(live) => live
                    .iter()
                    .filter(|live| !is_gone(live, &scope.gone))
                    .for_each(|live| {
                        autoscaled.read("autoscaling", kind, namespace, |pointer| {
                            live.get("spec")?.pointer(pointer)?.as_str()
                        });
                    }),
                Err(error) => drop(autoscaled.unseen.insert(namespace.to_owned(), error.into())),
            }
        }
        autoscaled
    }
}

impl Autoscaled {
    /// Whether the replicas of this object are somebody else's affair. A manifest that says 0 turns
    /// the workload off, and the autoscaler with it.
    pub(super) fn has(&self, target: &Target) -> bool {
        !is_off(target) && self.targets.contains(&Scaled::of(&target.id))
    }

    /// Why it is not known whether a live autoscaler scales the object, where that is so.
    pub(super) fn unseen(&self, target: &Target) -> Option<&Arc<Error>> {
        let error = self.unseen.get(target.id.namespace.as_deref()?)?;
        may_be_scaled(target).then_some(error)
    }

    fn read<'a>(
        &mut self,
        group: &str,
        kind: &str,
        namespace: &str,
        spec: impl Fn(&str) -> Option<&'a str>,
    ) {
        let default = match (group, kind) {
            ("autoscaling", "HorizontalPodAutoscaler") => None,
            ("keda.sh", "ScaledObject") => Some(("apps/v1", "Deployment")),
            _ => return,
        };
        let api_version = spec("/scaleTargetRef/apiVersion").or_else(|| default.map(|d| d.0));
        let kind = spec("/scaleTargetRef/kind").or_else(|| default.map(|d| d.1));
        let (Some(kind), Some(name)) = (kind, spec("/scaleTargetRef/name")) else {
            return;
        };
        let group = api_version.and_then(|text| text.split_once('/'));
        self.targets.insert(Scaled {
            namespace: namespace.to_owned(),
            group: group.map(|(group, _)| group.to_owned()).unwrap_or_default(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        });
    }
}

impl Scaled {
    fn of(id: &ObjectId) -> Self {
        Self {
            namespace: id.namespace.clone().unwrap_or_default(),
            group: id.group.clone(),
            kind: id.kind.clone(),
            name: id.name.clone(),
        }
    }
}

/// Whether an autoscaler is among what is gone, or ends with it: the operator of a ScaledObject makes one for it.
fn is_gone(live: &Value, gone: &[ObjectId]) -> bool {
    let metadata = |pointer: &str| live.get("metadata")?.pointer(pointer);
    let owners = metadata("/ownerReferences").and_then(Value::as_array);
    let is = |kind: &str, name: Option<&Value>, id: &ObjectId| {
        let namespace = metadata("/namespace").and_then(Value::as_str);
        id.kind == kind
            && id.namespace.as_deref() == namespace
            && name.and_then(Value::as_str) == Some(id.name.as_str())
    };
    gone.iter().any(|id| {
        is("HorizontalPodAutoscaler", metadata("/name"), id)
            || owners.into_iter().flatten().any(|owner| {
                let kind = owner.get("kind").and_then(Value::as_str);
                is(kind.unwrap_or_default(), owner.get("name"), id)
            })
    })
}

/// Whether somebody other than us decides about the replicas of a live object: they were set as an autoscaler does it,
/// through its `scale`; or we have applied the object and do not own its replicas, which we gave to an autoscaler once (or
/// never named). Of replicas that nobody owned, the API server notes no owner when they are scaled. What we have scaled
/// ourselves is not given away; nor is what has no pods, where an autoscaler rests.
pub(super) fn is_scaled(live: &Value) -> bool {
    let entries = live.pointer("/metadata/managedFields");
    let entries = entries.and_then(Value::as_array).into_iter().flatten();
    let owners: Vec<&Value> = entries
        .filter(|entry| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some())
        .collect();
    let is_by = |entry: &Value, manager: &str| entry.get("manager") == Some(&Value::from(manager));
    let replicas = live.pointer("/spec/replicas").and_then(Value::as_u64);
    let given_away = replicas.is_some_and(|replicas| replicas > 0)
        && !owners.iter().any(|entry| is_by(entry, CONTROL_MANAGER))
        && managed_fields_of(live, MANAGER)
            .is_some_and(|fields| fields.pointer("/f:spec/f:replicas").is_none());
    let scaled = owners.iter().any(|entry| {
        entry.get("subresource").and_then(Value::as_str) == Some("scale")
            && ![MANAGER, CONTROL_MANAGER]
                .iter()
                .any(|manager| is_by(entry, manager))
    });
    given_away || scaled
}

/// Whether a live object has no replicas because a manifest of ours said so: an autoscaler rests then, and would do so
/// for ever.
pub(super) fn is_turned_off(live: &Value) -> bool {
    live.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0)
        && managed_fields_of(live, MANAGER)
            .is_some_and(|fields| fields.pointer("/f:spec/f:replicas").is_some())
}

fn replicas(target: &Target) -> Option<&Value> {
    target.object.value().get("spec")?.get("replicas")
}

/// Whether the manifest turns the workload off.
fn is_off(target: &Target) -> bool {
    replicas(target).and_then(Value::as_u64) == Some(0)
}

/// Whether an autoscaler may have the object as its target: it names its replicas, or its kind may have some that it
/// does not name.
fn may_be_scaled(target: &Target) -> bool {
    if replicas(target).is_some() {
        return !is_off(target);
    }
    let (group, kind) = (target.id.group.as_str(), target.id.kind.as_str());
    match kind {
        "Deployment" | "StatefulSet" | "ReplicaSet" => group == "apps",
        "ReplicationController" => group.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replicas_are_somebody_elses_when_we_have_given_them_away_and_have_not_scaled_them() {
        let entry = |manager: &str, operation: &str, subresource: Option<&str>, fields: &Value| {
            let mut entry =
                json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}});
            if let Some(subresource) = subresource {
                entry["subresource"] = subresource.into();
            }
            entry
        };
        let owned = json!({"f:replicas": {}});
        let ours = |fields| entry(MANAGER, "Apply", None, fields);
        let control = entry(CONTROL_MANAGER, "Update", Some("scale"), &owned);
        let controller = entry("kube-controller-manager", "Update", Some("scale"), &owned);
        for (replicas, entries, expected) in [
            (3, vec![ours(&owned)], false),
            (3, vec![ours(&json!({}))], true),
            (3, vec![ours(&owned), controller], true),
            // We have scaled it: to a number, and to nothing, of which no entry remains.
            (1, vec![ours(&json!({})), control], false),
            (0, vec![ours(&json!({}))], false),
            // Never ours.
            (3, vec![], false),
        ] {
            let live =
                json!({"metadata": {"managedFields": entries}, "spec": {"replicas": replicas}});
            assert_eq!(is_scaled(&live), expected, "{live}");
        }
    }
}
