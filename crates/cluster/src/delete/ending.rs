//! Pods that end with the workload or the namespace that is deleted: how long they may take, and which are still there.

use std::time::Duration;

use serde_json::{Map, Value};
use sortie_manifest::ObjectId;

use super::{has_dependants, text};
use crate::connect::Cluster;
use crate::resource::Resource;
use crate::watch::{Selection, View, Watched};

/// What a pod has when it says nothing (Kubernetes API: `terminationGracePeriodSeconds`).
const USUAL: Duration = Duration::from_secs(30);
/// How long nodes and controllers may take beyond the grace period.
const MARGIN: Duration = Duration::from_secs(60);
/// No grace period is waited for longer than this.
const AT_MOST: Duration = Duration::from_secs(3600);
/// Pods that are named; more are counted.
const NAMED: usize = 5;

/// The pods of one object that goes.
#[derive(Debug)]
pub(super) struct Ending {
    /// They may take so long.
    pub(super) within: Duration,
    /// The pods that its selector selects, as far as they may be watched.
    pub(super) pods: Option<Watched>,
    uid: String,
    /// Whether all of them are meant, whoever owns them: it is their namespace that goes.
    all: bool,
    /// What the names of its ReplicaSets begin with, when it is a Deployment.
    revisions: Option<String>,
}

impl Ending {
    /// The pods of `live`, looked at before it goes.
    pub(super) async fn of(cluster: &Cluster, id: &ObjectId, live: &Value) -> Self {
        let mut ending = Self {
            within: Duration::ZERO,
            pods: None,
            uid: text(live, "/metadata/uid"),
            all: id.group.is_empty() && id.kind == "Namespace",
            revisions: (id.kind == "Deployment").then(|| format!("{}-", id.name)),
        };
        let mut grace = match pod_spec(id, live) {
            Some(spec) => grace(spec),
            None if ending.all => Duration::ZERO,
            None => return ending,
        };
        let selection = match ending.all {
            true => Some(Selection::of(Resource::pods(), &id.name)),
            false => selection(id, live),
        };
        if let Some(selection) = selection {
            // Who may not watch pods has the grace period of the template to go by.
            ending.pods = cluster.watch(selection).await.ok();
            if let Some(pods) = &ending.pods {
                let view = pods.view();
                let of_pods = ending.own(&view).map(|pod| self::grace(&pod["spec"]));
                grace = of_pods.fold(grace, Duration::max);
            }
        }
        ending.within = grace.min(AT_MOST) + MARGIN;
        ending
    }

    /// The pods that are being deleted and not gone yet, for people.
    pub(super) fn open(&self) -> Vec<String> {
        let Some(pods) = &self.pods else {
            return Vec::new();
        };
        let view = pods.view();
        let going = self
            .own(&view)
            .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some());
        let mut open: Vec<String> = going.map(|pod| text(pod, "/metadata/name")).collect();
        let more = open.len().saturating_sub(NAMED);
        if more > 0 {
            open.truncate(NAMED);
            open.push(format!("{more} more"));
        }
        open
    }

    /// The pods of a view that are the object's: its own, those of its ReplicaSets, or all of a namespace.
    fn own<'a>(&'a self, view: &'a View) -> impl Iterator<Item = &'a Value> {
        let is_ours = |owner: &Value| {
            let name = owner["name"].as_str().unwrap_or_default();
            owner["uid"] == self.uid.as_str()
                || owner["kind"] == "ReplicaSet"
                    && self
                        .revisions
                        .as_deref()
                        .is_some_and(|of| name.starts_with(of))
        };
        view.objects.values().map(AsRef::as_ref).filter(move |pod| {
            let owners = pod.pointer("/metadata/ownerReferences");
            let owners = owners.and_then(Value::as_array);
            self.all || owners.is_some_and(|owners| owners.iter().any(is_ours))
        })
    }
}

/// What the pods of an object are made of.
fn pod_spec<'a>(id: &ObjectId, live: &'a Value) -> Option<&'a Value> {
    if id.group.is_empty() && id.kind == "Pod" {
        return live.get("spec");
    }
    if !has_dependants(id) {
        return None;
    }
    let templates = [
        "/spec/template/spec",
        "/spec/jobTemplate/spec/template/spec",
    ];
    templates.iter().find_map(|template| live.pointer(template))
}

/// The pods that the selector of a workload selects. Its expressions are left out: the owners of the pods decide.
fn selection(id: &ObjectId, live: &Value) -> Option<Selection> {
    let selector = live.pointer("/spec/selector")?;
    let labels = match selector.get("matchLabels") {
        Some(labels) => labels.as_object()?,
        None if id.kind == "ReplicationController" => selector.as_object()?,
        None => return None,
    };
    let selector = equal_to(labels)?;
    let namespace = id.namespace.as_deref()?;
    Some(Selection::of(Resource::pods(), namespace).labelled(selector))
}

fn equal_to(labels: &Map<String, Value>) -> Option<String> {
    let pair = |(key, value): (&String, &Value)| Some(format!("{key}={}", value.as_str()?));
    let pairs: Option<Vec<String>> = labels.iter().map(pair).collect();
    pairs
        .filter(|pairs| !pairs.is_empty())
        .map(|pairs| pairs.join(","))
}

fn grace(spec: &Value) -> Duration {
    let seconds = spec.get("terminationGracePeriodSeconds");
    let seconds = seconds.and_then(Value::as_u64);
    seconds.map_or(USUAL, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(group: &str, kind: &str) -> ObjectId {
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    #[test]
    fn the_grace_period_is_that_of_the_pods_that_an_object_makes() {
        let spec = json!({"terminationGracePeriodSeconds": 200});
        let template = json!({"spec": {"template": {"spec": spec}}});
        for (group, kind, live, seconds) in [
            ("apps", "Deployment", template.clone(), Some(200)),
            (
                "apps",
                "Deployment",
                json!({"spec": {"template": {"spec": {}}}}),
                Some(30),
            ),
            (
                "batch",
                "CronJob",
                json!({"spec": {"jobTemplate": template}}),
                Some(200),
            ),
            ("", "Pod", json!({"spec": spec}), Some(200)),
            ("", "Service", json!({"spec": spec}), None),
            ("example.com", "Machine", template, None),
        ] {
            let spec = pod_spec(&id(group, kind), &live);
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(spec.map(grace), expected, "{kind}");
        }
    }

    #[test]
    fn pods_are_selected_as_their_workload_selects_them() {
        let labels = |kind: &str, selector: Value| {
            let group = if kind == "ReplicationController" {
                ""
            } else {
                "apps"
            };
            selection(&id(group, kind), &json!({"spec": {"selector": selector}}))?.labels
        };
        let match_labels = json!({"matchLabels": {"app": "web", "tier": "front"}});
        let selected = labels("Deployment", match_labels).unwrap();
        assert_eq!(selected, "app=web,tier=front");
        let selected = labels("ReplicationController", json!({"app": "web"}));
        assert_eq!(selected.unwrap(), "app=web");
        assert_eq!(labels("Deployment", json!({"app": "web"})), None);
        assert_eq!(labels("Deployment", json!({"matchLabels": {}})), None);
    }
}
