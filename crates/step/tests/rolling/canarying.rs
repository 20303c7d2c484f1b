//! Canaries beside a release, and their removal.

use serde_json::{Value, json};
use sortie_step::task::{Action, Amount, CanaryDeploy, RollingDeploy, Target};

use crate::crashing::ground::Ground;
use crate::world::{Told, World, app, documents, plain, web};

pub(crate) fn canary(deploy: RollingDeploy, instances: Amount) -> Action {
    Action::CanaryDeploy(CanaryDeploy { deploy, instances })
}

impl World {
    async fn canary(&self, deploy: RollingDeploy, instances: Amount) -> Told {
        self.run(&self.task(canary(deploy, instances))).await
    }

    async fn canary_delete(&self) -> Told {
        self.run(&self.task(Action::CanaryDelete)).await
    }
}

fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// The sample with so many pods and a password that is none.
fn sample(image: &str, greeting: &str, replicas: u32) -> RollingDeploy {
    let mut app = app(image, greeting, 80);
    let values = format!(
        "image: <+artifacts.primary.image>\ngreeting: <+serviceVariables.greeting>\npassword: open\nport: 80\nreplicas: {replicas}\n"
    );
    app.values = crate::world::inline(&[("values.yaml", &values)]);
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_runs_beside_the_release_and_goes() {
    let world = World::new("canary").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    world.deploy(sample(&v1, "hello", 3)).await.outputs();
    let stable = world.get("apps/v1/Deployment", "web").await.unwrap();
    let service = world.get("v1/Service", "web").await.unwrap();

    let told = world
        .canary(sample(&v2, "good day", 3), Amount::Percent(40))
        .await;
    let outputs = told.outputs();
    let namespace = world.namespace.name();
    assert_eq!(outputs["targetInstances"], 1);
    assert_eq!(outputs["canaryWorkloadDeployed"], true);
    assert_eq!(outputs["releaseNumber"], 2);
    let copies = outputs["canaryWorkload"].as_str().unwrap();
    for copy in [
        "Deployment/web-canary",
        "ConfigMap/web-canary",
        "Secret/web-canary",
    ] {
        assert!(copies.contains(&format!("{namespace}/{copy}")), "{copies}");
    }
    let copy = world.get("apps/v1/Deployment", "web-canary").await.unwrap();
    assert_eq!(at(&copy, "/spec/replicas"), 1);
    assert_eq!(
        at(&copy, "/spec/selector/matchLabels"),
        &json!({"app": "web", "sortie.dev/track": "canary"})
    );
    let container = at(&copy, "/spec/template/spec/containers/0");
    assert_eq!(at(container, "/image"), v2.as_str());
    assert_eq!(at(container, "/envFrom/0/configMapRef/name"), "web-canary");
    // The release is as it was, to the last field.
    for (kind, before) in [("apps/v1/Deployment", &stable), ("v1/Service", &service)] {
        let now = world.get(kind, "web").await.unwrap();
        let version = "/metadata/generation";
        assert_eq!(at(&now, version), at(before, version), "{kind}");
        assert_eq!(at(&now, "/spec"), at(before, "/spec"), "{kind}");
    }
    assert_eq!(world.statuses().await, ["Succeeded", "Succeeded"]);

    // A configuration of its own: the same canary with another greeting gets new pods.
    let again = world
        .canary(sample(&v2, "good night", 3), Amount::Count(2))
        .await;
    assert_eq!(again.outputs()["targetInstances"], 2);
    let config = world.get("v1/ConfigMap", "web-canary").await.unwrap();
    assert_eq!(at(&config, "/data/greeting"), "good night");
    let changed = world.get("apps/v1/Deployment", "web-canary").await.unwrap();
    let hash = "/spec/template/metadata/annotations/sortie.dev~1configuration";
    assert_ne!(at(&changed, hash), at(&copy, hash));
    assert_eq!(
        world.statuses().await,
        ["Succeeded", "Superseded", "Succeeded"]
    );

    let deleted = world.canary_delete().await;
    assert_eq!(deleted.outputs()["canaryDeleted"], true);
    for (kind, name) in [
        ("apps/v1/Deployment", "web-canary"),
        ("v1/ConfigMap", "web-canary"),
        ("v1/Secret", "web-canary"),
    ] {
        assert!(world.get(kind, name).await.is_none(), "{kind} {name}");
    }
    let none = world.canary_delete().await;
    assert_eq!(none.outputs()["canaryDeleted"], false);

    // The release goes on, and so does its way back: canaries are none of its versions.
    let rolled = world.deploy(sample(&v2, "good day", 3)).await;
    assert_eq!(rolled.outputs()["releaseNumber"], 4);
    let back = world.rollback(Target::Number(1)).await;
    assert_eq!(back.outputs()["releaseNumber"], 1);
    let refused = world.rollback(Target::Number(3)).await;
    assert_eq!(refused.failure().code, "SRT-T021");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_canary_hurts_nobody_and_is_removed() {
    let world = World::new("canary_broken").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    world.deploy(sample(&v1, "hello", 2)).await.outputs();
    let told = world
        .canary(sample(&v3, "farewell", 2), Amount::Count(1))
        .await;
    assert_eq!(told.failure().code, "SRT-H007", "{:?}", told.failure());
    assert_eq!(told.failure().release_number, Some(2));
    // A rollback of the release has nothing to do with it.
    let back = world.rollback(Target::LastGood).await;
    assert_eq!(back.outputs()["rolledBack"], false);
    assert!(
        world
            .get("apps/v1/Deployment", "web-canary")
            .await
            .is_some()
    );
    let deleted = world.canary_delete().await;
    assert_eq!(deleted.outputs()["canaryDeleted"], true);
    assert!(
        world
            .get("apps/v1/Deployment", "web-canary")
            .await
            .is_none()
    );
    let stable = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(at(&stable, "/status/readyReplicas"), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_canary_is_not_forgotten() {
    let ground = Ground::shared().await;
    let mut world = World::on(ground.cluster.clone(), "canary_orphan").await;
    world.limits.history = 1;
    let set = |image: &str| crate::swapping::app(image);
    world
        .deploy(plain(&set("example.com/web:1")))
        .await
        .outputs();
    let broken =
        set("example.com/web:2").replace("containers:", "schedulerName: nobody\n      containers:");
    let mut task = world.task(canary(plain(&broken), Amount::Count(1)));
    task.timeout = std::time::Duration::from_secs(4);
    world.run(&task).await.failure();
    for image in ["example.com/web:3", "example.com/web:4"] {
        let told = world.deploy(plain(&set(image))).await;
        told.outputs();
        let said = "the canary of number 2 runs on beside it";
        assert!(told.said(said), "{:?}", told.lines);
    }
    assert_eq!(world.statuses().await, ["Failed", "Succeeded"]);
    let told = world.canary_delete().await;
    assert_eq!(told.outputs()["canaryDeleted"], true, "{told:?}");
    let copy = world.get("apps/v1/Deployment", "web-canary").await;
    assert!(copy.is_none());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_may_be_a_canary() {
    let world = World::new("canary_first").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let told = world
        .canary(sample(&v1, "hello", 4), Amount::Percent(50))
        .await;
    assert_eq!(told.outputs()["targetInstances"], 2);
    assert!(world.get("apps/v1/Deployment", "web").await.is_none());
    assert!(
        world.get("v1/Service", "web").await.is_some(),
        "what it is reached by comes with it"
    );
    world.canary_delete().await.outputs();
    let rolled = world.deploy(sample(&v1, "hello", 1)).await;
    rolled.outputs();
    assert!(world.get("apps/v1/Deployment", "web").await.is_some());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_sets_canary_runs_on_its_share_of_the_nodes() {
    let world = World::new("canary_daemon").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    let set = |image: &str| {
        let daemon = web(image, "").replace("kind: Deployment", "kind: DaemonSet");
        plain(&daemon)
    };
    let first = world.canary(set(&v1), Amount::Count(1)).await;
    assert_eq!(first.failure().code, "SRT-T053");
    world.deploy(set(&v1)).await.outputs();
    let told = world.canary(set(&v2), Amount::Percent(100)).await;
    assert_eq!(told.outputs()["targetInstances"], 1);
    let copy = world.get("apps/v1/DaemonSet", "web-canary").await.unwrap();
    assert_eq!(at(&copy, "/status/numberReady"), 1);
    world.canary_delete().await.outputs();
    assert!(world.get("apps/v1/DaemonSet", "web-canary").await.is_none());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_canary_leaves_no_claims() {
    let world = World::new("canary_stateful").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let set = |more: &str| {
        let stateful = web(&v1, more).replace("kind: Deployment", "kind: StatefulSet");
        plain(&stateful.replace("  selector:", "  serviceName: web\n  selector:"))
    };
    world.deploy(set("")).await.outputs();
    let told = world
        .canary(set(", {name: A, value: b}"), Amount::Count(1))
        .await;
    told.outputs();
    let copy = world
        .get("apps/v1/StatefulSet", "web-canary")
        .await
        .unwrap();
    assert_eq!(
        at(
            &copy,
            "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted"
        ),
        "Delete"
    );
    world.canary_delete().await.outputs();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_have_a_canary_is_refused_before_the_first_write() {
    let world = World::new("canary_refused").await;
    let image = "registry.invalid/web:1";
    let direct = web(image, "").replace(
        "metadata: {name: web}",
        "metadata: {name: web, annotations: {harness.io/direct-apply: \"true\"}}",
    );
    for (set, code) in [
        (crate::world::config("c", "1"), "SRT-T050"),
        (direct, "SRT-T050"),
        (
            web(image, "").replace("name: web}", &format!("name: {}}}", "w".repeat(250))),
            "SRT-T051",
        ),
    ] {
        let told = world.canary(plain(&set), Amount::Count(1)).await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
    }
    world.assert_untouched(&[("v1/ConfigMap", "c")]).await;
    // Somebody else's canary of the same name.
    let other = web(image, "")
        .replace(
            "metadata: {name: web}",
            "metadata: {name: web-canary, labels: {sortie.dev/release: other}}",
        )
        .replace("{app: web}", "{app: web, sortie.dev/track: canary}");
    world.given(&other).await;
    let told = world.canary(plain(&web(image, "")), Amount::Count(1)).await;
    assert_eq!(told.failure().code, "SRT-C015", "{:?}", told.failure());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_configuration_changes_from_one_canary_to_the_next() {
    let world = World::new("canary_immutable").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let set = |value: &str| {
        let config = crate::world::config("web", value).replace(
            "  annotations: {sortie.dev/skip-versioning: \"true\"}\n",
            "",
        );
        let env = ", {name: GREETING, valueFrom: {configMapKeyRef: {name: web, key: a}}}";
        plain(&documents(&[
            &web(&image, env),
            &format!("{config}immutable: true\n"),
        ]))
    };
    for value in ["one", "two"] {
        world.canary(set(value), Amount::Count(1)).await.outputs();
        let config = world.get("v1/ConfigMap", "web-canary").await.unwrap();
        assert_eq!(at(&config, "/data/a"), value);
    }
    world.finish().await;
}
