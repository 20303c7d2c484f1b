//! What must hold for any bytes: never a panic, always a verdict. Plain functions, for whichever driver.

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_health::diagnosis::{Budgets, Change, Diagnosis, Diagnostician, Observation};
use sortie_health::steady::{Steady, SteadyState};
use sortie_health::{ClusterRules, Facts, Rule, Status, Verdict, Written, assess, assess_after};

/// Bytes as one object.
pub fn object(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        judge(&value);
    }
}

/// Any JSON as an object of the cluster, alone and among others like it.
pub fn judge(object: &Value) {
    let verdict = assess(object);
    check(&verdict);
    assert_eq!(verdict, assess(object), "the same twice");
    assert_eq!(verdict.status == Status::Missing, object.is_null());
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("");
    if !kind.is_empty() {
        // What is being deleted is never taken for done, whatever else it says.
        let mut deleted = object.clone();
        if let Some(metadata) = deleted.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(
                "deletionTimestamp".to_owned(),
                json!("2026-01-01T00:00:00Z"),
            );
            assert_eq!(assess(&deleted).status, Status::Progressing, "{deleted}");
        }
        // Nor is what was read before our write.
        let unseen = Written {
            uid: Some("never-this".to_owned()),
            generation: Some(i64::MAX),
            resource_version: Some(u64::MAX.to_string()),
        };
        if unseen.unseen(object).is_some() {
            let before = assess_after(object, &unseen, &Facts::default());
            assert_eq!(before.status, Status::Progressing);
        }
    }
    wait(object);
}

fn wait(object: &Value) {
    let observation = Observation {
        workload: object,
        revisions: vec![object].into(),
        pods: vec![object].into(),
        events: vec![object].into(),
    };
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
    let facts = Facts::default();
    let mut steady = SteadyState::new(object, Change::Unchanged, facts, Budgets::default());
    for second in [0, 1, 59, 3600] {
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second);
        if let Diagnosis::Fatal(cause) = diagnostician.observe(&observation, now) {
            assert!(!cause.one_line(&[]).chars().any(char::is_control));
        }
        assert!(diagnostician.next_check(now).is_none_or(|next| next >= now));
        match steady.observe(&observation, now) {
            Steady::Reached(verdict) | Steady::Waiting { verdict, .. } => check(&verdict),
            Steady::Failed(cause) => assert!(!cause.code().is_empty()),
        }
        assert!(steady.next_check(now).is_none_or(|next| next >= now));
    }
}

/// Bytes as a rule of every sort, on an object that has all sorts of fields.
pub fn rule(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut object = json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "annotations": {}},
        "spec": {"replicas": 2, "paused": false},
        "status": {"phase": "Ready", "list": [1, 2.5, null, "x"], "map": {"a": {"b": []}},
            "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let of_kind = ClusterRules::of(&json!({"data": {"Widget.example.com": text}}));
    let facts = Facts {
        rules: of_kind.into(),
        ..Facts::default()
    };
    check(&sortie_health::assess_with(&object, &facts));
    for annotation in [
        "sortie.dev/health",
        "harness.io/steadyStateCondition",
        "harness.io/failureCondition",
    ] {
        object["metadata"]["annotations"] = json!({ annotation: text });
        let verdict = assess(&object);
        check(&verdict);
        if Rule::of(&object).is_err() {
            assert_eq!(verdict.status, Status::Unknown, "{text}");
        }
    }
}

#[track_caller]
fn check(verdict: &Verdict) {
    let Verdict { message, .. } = verdict;
    assert!(!message.is_empty(), "{verdict:?}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
    assert!(message.chars().count() <= 600, "{message}");
}
