//! What the planner decides by: both sides of each workload, their pods and endpoints, by watches alone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use sortie_cluster::watch::{self, Selection, View, Watched};
use sortie_cluster::{Cluster, Error, Resource};
use sortie_manifest::{ObjectId, selector};
use sortie_strategy::progressive::Workload;
use sortie_strategy::replicas::{Pair, Side, Sides};

use super::progress::Both;
use crate::protection::text;
use crate::swap::{SERVICE_NAME, is_ready, pods as wanted};

/// Watches for all that a progressive canary needs to know.
pub(super) struct Sight {
    watches: Vec<Watched>,
    known: Vec<Selection>,
    places: Vec<Place>,
}

/// Where one workload is seen.
struct Place {
    stable: usize,
    copy: usize,
    pods: usize,
    services: usize,
    slices: usize,
}

/// One look at a workload.
pub(super) struct Look {
    pub(super) workload: Workload,
    /// Whether the stable side is there.
    pub(super) is_there: bool,
}

/// Numbers of pods that were written, with the generation that says so: a watch may still show what was before.
pub(super) type Written = BTreeMap<ObjectId, (u64, u32)>;

impl Sight {
    /// Look from now on.
    ///
    /// # Errors
    /// The API server refuses a watch.
    pub(super) async fn open(cluster: &Cluster, workloads: &[Both]) -> Result<Self, Error> {
        let services = cluster.resolve("", "v1", "Service").await?;
        let slices = cluster
            .resolve("discovery.k8s.io", "v1", "EndpointSlice")
            .await?;
        let mut sight = Self {
            watches: Vec::new(),
            known: Vec::new(),
            places: Vec::new(),
        };
        for both in workloads {
            let home = both.object.namespace.clone().unwrap_or_default();
            let of = |resource: &Resource| Selection::of(resource.clone(), &home);
            let kind = cluster
                .resolve_preferred(&both.object.group, &both.object.kind)
                .await?;
            let place = Place {
                stable: sight
                    .watch(cluster, of(&kind).named(&both.object.name))
                    .await?,
                copy: sight
                    .watch(cluster, of(&kind).named(&both.copy.name))
                    .await?,
                pods: sight.watch(cluster, of(&Resource::pods())).await?,
                services: sight.watch(cluster, of(&services)).await?,
                slices: sight.watch(cluster, of(&slices)).await?,
            };
            sight.places.push(place);
        }
        Ok(sight)
    }

    async fn watch(&mut self, cluster: &Cluster, selection: Selection) -> Result<usize, Error> {
        if let Some(index) = self.known.iter().position(|known| *known == selection) {
            return Ok(index);
        }
        self.watches.push(cluster.watch(selection.clone()).await?);
        self.known.push(selection);
        Ok(self.known.len() - 1)
    }

    /// One look at each workload.
    pub(super) fn look(&self, workloads: &[Both], written: &Written) -> Vec<Look> {
        let views: Vec<View> = self.watches.iter().map(Watched::view).collect();
        let looks = workloads.iter().zip(&self.places).map(|(both, place)| {
            let listed = |index: usize| -> Vec<&Value> {
                let objects = views[index].objects.values();
                objects.map(AsRef::as_ref).collect()
            };
            let find = |index: usize, id: &ObjectId| -> Option<&Value> {
                views[index].objects.get(&id.name).map(AsRef::as_ref)
            };
            let stable = find(place.stable, &both.object);
            let around = Around {
                pods: listed(place.pods),
                services: listed(place.services),
                slices: listed(place.slices),
            };
            Look {
                workload: around.look(both, (stable, find(place.copy, &both.copy)), written),
                is_there: stable.is_some(),
            }
        });
        looks.collect()
    }

    /// Resolves when something is seen, or after `at_most`.
    pub(super) async fn changed(&mut self, at_most: Duration) {
        let changed = watch::any_changed(&mut self.watches);
        drop(tokio::time::timeout(at_most, changed).await);
    }
}

/// What there is in the namespace of a workload.
struct Around<'a> {
    pods: Vec<&'a Value>,
    services: Vec<&'a Value>,
    slices: Vec<&'a Value>,
}

impl Around<'_> {
    fn look(
        &self,
        both: &Both,
        (stable, copy): (Option<&Value>, Option<&Value>),
        written: &Written,
    ) -> Workload {
        let (stable, stable_ready) = self.side(stable, &both.object, written);
        let (canary, canary_ready) = self.side(copy, &both.copy, written);
        Workload {
            name: both.object.to_string(),
            replicas: both.replicas,
            slack: both.slack,
            sides: Sides { canary, stable },
            ready: Pair {
                canary: canary_ready,
                stable: stable_ready,
            },
        }
    }

    /// A side of a workload, and how many of its pods get the requests that they should get. A pod counts as available when
    /// its controller says so and every Service that selects it leads to it.
    fn side(&self, live: Option<&Value>, id: &ObjectId, written: &Written) -> (Side, u32) {
        let pods: Vec<&Value> = self
            .pods
            .iter()
            .copied()
            .filter(|pod| is_of(pod, id))
            .collect();
        let ready = pods.iter().filter(|pod| is_ready(pod));
        let served = count(ready.clone().filter(|pod| self.is_served(pod)));
        let ready = count(ready);
        let exist = count(pods.iter());
        let Some(live) = live else {
            let side = Side {
                pods: exist,
                ..Side::default()
            };
            return (side, served);
        };
        let number = |pointer: &str| {
            let number = live.pointer(pointer).and_then(Value::as_u64);
            number.unwrap_or_default()
        };
        let mut asked = wanted(live);
        if let Some((generation, replicas)) = written.get(id)
            && number("/metadata/generation") < *generation
        {
            asked = *replicas;
        }
        let available = u32::try_from(number("/status/availableReplicas")).unwrap_or(u32::MAX);
        let side = Side {
            wanted: asked,
            pods: exist,
            ready,
            // The controller may not have seen yet that some are to go.
            available: available.min(served).min(asked),
        };
        (side, served)
    }

    /// Whether every Service that selects a pod leads to it. An external name leads nowhere, whatever it selects.
    fn is_served(&self, pod: &Value) -> bool {
        let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.cloned().unwrap_or_default();
        let uid = text(pod, "/metadata/uid");
        let mut selecting = self.services.iter().filter(|service| {
            let selector = service.pointer("/spec/selector").and_then(Value::as_object);
            text(service, "/spec/type") != "ExternalName"
                && selector.is_some_and(|selector| is_selected(selector, &labels))
        });
        selecting.all(|service| self.leads_to(text(service, "/metadata/name"), uid))
    }

    fn leads_to(&self, service: &str, uid: &str) -> bool {
        let label = format!("/metadata/labels/{}", SERVICE_NAME.replace('/', "~1"));
        let of_service = self
            .slices
            .iter()
            .filter(|slice| text(slice, &label) == service);
        let mut endpoints = of_service
            .filter_map(|slice| slice.get("endpoints")?.as_array())
            .flatten();
        endpoints.any(|endpoint| {
            text(endpoint, "/targetRef/uid") == uid
                && endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false))
        })
    }
}

fn is_selected(selector: &Map<String, Value>, labels: &Map<String, Value>) -> bool {
    !selector.is_empty() && selector::matches_map(selector, labels)
}

fn count<T>(of: impl Iterator<Item = T>) -> u32 {
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}

/// Whether a pod runs, or ends, for a workload: one that has ended takes nobody's place.
fn is_of(pod: &Value, id: &ObjectId) -> bool {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return false;
    }
    let owners = pod
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let mut owners = owners
        .into_iter()
        .flatten()
        .filter(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    owners.any(|owner| {
        let (kind, name) = (text(owner, "/kind"), text(owner, "/name"));
        let between = match id.kind.as_str() {
            // The ReplicaSet of a Deployment has its name, and the hash that its pods are labelled with.
            "Deployment" => {
                let hash = text(pod, "/metadata/labels/pod-template-hash");
                return kind == "ReplicaSet" && name == format!("{}-{hash}", id.name);
            }
            "DeploymentConfig" => name.strip_prefix(&id.name),
            _ => return kind == id.kind && name == id.name,
        };
        let number = between.and_then(|rest| rest.strip_prefix('-'));
        kind == "ReplicationController" && number.is_some_and(is_number)
    })
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_strategy::replicas::Slack;

    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn pod(owner: &str, uid: &str, ready: bool) -> Value {
        json!({
            "metadata": {
                "name": uid, "uid": uid, "labels": {"app": "web", "pod-template-hash": "abc"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": format!("{owner}-abc"), "controller": true}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        })
    }

    fn deployment(replicas: u32, available: u32) -> Value {
        json!({"kind": "Deployment", "metadata": {"generation": 4}, "spec": {"replicas": replicas}, "status": {"availableReplicas": available}})
    }

    fn look(pods: &[Value], live: (u32, u32), written: &Written) -> Workload {
        let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}});
        let other = json!({"metadata": {"name": "api"}, "spec": {"selector": {"app": "api"}}});
        let none = json!({"metadata": {"name": "outside"}, "spec": {}});
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [
                {"targetRef": {"uid": "a"}, "conditions": {"ready": true}},
                {"targetRef": {"uid": "b"}, "conditions": {"ready": false}},
                {"targetRef": {"uid": "c"}, "conditions": {}},
            ],
        });
        let around = Around {
            pods: pods.iter().collect(),
            services: vec![&service, &other, &none],
            slices: vec![&slice],
        };
        let both = Both {
            object: id("web"),
            copy: id("web-canary"),
            replicas: 4,
            before: 4,
            slack: Slack::default_of(4),
            scaler: None,
        };
        let (stable, copy) = (deployment(live.0, live.0), deployment(live.1, live.1));
        around.look(&both, (Some(&stable), Some(&copy)), written)
    }

    #[test]
    fn pods_are_told_apart_by_their_owners_and_count_when_they_are_served() {
        let mut ending = pod("web", "c", true);
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let mut over = pod("web", "d", true);
        over["status"]["phase"] = "Failed".into();
        let mut job = pod("web", "e", true);
        job["metadata"]["ownerReferences"][0]["kind"] = "Job".into();
        let pods = [
            pod("web", "a", true),
            pod("web", "b", true),
            ending,
            over,
            job,
            pod("web-canary", "c", true),
            pod("web-canary", "a", false),
        ];
        let seen = look(&pods, (3, 2), &Written::new());
        let Sides { canary, stable } = seen.sides;
        assert_eq!((stable.wanted, stable.pods, stable.available), (3, 3, 1));
        assert_eq!((canary.wanted, canary.pods, canary.available), (2, 2, 1));
        assert_eq!((seen.ready.canary, seen.ready.stable), (1, 1));
    }

    #[test]
    fn what_was_written_counts_before_a_watch_shows_it() {
        let pods = [pod("web", "a", true), pod("web", "c", true)];
        for (generation, expected) in [(4, (2, 2)), (5, (1, 1))] {
            let written = Written::from([(id("web"), (generation, 1))]);
            let stable = look(&pods, (2, 0), &written).sides.stable;
            assert_eq!((stable.wanted, stable.available), expected, "{generation}");
        }
    }
}
