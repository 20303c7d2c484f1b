//! Kinds without a rule of their own, beyond what the corpus of operators has: signs that contradict each other, and
//! words that look like a sign and are none.

use serde_json::{Value, json};
use sortie_health::Status::{Degraded, Healthy, Progressing, Suspended};
use sortie_health::{Status, assess};

#[track_caller]
fn check(cases: &[(Status, Value)]) {
    for (expected, fields) in cases {
        let mut object = json!({
            "apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "w", "generation": 2}, "spec": {}, "status": {},
        });
        for (key, value) in fields.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        let verdict = assess(&object);
        assert_eq!(verdict.status, *expected, "{}: {object}", verdict.message);
    }
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason})
}

#[test]
fn conditions_that_contradict_each_other() {
    let of = |list: Value| json!({"status": {"conditions": list}});
    let ready = condition("Ready", "True", "AllIsWell");
    check(&[
        (
            Degraded,
            of(json!([ready, condition("Degraded", "True", "")])),
        ),
        (
            Healthy,
            of(json!([ready, condition("Degraded", "False", "")])),
        ),
        (
            Healthy,
            of(json!([ready, condition("FailedNodesReady", "True", "")])),
        ),
        (
            Healthy,
            of(json!([ready, condition("NoErrors", "True", "")])),
        ),
        (
            Progressing,
            of(json!([ready, condition("Updating", "True", "")])),
        ),
        (
            Healthy,
            of(json!([ready, condition("Initializing", "True", "")])),
        ),
        (
            Progressing,
            of(json!([condition("Initializing", "True", "")])),
        ),
        (
            Progressing,
            of(json!([
                ready,
                condition("Progressing", "True", "ReplicaSetUpdated")
            ])),
        ),
        (
            Healthy,
            of(json!([
                ready,
                condition("Progressing", "True", "NewReplicaSetAvailable")
            ])),
        ),
        (
            Progressing,
            of(json!([condition("Ready", "Unknown", "LastTryFailed")])),
        ),
        (
            Degraded,
            of(json!([condition("Ready", "False", "CreateFailed")])),
        ),
        (
            Progressing,
            of(json!([condition("Ready", "False", "SecretNotFound")])),
        ),
        (
            Progressing,
            of(json!([condition("NotReady", "True", "Creating")])),
        ),
        (Healthy, of(json!([condition("NotReady", "False", "")]))),
        (
            Degraded,
            of(json!([condition("Succeeded", "False", "Boom")])),
        ),
        (
            Progressing,
            of(json!([condition("Succeeded", "False", "Pending")])),
        ),
        (
            Degraded,
            of(json!([condition("Finished", "True", "JobFailed")])),
        ),
        (
            Healthy,
            of(json!([condition("example.com/READY", "true", "")])),
        ),
        (Healthy, of(json!([{"type": "Ready", "status": true}]))),
        (
            Progressing,
            of(json!([
                condition("PartAReady", "True", ""),
                condition("PartBReady", "False", "")
            ])),
        ),
        (
            Healthy,
            of(json!([ready, condition("PartBReady", "False", "Failed")])),
        ),
        (
            Suspended,
            of(json!([ready, condition("Paused", "True", "")])),
        ),
    ]);
}

#[test]
fn conditions_of_older_generations_do_not_count() {
    let old =
        |kind: &str, status: &str| json!({"type": kind, "status": status, "observedGeneration": 1});
    let of = |list: Value| json!({"status": {"conditions": list}});
    check(&[
        (Progressing, of(json!([old("Ready", "True")]))),
        (Progressing, of(json!([old("Ready", "False")]))),
        (
            Healthy,
            of(json!([
                condition("Ready", "True", ""),
                old("Degraded", "True")
            ])),
        ),
        (Progressing, of(json!([old("Curious", "True")]))),
        (
            Progressing,
            json!({"status": {"observedGeneration": "1", "phase": "Ready"}}),
        ),
        (
            Healthy,
            json!({"status": {"observedGeneration": "2", "phase": "Ready"}}),
        ),
        (
            Progressing,
            json!({"status": {"parents": [{"conditions": [old("Accepted", "True")]}]}}),
        ),
    ]);
}

#[test]
fn words_of_the_status() {
    check(&[
        (
            Progressing,
            json!({"status": {"phase": "Frobnicated?", "ready": false}}),
        ),
        (Progressing, json!({"status": {"phase": "Xyzzy"}})),
        (Healthy, json!({"status": {"stage": "production"}})),
        (
            Healthy,
            json!({"status": {"phase": "Ready", "lastBackupStatus": "Failed"}}),
        ),
        (
            Healthy,
            json!({"status": {"phase": "Ready", "desiredState": "Stopped"}}),
        ),
        (
            Degraded,
            json!({"status": {"phase": "Ready", "healthStatus": "red"}}),
        ),
        (
            Progressing,
            json!({"status": {"phase": "Running", "replicas": 3, "readyReplicas": 1}}),
        ),
        (
            Healthy,
            json!({"spec": {"replicas": 3}, "status": {"replicas": 3}}),
        ),
        (Degraded, json!({"status": {"error": "no such host"}})),
        (Healthy, json!({"status": {"error": "", "phase": "Ready"}})),
        (Degraded, json!({"status": {"valid": false}})),
        (Progressing, json!({"status": {"ready": false}})),
        (
            Degraded,
            json!({"status": {"finished": true, "successful": false}}),
        ),
        // A condition sums up: what is said of a part does not count against it.
        (
            Healthy,
            json!({"status": {"cache": {"state": "Failed"}, "conditions": [condition("Ready", "True", "")]}}),
        ),
        (Degraded, json!({"status": {"cache": {"state": "Failed"}}})),
        (
            Healthy,
            json!({"status": {"phase": 7, "conditions": {"Ready": true}}}),
        ),
    ]);
}

#[test]
fn parts_of_the_status() {
    check(&[
        (
            Progressing,
            json!({"status": {"instances": 3, "readyInstances": 2}}),
        ),
        (
            Healthy,
            json!({"status": {"instances": 3, "readyInstances": 3}}),
        ),
        (
            Progressing,
            json!({"spec": {"members": 5}, "status": {"updatedMembers": 4}}),
        ),
        (
            Healthy,
            json!({"status": {"ready": 2, "readyToGo": 1, "updated": "2"}}),
        ),
        (
            Degraded,
            json!({"status": {"readyToUse": false, "error": {"message": "no space"}}}),
        ),
        (
            Healthy,
            json!({"status": {"readyToUse": true, "error": {"message": "old"}}}),
        ),
        (Degraded, json!({"status": {"errors": ["no such field"]}})),
        (Healthy, json!({"status": {"errors": []}})),
        (
            Degraded,
            json!({"status": {"byNode": [{"id": "a"}, {"errors": [{"message": "bad"}]}]}}),
        ),
        (
            Progressing,
            json!({"status": {"byNode": [{"observedGeneration": 2}, {"observedGeneration": 1}]}}),
        ),
        (
            Healthy,
            json!({"status": {"byNode": [{"observedGeneration": 2}]}}),
        ),
        (
            Progressing,
            json!({"status": {"sync": {"observedGeneration": 1}}}),
        ),
        (
            Healthy,
            json!({"status": {"lastSync": {"observedGeneration": 1}}}),
        ),
        // A history of conditions: the last of a type is of now.
        (
            Healthy,
            json!({"status": {"conditions": [condition("Ready", "False", "Failed"), condition("Ready", "True", "")]}}),
        ),
        (Suspended, json!({"spec": {"enabled": false}, "status": {}})),
    ]);
}

#[test]
fn objects_that_run_to_an_end() {
    let backup = |status: Value| json!({"kind": "Backup", "status": status});
    check(&[
        (Progressing, backup(json!({"phase": "Running"}))),
        (Progressing, backup(json!({"phase": "Started"}))),
        (Progressing, backup(json!({}))),
        (Healthy, backup(json!({"phase": "Completed"}))),
        (Healthy, json!({"kind": "CronBackup", "status": {}})),
        (
            Healthy,
            json!({"kind": "Backup", "spec": {"schedule": "0 0 * * *"}, "status": {}}),
        ),
        (Healthy, json!({"kind": "ScaledJob", "status": {}})),
        (Progressing, json!({"kind": "JobSet", "status": {}})),
    ]);
}

#[test]
fn objects_that_are_held() {
    let ready = json!({"conditions": [condition("Ready", "True", "")]});
    check(&[
        (
            Suspended,
            json!({"spec": {"suspend": true}, "status": ready}),
        ),
        (
            Suspended,
            json!({"spec": {"suspend": true}, "status": {"observedGeneration": 1}}),
        ),
        (
            Progressing,
            json!({"spec": {"paused": true}, "status": {"state": "Stopping"}}),
        ),
        (
            Suspended,
            json!({"status": {"phase": "WaitingForApproval"}}),
        ),
        (Suspended, json!({"status": {"paused": true}})),
        (
            Healthy,
            json!({"spec": {"suspend": "never"}, "status": ready}),
        ),
    ]);
}
