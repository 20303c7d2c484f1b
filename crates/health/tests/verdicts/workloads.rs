//! Kinds that run pods.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, missing_docs)]

use serde_json::{Value, json};
use sortie_health::Status;

use Status::{Degraded, Healthy, Progressing, Suspended, Unknown};

use super::{check, deployment, object};

#[test]
fn deployments() {
    let full = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3});
    let with = |changes: Value| {
        let mut status = full.clone();
        for (key, value) in changes.as_object().unwrap() {
            status[key] = value.clone();
        }
        deployment(json!({"replicas": 3}), status)
    };
    check(&with(json!({})), Healthy, "3 of 3 replicas are available");
    check(
        &with(json!({"observedGeneration": 1})),
        Progressing,
        "generation 2, seen 1",
    );
    check(
        &with(json!({"updatedReplicas": 1, "replicas": 4})),
        Progressing,
        "1 of 3 replicas are updated",
    );
    check(
        &with(json!({"replicas": 4})),
        Progressing,
        "1 old replica is still running",
    );
    check(
        &with(json!({"readyReplicas": 1, "availableReplicas": 1})),
        Progressing,
        "1 of 3 updated replicas are ready",
    );
    check(
        &with(json!({"availableReplicas": 2})),
        Progressing,
        "2 of 3 updated replicas are available",
    );
    check(
        &deployment(json!({"replicas": 3}), json!({})),
        Progressing,
        "not reported",
    );
    check(
        &deployment(json!({"replicas": 3, "paused": true}), full.clone()),
        Suspended,
        "paused",
    );
    check(
        &deployment(json!({"replicas": 0}), json!({"observedGeneration": 2})),
        Healthy,
        "scaled to zero",
    );
    check(
        &deployment(
            json!({"replicas": 0}),
            json!({"observedGeneration": 2, "replicas": 1}),
        ),
        Progressing,
        "1 replica is left",
    );
    // One replica is the default, and maxUnavailable lowers no bar.
    check(
        &deployment(
            json!({"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}),
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}),
        ),
        Progressing,
        "0 of 1 updated replica is ready",
    );
    let deadline = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet \"web-1\" has timed out progressing."}]);
    check(
        &with(json!({"availableReplicas": 2, "conditions": deadline})),
        Degraded,
        "timed out",
    );
    let refused = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: tiny"}]);
    check(
        &with(json!({"updatedReplicas": 1, "conditions": refused})),
        Progressing,
        "exceeded quota: tiny",
    );
}

#[test]
fn replica_sets() {
    let set = |status: Value| object("apps/v1", "ReplicaSet", json!({"replicas": 2}), status);
    check(
        &set(json!({"observedGeneration": 2, "replicas": 2, "availableReplicas": 2})),
        Healthy,
        "2 of 2",
    );
    check(
        &set(json!({"observedGeneration": 2, "replicas": 2, "availableReplicas": 1})),
        Progressing,
        "1 of 2",
    );
    check(
        &set(json!({"observedGeneration": 2, "replicas": 3, "availableReplicas": 2})),
        Progressing,
        "3 replicas exist",
    );
    check(
        &set(json!({"observedGeneration": 2, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "forbidden"}]})),
        Degraded,
        "FailedCreate: forbidden",
    );
}

#[test]
fn stateful_sets() {
    let set = |strategy: Value, status: Value| {
        let mut full = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "updatedReplicas": 3, "currentReplicas": 3, "currentRevision": "web-b", "updateRevision": "web-b"});
        for (key, value) in status.as_object().unwrap() {
            full[key] = value.clone();
        }
        object(
            "apps/v1",
            "StatefulSet",
            json!({"replicas": 3, "updateStrategy": strategy}),
            full,
        )
    };
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    let partition = |at: i64| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": at}});
    check(
        &set(rolling.clone(), json!({})),
        Healthy,
        "3 of 3 pods are ready",
    );
    check(
        &set(rolling.clone(), json!({"observedGeneration": 1})),
        Progressing,
        "seen 1",
    );
    check(
        &set(rolling.clone(), json!({"updatedReplicas": 1})),
        Progressing,
        "1 of 3 pods are updated",
    );
    check(
        &set(rolling.clone(), json!({"readyReplicas": 2})),
        Progressing,
        "2 of 3 pods are ready",
    );
    check(
        &set(rolling.clone(), json!({"availableReplicas": 2})),
        Progressing,
        "2 of 3 pods are available",
    );
    check(
        &set(rolling.clone(), json!({"replicas": 4})),
        Progressing,
        "4 pods exist",
    );
    check(
        &set(rolling, json!({"currentRevision": "web-a"})),
        Progressing,
        "web-b is not yet",
    );
    check(
        &set(
            partition(2),
            json!({"updatedReplicas": 1, "currentRevision": "web-a"}),
        ),
        Healthy,
        "partition 2",
    );
    check(
        &set(
            partition(2),
            json!({"updatedReplicas": 0, "currentRevision": "web-a"}),
        ),
        Progressing,
        "0 of 1 pod is updated",
    );
    check(
        &set(
            partition(2),
            json!({"updatedReplicas": 1, "readyReplicas": 2}),
        ),
        Progressing,
        "2 of 3 pods are ready",
    );
    check(
        &set(
            partition(9),
            json!({"updatedReplicas": 0, "currentRevision": "web-a"}),
        ),
        Healthy,
        "partition 9",
    );
    check(
        &set(
            json!({"type": "OnDelete"}),
            json!({"updatedReplicas": 0, "currentRevision": "web-a"}),
        ),
        Healthy,
        "OnDelete",
    );
    check(
        &set(json!({"type": "OnDelete"}), json!({"readyReplicas": 0})),
        Progressing,
        "0 of 3",
    );
    // Ordinals that begin at 5: partition 6 lets pods 6 and 7 take the new revision.
    let mut shifted = set(
        partition(6),
        json!({"updatedReplicas": 1, "currentRevision": "web-a"}),
    );
    shifted["spec"]["ordinals"] = json!({"start": 5});
    check(&shifted, Progressing, "1 of 2 pods are updated");
    let zero = object(
        "apps/v1",
        "StatefulSet",
        json!({"replicas": 0}),
        json!({"observedGeneration": 2, "replicas": 0}),
    );
    check(&zero, Healthy, "scaled to zero");
}

#[test]
fn daemon_sets() {
    let set = |strategy: &str, status: Value| {
        let mut full = json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberReady": 2, "numberAvailable": 2});
        for (key, value) in status.as_object().unwrap() {
            full[key] = value.clone();
        }
        object(
            "apps/v1",
            "DaemonSet",
            json!({"updateStrategy": {"type": strategy}}),
            full,
        )
    };
    check(
        &set("RollingUpdate", json!({})),
        Healthy,
        "2 of 2 pods are available",
    );
    check(
        &set("RollingUpdate", json!({"currentNumberScheduled": 1})),
        Progressing,
        "created",
    );
    check(
        &set("RollingUpdate", json!({"updatedNumberScheduled": 1})),
        Progressing,
        "1 of 2 pods are updated",
    );
    check(
        &set("RollingUpdate", json!({"numberReady": 1})),
        Progressing,
        "ready",
    );
    check(
        &set("RollingUpdate", json!({"numberAvailable": 1})),
        Progressing,
        "available",
    );
    check(
        &set("OnDelete", json!({"updatedNumberScheduled": 0})),
        Healthy,
        "OnDelete",
    );
    check(
        &set("OnDelete", json!({"numberReady": 1})),
        Progressing,
        "ready",
    );
    check(
        &set(
            "RollingUpdate",
            json!({"desiredNumberScheduled": 0, "currentNumberScheduled": 0}),
        ),
        Healthy,
        "no node wants a pod",
    );
    check(
        &object("apps/v1", "DaemonSet", json!({}), json!({})),
        Progressing,
        "not reported",
    );
}

#[test]
fn jobs() {
    let job = |spec: Value, status: Value| object("batch/v1", "Job", spec, status);
    let condition = |kind: &str, reason: &str| json!([{"type": kind, "status": "True", "reason": reason, "message": "m"}]);
    check(&job(json!({}), json!({})), Progressing, "not started");
    check(
        &job(
            json!({"completions": 3}),
            json!({"startTime": "2026-01-01T00:00:00Z", "active": 1, "succeeded": 1, "failed": 2}),
        ),
        Progressing,
        "1 of 3 done, 1 running, 2 failed",
    );
    check(
        &job(
            json!({}),
            json!({"succeeded": 1, "conditions": condition("Complete", "")}),
        ),
        Healthy,
        "complete",
    );
    check(
        &job(
            json!({}),
            json!({"conditions": condition("SuccessCriteriaMet", "")}),
        ),
        Progressing,
        "ending",
    );
    check(
        &job(
            json!({}),
            json!({"conditions": condition("Failed", "BackoffLimitExceeded")}),
        ),
        Degraded,
        "BackoffLimitExceeded: m",
    );
    check(
        &job(
            json!({}),
            json!({"conditions": condition("FailureTarget", "PodFailurePolicy")}),
        ),
        Degraded,
        "PodFailurePolicy: m",
    );
    check(
        &job(
            json!({"suspend": true}),
            json!({"conditions": condition("Suspended", "JobSuspended")}),
        ),
        Suspended,
        "suspended",
    );
    let not_failed = json!([{"type": "Failed", "status": "False"}]);
    check(
        &job(
            json!({}),
            json!({"startTime": "2026-01-01T00:00:00Z", "conditions": not_failed}),
        ),
        Progressing,
        "0 of 1",
    );
}

#[test]
fn cron_jobs() {
    let cron = |spec: Value, status: Value| object("batch/v1", "CronJob", spec, status);
    let (earlier, later) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    check(&cron(json!({}), json!({})), Healthy, "not run yet");
    check(
        &cron(json!({"suspend": true}), json!({})),
        Suspended,
        "suspended",
    );
    check(
        &cron(
            json!({}),
            json!({"lastScheduleTime": later, "lastSuccessfulTime": earlier}),
        ),
        Degraded,
        "did not succeed",
    );
    check(
        &cron(
            json!({}),
            json!({"lastScheduleTime": later, "lastSuccessfulTime": earlier, "active": [{}]}),
        ),
        Healthy,
        "1 running",
    );
    check(
        &cron(
            json!({}),
            json!({"lastScheduleTime": earlier, "lastSuccessfulTime": later}),
        ),
        Healthy,
        "succeeded",
    );
    check(
        &cron(json!({}), json!({"lastScheduleTime": earlier})),
        Healthy,
        "none has succeeded yet",
    );
}

#[test]
fn pods() {
    let pod =
        |policy: &str, status: Value| object("v1", "Pod", json!({"restartPolicy": policy}), status);
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let unready = json!([{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers with unready status: [web]"}]);
    let waiting = |reason: &str| json!([{"name": "web", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": reason, "message": "back-off 10s"}}}]);
    check(
        &pod("Always", json!({"phase": "Running", "conditions": ready})),
        Healthy,
        "ready",
    );
    check(
        &pod("Always", json!({"phase": "Running", "conditions": unready})),
        Progressing,
        "unready status",
    );
    check(
        &pod("Never", json!({"phase": "Running", "conditions": ready})),
        Progressing,
        "not completed",
    );
    check(
        &pod("Never", json!({"phase": "Succeeded"})),
        Healthy,
        "completed",
    );
    check(
        &pod(
            "Never",
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
        ),
        Degraded,
        "Evicted: low on memory",
    );
    check(
        &pod(
            "Never",
            json!({"phase": "Failed", "containerStatuses": [{"name": "web", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}),
        ),
        Degraded,
        "container web: Error, exit code 3",
    );
    check(
        &pod(
            "Always",
            json!({"phase": "Running", "containerStatuses": waiting("CrashLoopBackOff")}),
        ),
        Degraded,
        "CrashLoopBackOff: back-off",
    );
    check(
        &pod(
            "Always",
            json!({"phase": "Pending", "initContainerStatuses": waiting("ImagePullBackOff")}),
        ),
        Degraded,
        "ImagePullBackOff",
    );
    check(
        &pod(
            "Always",
            json!({"phase": "Pending", "containerStatuses": waiting("ContainerCreating")}),
        ),
        Progressing,
        "ContainerCreating",
    );
    check(
        &pod(
            "Always",
            json!({"phase": "Running", "conditions": unready, "containerStatuses": [
            {"name": "web", "ready": false, "restartCount": 2, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}]}),
        ),
        Degraded,
        "restarted twice",
    );
    check(
        &pod(
            "Always",
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
        ),
        Progressing,
        "Unschedulable: 0/1 nodes",
    );
    check(
        &pod("Always", json!({"phase": "Unknown"})),
        Unknown,
        "does not report",
    );
}
