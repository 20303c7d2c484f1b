//! Whether somebody else decides how many replicas a workload has.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use sortie_manifest::ObjectId;

use super::Target;
use crate::connect::Cluster;
use crate::watch::Selection;

/// The field, in the form of managed fields.
pub(super) const REPLICAS: &[&str] = &["f:spec", "f:replicas"];

/// Workloads whose replicas an autoscaler decides about.
#[derive(Debug, Default)]
pub(super) struct Autoscaled {
    targets: HashSet<Scaled>,
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
    /// Live autoscalers that we may not list are none.
    pub(super) async fn autoscaled(&self, targets: &[Target]) -> Autoscaled {
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
            .filter(|target| has_replicas(target))
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
                Ok(live) => live.iter().for_each(|live| {
                    autoscaled.read("autoscaling", kind, namespace, |pointer| {
                        live.get("spec")?.pointer(pointer)?.as_str()
                    });
                }),
                Err(error) => tracing::debug!(%error, "live autoscalers are not known"),
            }
        }
        autoscaled
    }
}

impl Autoscaled {
    /// Whether the replicas of this object are somebody else's affair. A manifest that says 0 turns
    /// the workload off, and the autoscaler with it.
    pub(super) fn has(&self, target: &Target) -> bool {
        has_replicas(target) && self.targets.contains(&Scaled::of(&target.id))
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

fn has_replicas(target: &Target) -> bool {
    let spec = target.object.value().get("spec");
    let replicas = spec.and_then(|spec| spec.get("replicas"));
    replicas.and_then(Value::as_u64).is_some_and(|n| n > 0)
}
