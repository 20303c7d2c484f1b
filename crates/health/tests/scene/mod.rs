//! Workloads with their pods and events, built piece by piece.
#![allow(dead_code, clippy::unwrap_used, clippy::needless_pass_by_value)]

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sortie_health::diagnosis::Observation;

/// `seconds` after the beginning of the scene.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let begin: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    begin
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap()
}

#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) workload: Value,
    pub(crate) revisions: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) events: Vec<Value>,
}

impl Scene {
    pub(crate) fn of(workload: Value) -> Self {
        Self {
            workload,
            revisions: Vec::new(),
            pods: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A Deployment in the middle of a rollout, with its new and its old ReplicaSet.
    pub(crate) fn deployment(replicas: i64) -> Self {
        let set = |revision: &str, number: &str| {
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {
                "name": format!("web-{revision}"), "uid": format!("set-{revision}"),
                "labels": {"pod-template-hash": revision},
                "annotations": {"deployment.kubernetes.io/revision": number},
                "ownerReferences": [{"uid": "workload"}]},
                "spec": {"replicas": replicas}, "status": {}})
        };
        let mut scene = Self::of(workload("apps/v1", "Deployment", replicas));
        scene.workload["metadata"]["annotations"] =
            json!({"deployment.kubernetes.io/revision": "5"});
        scene.revisions = vec![set("old", "4"), set("new", "5")];
        scene
    }

    pub(crate) fn stateful_set(replicas: i64) -> Self {
        let mut scene = Self::of(workload("apps/v1", "StatefulSet", replicas));
        scene.workload["status"]["updateRevision"] = json!("new");
        scene.workload["status"]["currentRevision"] = json!("old");
        scene
    }

    pub(crate) fn daemon_set(nodes: i64) -> Self {
        let mut scene = Self::of(workload("apps/v1", "DaemonSet", nodes));
        scene.workload["metadata"]["annotations"] =
            json!({"deprecated.daemonset.template.generation": "4"});
        scene.workload["status"]["desiredNumberScheduled"] = json!(nodes);
        scene
    }

    pub(crate) fn job() -> Self {
        let mut scene = Self::of(workload("batch/v1", "Job", 1));
        scene.workload["status"] = json!({"startTime": "2026-01-01T12:00:00Z", "active": 1});
        scene
    }

    pub(crate) fn with_pod(mut self, pod: Pod) -> Self {
        self.pods.push(pod.build());
        self
    }

    pub(crate) fn with_event(mut self, event: Value) -> Self {
        self.events.push(event);
        self
    }

    pub(crate) fn observation(&self) -> Observation<'_> {
        Observation {
            workload: &self.workload,
            revisions: self.revisions.iter().collect(),
            pods: self.pods.iter().collect(),
            events: self.events.iter().collect(),
        }
    }
}

fn workload(api_version: &str, kind: &str, replicas: i64) -> Value {
    json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"name": "web", "namespace": "shop", "uid": "workload", "generation": 7},
        "spec": {"replicas": replicas}, "status": {"observedGeneration": 7, "replicas": 1, "updatedReplicas": 1}})
}

/// A pod of the new revision; its UID is its name.
pub(crate) struct Pod(Value);

pub(crate) fn pod(name: &str) -> Pod {
    Pod(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T12:00:00Z",
            "labels": {"pod-template-hash": "new", "controller-revision-hash": "new"},
            "ownerReferences": [{"uid": "set-new"}]},
        "spec": {"containers": [{"name": "web", "image": "r/web:3"}]},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}}))
}

impl Pod {
    pub(crate) fn build(self) -> Value {
        self.0
    }

    pub(crate) fn owner(mut self, uid: &str) -> Self {
        self.0["metadata"]["ownerReferences"] = json!([{"uid": uid}]);
        self
    }

    /// Of that revision, and of the ReplicaSet of that revision unless another owner is set afterwards.
    pub(crate) fn revision(mut self, revision: &str) -> Self {
        self.0["metadata"]["labels"] =
            json!({"pod-template-hash": revision, "controller-revision-hash": revision});
        if self.0["metadata"]["ownerReferences"][0]["uid"] == "set-new" {
            return self.owner(&format!("set-{revision}"));
        }
        self
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = json!(value);
        self
    }

    pub(crate) fn leaving(mut self) -> Self {
        self.0["metadata"]["deletionTimestamp"] = json!("2026-01-01T12:00:00Z");
        self
    }

    pub(crate) fn probe(mut self, field: &str, probe: Value) -> Self {
        self.0["spec"]["containers"][0][field] = probe;
        self
    }

    /// With that container status; the phase follows from it.
    pub(crate) fn status(mut self, container: Value) -> Self {
        let started = container["state"].get("waiting").is_none() || container["restartCount"] != 0;
        self.0["status"]["phase"] = json!(if started { "Running" } else { "Pending" });
        self.0["status"]["containerStatuses"] = json!([container]);
        self
    }

    pub(crate) fn ready(self) -> Self {
        let mut status = container(running(), 0);
        status["ready"] = json!(true);
        let mut pod = self.status(status);
        pod.0["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        pod
    }

    pub(crate) fn failed(self, code: i64) -> Self {
        let mut pod = self.status(container(terminated(code, "Error", 1), 0));
        pod.0["status"]["phase"] = json!("Failed");
        pod.0["spec"]["restartPolicy"] = json!("Never");
        pod
    }

    pub(crate) fn unscheduled(mut self, message: &str) -> Self {
        self.0["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": message}]);
        self
    }
}

pub(crate) fn container(state: Value, restarts: i64) -> Value {
    json!({"name": "web", "image": "r/web:3", "ready": false, "restartCount": restarts, "state": state})
}

pub(crate) fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

pub(crate) fn running() -> Value {
    json!({"running": {"startedAt": "2026-01-01T12:00:00Z"}})
}

/// A run of that many seconds.
pub(crate) fn terminated(code: i64, reason: &str, seconds: i64) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason,
        "startedAt": at(0).to_string(), "finishedAt": at(seconds).to_string()}})
}

/// An event about the object with that UID, that many seconds after the beginning.
pub(crate) fn event(uid: &str, reason: &str, seconds: i64, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": reason, "message": message,
        "involvedObject": {"uid": uid}, "lastTimestamp": at(seconds).to_string()})
}
