//! Progressive canaries: pods change sides in steps, back and forth, and nobody notices.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::Resource;
use sortie_cluster::watch::Selection;
use sortie_step::task::{Action, Amount, ProgressiveDeploy, RollingDeploy, Target, Versioning};
use sortie_testkit::TrafficProbe;
use tokio::task::JoinSet;

use crate::autoscaling::scaler;
use crate::canarying::canary;
use crate::coloring::SERVICE;
use crate::crashing::ground::{Ground, Who};
use crate::crashing::process::Halt;
use crate::crashing::story::{Story, version};
use crate::crashing::{Scene, whole};
use crate::scaling::replicas;
use crate::world::{Log, Told, World, documents, plain, web};

/// Pods of both sides in these tests.
const PODS: usize = 4;
/// Pods above that.
const SURGE: usize = 1;

pub(crate) fn progressive(deploy: RollingDeploy, percent: u32) -> Action {
    Action::ProgressiveDeploy(ProgressiveDeploy {
        deploy,
        percent,
        is_recorded: false,
    })
}

/// The sample behind a Service, that serves on for a while when it ends.
pub(crate) fn app(image: &str, version: &str) -> String {
    let web = web(image, &format!(", {{name: V, value: {version:?}}}"))
        .replace("{name: DRAIN, value: \"0\"}", "{name: DRAIN, value: \"1\"}")
        .replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 5")
        .replace(
            "spec:\n  selector",
            &format!(
                "spec:\n  replicas: {PODS}\n  strategy: {{rollingUpdate: {{maxSurge: {SURGE}, maxUnavailable: 0}}}}\n  selector"
            ),
        );
    documents(&[&web, SERVICE])
}

impl World {
    pub(crate) async fn share(&self, set: &str, percent: u32, execution: &str) -> Told {
        self.of_execution(progressive(plain(set), percent), execution)
            .await
    }

    pub(crate) async fn back(&self, execution: &str) -> Told {
        self.of_execution(Action::ProgressiveRollback, execution)
            .await
    }

    async fn probe(&self) -> TrafficProbe {
        let service = self.get("v1/Service", "web").await.unwrap();
        let address = service["spec"]["clusterIP"].as_str().unwrap();
        TrafficProbe::start(&self.cluster, address.parse().unwrap(), 80).unwrap()
    }

    /// What `spec.replicas` of both sides say.
    pub(crate) async fn sides(&self) -> (u64, Option<u64>) {
        let copy = self.get("apps/v1/Deployment", "web-canary").await;
        let copy = copy.and_then(|copy| copy["spec"]["replicas"].as_u64());
        (replicas(self, "web").await, copy)
    }
}

/// Requests of which none may fail.
pub(crate) fn many() -> u64 {
    if whole() { 5_000 } else { 1_000 }
}

/// Ends a probe that has asked often enough.
async fn nobody_noticed(mut probe: TrafficProbe) {
    let enough = probe.wait_for(Duration::from_secs(120), |seen| seen.total >= many());
    enough.await.unwrap();
    let seen = probe.stop().await.unwrap();
    assert_eq!(seen.failed, 0, "{:?}", seen.failures);
}

/// Watches the numbers of pods all the time.
struct Bounds {
    broken: Arc<Mutex<Vec<String>>>,
    _watching: JoinSet<()>,
}

impl Bounds {
    async fn watch(world: &World) -> Self {
        let pods = Selection::of(Resource::pods(), world.namespace.name()).labelled("app=web");
        let mut watched = world.api.watch(pods).await.unwrap();
        let broken = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&broken);
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            loop {
                let view = watched.changed().await;
                let is_ready = |pod: &&Arc<Value>| {
                    let conditions = pod.pointer("/status/conditions");
                    let conditions = conditions.and_then(Value::as_array);
                    pod.pointer("/metadata/deletionTimestamp").is_none()
                        && conditions.is_some_and(|all| {
                            all.iter()
                                .any(|one| one["type"] == "Ready" && one["status"] == "True")
                        })
                };
                // One that has ended is shown for a moment more.
                let lives = |pod: &&Arc<Value>| {
                    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
                    !matches!(phase, Some("Succeeded" | "Failed"))
                };
                let live: Vec<_> = view.objects.values().filter(lives).collect();
                let all = live.len();
                let ready = live.into_iter().filter(|pod| is_ready(pod)).count();
                if all > PODS + SURGE || ready < PODS {
                    let text = format!("{all} pods, {ready} of them ready");
                    told.lock().unwrap().push(text);
                }
            }
        });
        Self {
            broken,
            _watching: watching,
        }
    }

    #[track_caller]
    fn held(self) {
        let broken = self.broken.lock().unwrap();
        assert!(broken.is_empty(), "{broken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_step_by_step() {
    let world = World::new("progressive").await;
    let v1 = app(&world.cluster.image("sample-v1").await.unwrap(), "1");
    let v2 = app(&world.cluster.image("sample-v2").await.unwrap(), "2");
    world.deploy(plain(&v1)).await.outputs();
    let mut probe = world.probe().await;
    let started = probe.wait_for(Duration::from_secs(30), |seen| seen.total > 0);
    started.await.unwrap();
    let bounds = Bounds::watch(&world).await;

    let told = world.share(&v2, 10, "e1").await;
    assert_eq!(told.outputs()["targetInstances"], 1);
    assert_eq!(told.outputs()["targetPercentage"], 10);
    assert_eq!(world.sides().await, (4, Some(1)));
    let first = world.pods("web-canary").await;
    world.share(&v2, 30, "e1").await.outputs();
    assert_eq!(
        world.sides().await,
        (3, Some(1)),
        "a share of 25 % is nearest"
    );
    world.share(&v2, 60, "e1").await.outputs();
    assert_eq!(world.sides().await, (2, Some(3)));
    let later = world.pods("web-canary").await;
    assert!(
        first.iter().all(|pod| later.contains(pod)),
        "{first:?} {later:?}"
    );
    // Another canary would not give back what this one has taken.
    let other = world.of_execution(canary(plain(&v2), Amount::Count(1)), "e2");
    assert_eq!(other.await.failure().code, "SRT-T111");
    let whole = world.deploy(plain(&v2)).await;
    assert_eq!(whole.failure().code, "SRT-T111");

    let told = world.share(&v2, 100, "e1").await;
    assert_eq!(told.outputs()["releaseNumber"], 6);
    assert_eq!(world.sides().await, (4, None));
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    let version = "/spec/template/spec/containers/0/env/1/value";
    assert_eq!(live.pointer(version), Some(&json!("2")));
    bounds.held();
    nobody_noticed(probe).await;
    let ended = world.statuses().await;
    let (last, before) = ended.split_last().unwrap();
    assert_eq!(*last, "Succeeded");
    assert!(
        before.iter().all(|status| *status == "Superseded"),
        "{ended:?}"
    );

    // It is a release like every other: its numbers of pods are the manifest's.
    let smaller = v2.replace("replicas: 4", "replicas: 2");
    let told = world.deploy(plain(&smaller)).await;
    told.outputs();
    assert!(!told.said("taken from"), "{:?}", told.lines);
    assert_eq!(world.sides().await, (2, None));
    world.finish().await;
}

impl World {
    /// Names of the pods of a Deployment.
    async fn pods(&self, name: &str) -> Vec<String> {
        let pods = self
            .kubectl(&["get", "pods", "-l", "app=web", "-o", "name"], "")
            .await;
        let is_meant = |pod: &&str| {
            let rest = pod.strip_prefix(&format!("pod/{name}-"));
            rest.is_some_and(|rest| rest.split('-').count() == 2)
        };
        pods.lines().filter(is_meant).map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_is_gone_step_by_step_too() {
    let world = World::new("progressive_back").await;
    let v1 = app(&world.cluster.image("sample-v1").await.unwrap(), "1");
    let v2 = app(&world.cluster.image("sample-v2").await.unwrap(), "2");
    world.deploy(plain(&v1)).await.outputs();
    let nothing = world.back("e1").await;
    assert_eq!(nothing.outputs()["rolledBack"], false);
    let mut probe = world.probe().await;
    let started = probe.wait_for(Duration::from_secs(30), |seen| seen.total > 0);
    started.await.unwrap();
    let bounds = Bounds::watch(&world).await;
    world.share(&v2, 30, "e1").await.outputs();
    let others = world.back("e2").await;
    assert_eq!(others.outputs()["rolledBack"], false, "it is another's");
    let told = world.back("e1").await;
    assert_eq!(told.outputs()["rolledBack"], true);
    assert_eq!(world.sides().await, (4, None));
    bounds.held();
    nobody_noticed(probe).await;

    // What has become the release goes back as a release does.
    world.share(&v2, 100, "e3").await.outputs();
    let told = world.back("e3").await;
    assert_eq!(told.outputs()["releaseNumber"], 1);
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    let version = "/spec/template/spec/containers/0/env/1/value";
    assert_eq!(live.pointer(version), Some(&json!("1")));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_version_takes_nothing_away() {
    let world = World::new("progressive_broken").await;
    let v1 = app(&world.cluster.image("sample-v1").await.unwrap(), "1");
    let v3 = app(&world.cluster.image("sample-v3").await.unwrap(), "3");
    world.deploy(plain(&v1)).await.outputs();
    let mut probe = world.probe().await;
    let started = probe.wait_for(Duration::from_secs(30), |seen| seen.total > 0);
    started.await.unwrap();
    let told = world.share(&v3, 50, "e1").await;
    assert_eq!(told.failure().code, "SRT-H007", "{:?}", told.failure());
    assert_eq!(
        world.sides().await.0,
        4,
        "nothing is taken before it is replaced"
    );
    let told = world.back("e1").await;
    assert_eq!(told.outputs()["rolledBack"], true);
    assert_eq!(world.sides().await, (4, None));
    nobody_noticed(probe).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_breaks_after_its_turn_is_noticed_at_once() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "progressive_breaks").await;
    let pods = "labels: {app: web}}";
    // Pods that are to go stay until somebody allows it, and the step waits for them.
    let stays = "labels: {app: web}, finalizers: [example.com/stay]}";
    let set = |number: u32| {
        let sized = "replicas: 4\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}";
        version(number).replace("minReadySeconds: 1", sized)
    };
    assert!(set(1).contains(pods));
    world
        .deploy(plain(&set(1).replace(pods, stays)))
        .await
        .outputs();
    let log = Arc::new(Log::default());
    let task = world.task(progressive(plain(&set(2)), 25));
    let breaks = async {
        log.says("web: 3 pods instead of 4").await;
        let label = ["get", "pods", "-l", "sortie.dev/track=canary", "-o", "name"];
        let pod = world.kubectl(&label, "").await;
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{
                "name": "web", "image": "web", "imageID": "web", "ready": false, "restartCount": 5,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 3}},
            }],
        }});
        let status = status.to_string();
        let patch = ["patch", pod.trim(), "--subresource=status", "-p", &status];
        world.kubectl(&patch, "").await;
    };
    let (told, ()) = tokio::join!(world.run_with(&task, log.clone()), breaks);
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-H007", "{failure:?}");
    for evidence in ["web-canary", "container web", "3"] {
        assert!(failure.message.contains(evidence), "{failure:?}");
    }
    let names = world.kubectl(&["get", "pods", "-o", "name"], "").await;
    for pod in names.lines() {
        let free = ["patch", pod, "-p", r#"{"metadata": {"finalizers": null}}"#];
        world.kubectl(&free, "").await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_has_nothing_to_share() {
    let world = World::new("progressive_first").await;
    let v1 = app(&world.cluster.image("sample-v1").await.unwrap(), "1");
    let told = world.share(&v1, 10, "e1").await;
    assert_eq!(told.outputs()["releaseNumber"], 1);
    assert!(told.said("deployed as a whole"));
    assert_eq!(world.sides().await, (4, None));
    for percent in [60, 100] {
        let told = world.share(&v1, percent, "e1").await;
        assert_eq!(told.outputs()["canaryWorkloadDeployed"], false);
    }
    assert_eq!(world.statuses().await, ["Succeeded"]);
    let back = world.back("e1").await;
    assert_eq!(back.outputs()["rolledBack"], false);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_share_its_pods_is_refused_before_the_first_write() {
    let world = World::new("progressive_refused").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let base = web(&image, "");
    let daemon = base.replace("kind: Deployment", "kind: DaemonSet");
    let recreate = base.replace(
        "spec:\n  selector",
        "spec:\n  strategy: {type: Recreate}\n  selector",
    );
    for (set, kind) in [(daemon, "DaemonSet"), (recreate, "Deployment")] {
        world.deploy(plain(&set)).await.outputs();
        let heads = world.heads().await.len();
        let other = set.replace("name: DRAIN", "name: OTHER");
        let told = world.share(&other, 10, "e1").await;
        assert_eq!(told.failure().code, "SRT-T110", "{kind}");
        assert_eq!(world.heads().await.len(), heads, "{kind}");
        let copy = world.get(&format!("apps/v1/{kind}"), "web-canary").await;
        assert!(copy.is_none());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_was_killed_half_way_goes_back_too() {
    let scene = Scene::set(Story::Promotion, "half_promoted").await;
    // The originals have the new version by then, and no pods.
    let halt = Halt::Die("patch:before:3".to_owned());
    assert_eq!(scene.start(Who::First, &halt).end().await, None);
    let world = &scene.world;
    let half = world.heads().await;
    assert_eq!(half.last().unwrap().status.name(), "InProgress");
    assert_eq!(world.sides().await, (0, Some(2)));
    let told = world.back("").await;
    assert_eq!(told.outputs()["releaseNumber"], 1);
    assert_eq!(world.sides().await, (2, None));
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    let image = live.pointer("/spec/template/spec/containers/0/image");
    assert_eq!(image, Some(&json!("example.com/web:1")));
    // Nothing is left to go back.
    let deleted = world.run(&world.task(Action::CanaryDelete)).await;
    assert_eq!(deleted.outputs()["canaryDeleted"], false);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_beside_a_canary_does_not_make_its_numbers_forgotten() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "progressive_between").await;
    // The manifest says nothing of the number, which somebody has chosen.
    let set = |number: u32| {
        let set = version(number).replace("  minReadySeconds: 1\n", "");
        documents(&[&set, &scaler((2, 4))])
    };
    world.deploy(plain(&set(1))).await.outputs();
    world
        .kubectl(&["scale", "deployment", "web", "--replicas=4"], "")
        .await;
    world.share(&set(2), 50, "e1").await.outputs();
    assert_eq!(world.sides().await, (2, Some(2)));
    let told = world.rollback(Target::Number(1)).await;
    assert_eq!(told.outputs()["recordNumber"], 3);
    let other = world.deploy(plain(&set(3))).await;
    assert_eq!(other.failure().code, "SRT-T111");
    let told = world.back("e1").await;
    assert_eq!(told.outputs()["rolledBack"], true);
    assert_eq!(world.sides().await, (4, None));
    assert_eq!(world.limits().await, (json!(2), json!(4)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rollback_brings_back_beside_a_canary_says_how_many_pods_come_back() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "progressive_other_size").await;
    let sized = |number: u32, replicas: u32| {
        let sized = format!("replicas: {replicas}\n  minReadySeconds: 1");
        version(number).replace("minReadySeconds: 1", &sized)
    };
    // One says its number, one has an autoscaler, and then there is neither.
    world.deploy(plain(&sized(1, 3))).await.outputs();
    let scaled = documents(&[&version(2), &scaler((2, 5))]);
    world.deploy(plain(&scaled)).await.outputs();
    world.deploy(plain(&sized(3, 4))).await.outputs();
    world.share(&sized(4, 4), 50, "e1").await.outputs();
    assert_eq!(world.sides().await, (2, Some(2)));
    world.rollback(Target::Number(1)).await.outputs();
    let told = world.run(&world.task(Action::CanaryDelete)).await;
    assert_eq!(told.outputs()["canaryDeleted"], true);
    assert_eq!(world.sides().await, (3, None));

    world.share(&sized(4, 8), 50, "e2").await.outputs();
    assert_eq!(world.sides().await, (4, Some(4)));
    world.rollback(Target::Number(2)).await.outputs();
    let told = world.back("e2").await;
    assert_eq!(told.outputs()["rolledBack"], true);
    assert_eq!(world.sides().await, (3, None));
    assert_eq!(world.limits().await, (json!(2), json!(5)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_beside_a_canary_that_fails_changes_nothing_of_its_numbers() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "progressive_beside_failed").await;
    let sized = |number: u32, replicas: u32| {
        let sized = format!("replicas: {replicas}\n  minReadySeconds: 1");
        version(number).replace("minReadySeconds: 1", &sized)
    };
    world.deploy(plain(&sized(1, 3))).await.outputs();
    world.deploy(plain(&sized(2, 4))).await.outputs();
    world.share(&sized(3, 4), 50, "e1").await.outputs();
    assert_eq!(world.sides().await, (2, Some(2)));
    world.kubectl(&["delete", "service", "web"], "").await;
    world.given("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {services: \"0\"}}\n").await;
    let counted = "--for=jsonpath={.status.hard}";
    world
        .kubectl(&["wait", counted, "resourcequota/none"], "")
        .await;
    let told = world.rollback(Target::Number(1)).await;
    assert_eq!(told.failure().code, "SRT-C007");
    let told = world.run(&world.task(Action::CanaryDelete)).await;
    assert_eq!(told.outputs()["canaryDeleted"], true);
    assert_eq!(world.sides().await, (4, None));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_versions_configuration_as_its_canary_was() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "progressive_versioning").await;
    let off = |set: &str| RollingDeploy {
        versioning: Versioning::Off,
        ..plain(set)
    };
    world.deploy(off(&version(1))).await.outputs();
    let names = async || {
        let names = [
            "get",
            "configmaps,secrets",
            "-l",
            "sortie.dev/release",
            "-o",
            "name",
        ];
        world.kubectl(&names, "").await
    };
    let before = names().await;
    let task = world.task(progressive(off(&version(2)), 50));
    world.run(&task).await.outputs();
    let promote = ProgressiveDeploy {
        deploy: RollingDeploy::default(),
        percent: 100,
        is_recorded: true,
    };
    let task = world.task(Action::ProgressiveDeploy(promote));
    world.run(&task).await.outputs();
    let expected = before.replace("old", "extra");
    let after = names().await;
    for name in expected.lines() {
        assert!(after.lines().any(|one| one == name), "{name}: {after}");
    }
    let hashed = |line: &&str| line.contains("/a-") || line.contains("/extra-");
    assert_eq!(after.lines().find(hashed), None, "{after}");
    world.finish().await;
}
