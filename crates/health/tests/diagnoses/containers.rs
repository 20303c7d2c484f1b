//! What goes wrong with images and containers.

use crate::scene::{Scene, at, container, event, pod, running, terminated, waiting};
use serde_json::{Value, json};
use sortie_health::diagnosis::{
    Budgets, Change, Class, Diagnosis, Diagnostician, Glance, Logs, glance,
};

use super::{after, deadline_after, fatal, warning};

#[test]
fn images() {
    let pulling = |reason: &str, message: &str| {
        Scene::deployment(3)
            .with_pod(pod("web-new-1").status(container(waiting(reason, message), 0)))
    };
    let unknown = pulling(
        "ErrImagePull",
        "rpc error: code = NotFound desc = failed to resolve reference \"r/web:3\": r/web:3: not found",
    );
    let cause = fatal(after(&unknown, &[0]));
    assert_eq!(
        (cause.class, cause.code()),
        (Class::ImageNotFound, "SRT-H002")
    );
    assert_eq!(cause.pod.as_deref(), Some("web-new-1"));
    assert_eq!(cause.logs, None);
    assert!(
        cause
            .one_line(&[])
            .starts_with("pod web-new-1 container web: ErrImagePull: "),
        "{cause}"
    );

    let denied = pulling(
        "ErrImagePull",
        "pull access denied, repository does not exist or may require authorization",
    );
    assert_eq!(fatal(after(&denied, &[0])).class, Class::ImageDenied);
    assert_eq!(
        fatal(after(&pulling("InvalidImageName", "couldn't parse"), &[0])).class,
        Class::ImageNameInvalid
    );
    assert_eq!(
        fatal(after(&pulling("ErrImageNeverPull", "not present"), &[0])).class,
        Class::ImageNotFound
    );

    let slow = pulling(
        "ImagePullBackOff",
        "Back-off pulling image \"r/web:3\": ErrImagePull: dial tcp: i/o timeout",
    );
    assert_eq!(deadline_after(after(&slow, &[0, 59]), Class::ImagePull), 60);
    assert_eq!(fatal(after(&slow, &[0, 60])).class, Class::ImagePull);
    for nowhere in [
        "dial tcp: lookup registry.invalid: no such host",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ] {
        let nowhere = pulling("ErrImagePull", nowhere);
        assert_eq!(deadline_after(after(&nowhere, &[0]), Class::ImagePull), 15);
    }

    // A back-off that hides the reason: the event tells it.
    let hidden =
        pulling("ImagePullBackOff", "Back-off pulling image \"r/web:3\"").with_event(event(
            "web-new-1",
            "Failed",
            5,
            "Failed to pull image \"r/web:3\": manifest unknown",
        ));
    assert_eq!(fatal(after(&hidden, &[0])).class, Class::ImageNotFound);
}

#[test]
fn a_failed_pull_and_the_wait_after_it_are_one_cause() {
    let refused = "failed to pull and unpack image \"r/web:3\": failed to resolve reference \"r/web:3\": failed to do request: Head \"https://r/v2/web/manifests/3\": dial tcp 10.0.0.1:443: connect: connection refused";
    let scene = |reason: &str, message: &str| {
        Scene::deployment(3)
            .with_pod(pod("web-new-1").status(container(waiting(reason, message), 0)))
            .with_event(event(
                "web-new-1",
                "Failed",
                5,
                &format!("Failed to pull image \"r/web:3\": {refused}"),
            ))
    };
    for (reason, message) in [
        ("ErrImagePull", refused.to_owned()),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"r/web:3\"".to_owned(),
        ),
        (
            "ImagePullBackOff",
            format!("Back-off pulling image \"r/web:3\": ErrImagePull: {refused}"),
        ),
    ] {
        let cause = fatal(after(&scene(reason, &message), &[0, 15]));
        assert_eq!(
            cause.one_line(&[]),
            "pod web-new-1 container web: ErrImagePull: image r/web:3: dial tcp 10.0.0.1:443: connect: connection refused"
        );
    }
}

#[test]
fn old_pods_never_fail_a_rollout() {
    let broken = || container(waiting("CrashLoopBackOff", "back-off 5m0s"), 40);
    let old = Scene::deployment(3).with_pod(pod("web-old-1").revision("old").status(broken()));
    assert_eq!(after(&old, &[0, 10]), Diagnosis::Fine);
    let foreign = Scene::deployment(3).with_pod(pod("api-1").owner("another").status(broken()));
    assert_eq!(after(&foreign, &[0, 10]), Diagnosis::Fine);
    let leaving = Scene::deployment(3).with_pod(pod("web-new-1").leaving().status(broken()));
    assert_eq!(after(&leaving, &[0, 10]), Diagnosis::Fine);
    // Until the controller has seen our generation, no ReplicaSet is the new one.
    let mut behind = Scene::deployment(3).with_pod(pod("web-new-1").status(broken()));
    assert!(matches!(after(&behind, &[0]), Diagnosis::Fatal(_)));
    behind.workload["metadata"]["generation"] = json!(8);
    assert_eq!(after(&behind, &[0]), Diagnosis::Fine);
    let stateful = |revision: &str| {
        Scene::stateful_set(3).with_pod(
            pod("web-2")
                .owner("workload")
                .revision(revision)
                .status(broken()),
        )
    };
    assert!(matches!(after(&stateful("new"), &[0]), Diagnosis::Fatal(_)));
    assert_eq!(
        warning(after(&stateful("old"), &[0])).class,
        Class::OldPodStuck
    );
    let daemon = |generation: &str| {
        Scene::daemon_set(2).with_pod(
            pod("web-x")
                .owner("workload")
                .label("pod-template-generation", generation)
                .status(broken()),
        )
    };
    assert!(matches!(after(&daemon("4"), &[0]), Diagnosis::Fatal(_)));
    assert_eq!(after(&daemon("3"), &[0]), Diagnosis::Fine);
    // Controller revisions, where the caller has them, win over the label.
    let mut with_revisions = daemon("3");
    with_revisions.pods[0]["metadata"]["labels"]["controller-revision-hash"] = json!("b");
    for (hash, revision) in [("a", 1), ("b", 2)] {
        with_revisions.revisions.push(json!({"kind": "ControllerRevision", "revision": revision, "metadata": {
            "labels": {"controller-revision-hash": hash}, "ownerReferences": [{"uid": "workload"}]}}));
    }
    assert!(matches!(after(&with_revisions, &[0]), Diagnosis::Fatal(_)));
}

#[test]
fn crash_loops() {
    let down = |restarts: i64, ran: i64| {
        let mut status = container(waiting("CrashLoopBackOff", "back-off 20s"), restarts);
        status["lastState"] = terminated(1, "Error", ran);
        Scene::deployment(3).with_pod(pod("web-new-1").status(status))
    };
    assert_eq!(
        deadline_after(after(&down(0, 1), &[0]), Class::CrashLoop),
        300
    );
    assert_eq!(
        deadline_after(after(&down(1, 45), &[0]), Class::CrashLoop),
        300
    );
    let quick = fatal(after(&down(1, 2), &[0]));
    assert_eq!(quick.exit_code, Some(1));
    assert_eq!(quick.logs, Some(Logs::Previous));
    let slow = fatal(after(&down(2, 45), &[0]));
    assert_eq!(
        slow.one_line(&[
            "starting".to_owned(),
            String::new(),
            "cannot bind port".to_owned()
        ]),
        "pod web-new-1 container web: CrashLoopBackOff, exit code 1 three times; last log: \"starting | cannot bind port\""
    );
    // Scaled down to nothing, it may crash as it likes.
    let mut none = down(2, 2);
    none.workload["spec"]["replicas"] = json!(0);
    assert_eq!(after(&none, &[0]), Diagnosis::Fine);
    // One crash, then fine.
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
    let crashed = Scene::deployment(3)
        .with_pod(pod("web-new-1").status(container(terminated(1, "Error", 1), 0)));
    assert!(matches!(
        diagnostician.observe(&crashed.observation(), crate::scene::at(0)),
        Diagnosis::Pending { .. }
    ));
    let up = Scene::deployment(3).with_pod(pod("web-new-1").status(container(running(), 1)));
    assert_eq!(
        diagnostician.observe(&up.observation(), crate::scene::at(1)),
        Diagnosis::Fine
    );

    // A process that could not be started has a start time of zero and has not run for half a century.
    let mut unstartable = down(1, 0);
    unstartable.pods[0]["status"]["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 128, "reason": "StartError",
        "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z", "message": "exec: \"nope\": executable file not found"}});
    assert!(
        fatal(after(&unstartable, &[0]))
            .message
            .contains("executable file not found")
    );

    let mut killed = down(2, 45);
    killed.pods[0]["status"]["containerStatuses"][0]["lastState"] =
        terminated(137, "OOMKilled", 45);
    assert!(fatal(after(&killed, &[0])).message.contains("memory"));
    let mut ended = down(2, 45);
    ended.pods[0]["status"]["containerStatuses"][0]["lastState"] = terminated(0, "Completed", 45);
    assert!(
        fatal(after(&ended, &[0]))
            .message
            .contains("expected to keep running")
    );
}

#[test]
fn init_containers() {
    let init = |state: Value, restarts: i64| {
        let mut scene = Scene::deployment(3)
            .with_pod(pod("web-new-1").status(container(waiting("PodInitializing", ""), 0)));
        let mut status = container(state, restarts);
        status["name"] = json!("migrate");
        scene.pods[0]["status"]["initContainerStatuses"] = json!([status]);
        scene
    };
    assert_eq!(
        after(&init(terminated(0, "Completed", 1), 0), &[0]),
        Diagnosis::Fine
    );
    assert_eq!(after(&init(running(), 0), &[0, 100]), Diagnosis::Fine);
    let cause = fatal(after(&init(waiting("CrashLoopBackOff", ""), 2), &[0]));
    assert_eq!(cause.container.as_deref(), Some("migrate"));
}

#[test]
fn restarts_from_before_the_rollout_do_not_count() {
    let scene = |status: Value| Scene::deployment(3).with_pod(pod("web-new-1").status(status));
    let crash = |restarts: i64| {
        let mut status = container(waiting("CrashLoopBackOff", ""), restarts);
        status["lastState"] = terminated(1, "Error", 60);
        scene(status)
    };
    let mut ready = container(running(), 7);
    ready["ready"] = json!(true);
    // Ready when first seen: its old restarts are history.
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
    assert_eq!(
        diagnostician.observe(&scene(ready).observation(), crate::scene::at(0)),
        Diagnosis::Fine
    );
    assert!(matches!(
        diagnostician.observe(&crash(8).observation(), crate::scene::at(9)),
        Diagnosis::Pending { .. }
    ));
    assert!(matches!(
        diagnostician.observe(&crash(9).observation(), crate::scene::at(99)),
        Diagnosis::Fatal(_)
    ));
    // Nothing was changed and it crash-loops already: the next crashes decide.
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Unchanged);
    assert!(matches!(
        diagnostician.observe(&crash(40).observation(), crate::scene::at(0)),
        Diagnosis::Pending { .. }
    ));
    assert!(matches!(
        diagnostician.observe(&crash(42).observation(), crate::scene::at(50)),
        Diagnosis::Fatal(_)
    ));
}

#[test]
fn configuration() {
    let stuck = |reason: &str, message: &str| {
        Scene::deployment(3)
            .with_pod(pod("web-new-1").status(container(waiting(reason, message), 0)))
    };
    let config = "CreateContainerConfigError";
    for (message, class, seconds) in [
        ("configmap \"settings\" not found", Class::ConfigMissing, 10),
        (
            "couldn't find key PORT in ConfigMap shop/settings",
            Class::ConfigMissing,
            10,
        ),
        (
            "failed to sync configmap cache: timed out waiting for the condition",
            Class::ContainerRefused,
            30,
        ),
        ("something else", Class::ContainerRefused, 30),
    ] {
        assert_eq!(
            deadline_after(after(&stuck(config, message), &[0]), class),
            seconds,
            "{message}"
        );
        assert_eq!(
            fatal(after(&stuck(config, message), &[0, seconds])).class,
            class
        );
    }
    let root = stuck(
        config,
        "container has runAsNonRoot and image will run as root",
    );
    assert_eq!(fatal(after(&root, &[0])).class, Class::ContainerRefused);
    assert_eq!(
        fatal(after(&stuck("RunContainerError", "no such device"), &[0])).class,
        Class::ContainerRefused
    );
    let mut may_pass = stuck("RunContainerError", "cannot start");
    may_pass.pods[0]["status"]["containerStatuses"][0]["lastState"] =
        terminated(128, "ContainerCannotRun", 0);
    assert_eq!(
        deadline_after(after(&may_pass, &[0]), Class::ContainerRefused),
        30
    );

    let creating = stuck("ContainerCreating", "");
    let missing = creating.clone().with_event(event(
        "web-new-1",
        "FailedMount",
        3,
        "MountVolume.SetUp failed for volume \"tls\" : secret \"web-tls\" not found",
    ));
    assert_eq!(
        deadline_after(after(&missing, &[0]), Class::ConfigMissing),
        10
    );
    let attach = creating.with_event(event(
        "web-new-1",
        "FailedAttachVolume",
        3,
        "Multi-Attach error for volume \"pv\"",
    ));
    assert_eq!(warning(after(&attach, &[0, 200])).class, Class::NotStarting);
    assert!(
        fatal(after(&attach, &[0, 300]))
            .message
            .contains("Multi-Attach"),
        "no activity explains itself"
    );
}

/// What one look says, so many seconds after the beginning.
fn looked(scene: &Scene, seconds: i64) -> String {
    match glance(&scene.observation(), at(seconds)) {
        Glance::Fine => "fine".to_owned(),
        Glance::Starting(line) => line,
        Glance::Trouble(cause) => cause.code().to_owned(),
    }
}

#[test]
fn a_look_gives_a_readiness_probe_its_time_from_the_start_of_the_container() {
    let delayed = json!({"initialDelaySeconds": 60});
    let scene = Scene::deployment(1).with_pod(
        pod("a")
            .probe("readinessProbe", delayed)
            .status(container(running(), 0)),
    );
    let place = "pod a container web: its readiness probe";
    // 60 s and the period of the probe, by the formula of the wait 87 s; and 10 s for one failure more.
    for (seconds, expected) in [
        (0, format!("{place} begins in 1 min")),
        (18, format!("{place} begins in 42 s")),
        (61, format!("{place} may still succeed within 36 s")),
        (96, format!("{place} may still succeed within 1 s")),
        (97, "SRT-H011".to_owned()),
    ] {
        assert_eq!(looked(&scene, seconds), expected, "after {seconds} s");
    }
}

#[test]
fn a_look_knows_a_startup_probe_and_a_container_that_has_ended_before() {
    let startup = json!({"periodSeconds": 10, "failureThreshold": 30});
    let mut started = container(running(), 0);
    started["started"] = json!(true);
    let scene = Scene::deployment(1).with_pod(
        pod("a")
            .probe("readinessProbe", json!({}))
            .probe("startupProbe", startup)
            .status(started),
    );
    // It may have started only now, unless its readiness probe has failed already.
    assert!(looked(&scene, 300).contains("may still succeed"));
    let failing = scene.with_event(event(
        "a",
        "Unhealthy",
        100,
        "Readiness probe failed: HTTP 503",
    ));
    assert!(looked(&failing, 120).contains("may still succeed within 17 s"));
    assert_eq!(looked(&failing, 140), "SRT-H011");
    let mut again = container(running(), 1);
    again["lastState"] = terminated(1, "Error", 1);
    let again = pod("a").probe("readinessProbe", json!({})).status(again);
    let scene = Scene::deployment(1).with_pod(again);
    assert_eq!(looked(&scene, 5), "SRT-H011");
    // Other trouble is told though a pod has only just started.
    let scene = Scene::deployment(2)
        .with_pod(
            pod("a")
                .probe("readinessProbe", json!({}))
                .status(container(running(), 0)),
        )
        .with_pod(pod("b").status(container(waiting("InvalidImageName", "what"), 0)));
    assert_eq!(looked(&scene, 5), "SRT-H001");
}
