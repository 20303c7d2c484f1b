//! Kinds that run no pods, and those without a rule.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, missing_docs)]

use serde_json::{Value, json};
use sortie_health::{Facts, Status, VolumeBinding, assess, assess_with, selects};

use Status::{Degraded, Healthy, Missing, Progressing, Unknown};

use super::{check, object};

#[test]
fn services_and_ingresses() {
    let service = |spec: Value, status: Value| object("v1", "Service", spec, status);
    let balancer =
        json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "selector": {"app": "web"}});
    check(
        &service(
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"}),
            json!({}),
        ),
        Healthy,
        "10.0.0.1",
    );
    check(
        &service(json!({"clusterIP": "None"}), json!({})),
        Healthy,
        "headless",
    );
    check(
        &service(json!({}), json!({})),
        Progressing,
        "no cluster address",
    );
    check(
        &service(
            json!({"type": "ExternalName", "externalName": "db.example"}),
            json!({}),
        ),
        Healthy,
        "db.example",
    );
    check(
        &service(balancer.clone(), json!({"loadBalancer": {}})),
        Progressing,
        "load balancer",
    );
    check(
        &service(
            balancer.clone(),
            json!({"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}),
        ),
        Healthy,
        "lb.example",
    );
    let not_wanted = Facts {
        load_balancer_address_wanted: false,
        pods_selected: Some(0),
        ..Facts::default()
    };
    let verdict = assess_with(&service(balancer.clone(), json!({})), &not_wanted);
    assert_eq!(verdict.status, Healthy);
    assert!(
        verdict.message.contains("matches no pod"),
        "{}",
        verdict.message
    );
    assert!(selects(
        &service(balancer.clone(), json!({})),
        &json!({"app": "web", "color": "blue"})
    ));
    assert!(!selects(
        &service(balancer, json!({})),
        &json!({"app": "api"})
    ));
    assert!(!selects(
        &service(json!({}), json!({})),
        &json!({"app": "api"})
    ));

    let ingress = object(
        "networking.k8s.io/v1",
        "Ingress",
        json!({}),
        json!({"loadBalancer": {}}),
    );
    check(&ingress, Healthy, "no address");
    let wanted = Facts {
        ingress_address_wanted: true,
        ..Facts::default()
    };
    assert_eq!(assess_with(&ingress, &wanted).status, Progressing);
    let with_address = object(
        "networking.k8s.io/v1",
        "Ingress",
        json!({}),
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
    );
    assert_eq!(assess_with(&with_address, &wanted).status, Healthy);
}

#[test]
fn claims_and_namespaces() {
    let claim = |status: Value| {
        object(
            "v1",
            "PersistentVolumeClaim",
            json!({"volumeName": "pv-1"}),
            status,
        )
    };
    check(&claim(json!({"phase": "Bound"})), Healthy, "bound to pv-1");
    check(&claim(json!({"phase": "Lost"})), Degraded, "lost");
    check(
        &claim(json!({"phase": "Pending"})),
        Progressing,
        "if its class says so",
    );
    check(
        &claim(json!({"phase": "Bound", "conditions": [{"type": "Resizing", "status": "True"}]})),
        Progressing,
        "resized",
    );
    let first_consumer = |mounted| Facts {
        volume_binding: Some(VolumeBinding::WaitForFirstConsumer),
        claim_is_mounted: mounted,
        ..Facts::default()
    };
    for (mounted, status) in [
        (Some(false), Healthy),
        (Some(true), Progressing),
        (None, Progressing),
    ] {
        assert_eq!(
            assess_with(
                &claim(json!({"phase": "Pending"})),
                &first_consumer(mounted)
            )
            .status,
            status
        );
    }
    check(
        &object("v1", "Namespace", json!({}), json!({"phase": "Active"})),
        Healthy,
        "active",
    );
    check(
        &object(
            "v1",
            "Namespace",
            json!({}),
            json!({"phase": "Terminating"}),
        ),
        Progressing,
        "deleted",
    );
    check(
        &object(
            "v1",
            "PersistentVolume",
            json!({}),
            json!({"phase": "Failed", "message": "gone"}),
        ),
        Degraded,
        "gone",
    );
}

#[test]
fn extensions() {
    let definition = |conditions: Value| {
        object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": conditions}),
        )
    };
    check(
        &definition(
            json!([{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]),
        ),
        Healthy,
        "established",
    );
    check(
        &definition(
            json!([{"type": "NamesAccepted", "status": "False", "reason": "ListKindConflict", "message": "in use"}]),
        ),
        Degraded,
        "in use",
    );
    check(
        &definition(json!([{"type": "Established", "status": "False", "reason": "Installing"}])),
        Progressing,
        "not established",
    );
    check(
        &definition(
            json!([{"type": "Established", "status": "True"}, {"type": "NonStructuralSchema", "status": "True", "reason": "Violations"}]),
        ),
        Degraded,
        "Violations",
    );
    check(
        &definition(
            json!([{"type": "Established", "status": "True"}, {"type": "Terminating", "status": "True"}]),
        ),
        Progressing,
        "deleted",
    );
    check(&definition(json!([])), Progressing, "not established");
    let service = |status: &str| {
        object(
            "apiregistration.k8s.io/v1",
            "APIService",
            json!({}),
            json!({"conditions": [{"type": "Available", "status": status, "reason": "MissingEndpoints"}]}),
        )
    };
    check(&service("True"), Healthy, "available");
    check(&service("False"), Progressing, "MissingEndpoints");
}

#[test]
fn autoscalers_and_budgets() {
    let scaler = |conditions: Value| {
        object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({}),
            json!({"currentReplicas": 2, "desiredReplicas": 3, "conditions": conditions}),
        )
    };
    check(
        &scaler(json!([{"type": "AbleToScale", "status": "True"}])),
        Healthy,
        "2 replicas, 3 wanted",
    );
    check(
        &scaler(
            json!([{"type": "AbleToScale", "status": "True"}, {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}]),
        ),
        Healthy,
        "TooManyReplicas",
    );
    check(
        &scaler(json!([{"type": "AbleToScale", "status": "False", "reason": "FailedGetScale"}])),
        Degraded,
        "FailedGetScale",
    );
    check(
        &scaler(
            json!([{"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"}]),
        ),
        Degraded,
        "FailedGetResourceMetric",
    );
    check(
        &scaler(
            json!([{"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}]),
        ),
        Healthy,
        "off",
    );
    check(&scaler(json!([])), Progressing, "not looked");
    let budget = |status: Value| object("policy/v1", "PodDisruptionBudget", json!({}), status);
    check(
        &budget(
            json!({"observedGeneration": 2, "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2}),
        ),
        Healthy,
        "1 disruption allowed (3 pods healthy, 2 needed)",
    );
    check(&budget(json!({})), Progressing, "not reported");
    let condition = |reason: &str| json!({"observedGeneration": 2, "conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": "m"}]});
    check(&budget(condition("SyncFailed")), Degraded, "SyncFailed");
    check(
        &budget(condition("InsufficientPods")),
        Healthy,
        "0 disruptions allowed",
    );
}

#[test]
fn kinds_without_a_rule() {
    let custom = |status: Value| object("example.com/v1", "Widget", json!({}), status);
    let conditions = |list: Value| custom(json!({"conditions": list}));
    check(
        &conditions(json!([{"type": "Ready", "status": "True"}])),
        Healthy,
        "ready",
    );
    check(
        &conditions(
            json!([{"type": "Ready", "status": "False", "reason": "Pulling", "message": "wait"}]),
        ),
        Progressing,
        "not ready: Pulling: wait",
    );
    check(
        &conditions(json!([{"type": "Ready", "status": "Unknown"}])),
        Progressing,
        "condition Ready is Unknown",
    );
    check(
        &conditions(
            json!([{"type": "Synced", "status": "True"}, {"type": "Ready", "status": "False"}]),
        ),
        Progressing,
        "not ready",
    );
    check(
        &conditions(
            json!([{"type": "Stalled", "status": "True", "reason": "BadSpec"}, {"type": "Ready", "status": "True"}]),
        ),
        Degraded,
        "BadSpec",
    );
    check(
        &conditions(
            json!([{"type": "Reconciling", "status": "True", "message": "half way"}, {"type": "Ready", "status": "True"}]),
        ),
        Progressing,
        "half way",
    );
    check(
        &conditions(json!([{"type": "Failed", "status": "True", "reason": "Broken"}])),
        Degraded,
        "Broken",
    );
    check(
        &conditions(json!([{"type": "Ready", "status": "True", "observedGeneration": 1}])),
        Progressing,
        "earlier generation",
    );
    check(
        &conditions(json!([{"type": "Curious", "status": "False"}])),
        Healthy,
        "says nothing",
    );
    check(
        &custom(
            json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}),
        ),
        Progressing,
        "seen 1",
    );
    check(&custom(json!({"phase": "Succeeded"})), Healthy, "Succeeded");
    check(
        &custom(json!({"state": "ERROR", "message": "no disk"})),
        Degraded,
        "ERROR: no disk",
    );
    check(
        &custom(json!({"phase": "Provisioning"})),
        Progressing,
        "Provisioning",
    );
    check(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}}),
        Healthy,
        "exists",
    );
    // Same kind name, other group: not our rule.
    check(
        &object("serving.example.com/v1", "Service", json!({}), json!({})),
        Healthy,
        "exists",
    );
}

#[test]
fn the_ladder_before_every_rule() {
    check(&Value::Null, Missing, "does not exist");
    check(&json!([1]), Unknown, "no kind");
    check(&json!({"metadata": {}}), Unknown, "no kind");
    let going = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}});
    check(&going, Progressing, "waiting for example.com/hold");
    // Nobody has to do anything about the garbage collector's.
    let mut collected = going;
    collected["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    assert_eq!(assess(&collected).message, "is being deleted");
    let hostile = object(
        "example.com/v1",
        "Widget",
        json!({}),
        json!({"phase": "Failed", "message": format!("a\n\u{1b}[2J{}", "x".repeat(5000))}),
    );
    let verdict = assess(&hostile);
    assert!(
        verdict.message.chars().count() <= 600 && !verdict.message.chars().any(char::is_control)
    );
}
