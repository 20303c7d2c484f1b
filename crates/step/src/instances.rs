//! Where a release can be reached once it is healthy: the addresses of its pods and load balancers, for later steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sortie_cluster::Resource;
use sortie_cluster::watch::Selection;
use sortie_health::diagnosis::covers;
use sortie_manifest::{ObjectId, labels};

use crate::run::Run;
use crate::steady::facts::is_tracked;

/// What was written that can be reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instances {
    /// By namespace: what selects the pods of each workload, and whether all of them carry the release's label.
    pods: BTreeMap<String, Pods>,
    /// Services of type LoadBalancer.
    balanced: Vec<ObjectId>,
}

#[derive(Clone, Debug, Default)]
struct Pods {
    selectors: Vec<Map<String, Value>>,
    untracked: bool,
}

impl Instances {
    /// Note an object as the API server shows it.
    pub(crate) fn note(&mut self, id: &ObjectId, live: &Value, release: &str) {
        let is_balanced = live.pointer("/spec/type").and_then(Value::as_str);
        if id.group.is_empty() && id.kind == "Service" && is_balanced == Some("LoadBalancer") {
            self.balanced.push(id.clone());
        }
        let selector = live.pointer("/spec/selector/matchLabels");
        if let (Some(Value::Object(selector)), Some(namespace)) = (selector, &id.namespace)
            && covers(live)
        {
            let pods = self.pods.entry(namespace.clone()).or_default();
            pods.selectors.push(selector.clone());
            pods.untracked |= !is_tracked(live, release);
        }
    }

    /// Add what is there to the outputs of a step. It is for information: what cannot be read is left out.
    pub(crate) async fn tell(&self, run: &Run<'_>, outputs: &mut Value) {
        let mut addresses = BTreeSet::new();
        for (namespace, pods) in &self.pods {
            let mut all = Selection::of(Resource::pods(), namespace);
            if !pods.untracked {
                all = all.labelled(format!("{}={}", labels::RELEASE, run.release_id()));
            }
            match run.env.cluster.list(&all).await {
                Ok(live) => addresses.extend(live.iter().filter_map(|pod| pods.address(pod))),
                Err(error) => tracing::debug!(%error, "the addresses of pods stay unknown"),
            }
        }
        outputs["podIps"] = addresses.into_iter().collect();
        for id in &self.balanced {
            let live = run.env.cluster.find(id).await.ok().flatten();
            let ingress = live.as_ref().and_then(|(_, live)| {
                let first = live.pointer("/status/loadBalancer/ingress/0")?;
                first.get("ip").or_else(|| first.get("hostname"))
            });
            if let Some(address) = ingress {
                outputs["loadBalancer"] = address.clone();
                return;
            }
        }
    }
}

impl Pods {
    /// The address of a running pod of one of the workloads.
    fn address(&self, pod: &Value) -> Option<String> {
        let labels = pod.pointer("/metadata/labels")?.as_object()?;
        let is_of = |selector: &Map<String, Value>| {
            let mut asked = selector.iter();
            asked.all(|(key, value)| labels.get(key) == Some(value))
        };
        let runs = pod.pointer("/status/phase")? == "Running"
            && pod.pointer("/metadata/deletionTimestamp").is_none();
        let ours = self.selectors.iter().any(is_of);
        let address = pod.pointer("/status/podIP")?.as_str()?;
        (runs && ours).then(|| address.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_running_pods_of_the_workloads_count() {
        let id = ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "sortie.dev/release": "r"}}},
        }});
        let mut instances = Instances::default();
        instances.note(&id, &web, "r");
        let pods = &instances.pods["shop"];
        assert!(!pods.untracked);
        let pod = |app: &str, phase: &str, ending: bool| {
            let mut pod = json!({"metadata": {"labels": {"app": app}}, "status": {"phase": phase, "podIP": "10.0.0.1"}});
            if ending {
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            pods.address(&pod).is_some()
        };
        assert!(pod("web", "Running", false));
        assert!(!pod("other", "Running", false));
        assert!(!pod("web", "Failed", false));
        assert!(!pod("web", "Running", true));
        instances.note(&id, &web, "another");
        assert!(instances.pods["shop"].untracked);
    }
}
