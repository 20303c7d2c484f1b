//! The same from documents alone: what somebody has read from a cluster and kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_health::Verdict;
use sortie_health::diagnosis::covers;
use sortie_manifest::{Object, ObjectId};

use super::{Inspected, Trouble, diagnose, is_ill, mask};

const REVISION: &str = "deployment.kubernetes.io/revision";

/// What is around the workloads of a namespace, among the documents.
#[derive(Debug, Default)]
struct Around<'a> {
    pods: Vec<&'a Value>,
    revisions: Vec<&'a Value>,
    events: Vec<&'a Value>,
}

/// Look at each of these objects, in their order, by what they say. A workload that is not healthy is explained by the
/// pods, ReplicaSets and events among them, and what Secrets among them hold is masked.
#[must_use]
pub fn inspect_documents(objects: Vec<Object>, now: Timestamp) -> Vec<Inspected> {
    let (ids, objects): (Vec<ObjectId>, Vec<Value>) = objects
        .into_iter()
        .map(|object| (object.id(), object.into_value()))
        .unzip();
    let mut around: BTreeMap<Option<&str>, Around<'_>> = BTreeMap::new();
    for (id, object) in ids.iter().zip(&objects) {
        let here = around.entry(id.namespace.as_deref()).or_default();
        match (id.group.as_str(), id.kind.as_str()) {
            ("", "Pod") => here.pods.push(object),
            ("apps", "ReplicaSet") => here.revisions.push(object),
            ("" | "events.k8s.io", "Event") => here.events.push(object),
            _ => {}
        }
    }
    let inspected = ids.iter().zip(&objects).map(|(id, object)| {
        let mut verdict = sortie_health::assess(object);
        let here = around.get(&id.namespace.as_deref());
        let here = here.filter(|_| is_ill(&verdict) && covers(object));
        let trouble = here.and_then(|here| here.trouble(object, &mut verdict, now));
        Inspected {
            id: id.clone(),
            verdict,
            trouble,
            is_forbidden: false,
        }
    });
    let mut inspected: Vec<Inspected> = inspected.collect();
    mask(&mut inspected, objects.into_iter());
    inspected
}

impl Around<'_> {
    fn trouble(&self, workload: &Value, verdict: &mut Verdict, now: Timestamp) -> Option<Trouble> {
        let told = self.told_revisions(workload);
        let revisions: Vec<&Value> = self.revisions.iter().copied().chain(&told).collect();
        let around: [&[&Value]; 3] = [&self.pods, &revisions, &self.events];
        let cause = diagnose(workload, verdict, around, now)?;
        Some(Trouble::of(&cause, &[]))
    }

    /// The ReplicaSets of a Deployment, as far as its pods tell of them, when they are not among the documents:
    /// `kubectl get deployments,pods` leaves them out.
    fn told_revisions(&self, deployment: &Value) -> Vec<Value> {
        let text = |object: &Value, pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let (Some(uid), Some(name)) = (
            text(deployment, "/metadata/uid"),
            text(deployment, "/metadata/name"),
        ) else {
            return Vec::new();
        };
        let is_deployment = deployment.get("kind").and_then(Value::as_str) == Some("Deployment");
        if !is_deployment || self.revisions.iter().any(|set| is_owned(set, &uid)) {
            return Vec::new();
        }
        // By UID: name, hash, and when its youngest pod was made.
        let mut sets: BTreeMap<String, (String, String, Option<String>)> = BTreeMap::new();
        for pod in &self.pods {
            let Some(hash) = text(pod, "/metadata/labels/pod-template-hash") else {
                continue;
            };
            let wanted = format!("{name}-{hash}");
            let owner = owners(pod).find(|owner| {
                owner.get("kind").and_then(Value::as_str) == Some("ReplicaSet")
                    && owner.get("name").and_then(Value::as_str) == Some(&wanted)
            });
            if let Some(uid) = owner.and_then(|owner| text(owner, "/uid")) {
                let made = text(pod, "/metadata/creationTimestamp");
                let set = sets.entry(uid).or_insert((wanted, hash, None));
                set.2 = set.2.take().max(made);
            }
        }
        // The controller names the newest one in its condition; otherwise it is the one that made a pod last.
        let says = progress(deployment).unwrap_or_default();
        let newest = sets
            .iter()
            .max_by_key(|(_, (name, _, made))| (says.contains(&format!("\"{name}\"")), made))
            .map(|(uid, _)| uid.clone());
        let revision = deployment
            .get("metadata")
            .and_then(|meta| meta.get("annotations")?.get(REVISION));
        let set = |(its, (name, hash, _)): (String, (String, String, _))| {
            let is_newest = newest.as_ref() == Some(&its);
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {
                "name": name, "uid": its, "labels": {"pod-template-hash": hash},
                "annotations": {REVISION: revision.filter(|_| is_newest)},
                "ownerReferences": [{"uid": uid}],
            }})
        };
        sets.into_iter().map(set).collect()
    }
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    let owners = object.pointer("/metadata/ownerReferences");
    owners.and_then(Value::as_array).into_iter().flatten()
}

fn is_owned(object: &Value, uid: &str) -> bool {
    owners(object).any(|owner| owner.get("uid").and_then(Value::as_str) == Some(uid))
}

/// What the controller of a Deployment says about its rollout.
fn progress(deployment: &Value) -> Option<&str> {
    let conditions = deployment.pointer("/status/conditions")?.as_array()?;
    let is_progress = |one: &&Value| one.get("type").and_then(Value::as_str) == Some("Progressing");
    conditions
        .iter()
        .find(is_progress)?
        .get("message")?
        .as_str()
}

#[cfg(test)]
mod tests {
    use sortie_health::Status;
    use sortie_manifest::Origin;

    use super::*;

    /// A Deployment whose condition says this about its progress.
    fn deployment(progress: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 2,
                "annotations": {REVISION: "2"}},
            "spec": {"replicas": 1, "template": {}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1,
                "conditions": [{"type": "Progressing", "status": "True", "message": progress}]},
        })
    }

    /// A pod of a revision, whose image can be pulled or not.
    fn pod(hash: &str, made: &str, is_ready: bool) -> Value {
        let state = match is_ready {
            true => json!({"running": {}}),
            false => json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
        };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("web-{hash}-x"), "namespace": "shop", "uid": format!("pod-{hash}"),
                "creationTimestamp": made, "labels": {"pod-template-hash": hash},
                "ownerReferences": [{"kind": "ReplicaSet", "name": format!("web-{hash}"), "uid": hash, "controller": true}]},
            "spec": {"containers": [{"name": "main", "image": "nowhere/web:1"}]},
            "status": {"phase": "Pending", "containerStatuses":
                [{"name": "main", "ready": is_ready, "restartCount": 0, "image": "nowhere/web:1", "state": state}]},
        })
    }

    fn set(hash: &str, revision: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("web-{hash}"), "namespace": "shop", "uid": hash,
                "labels": {"pod-template-hash": hash}, "annotations": {REVISION: revision},
                "ownerReferences": [{"uid": "d"}]},
            "spec": {"replicas": 1}, "status": {"replicas": 1}})
    }

    /// What is told of the Deployment, which stands first.
    fn told(documents: Vec<Value>) -> Option<Trouble> {
        let origin = Origin::outside("test");
        let object = |value| Object::from_value(value, origin.clone()).unwrap();
        let objects: Vec<Object> = documents.into_iter().map(object).collect();
        let count = objects.len();
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let mut inspected = inspect_documents(objects, now);
        assert_eq!(inspected.len(), count);
        assert_eq!(inspected[0].id.kind, "Deployment");
        inspected.remove(0).trouble
    }

    const EARLY: &str = "2026-11-23T11:00:00Z";
    const LATE: &str = "2026-11-23T11:59:00Z";

    #[test]
    fn a_workload_is_explained_by_the_pods_beside_it() {
        let names_new = "ReplicaSet \"web-new\" is progressing.";
        for documents in [
            // ReplicaSets say which revision is the newest.
            vec![
                deployment(""),
                pod("new", EARLY, false),
                set("new", "2"),
                set("old", "1"),
            ],
            // Without them the condition does, else the youngest pod.
            vec![
                deployment(names_new),
                pod("new", EARLY, false),
                pod("old", LATE, true),
            ],
            vec![
                deployment(""),
                pod("old", EARLY, true),
                pod("new", LATE, false),
            ],
        ] {
            let trouble = told(documents).unwrap();
            assert!(
                trouble.explanation.contains("pod web-new-x container main"),
                "{trouble:?}"
            );
            assert_eq!(trouble.code, "SRT-H004", "{trouble:?}");
        }
    }

    #[test]
    fn pods_of_others_and_of_older_revisions_explain_nothing() {
        let mut elsewhere = pod("new", LATE, false);
        elsewhere["metadata"]["namespace"] = "elsewhere".into();
        let mut foreign = pod("new", LATE, false);
        foreign["metadata"]["ownerReferences"][0]["name"] = "website-new".into();
        let names_new = "ReplicaSet \"web-new\" is progressing.";
        for documents in [
            vec![deployment("")],
            vec![deployment(""), elsewhere],
            vec![deployment(""), foreign],
            vec![
                deployment(names_new),
                pod("new", EARLY, true),
                pod("old", LATE, false),
            ],
            vec![
                deployment(""),
                pod("old", LATE, false),
                set("new", "2"),
                set("old", "1"),
            ],
        ] {
            assert_eq!(told(documents.clone()), None, "{documents:#?}");
        }
    }

    #[test]
    fn a_pod_within_the_delay_of_its_probe_is_on_its_way_and_no_trouble() {
        let mut starting = pod("new", LATE, false);
        starting["spec"]["containers"][0]["readinessProbe"] = json!({"initialDelaySeconds": 90});
        starting["status"]["phase"] = "Running".into();
        starting["status"]["containerStatuses"][0]["state"] =
            json!({"running": {"startedAt": LATE}});
        let origin = Origin::outside("test");
        let objects = [deployment(""), starting]
            .into_iter()
            .map(|value| Object::from_value(value, origin.clone()).unwrap());
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        for one in inspect_documents(objects.collect(), now) {
            assert_eq!(one.trouble, None, "{one:?}");
            assert_eq!(one.verdict.status, Status::Progressing, "{one:?}");
            let ends = "; pod web-new-x container main: its readiness probe begins in 30 s";
            assert!(one.verdict.message.ends_with(ends), "{one:?}");
        }
    }
}
