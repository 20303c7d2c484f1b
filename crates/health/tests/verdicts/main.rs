//! Verdicts per kind and state, on objects as a real API server shows them (less the fields that no rule reads).

#![allow(clippy::needless_pass_by_value, reason = "json! literals as arguments")]

mod conventions;
mod extensions;
mod others;
mod workloads;

use serde_json::{Value, json};
use sortie_health::{Status, assess};

fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 2},
        "spec": spec, "status": status,
    })
}

#[track_caller]
fn check(object: &Value, status: Status, says: &str) {
    let verdict = assess(object);
    assert_eq!(verdict.status, status, "{}: {object}", verdict.message);
    assert!(
        verdict.message.contains(says),
        "{:?} lacks {says:?}",
        verdict.message
    );
}

fn deployment(spec: Value, status: Value) -> Value {
    object("apps/v1", "Deployment", spec, status)
}
