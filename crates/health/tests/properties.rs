//! What holds for any object, however odd.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, missing_docs)]

mod scene;

use proptest::collection::vec;
use proptest::prelude::*;
use scene::{Scene, at, container, event, pod, running, terminated, waiting};
use serde_json::{Value, json};
use sortie_health::diagnosis::{Budgets, Change, Class, Diagnosis, Diagnostician, Observation};
use sortie_health::steady::SteadyState;
use sortie_health::{Facts, Status, assess};

/// Field names that rules look at, so that random objects reach deep into them.
const FIELDS: [&str; 44] = [
    "metadata",
    "name",
    "uid",
    "generation",
    "observedGeneration",
    "labels",
    "annotations",
    "ownerReferences",
    "deletionTimestamp",
    "spec",
    "replicas",
    "updateStrategy",
    "rollingUpdate",
    "partition",
    "type",
    "status",
    "phase",
    "conditions",
    "reason",
    "message",
    "containerStatuses",
    "initContainerStatuses",
    "containers",
    "readinessProbe",
    "startupProbe",
    "periodSeconds",
    "failureThreshold",
    "state",
    "lastState",
    "waiting",
    "running",
    "terminated",
    "exitCode",
    "startedAt",
    "finishedAt",
    "restartCount",
    "readyReplicas",
    "availableReplicas",
    "updatedReplicas",
    "completions",
    "desiredNumberScheduled",
    "minReadySeconds",
    "maxUnavailable",
    "involvedObject",
];

const WORDS: [&str; 16] = [
    "True",
    "False",
    "Running",
    "Pending",
    "Failed",
    "Ready",
    "Progressing",
    "ReplicaFailure",
    "CrashLoopBackOff",
    "ErrImagePull",
    "ProgressDeadlineExceeded",
    "2026-01-01T12:00:00Z",
    "workload",
    "web",
    "50%",
    "\u{202e}\u{0}",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..10).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(6, 96, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((prop::sample::select(&FIELDS[..]), inner), 0..8).prop_map(|fields| {
                Value::Object(
                    fields
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

fn kinds() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(vec![
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("v1", "Pod"),
        ("v1", "Service"),
        ("v1", "PersistentVolumeClaim"),
        ("networking.k8s.io/v1", "Ingress"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("policy/v1", "PodDisruptionBudget"),
        ("example.com/v1", "Widget"),
    ])
}

fn of_kind() -> impl Strategy<Value = Value> {
    (kinds(), anything(), anything(), anything()).prop_map(|((api_version, kind), metadata, spec, status)| {
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "status": status})
    })
}

/// A random object laid over a real scene, so that owners and hashes still fit.
fn overlay(target: &mut Value, noise: &Value) {
    match (target, noise) {
        (Value::Object(target), Value::Object(noise)) => {
            for (key, value) in noise {
                overlay(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, noise) => *target = noise.clone(),
    }
}

const TROUBLES: [&str; 5] = [
    "CrashLoopBackOff",
    "ErrImagePull",
    "CreateContainerConfigError",
    "ContainerCreating",
    "RunContainerError",
];

fn container_state() -> impl Strategy<Value = Value> {
    (
        prop::sample::select(&TROUBLES[..]),
        0i64..5,
        0i64..300,
        0usize..3,
    )
        .prop_map(|(reason, restarts, ran, state)| {
            let state = match state {
                0 => waiting(reason, "not found"),
                1 => running(),
                _ => terminated(ran % 3, "Error", ran),
            };
            let mut status = container(state, restarts);
            status["lastState"] = terminated(1, "Error", ran);
            status
        })
}

proptest! {
    #[test]
    fn any_json_gets_a_verdict_of_one_line(object in prop_oneof![anything(), of_kind()]) {
        let verdict = assess(&object);
        prop_assert!(!verdict.message.is_empty());
        prop_assert!(!verdict.message.chars().any(char::is_control));
        prop_assert!(verdict.message.chars().count() <= 600);
        prop_assert_eq!(verdict.status == Status::Missing, object.is_null());
    }

    #[test]
    fn any_json_can_be_diagnosed(
        object in of_kind(), others in vec(anything(), 0..4), noise in vec(anything(), 3), times in vec(-10i64..9_000, 1..5),
    ) {
        let mut noisy = Scene::deployment(2)
            .with_pod(pod("web-new-1").ready())
            .with_event(event("web-new-1", "Unhealthy", 1, "Readiness probe failed"));
        overlay(&mut noisy.workload["status"], &noise[0]);
        overlay(&mut noisy.pods[0]["status"], &noise[1]);
        overlay(&mut noisy.pods[0]["spec"]["containers"][0], &noise[2]);
        let odd = Observation { workload: &object, revisions: others.iter().collect(), pods: others.iter().collect(), events: others.iter().collect() };
        for observation in [odd, noisy.observation()] {
            let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
            let mut steady = SteadyState::new(observation.workload, Change::Unchanged, Facts::default(), Budgets::default());
            for time in &times {
                let now = at(*time);
                let diagnosis = diagnostician.observe(&observation, now);
                let next = diagnostician.next_check(now);
                prop_assert!(next.is_none_or(|next| next >= now));
                if let Diagnosis::Pending { deadline, .. } = &diagnosis {
                    prop_assert!(next.is_some_and(|next| next <= *deadline));
                }
                if let Diagnosis::Fatal(cause) | Diagnosis::Warning(cause) | Diagnosis::Pending { cause, .. } = &diagnosis {
                    let line = cause.one_line(&["log\nline".to_owned()]);
                    prop_assert!(!line.chars().any(char::is_control));
                    prop_assert!(line.chars().count() < 2500);
                }
                steady.observe(&observation, now);
            }
        }
    }

    #[test]
    fn a_healthy_deployment_has_all_its_replicas(
        desired in 0i64..4, replicas in 0i64..5, updated in 0i64..5, ready in 0i64..5, available in 0i64..5,
        generation in 1i64..3, observed in 1i64..3, paused in any::<bool>(),
    ) {
        let verdict = assess(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": generation},
            "spec": {"replicas": desired, "paused": paused, "strategy": {"rollingUpdate": {"maxUnavailable": 3}}},
            "status": {"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated,
                "readyReplicas": ready, "availableReplicas": available}}));
        if verdict.status == Status::Healthy {
            prop_assert!(observed >= generation && !paused);
            prop_assert_eq!(replicas, desired);
            if desired > 0 {
                prop_assert!(updated == desired && ready >= desired && available >= desired);
            }
        }
    }

    #[test]
    fn nothing_is_fatal_while_all_pods_are_ready(
        replicas in 1i64..4, events in vec((0usize..5, 0i64..50), 0..6), times in vec(0i64..100_000, 1..5), deadline in any::<bool>(),
    ) {
        let reasons = ["Unhealthy", "FailedCreate", "FailedMount", "Failed", "BackOff"];
        for scene in [Scene::deployment(replicas), Scene::stateful_set(replicas), Scene::daemon_set(replicas)] {
            let mut scene = scene;
            if deadline {
                scene.workload["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
            }
            for index in 0..replicas {
                let name = format!("web-{index}");
                let owner = if scene.revisions.is_empty() { "workload" } else { "set-new" };
                scene = scene.with_pod(pod(&name).owner(owner).label("pod-template-generation", "4").ready());
            }
            for (reason, second) in &events {
                scene = scene
                    .with_event(event("web-0", reasons[*reason], *second, "Readiness probe failed: exceeded quota not found"))
                    .with_event(event("workload", reasons[*reason], *second, "exceeded quota"));
            }
            let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
            let mut times = times.clone();
            times.sort_unstable();
            for time in times {
                let diagnosis = diagnostician.observe(&scene.observation(), at(time));
                prop_assert!(!matches!(diagnosis, Diagnosis::Fatal(_)), "{:?}", diagnosis);
            }
        }
    }

    /// Whoever looks exactly when told to finds what whoever looks all the time finds, at the same moment.
    #[test]
    fn one_timer_is_as_good_as_polling(states in vec(container_state(), 1..4)) {
        let mut scene = Scene::deployment(5);
        for (index, state) in states.into_iter().enumerate() {
            let name = format!("web-{index}");
            scene = scene.with_pod(pod(&name).probe("readinessProbe", json!({})).status(state));
        }
        let mut polling = Diagnostician::new(Budgets::default(), Change::Changed);
        let polled = (0..2_000).find(|second| {
            matches!(polling.observe(&scene.observation(), at(*second)), Diagnosis::Fatal(_))
        });
        let mut timed = Diagnostician::new(Budgets::default(), Change::Changed);
        let mut now = at(0);
        let found = loop {
            if let Diagnosis::Fatal(_) = timed.observe(&scene.observation(), now) {
                break Some(now);
            }
            match timed.next_check(now) {
                Some(next) if next > now => now = next,
                _ => break None,
            }
        };
        prop_assert_eq!(polled.map(at), found.map(|found| found.round(jiff::Unit::Second).unwrap()));
    }
}

#[test]
fn every_class_has_a_code_a_hint_and_a_page() {
    let mut codes = std::collections::BTreeSet::new();
    for class in Class::ALL {
        assert!(codes.insert(class.code()), "{} twice", class.code());
        assert!(!class.hint().is_empty());
        let page = format!(
            "{}/../../docs/errors/{}.md",
            env!("CARGO_MANIFEST_DIR"),
            class.code()
        );
        let text = std::fs::read_to_string(&page).unwrap_or_default();
        assert!(
            text.starts_with(&format!("# {}", class.code())),
            "no page {page}"
        );
    }
}
