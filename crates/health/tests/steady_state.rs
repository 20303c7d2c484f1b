//! The wait for one object, from our write to its end.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    missing_docs
)]

mod scene;

use scene::{Scene, at, container, pod, waiting};
use serde_json::{Value, json};
use sortie_health::Facts;
use sortie_health::diagnosis::{Budgets, Change, Class, Observation};
use sortie_health::steady::{Steady, SteadyState};

fn wait_for(answer: &Value) -> SteadyState {
    SteadyState::new(
        answer,
        Change::Changed,
        Facts::default(),
        Budgets::default(),
    )
}

fn alone(object: &Value) -> Observation<'_> {
    Observation {
        workload: object,
        revisions: [].as_slice().into(),
        pods: [].as_slice().into(),
        events: [].as_slice().into(),
    }
}

fn custom(kind: &str, api_version: &str, status: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "w", "uid": "u"}, "status": status})
}

#[test]
fn a_rollout_from_write_to_ready() {
    let mut scene = Scene::deployment(1);
    let mut steady = wait_for(&scene.workload);
    // What the cache still holds is the complete previous generation.
    let mut stale = scene.workload.clone();
    stale["metadata"]["generation"] = json!(6);
    stale["status"] = json!({"observedGeneration": 6, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1});
    assert!(matches!(
        steady.observe(&alone(&stale), at(0)),
        Steady::Waiting { trouble: None, .. }
    ));
    scene = scene.with_pod(pod("web-new-1").status(container(waiting("ContainerCreating", ""), 0)));
    let Steady::Waiting { verdict, trouble } = steady.observe(&scene.observation(), at(1)) else {
        panic!()
    };
    assert_eq!(
        (verdict.message.as_str(), trouble),
        ("0 of 1 updated replica is ready", None)
    );
    scene.workload["status"] = json!({"observedGeneration": 7, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1});
    assert!(matches!(
        steady.observe(&scene.observation(), at(2)),
        Steady::Reached(_)
    ));
    assert_eq!(steady.next_check(at(2)), None);
}

#[test]
fn a_rollout_that_fails() {
    let scene = Scene::deployment(1).with_pod(
        pod("web-new-1").status(container(waiting("ErrImagePull", "r/web:3: not found"), 0)),
    );
    let mut steady = wait_for(&scene.workload);
    let Steady::Failed(cause) = steady.observe(&scene.observation(), at(0)) else {
        panic!()
    };
    assert_eq!(cause.class, Class::ImageNotFound);
}

#[test]
fn failures_of_kinds_without_pods_must_last() {
    let bad = custom(
        "Widget",
        "example.com/v1",
        json!({"conditions": [{"type": "Stalled", "status": "True", "reason": "BadSpec"}]}),
    );
    let good = custom(
        "Widget",
        "example.com/v1",
        json!({"conditions": [{"type": "Ready", "status": "False"}]}),
    );
    let mut steady = wait_for(&bad);
    assert!(matches!(
        steady.observe(&alone(&bad), at(0)),
        Steady::Waiting {
            trouble: Some(_),
            ..
        }
    ));
    assert_eq!(steady.next_check(at(0)), Some(at(30)));
    assert!(matches!(
        steady.observe(&alone(&good), at(20)),
        Steady::Waiting { trouble: None, .. }
    ));
    assert_eq!(steady.next_check(at(20)), None);
    steady.observe(&alone(&bad), at(25));
    assert!(matches!(
        steady.observe(&alone(&bad), at(54)),
        Steady::Waiting { .. }
    ));
    let Steady::Failed(cause) = steady.observe(&alone(&bad), at(55)) else {
        panic!()
    };
    assert_eq!(cause.one_line(&[]), "Widget/w: Degraded: BadSpec");
}

#[test]
fn objects_that_disappear() {
    let widget = custom("Widget", "example.com/v1", json!({}));
    let mut steady = wait_for(&widget);
    assert!(matches!(
        steady.observe(&alone(&Value::Null), at(0)),
        Steady::Waiting { .. }
    ));
    let Steady::Failed(cause) = steady.observe(&alone(&Value::Null), at(30)) else {
        panic!()
    };
    assert_eq!(
        (cause.class, cause.object.name.as_str()),
        (Class::Gone, "w")
    );
    let mut other = widget.clone();
    other["metadata"]["uid"] = json!("another");
    let mut steady = wait_for(&widget);
    steady.observe(&alone(&other), at(0));
    assert!(matches!(
        steady.observe(&alone(&other), at(30)),
        Steady::Failed(_)
    ));
    assert!(matches!(
        wait_for(&widget).observe(&alone(&widget), at(0)),
        Steady::Reached(_)
    ));
}

#[test]
fn advisory_kinds_hold_nothing_up() {
    let status = json!({"conditions": [{"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"}]});
    for object in [
        custom("HorizontalPodAutoscaler", "autoscaling/v2", status),
        custom("HorizontalPodAutoscaler", "autoscaling/v2", json!({})),
        custom(
            "CronJob",
            "batch/v1",
            json!({"lastScheduleTime": "2026-01-01T12:00:00Z", "lastSuccessfulTime": "2026-01-01T11:00:00Z"}),
        ),
    ] {
        assert!(
            matches!(
                wait_for(&object).observe(&alone(&object), at(0)),
                Steady::Reached(_)
            ),
            "{object}"
        );
    }
}
