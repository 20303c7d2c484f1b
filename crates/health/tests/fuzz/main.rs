//! The fuzz bodies, run over the corpus of operator statuses and objects of the built-in kinds, over changed parts of them, and over
//! random bytes.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)]

mod bodies;
#[path = "../samples/mod.rs"]
#[allow(dead_code, reason = "this test needs only the objects")]
mod samples;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every object of the corpus, and one of each built-in kind with all that its rule reads.
fn corpus() -> Vec<Value> {
    let operators = samples::corpus();
    let samples = operators.into_iter().flat_map(|it| it.samples);
    let status = json!({
        "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 3,
        "currentRevision": "a", "updateRevision": "b", "desiredNumberScheduled": 3, "numberReady": 1, "phase": "Running", "active": [{}],
        "succeeded": 1, "failed": 1, "startTime": "2026-01-01T00:00:00Z", "lastScheduleTime": "2026-01-01T00:00:00Z", "latestVersion": 1,
        "lastSuccessfulTime": "2026-01-01T00:00:00Z", "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
            {"type": "Failed", "status": "False"}, {"type": "AbleToScale", "status": "True"}, {"type": "PodScheduled", "status": "False"}],
        "containerStatuses": [{"name": "web", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}}}],
        "parents": [{"parentRef": {"name": "gw"}, "conditions": [{"type": "Accepted", "status": "True"}]}],
        "listeners": [{"name": "http", "conditions": [{"type": "Conflicted", "status": "True"}]}],
        "ingress": [{"host": "h", "conditions": [{"type": "Admitted", "status": "True"}]}],
    });
    let spec = json!({
        "replicas": 3, "paused": false, "type": "LoadBalancer", "clusterIP": "10.0.0.1", "selector": {"app": "web"}, "restartPolicy": "Always",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, "ordinals": {"start": 1}, "parentRefs": [{"name": "gw"}],
        "containers": [{"name": "web", "readinessProbe": {"periodSeconds": 10}, "startupProbe": {"failureThreshold": 30}}],
        "progressDeadlineSeconds": 600, "minReadySeconds": 5, "volumeName": "v", "suspend": false,
    });
    let kinds = [
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("v1", "Pod"),
        ("v1", "ReplicationController"),
        ("v1", "Service"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "PersistentVolume"),
        ("v1", "Namespace"),
        ("networking.k8s.io/v1", "Ingress"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("apiregistration.k8s.io/v1", "APIService"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("policy/v1", "PodDisruptionBudget"),
        ("gateway.networking.k8s.io/v1", "GatewayClass"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("apps.openshift.io/v1", "DeploymentConfig"),
        ("route.openshift.io/v1", "Route"),
        ("argoproj.io/v1alpha1", "Rollout"),
        ("serving.knative.dev/v1", "Service"),
        ("example.com/v1", "Widget"),
    ];
    let built_in = kinds.into_iter().map(|(api, kind)| {
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "uid": "u", "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "1"}, "labels": {"app": "web"}, "ownerReferences": [{"uid": "u", "controller": true}]},
            "spec": spec, "status": status, "endpoints": [{"conditions": {"ready": true}}]})
    });
    samples.map(|it| it.object).chain(built_in).collect()
}

#[test]
fn the_corpus_itself() {
    for object in corpus() {
        bodies::judge(&object);
        bodies::object(object.to_string().as_bytes());
    }
}

#[derive(Debug, Clone)]
enum Change {
    /// Another value in place of the one at that place.
    Put(usize, Value),
    /// The value of one place in another.
    Copy(usize, usize),
    Remove(usize),
    /// Not a change of values but of bytes.
    Byte(usize, u8),
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2..5_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!(u64::MAX)),
        prop::sample::select(vec![
            "True",
            "False",
            "Unknown",
            "",
            "9223372036854775807",
            "2026-01-01T00:00:00Z",
            "é\u{202e}\n",
            "Failed",
            "Paused"
        ])
        .prop_map(Value::from),
        "\\PC{0,300}".prop_map(Value::from),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    prop_oneof![
        3 => (at(), odd()).prop_map(|(at, value)| Change::Put(at, value)),
        2 => (at(), at()).prop_map(|(from, to)| Change::Copy(from, to)),
        1 => at().prop_map(Change::Remove),
        1 => (at(), 0x20..0x7f_u8).prop_map(|(at, byte)| Change::Byte(at, byte)),
    ]
}

/// How many values there are in it, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Does something to the value with that number, in the order of the text.
fn at(value: &mut Value, number: &mut usize, act: &mut dyn FnMut(&mut Value)) {
    if *number == 0 {
        act(value);
    }
    let Some(left) = number.checked_sub(1) else {
        *number = usize::MAX;
        return;
    };
    *number = left;
    let inner: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    for value in inner {
        if *number == usize::MAX {
            return;
        }
        at(value, number, act);
    }
}

fn apply(object: &mut Value, change: &Change) {
    // The kind stays, so that the rule of the kind is met.
    let place =
        |object: &Value, number: &usize| 1 + number % count(object).max(2).saturating_sub(1);
    match change {
        Change::Put(number, value) => {
            let mut number = place(object, number);
            at(object, &mut number, &mut |it| *it = value.clone());
        }
        Change::Copy(from, to) => {
            let (mut from, mut to) = (place(object, from), place(object, to));
            let mut copied = Value::Null;
            at(object, &mut from, &mut |it| copied = it.clone());
            if count(&copied) < 200 {
                at(object, &mut to, &mut |it| *it = copied.clone());
            }
        }
        Change::Remove(number) => {
            let mut number = place(object, number);
            at(object, &mut number, &mut |it| match it {
                Value::Array(list) => drop(list.pop()),
                Value::Object(map) => map.clear(),
                other => *other = Value::Null,
            });
        }
        Change::Byte(number, byte) => {
            let mut bytes = object.to_string().into_bytes();
            let at = number % bytes.len();
            bytes[at] = *byte;
            bodies::object(&bytes);
        }
    }
}

#[test]
fn a_change_reaches_every_place() {
    let object = json!({"a": [1, {"b": 2}], "c": 3});
    assert_eq!(count(&object), 6);
    let changed: Vec<Value> = (0..6)
        .map(|mut number| {
            let mut object = object.clone();
            at(&mut object, &mut number, &mut |it| *it = json!("x"));
            object
        })
        .collect();
    let expected = [
        json!("x"),
        json!({"a": "x", "c": 3}),
        json!({"a": ["x", {"b": 2}], "c": 3}),
        json!({"a": [1, "x"], "c": 3}),
        json!({"a": [1, {"b": "x"}], "c": 3}),
        json!({"a": [1, {"b": 2}], "c": "x"}),
    ];
    assert_eq!(changed, expected);
}

/// Pieces of rules.
const PIECES: [&str; 44] = [
    "status",
    "spec",
    "self",
    ".phase",
    ".conditions",
    ".list",
    ".map",
    "[0]",
    "['a']",
    "[*]",
    " == ",
    " != ",
    " < ",
    " && ",
    " || ",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " in ",
    "!",
    "(",
    ")",
    "'Ready'",
    "\"x\"",
    "1",
    "2.5",
    "null",
    "true",
    "has(",
    "size(",
    ".all(c, ",
    ".exists(c, ",
    ".map(c, ",
    "c",
    ".contains(",
    ".matches(",
    "json.select('$..status', response)",
    "response",
    "${",
    "}",
    " ? 'Degraded: x' : ",
    "<+status.phase>",
];

proptest! {
    #[test]
    fn changed_objects(which in any::<prop::sample::Index>(), changes in vec(change(), 1..8)) {
        thread_local! {
            static CORPUS: Vec<Value> = corpus();
        }
        let mut object = CORPUS.with(|corpus| which.get(corpus).clone());
        for change in &changes {
            apply(&mut object, change);
        }
        bodies::judge(&object);
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        bodies::object(&bytes);
        bodies::rule(&bytes);
    }

    #[test]
    fn pieces_of_rules(pieces in vec(prop::sample::select(&PIECES[..]), 0..16)) {
        bodies::rule(pieces.concat().as_bytes());
    }
}
