//! What a set of objects says about one of them, for its health. Pure, but for the look at a claim's class.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use sortie_cluster::Cluster;
use sortie_health::{ClusterRules, Facts, VolumeBinding, selects};
use sortie_manifest::workload::{self, Workload};
use sortie_manifest::{Object, ObjectId, labels};

use super::Awaited;

/// What the workloads of a set mount and what labels their pods have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Set {
    /// (namespace, claim) of every claim that a running pod of the set mounts.
    mounted: BTreeSet<(String, String)>,
    /// (namespace, labels) of every pod template.
    pods: Vec<(String, Value)>,
    /// Rules for all objects of a kind.
    rules: Arc<ClusterRules>,
}

impl Set {
    /// What is said by these objects, whose namespaces are filled in.
    pub(crate) fn of<'a>(objects: impl Iterator<Item = &'a Object>) -> Self {
        let mut set = Self::default();
        for object in objects {
            let Some(template) = workload::pod_template(object) else {
                continue;
            };
            let namespace = object.namespace().unwrap_or_default().to_owned();
            let labels = template.get("metadata").and_then(|meta| meta.get("labels"));
            set.pods
                .push((namespace.clone(), labels.cloned().unwrap_or_default()));
            if !has_pods_now(object) {
                continue;
            }
            let volumes = template.get("spec").and_then(|spec| spec.get("volumes"));
            let claims = volumes
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
            set.mounted
                .extend(claims.map(|claim| (namespace.clone(), claim.to_owned())));
        }
        set
    }

    /// With rules for all objects of a kind.
    pub(crate) fn with_rules(mut self, rules: Arc<ClusterRules>) -> Self {
        self.rules = rules;
        self
    }

    /// What it says about the object `id`, which the API server shows as `answer`.
    pub(crate) fn about(&self, id: &ObjectId, answer: &Value) -> Facts {
        let mut facts = Facts {
            rules: Arc::clone(&self.rules),
            ..Facts::default()
        };
        let namespace = id.namespace.as_deref().unwrap_or_default();
        match (id.group.as_str(), id.kind.as_str()) {
            ("", "PersistentVolumeClaim") => {
                let key = (namespace.to_owned(), id.name.clone());
                facts.claim_is_mounted = Some(self.mounted.contains(&key));
            }
            ("", "Service") => {
                let selected = self
                    .pods
                    .iter()
                    .filter(|(place, labels)| place == namespace && selects(answer, labels));
                facts.pods_selected = Some(selected.count());
            }
            _ => {}
        }
        facts
    }
}

/// Namespaces with a workload among `awaited` whose pods do not carry the label of this release.
pub(super) fn untracked<'a>(
    awaited: impl Iterator<Item = &'a Awaited>,
    release: &str,
) -> BTreeSet<String> {
    let untracked = awaited.filter(|awaited| {
        let answer = awaited.answer();
        answer.is_some_and(|answer| !is_tracked(answer, release))
    });
    untracked
        .filter_map(|awaited| awaited.id.namespace.clone())
        .collect()
}

/// Whether the pods of a live workload carry the label of this release; so it is where it has no pods.
pub(crate) fn is_tracked(live: &Value, release: &str) -> bool {
    let template = ["/spec/template", "/spec/jobTemplate/spec/template"];
    let template = template.iter().find_map(|pointer| live.pointer(pointer));
    template.is_none_or(|template| {
        let label = template.pointer("/metadata/labels");
        label.and_then(|labels| labels.get(labels::RELEASE)?.as_str()) == Some(release)
    })
}

/// Whether a live object carries the label of this release.
pub(crate) fn carries(live: &Value, release: &str) -> bool {
    let labels = live.pointer("/metadata/labels");
    labels.and_then(|all| all.get(labels::RELEASE)?.as_str()) == Some(release)
}

/// Whether pods of the workload exist while it is healthy.
fn has_pods_now(object: &Object) -> bool {
    let number = |key: &str| object.value().get("spec")?.get(key)?.as_i64();
    match Workload::of(object.group(), object.kind()) {
        None | Some(Workload::CronJob) => false,
        Some(_) => number("replicas") != Some(0),
    }
}

/// Adds what only the cluster knows about the object: when the class of a claim that is not bound yet binds it.
pub(crate) async fn complete(facts: &mut Facts, cluster: &Cluster, object: &Value) {
    let phase = object.pointer("/status/phase").and_then(Value::as_str);
    if let (Some(mounted), None | Some("Pending")) = (facts.claim_is_mounted, phase) {
        facts.volume_binding = volume_binding(cluster, object, mounted).await;
    }
}

/// When the class of a claim binds it. Not every account may read classes; then a claim that nothing mounts counts as
/// bound by its first pod, because waiting for it could last for ever.
async fn volume_binding(cluster: &Cluster, claim: &Value, mounted: bool) -> Option<VolumeBinding> {
    let unknown = (!mounted).then_some(VolumeBinding::WaitForFirstConsumer);
    let name = claim
        .pointer("/spec/storageClassName")
        .and_then(Value::as_str);
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return unknown;
    };
    let Ok(classes) = cluster
        .resolve("storage.k8s.io", "v1", "StorageClass")
        .await
    else {
        return unknown;
    };
    let Ok(Some(class)) = cluster.get(&classes, None, name).await else {
        return unknown;
    };
    match class.get("volumeBindingMode").and_then(Value::as_str) {
        Some("WaitForFirstConsumer") => Some(VolumeBinding::WaitForFirstConsumer),
        _ => Some(VolumeBinding::Immediate),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::Origin;

    use super::*;

    fn object(value: Value) -> Object {
        let origin = Origin::outside("test");
        Object::from_value(value, origin).unwrap()
    }

    fn deployment(replicas: i64, claim: &str) -> Object {
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": replicas, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]},
            }},
        }))
    }

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    #[test]
    fn only_pods_that_run_mount_a_claim() {
        let claim = id("PersistentVolumeClaim", "data");
        for (replicas, name, mounted) in
            [(1, "data", true), (0, "data", false), (1, "other", false)]
        {
            let set = Set::of([deployment(replicas, name)].iter());
            let facts = set.about(&claim, &Value::Null);
            assert_eq!(facts.claim_is_mounted, Some(mounted), "{replicas} {name}");
        }
        let other_namespace = ObjectId {
            namespace: Some("elsewhere".into()),
            ..claim
        };
        let set = Set::of([deployment(1, "data")].iter());
        assert_eq!(
            set.about(&other_namespace, &Value::Null).claim_is_mounted,
            Some(false)
        );
    }

    #[test]
    fn a_service_is_told_how_many_workloads_it_selects() {
        let set = Set::of([deployment(1, "data")].iter());
        for (app, count) in [("web", 1), ("api", 0)] {
            let service = json!({"spec": {"selector": {"app": app}}});
            let facts = set.about(&id("Service", "web"), &service);
            assert_eq!(facts.pods_selected, Some(count), "{app}");
        }
    }
}
