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
    let mut steady = wait_for(&widget);
    steady.observe(&alone(&widget), at(0));
    assert!(matches!(
        steady.observe(&alone(&widget), at(3)),
        Steady::Reached(_)
    ));
}

/// A custom resource that was ready before our change still says so right after it.
#[test]
fn a_status_that_may_be_old_is_not_believed_at_once() {
    let widget = |generation: i64, status: Value| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {},
            "metadata": {"name": "w", "uid": "u", "generation": generation}, "status": status})
    };
    let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
    let reached = |steady: &mut SteadyState, object: &Value, seconds| {
        matches!(
            steady.observe(&alone(object), at(seconds)),
            Steady::Reached(_)
        )
    };
    let old = widget(2, ready("True"));
    let mut steady = wait_for(&old);
    assert!(!reached(&mut steady, &old, 0));
    assert_eq!(steady.next_check(at(0)), Some(at(3)));
    assert!(!reached(&mut steady, &old, 2));
    assert!(reached(&mut steady, &old, 3));
    // Its controller wakes up within that time, and is done later.
    let mut steady = wait_for(&old);
    assert!(!reached(&mut steady, &old, 0));
    assert!(!reached(&mut steady, &widget(2, ready("False")), 1));
    assert!(!reached(&mut steady, &widget(2, ready("False")), 9));
    let done = json!({"conditions": [{"type": "Ready", "status": "True", "message": "again"}]});
    assert!(reached(&mut steady, &widget(2, done), 10));
    // No status at all: its controller has not looked yet, or never writes one.
    let new = widget(1, Value::Null);
    let mut steady = wait_for(&new);
    assert!(!reached(&mut steady, &new, 0));
    assert!(reached(&mut steady, &widget(1, ready("True")), 1));

    let at_once = [
        widget(2, json!({"observedGeneration": 2, "phase": "Ready"})),
        widget(
            2,
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]}),
        ),
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "data": {}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "w", "generation": 1}, "spec": {}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w"}}),
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"suspend": true}}),
    ];
    for object in at_once {
        assert!(reached(&mut wait_for(&object), &object, 0), "{object}");
    }
    let mut unchanged = SteadyState::new(
        &old,
        Change::Unchanged,
        Facts::default(),
        Budgets::default(),
    );
    assert!(reached(&mut unchanged, &old, 0));
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
