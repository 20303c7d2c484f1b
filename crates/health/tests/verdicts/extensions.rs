//! Kinds outside of Kubernetes itself that have published rules of their own.

use serde_json::{Value, json};
use sortie_health::Status::{Degraded, Healthy, Progressing, Suspended};

use super::{check, object};

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "observedGeneration": 2})
}

fn old(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Old", "observedGeneration": 1})
}

#[test]
fn gateways_and_their_classes() {
    let api = "gateway.networking.k8s.io/v1";
    let class = |list: Value| object(api, "GatewayClass", json!({}), json!({"conditions": list}));
    for (list, status, says) in [
        (
            json!([condition("Accepted", "True", "Accepted")]),
            Healthy,
            "accepted",
        ),
        (
            json!([condition("Accepted", "Unknown", "Pending")]),
            Progressing,
            "Pending",
        ),
        (
            json!([condition("Accepted", "False", "Waiting")]),
            Progressing,
            "Waiting",
        ),
        (
            json!([condition("Accepted", "False", "InvalidParameters")]),
            Degraded,
            "InvalidParameters",
        ),
        (
            json!([old("Accepted", "True")]),
            Progressing,
            "not accepted yet",
        ),
        (json!([]), Progressing, "not accepted yet"),
    ] {
        check(&class(list), status, says);
    }
    let gateway = |list: Value, listeners: Value| {
        object(
            api,
            "Gateway",
            json!({}),
            json!({"conditions": list, "listeners": listeners}),
        )
    };
    let accepted = condition("Accepted", "True", "Accepted");
    let programmed = condition("Programmed", "True", "Programmed");
    let listener = |of: Value| json!([{"name": "https", "conditions": [of]}]);
    for (list, listeners, status, says) in [
        (
            json!([accepted, programmed]),
            json!([]),
            Healthy,
            "programmed",
        ),
        (
            json!([accepted]),
            json!([]),
            Progressing,
            "not programmed yet",
        ),
        (
            json!([accepted, old("Programmed", "True")]),
            json!([]),
            Progressing,
            "not programmed yet",
        ),
        (
            json!([
                accepted,
                condition("Programmed", "False", "AddressNotAssigned")
            ]),
            json!([]),
            Progressing,
            "AddressNotAssigned",
        ),
        (
            json!([accepted, condition("Programmed", "False", "NoResources")]),
            json!([]),
            Degraded,
            "NoResources",
        ),
        (
            json!([
                condition("Accepted", "False", "InvalidParameters"),
                programmed
            ]),
            json!([]),
            Degraded,
            "InvalidParameters",
        ),
        (
            json!([accepted, programmed]),
            listener(condition("ResolvedRefs", "False", "InvalidCertificateRef")),
            Degraded,
            "listener https: InvalidCertificateRef",
        ),
        (
            json!([accepted, programmed]),
            listener(condition("Conflicted", "True", "HostnameConflict")),
            Degraded,
            "HostnameConflict",
        ),
        (
            json!([accepted, programmed]),
            listener(condition("Conflicted", "False", "NoConflicts")),
            Healthy,
            "programmed",
        ),
        (
            json!([accepted, programmed]),
            listener(old("ResolvedRefs", "False")),
            Healthy,
            "programmed",
        ),
    ] {
        check(&gateway(list, listeners), status, says);
    }
}

#[test]
fn routes_are_judged_for_each_parent() {
    let route = |parents: Value, told: Value| {
        object(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            json!({"parentRefs": parents}),
            json!({"parents": told}),
        )
    };
    let told = |name: &str, list: Value| json!({"parentRef": {"name": name}, "conditions": list});
    let accepted = condition("Accepted", "True", "Accepted");
    let resolved = condition("ResolvedRefs", "True", "ResolvedRefs");
    let one = json!([{"name": "a"}]);
    let two = json!([{"name": "a"}, {"name": "b"}]);
    let good = |name| told(name, json!([accepted, resolved]));
    for (parents, told, status, says) in [
        (one.clone(), json!([good("a")]), Healthy, "1 parent"),
        (
            one.clone(),
            json!([told("a", json!([accepted]))]),
            Healthy,
            "accepted",
        ),
        (one.clone(), json!([]), Progressing, "a has not looked"),
        (
            two.clone(),
            json!([good("a")]),
            Progressing,
            "b has not looked",
        ),
        (
            two.clone(),
            json!([good("a"), good("b")]),
            Healthy,
            "2 parents",
        ),
        (
            one.clone(),
            json!([told("a", json!([old("Accepted", "True")]))]),
            Progressing,
            "a: not accepted yet",
        ),
        (
            one.clone(),
            json!([told("a", json!([accepted, old("ResolvedRefs", "False")]))]),
            Healthy,
            "1 parent",
        ),
        (
            one.clone(),
            json!([told(
                "a",
                json!([condition("Accepted", "False", "NoMatchingParent")])
            )]),
            Degraded,
            "NoMatchingParent",
        ),
        (
            one.clone(),
            json!([told(
                "a",
                json!([condition("Accepted", "False", "Pending")])
            )]),
            Progressing,
            "Pending",
        ),
        (
            two,
            json!([
                good("a"),
                told(
                    "b",
                    json!([
                        accepted,
                        condition("ResolvedRefs", "False", "BackendNotFound")
                    ])
                )
            ]),
            Degraded,
            "b: not resolved: BackendNotFound",
        ),
        (
            one.clone(),
            json!([told(
                "a",
                json!([
                    accepted,
                    condition("PartiallyInvalid", "True", "UnsupportedValue")
                ])
            )]),
            Degraded,
            "UnsupportedValue",
        ),
        // What another parent says that is no longer named does not count.
        (
            one,
            json!([
                good("a"),
                told("z", json!([condition("Accepted", "False", "Gone")]))
            ]),
            Healthy,
            "1 parent",
        ),
        (
            json!([{"name": "a", "namespace": "shop", "kind": "Gateway"}]),
            json!([good("a")]),
            Healthy,
            "1 parent",
        ),
        (
            json!([{"name": "a", "sectionName": "https"}]),
            json!([good("a")]),
            Progressing,
            "not looked",
        ),
        (json!([]), json!([]), Healthy, "names no parent"),
    ] {
        check(&route(parents, told), status, says);
    }
}

#[test]
fn kinds_of_knative() {
    let service = |status: Value| object("serving.knative.dev/v1", "Service", json!({}), status);
    let ready = |status: &str| json!({"observedGeneration": 2, "conditions": [{"type": "Ready", "status": status, "reason": "RevisionMissing", "message": "m"}]});
    for (status, expected, says) in [
        (ready("True"), Healthy, "ready"),
        (ready("Unknown"), Progressing, "RevisionMissing"),
        (ready("False"), Degraded, "RevisionMissing"),
        (
            json!({"observedGeneration": 1, "conditions": ready("True")["conditions"]}),
            Progressing,
            "seen 1",
        ),
        (
            json!({"observedGeneration": 2}),
            Progressing,
            "not ready yet",
        ),
        (Value::Null, Progressing, "not ready yet"),
    ] {
        check(&service(status), expected, says);
    }
    let claim = object(
        "networking.internal.knative.dev/v1alpha1",
        "ClusterDomainClaim",
        json!({}),
        Value::Null,
    );
    check(&claim, Healthy, "exists");
}

#[test]
fn kinds_of_openshift() {
    let config = |spec: Value, status: Value| {
        object("apps.openshift.io/v1", "DeploymentConfig", spec, status)
    };
    let status = |latest: i64, updated: i64, available: i64, conditions: Value| {
        json!({"observedGeneration": 2, "latestVersion": latest, "replicas": 3, "updatedReplicas": updated,
            "readyReplicas": available, "availableReplicas": available, "conditions": conditions})
    };
    let three = json!({"replicas": 3});
    let failed = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]);
    for (spec, status, expected, says) in [
        (three.clone(), status(1, 3, 3, json!([])), Healthy, "3 of 3"),
        (
            three.clone(),
            status(2, 1, 3, json!([])),
            Progressing,
            "1 of 3 replicas are updated",
        ),
        (
            three.clone(),
            status(2, 3, 1, json!([])),
            Progressing,
            "1 of 3",
        ),
        (
            three.clone(),
            status(2, 1, 3, failed),
            Degraded,
            "ProgressDeadlineExceeded: timed out; 1 of 3",
        ),
        (
            three.clone(),
            status(0, 0, 0, json!([])),
            Progressing,
            "no rollout",
        ),
        (
            json!({"replicas": 3, "paused": true}),
            status(1, 3, 3, json!([])),
            Suspended,
            "paused",
        ),
        (
            json!({"replicas": 0}),
            json!({"observedGeneration": 2, "latestVersion": 1}),
            Healthy,
            "scaled to zero",
        ),
        (
            three.clone(),
            json!({"observedGeneration": 1, "latestVersion": 1}),
            Progressing,
            "seen 1",
        ),
        (three, Value::Null, Progressing, "not reported"),
    ] {
        check(&config(spec, status), expected, says);
    }
    let route = |admitted: Value| {
        object(
            "route.openshift.io/v1",
            "Route",
            json!({}),
            json!({"ingress": admitted}),
        )
    };
    let router = |status: &str| json!({"host": "web.example.org", "routerName": "default", "conditions": [{"type": "Admitted", "status": status, "reason": "HostAlreadyClaimed"}]});
    for (admitted, expected, says) in [
        (json!([router("True")]), Healthy, "web.example.org"),
        (
            json!([router("True"), router("False")]),
            Degraded,
            "router default: HostAlreadyClaimed",
        ),
        (json!([router("Unknown")]), Progressing, "no router"),
        (json!([]), Progressing, "no router"),
    ] {
        check(&route(admitted), expected, says);
    }
}

#[test]
fn argo_rollouts() {
    let rollout =
        |spec: Value, status: Value| object("argoproj.io/v1alpha1", "Rollout", spec, status);
    let phase =
        |phase: &str| json!({"observedGeneration": "2", "phase": phase, "message": "because"});
    for (spec, status, expected, says) in [
        (json!({}), phase("Healthy"), Healthy, "because"),
        (json!({}), phase("Progressing"), Progressing, "because"),
        (json!({}), phase("Paused"), Suspended, "because"),
        (json!({}), phase("Degraded"), Degraded, "because"),
        (
            json!({}),
            json!({"observedGeneration": "2", "phase": "Healthy"}),
            Healthy,
            "healthy",
        ),
        (
            json!({}),
            json!({"observedGeneration": "1", "phase": "Healthy"}),
            Progressing,
            "seen 1",
        ),
        (
            json!({}),
            json!({"observedGeneration": "6f8b9c", "phase": "Healthy"}),
            Healthy,
            "healthy",
        ),
        (
            json!({}),
            json!({"observedGeneration": "2", "phase": "Progressing", "abort": true}),
            Degraded,
            "aborted",
        ),
        (
            json!({"paused": true}),
            phase("Progressing"),
            Suspended,
            "paused",
        ),
        (
            json!({}),
            json!({"phase": "Degraded", "conditions": [{"type": "InvalidSpec", "status": "True", "reason": "InvalidSpec", "message": "no strategy"}]}),
            Degraded,
            "no strategy",
        ),
        (json!({}), Value::Null, Progressing, "not reported"),
    ] {
        check(&rollout(spec, status), expected, says);
    }
}

#[test]
fn kinds_without_a_status() {
    let of = |api, kind| json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "generation": 1}, "spec": {"podSelector": {}}});
    for (api, kind) in [
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("networking.k8s.io/v1", "IngressClass"),
        ("storage.k8s.io/v1", "StorageClass"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("v1", "LimitRange"),
        ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ] {
        check(&of(api, kind), Healthy, "exists");
    }
    let slice = |endpoints: Value| json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "x"}, "endpoints": endpoints});
    check(&slice(json!([])), Healthy, "no endpoints");
    let endpoints = json!([{"conditions": {"ready": true}}, {"conditions": {"ready": false}}, {}]);
    check(&slice(endpoints), Healthy, "2 of 3 endpoints are ready");
}
