//! What goes wrong with pods and rollouts as a whole.

use crate::scene::{Scene, at, container, event, pod, running, terminated, waiting};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sortie_health::diagnosis::{Budgets, Change, Class, Diagnosis, Diagnostician, Logs};

use super::{after, deadline_after, fatal, warning};

#[test]
fn scheduling() {
    let unscheduled =
        |message: &str| Scene::deployment(3).with_pod(pod("web-new-1").unscheduled(message));
    let full = unscheduled("0/3 nodes are available: 3 Insufficient cpu.");
    let cause = warning(after(&full, &[0, 60, 3600]));
    assert_eq!(cause.class, Class::Unschedulable);
    assert!(cause.one_line(&[]).contains("Insufficient cpu"));
    let hopeless = unscheduled(
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
    );
    assert_eq!(
        deadline_after(after(&hopeless, &[0, 59]), Class::Unschedulable),
        60
    );
    assert_eq!(
        fatal(after(&hopeless, &[0, 60])).class,
        Class::Unschedulable
    );
    let scaling = hopeless.with_event(event(
        "web-new-1",
        "TriggeredScaleUp",
        5,
        "pod triggered scale-up",
    ));
    assert_eq!(
        warning(after(&scaling, &[0, 100])).class,
        Class::Unschedulable
    );
}

#[test]
fn creation_refused() {
    let quota = "pods \"web-new-x\" is forbidden: exceeded quota: tiny, requested: pods=1, used: pods=3, limited: pods=3";
    let refused = |message: &str| {
        let mut scene = Scene::deployment(3);
        scene.revisions[1]["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]);
        scene
    };
    assert_eq!(
        deadline_after(after(&refused(quota), &[0]), Class::Quota),
        10
    );
    let cause = fatal(after(&refused(quota), &[0, 10]));
    assert!(
        cause
            .one_line(&[])
            .starts_with("Deployment/shop/web: FailedCreate: pods"),
        "{cause}"
    );
    // Old pods that may go first leave room.
    let old = |scene: Scene| scene.with_pod(pod("web-old-1").revision("old").ready());
    let mut takes_down = old(refused(quota));
    takes_down.workload["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": "34%"}});
    assert_eq!(deadline_after(after(&takes_down, &[0]), Class::Quota), 30);
    takes_down.workload["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": "33%"}});
    assert_eq!(deadline_after(after(&takes_down, &[0]), Class::Quota), 10);
    for (message, class, seconds) in [
        (
            "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            Class::PodRefused,
            5,
        ),
        (
            "Internal error occurred: failed calling webhook \"x\": connection refused",
            Class::PodRefused,
            30,
        ),
        (
            "pods \"x\" is forbidden: error looking up service account shop/web: serviceaccount \"web\" not found",
            Class::ConfigMissing,
            10,
        ),
    ] {
        assert_eq!(
            deadline_after(after(&refused(message), &[0]), class),
            seconds,
            "{message}"
        );
    }
    // A StatefulSet has only events; a later success ends them.
    let events = Scene::stateful_set(3).with_event(event("workload", "FailedCreate", 5, quota));
    assert_eq!(deadline_after(after(&events, &[0]), Class::Quota), 10);
    let over = events.with_event(event("workload", "SuccessfulCreate", 6, "create Pod web-0"));
    assert_eq!(after(&over, &[0]), Diagnosis::Fine);
}

#[test]
fn readiness() {
    let unready = |probe: Value| {
        Scene::deployment(3).with_pod(
            pod("web-new-1")
                .probe("readinessProbe", probe)
                .status(container(running(), 0)),
        )
    };
    let says = |message: &str| event("web-new-1", "Unhealthy", 5, message);
    let quick = json!({"periodSeconds": 1, "failureThreshold": 1});
    let failing = unready(quick.clone()).with_event(says(
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
    ));
    // Grace 1 + 2 − 1 + 0.5 s, and one failure more.
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
    assert!(matches!(
        diagnostician.observe(&failing.observation(), crate::scene::at(0)),
        Diagnosis::Pending { .. }
    ));
    let next = diagnostician.next_check(crate::scene::at(0)).unwrap();
    assert_eq!(
        next.duration_since(crate::scene::at(0)),
        SignedDuration::from_millis(3500)
    );
    let cause = fatal(diagnostician.observe(&failing.observation(), next));
    assert_eq!(
        (cause.class, cause.logs),
        (Class::ReadinessFailing, Some(Logs::Current))
    );
    assert!(cause.message.contains("503"));
    // Default probe: just inside and just outside the grace of 27 s and a period.
    let default = unready(json!({})).with_event(says(
        "Readiness probe failed: HTTP probe failed with statuscode: 500",
    ));
    assert!(matches!(
        after(&default, &[0, 36]),
        Diagnosis::Pending { .. }
    ));
    assert!(matches!(after(&default, &[0, 37]), Diagnosis::Fatal(_)));
    // Does not listen yet, or nobody has said anything: a slow start.
    let starting = unready(quick.clone()).with_event(says(
        "Readiness probe failed: dial tcp 10.0.0.7:80: connect: connection refused",
    ));
    assert_eq!(
        deadline_after(after(&starting, &[0]), Class::ReadinessFailing),
        120
    );
    assert_eq!(
        deadline_after(after(&unready(quick), &[0]), Class::ReadinessFailing),
        120
    );
    // A startup probe that has not succeeded yet holds readiness off.
    let mut slow = failing.clone();
    slow.pods[0]["spec"]["containers"][0]["startupProbe"] = json!({"failureThreshold": 30});
    slow.pods[0]["status"]["containerStatuses"][0]["started"] = json!(false);
    assert_eq!(after(&slow, &[0, 200]), Diagnosis::Fine);
    slow.pods[0]["status"]["containerStatuses"][0]["started"] = json!(true);
    assert!(matches!(after(&slow, &[0]), Diagnosis::Pending { .. }));
    // One of three fails: three failures are let pass.
    let one_of_three = failing
        .with_pod(pod("web-new-2").ready())
        .with_pod(pod("web-new-3").ready());
    let mut budgets = Diagnostician::new(Budgets::default(), Change::Changed);
    budgets.observe(&one_of_three.observation(), crate::scene::at(0));
    assert_eq!(
        budgets
            .next_check(crate::scene::at(0))
            .unwrap()
            .duration_since(crate::scene::at(0)),
        SignedDuration::from_millis(5500)
    );
}

#[test]
fn liveness() {
    let mut status = container(waiting("CrashLoopBackOff", ""), 2);
    status["lastState"] = terminated(137, "Error", 30);
    let probe = event(
        "web-new-1",
        "Unhealthy",
        5,
        "Liveness probe failed: HTTP probe failed with statuscode: 500",
    );
    let scene = Scene::deployment(3)
        .with_pod(pod("web-new-1").status(status))
        .with_event(probe);
    let cause = fatal(after(&scene, &[0]));
    assert_eq!(cause.class, Class::LivenessFailing);
    assert!(cause.message.contains("Liveness probe failed"), "{cause}");
}

#[test]
fn the_deployments_own_deadline() {
    let mut scene = Scene::deployment(3)
        .with_pod(pod("web-new-1").unscheduled("0/3 nodes are available: 3 Insufficient cpu."));
    scene.workload["status"]["conditions"] =
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    assert_eq!(
        deadline_after(after(&scene, &[0]), Class::DeadlineExceeded),
        2
    );
    let cause = fatal(after(&scene, &[0, 2]));
    assert_eq!(
        cause.one_line(&[]),
        "Deployment/shop/web: ProgressDeadlineExceeded: no progress within 10 min; pod web-new-1: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."
    );
    assert_eq!(cause.pod.as_deref(), Some("web-new-1"));
}

#[test]
fn jobs_and_bare_pods() {
    let failed = pod("web-new-1").owner("workload").failed(3);
    let mut job = Scene::job().with_pod(failed);
    assert_eq!(
        after(&job, &[0]),
        Diagnosis::Fine,
        "its own back-off limit decides"
    );
    job.workload["status"]["conditions"] = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}]);
    let cause = fatal(after(&job, &[0]));
    assert_eq!(
        (cause.class, cause.exit_code, cause.logs),
        (Class::JobFailed, Some(3), Some(Logs::Current))
    );
    assert!(
        cause
            .one_line(&[])
            .starts_with("Job/shop/web: BackoffLimitExceeded: Job has reached"),
        "{cause}"
    );
    let looping = Scene::job().with_pod(
        pod("web-new-1")
            .owner("workload")
            .status(container(waiting("CrashLoopBackOff", ""), 5)),
    );
    assert_eq!(warning(after(&looping, &[0])).class, Class::CrashLoop);
    // A Job that runs for hours is busy, not stuck.
    let busy = Scene::job().with_pod(
        pod("web-new-1")
            .owner("workload")
            .status(container(running(), 0)),
    );
    assert_eq!(after(&busy, &[0, 36_000]), Diagnosis::Fine);
    let bare = Scene::of(pod("web").failed(4).build());
    assert_eq!(fatal(after(&bare, &[0])).exit_code, Some(4));
}

#[test]
fn no_activity() {
    let still = Scene::deployment(3);
    assert_eq!(after(&still, &[0, 299]), Diagnosis::Fine);
    assert_eq!(fatal(after(&still, &[0, 300])).class, Class::NoActivity);
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
    diagnostician.observe(&still.observation(), crate::scene::at(0));
    assert_eq!(
        diagnostician.next_check(crate::scene::at(1)),
        Some(crate::scene::at(300))
    );
    // Any change starts the clock anew.
    let mut moved = still.clone();
    moved.workload["status"]["updatedReplicas"] = json!(2);
    diagnostician.observe(&moved.observation(), crate::scene::at(200));
    assert_eq!(
        diagnostician.observe(&moved.observation(), crate::scene::at(400)),
        Diagnosis::Fine
    );
    assert!(matches!(
        diagnostician.observe(&moved.observation(), crate::scene::at(500)),
        Diagnosis::Fatal(_)
    ));
    // A large image, a long startup probe, pods that may take long to go: patience.
    let pulling = Scene::deployment(3)
        .with_pod(pod("web-new-1").status(container(waiting("ContainerCreating", ""), 0)))
        .with_event(event(
            "web-new-1",
            "Pulling",
            1,
            "Pulling image \"r/web:3\"",
        ));
    assert_eq!(after(&pulling, &[0, 3000]), Diagnosis::Fine);
    let mut status = container(running(), 0);
    status["started"] = json!(false);
    let starting = Scene::deployment(3).with_pod(
        pod("web-new-1")
            .probe("startupProbe", json!({"failureThreshold": 60}))
            .status(status),
    );
    assert_eq!(after(&starting, &[0, 600]), Diagnosis::Fine);
    assert!(matches!(after(&starting, &[0, 700]), Diagnosis::Fatal(_)));
    let mut leaving = Scene::deployment(3).with_pod(pod("web-old-1").revision("old").leaving());
    leaving.pods[0]["metadata"]["deletionGracePeriodSeconds"] = json!(3600);
    assert_eq!(after(&leaving, &[0, 3600]), Diagnosis::Fine);
}

#[test]
fn all_ready_pods_are_fine_whatever_events_say() {
    let mut scene = Scene::deployment(1)
        .with_pod(pod("web-new-1").ready())
        .with_event(event(
            "web-new-1",
            "Unhealthy",
            1,
            "Readiness probe failed: 503",
        ))
        .with_event(event("set-new", "FailedCreate", 1, "exceeded quota"));
    scene.workload["status"]["conditions"] =
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    assert_eq!(after(&scene, &[0, 1000]), Diagnosis::Fine);
}

#[test]
fn evicted_pods_are_replaced_and_tell_nothing() {
    let crashed = || pod("web-new-1").status(container(waiting("CrashLoopBackOff", ""), 3));
    let mut scene = Scene::deployment(3).with_pod(crashed());
    assert!(matches!(after(&scene, &[0]), Diagnosis::Fatal(_)));
    scene.pods[0]["status"]["phase"] = json!("Failed");
    scene.pods[0]["status"]["reason"] = json!("Evicted");
    assert_eq!(after(&scene, &[0]), Diagnosis::Fine);
    let mut disrupted = Scene::deployment(3).with_pod(crashed());
    disrupted.pods[0]["status"]["conditions"] =
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]);
    assert_eq!(after(&disrupted, &[0]), Diagnosis::Fine);
}

#[test]
fn an_event_of_one_container_says_nothing_about_another() {
    let quick = json!({"periodSeconds": 1, "failureThreshold": 1});
    let scene = |path: &str, field: &str| {
        Scene::deployment(3)
            .with_pod(pod("web-new-1").probe("readinessProbe", quick.clone()).status(container(running(), 0)))
            .with_event(json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "reason": "Unhealthy",
                "note": "Readiness probe failed: HTTP probe failed with statuscode: 503",
                "eventTime": crate::scene::at(5).to_string(), field: {"uid": "web-new-1", "fieldPath": path}}))
    };
    assert_eq!(
        deadline_after(
            after(&scene("spec.containers{web}", "regarding"), &[0]),
            Class::ReadinessFailing
        ),
        3
    );
    assert_eq!(
        deadline_after(
            after(&scene("spec.containers{web}", "involvedObject"), &[0]),
            Class::ReadinessFailing
        ),
        3
    );
    assert_eq!(
        deadline_after(
            after(&scene("spec.containers{proxy}", "regarding"), &[0]),
            Class::ReadinessFailing
        ),
        120
    );
}

/// The evidence names the event that tells most, and the line says it where nothing else does.
#[test]
fn a_cause_brings_the_event_with_it() {
    let mount = "MountVolume.SetUp failed for volume \"tls\" : secret \"web-tls\" not found";
    let stuck = Scene::deployment(1)
        .with_pod(pod("web-new-1").status(container(waiting("ContainerCreating", ""), 0)))
        .with_event(event("web-new-1", "FailedMount", 1, mount))
        .with_event(event(
            "web-new-1",
            "BackOff",
            9,
            "Back-off restarting failed container",
        ));
    let cause = fatal(after(&stuck, &[0, 10]));
    assert_eq!(cause.class, Class::ConfigMissing);
    let seen = cause.event.clone().unwrap();
    assert_eq!((seen.reason.as_str(), seen.times), ("FailedMount", 1));
    assert_eq!(seen.message, mount);
    assert_eq!(seen.last, Some(at(1)));
    assert_eq!(cause.one_line(&[]).matches(mount).count(), 1, "{cause}");

    let mut idle =
        Scene::deployment(1).with_event(event("workload", "Odd", 1, "the controller is confused"));
    idle.pods.clear();
    let cause = fatal(after(&idle, &[0, 301]));
    assert_eq!(cause.class, Class::NoActivity);
    assert!(
        cause
            .to_string()
            .ends_with("; event Odd: the controller is confused"),
        "{cause}"
    );
}
