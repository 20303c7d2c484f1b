//! The swap of blue-green, back and forth, and what stands in its way.

use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::Resource;
use sortie_cluster::watch::{self, Selection};
use sortie_step::task::{Action, StageScaleDown, StageScaleUp, SwapServices, Task};
use sortie_testkit::{TrafficProbe, TrafficReport};
use tokio_util::sync::CancellationToken;

use crate::coloring::{SERVICE, blue_green};
use crate::crashing::colors::Coloring;
use crate::crashing::ground::Ground;
use crate::crashing::process::Deed;
use crate::crashing::{Order, run_until};
use crate::progressing::many;
use crate::world::{Told, World, connect, documents, plain, web};

/// How a test swaps: it waits no longer than a test may take.
pub(crate) const SWAP: SwapServices = SwapServices {
    settle: Duration::from_secs(1),
    patience: Duration::from_secs(60),
    back: false,
};

/// An autoscaler that finds no metrics.
pub(crate) const SCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 90}}}]
";

impl World {
    /// Deploys the set to the stage, as the execution.
    pub(crate) async fn stage(&self, set: &str, execution: &str) -> Told {
        self.of_execution(blue_green(plain(set)), execution).await
    }

    pub(crate) async fn of_execution(&self, action: Action, execution: &str) -> Told {
        self.run(&self.task_of(action, execution)).await
    }

    pub(crate) fn task_of(&self, action: Action, execution: &str) -> Task {
        let mut task = self.task(action);
        execution.clone_into(&mut task.requested_by.execution);
        task
    }

    pub(crate) async fn swap(&self, options: SwapServices, execution: &str) -> Told {
        self.of_execution(Action::SwapServices(options), execution)
            .await
    }

    pub(crate) async fn scale_down(&self, execution: &str) -> Told {
        self.of_execution(Action::StageScaleDown(StageScaleDown::default()), execution)
            .await
    }

    /// What the Services `web` and `web-stage` select.
    pub(crate) async fn colors(&self) -> [String; 2] {
        let mut colors = [String::new(), String::new()];
        for (color, service) in colors.iter_mut().zip(["web", "web-stage"]) {
            let service = self.get("v1/Service", service).await.unwrap();
            let selected = service.pointer("/spec/selector/sortie.dev~1color");
            selected
                .and_then(Value::as_str)
                .unwrap_or("none")
                .clone_into(color);
        }
        colors
    }

    /// Colour and role of each record.
    pub(crate) async fn roles(&self) -> Vec<String> {
        let heads = self.heads().await;
        let text = |word: &Option<String>| word.clone().unwrap_or_default();
        let role = |head: &sortie_cluster::record::Head| {
            format!("{} {}", text(&head.side.color), text(&head.side.role))
        };
        heads.iter().map(role).collect()
    }
}

/// The sample application, behind a Service.
pub(crate) fn app(image: &str) -> String {
    let web = web(image, "").replace("spec:\n  selector", "spec:\n  replicas: 2\n  selector");
    documents(&[
        &web.replace(
            "terminationGracePeriodSeconds: 0",
            "terminationGracePeriodSeconds: 5",
        ),
        SERVICE,
    ])
}

fn back() -> SwapServices {
    SwapServices { back: true, ..SWAP }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_colours_exchange_the_traffic_and_nobody_notices() {
    let world = World::new("swap").await;
    let v1 = app(&world.cluster.image("sample-v1").await.unwrap());
    let v2 = app(&world.cluster.image("sample-v2").await.unwrap());
    world.stage(&v1, "e1").await.outputs();
    assert_eq!(world.colors().await, ["green", "blue"]);
    let told = world.swap(SWAP, "e1").await;
    for (key, expected) in [
        ("swapped", json!(true)),
        ("primaryServiceName", json!("web")),
        ("stageServiceName", json!("web-stage")),
        ("primaryColor", json!("blue")),
        ("stageColor", json!("green")),
        ("releaseNumber", json!(1)),
    ] {
        assert_eq!(told.outputs()[key], expected, "{key}");
    }
    assert_eq!(world.colors().await, ["blue", "green"]);
    assert_eq!(world.roles().await, ["blue primary"]);
    // The first deployment has nothing to go back to, and stays.
    let told = world.swap(back(), "e1").await;
    assert_eq!(told.outputs()["swapped"], false);
    assert!(told.said("has never run anything"), "{told:?}");

    let (address, port) = world
        .cluster
        .service(world.namespace.name(), "web")
        .await
        .unwrap();
    let mut probe = TrafficProbe::start(&world.cluster, address, port).unwrap();
    world.stage(&v2, "e2").await.outputs();
    assert_eq!(world.roles().await, ["blue primary", "green stage"]);
    assert_eq!(probe.report().count("v2"), 0);
    let told = world.swap(SWAP, "e2").await;
    assert_eq!(told.outputs()["primaryColor"], "green");
    assert_eq!(world.colors().await, ["green", "blue"]);
    assert_eq!(world.roles().await, ["blue stage", "green primary"]);
    let now = probe.report();
    let after = probe
        .wait_for(Duration::from_secs(30), |report| {
            report.total > now.total + 20
        })
        .await
        .unwrap();
    // One may have been on its way.
    assert!(
        after.count("v1") <= now.count("v1") + 1,
        "{now:?} {after:?}"
    );
    // Written by its own manager, so that a deployment takes it back without a conflict.
    let service = world.get("v1/Service", "web").await.unwrap();
    let managers = service
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .unwrap();
    let owner = managers
        .iter()
        .find(|entry| entry.pointer("/fieldsV1/f:spec/f:selector").is_some());
    assert_eq!(owner.unwrap()["manager"], "sortie-control");

    // Nobody but the execution that has swapped last goes back, and only once.
    assert_eq!(world.swap(back(), "e1").await.failure().code, "SRT-T069");
    assert_eq!(world.swap(back(), "e3").await.outputs()["swapped"], false);
    assert_eq!(world.swap(SWAP, "e2").await.outputs()["swapped"], false);
    let told = world.swap(back(), "e2").await;
    assert_eq!(told.outputs()["primaryColor"], "blue", "{told:?}");
    assert_eq!(world.colors().await, ["blue", "green"]);
    assert_eq!(world.roles().await, ["blue primary", "green stage"]);
    assert_eq!(world.swap(back(), "e2").await.outputs()["swapped"], false);

    // A deployment keeps the colours that the swap has given.
    world
        .stage(&v1.replace("replicas: 2", "replicas: 1"), "e3")
        .await
        .outputs();
    assert_eq!(world.colors().await, ["blue", "green"]);
    assert_eq!(
        world.statuses().await,
        ["Succeeded", "Superseded", "Succeeded"]
    );
    let enough = |report: &TrafficReport| report.total >= many();
    let enough = probe.wait_for(Duration::from_secs(120), enough).await;
    enough.unwrap();
    let report = probe.stop().await.unwrap();
    assert_eq!(report.failed, 0, "{:?}", report.failures);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_told_and_nothing_is_swapped() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "swap_refused").await;
    let v1 = app("example.com/web:1");
    assert_eq!(world.swap(SWAP, "").await.outputs()["swapped"], false);
    world.stage(&v1, "").await.outputs();
    let selector = |key: &str, value: &str| json!({"spec": {"selector": {key: value}}}).to_string();
    let patch = async |service: &str, patch: String| {
        world
            .kubectl(&["patch", "service", service, "-p", &patch], "")
            .await;
    };
    let hasty = SwapServices {
        patience: Duration::from_secs(2),
        ..SWAP
    };
    let refused = async |code: &str| {
        let before = world.colors().await;
        let told = world.swap(hasty, "").await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
        assert_eq!(world.colors().await, before, "{code}");
        assert_eq!(world.roles().await, ["blue stage"]);
    };
    patch("web", selector("sortie.dev/color", "red")).await;
    refused("SRT-T061").await;
    patch("web", selector("sortie.dev/color", "green")).await;

    patch("web", selector("app", "other")).await;
    refused("SRT-T063").await;
    patch("web", selector("app", "web")).await;

    // Pods of blue that nobody schedules.
    let more = json!({"spec": {
        "strategy": {"type": "Recreate", "rollingUpdate": null},
        "template": {"spec": {"schedulerName": "nobody"}},
    }});
    let more = more.to_string();
    world
        .kubectl(&["patch", "deployment", "web-blue", "-p", &more], "")
        .await;
    refused("SRT-T062").await;
    world
        .kubectl(&["scale", "deployment", "web-blue", "--replicas=0"], "")
        .await;
    refused("SRT-T066").await;
    let less = json!({"spec": {"replicas": 1, "template": {"spec": {"schedulerName": "default-scheduler"}}}}).to_string();
    world
        .kubectl(&["patch", "deployment", "web-blue", "-p", &less], "")
        .await;

    let owned = "apiVersion: v1\nkind: Service\nmetadata: {name: web-stage}\nspec: {selector: {app: web, sortie.dev/color: blue}}\n";
    let manager = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=rollouts-controller",
        "-f",
        "-",
    ];
    world.kubectl(&manager, owned).await;
    refused("SRT-T064").await;
    world.kubectl(&["delete", "service", "web-stage"], "").await;
    let told = world.swap(hasty, "").await;
    assert_eq!(told.failure().code, "SRT-T060", "{:?}", told.failure());
    // Deployed again, it goes through.
    world
        .stage(&v1.replace("replicas: 2", "replicas: 1"), "")
        .await
        .outputs();
    assert_eq!(world.swap(hasty, "").await.outputs()["swapped"], true);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_deployment_has_overwritten_is_not_swapped_in() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "swap_overwritten").await;
    let fail = async |image: &str| {
        let set = app(image).replace("containers:", "schedulerName: nobody\n      containers:");
        let mut task = world.task_of(blue_green(plain(&set)), "");
        task.timeout = Duration::from_secs(4);
        world.run(&task).await.failure();
    };
    fail("example.com/web:1").await;
    // It has colours, though nothing of it has ended well.
    let rolled = world.deploy(plain(&app("example.com/web:1"))).await;
    assert_eq!(rolled.failure().code, "SRT-T058");
    world.stage(&app("example.com/web:2"), "e1").await.outputs();
    world.swap(SWAP, "e1").await.outputs();
    world.stage(&app("example.com/web:3"), "e2").await.outputs();
    fail("example.com/web:4").await;
    assert_eq!(
        world.statuses().await,
        ["Failed", "Succeeded", "Superseded", "Failed"]
    );
    assert_eq!(world.swap(SWAP, "e2").await.failure().code, "SRT-T070");
    assert_eq!(world.swap(SWAP, "").await.outputs()["swapped"], false);
    assert_eq!(world.colors().await, ["blue", "green"]);
    world.stage(&app("example.com/web:3"), "e2").await.outputs();
    assert_eq!(world.swap(SWAP, "e2").await.outputs()["swapped"], true);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_swaps_at_once_one_is_enough() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "swap_twice").await;
    let v1 = app("example.com/web:1");
    world.stage(&v1, "").await.outputs();
    let (first, second) = tokio::join!(world.swap(SWAP, ""), world.swap(SWAP, ""));
    let mut swapped = [&first, &second].map(|told| told.outputs()["swapped"] == true);
    swapped.sort_unstable();
    assert_eq!(swapped, [false, true], "{first:?} {second:?}");
    assert_eq!(world.colors().await, ["blue", "green"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_is_stopped_leaves_both_services_or_none() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "swap_stopped").await;
    let v1 = app("example.com/web:1");
    world.stage(&v1, "").await.outputs();
    let long = SwapServices {
        settle: Duration::from_secs(600),
        ..SWAP
    };
    let log = std::sync::Arc::new(crate::world::Log::default());
    let env = world.env(log.clone());
    let task = world.task(Action::SwapServices(long));
    let stop = async {
        log.says("clients may still be on their way").await;
        env.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(sortie_step::run(&task, &env), stop);
    assert!(
        matches!(outcome, sortie_step::Outcome::Aborted),
        "{outcome:?}"
    );
    // It had the traffic already, and the records know.
    assert_eq!(world.colors().await, ["blue", "green"]);
    assert_eq!(world.roles().await, ["blue primary"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stage_is_scaled_to_nothing_and_gets_back_what_it_had() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "stage_scale").await;
    let set = |image: &str| documents(&[&app(image), SCALER]);
    world.stage(&set("example.com/web:1"), "e1").await.outputs();
    world.swap(SWAP, "e1").await.outputs();
    world.stage(&set("example.com/web:2"), "e2").await.outputs();
    world.swap(SWAP, "e2").await.outputs();
    assert_eq!(world.roles().await, ["blue stage", "green primary"]);
    let told = world
        .of_execution(Action::StageScaleDown(StageScaleDown::default()), "e2")
        .await;
    let outputs = told.outputs();
    assert_eq!(
        (&outputs["stageScaledDown"], &outputs["stageColor"]),
        (&json!(true), &json!("blue"))
    );
    let replicas = async |name: &str| {
        world.get("apps/v1/Deployment", name).await.unwrap()["spec"]["replicas"].clone()
    };
    assert_eq!(replicas("web-blue").await, 0);
    assert_ne!(replicas("web-green").await, 0);
    let autoscaler = async |name: &str| {
        world
            .get("autoscaling/v2/HorizontalPodAutoscaler", name)
            .await
    };
    assert!(autoscaler("web-blue").await.is_none());
    assert!(autoscaler("web-green").await.is_some());
    // A second time changes nothing of what is remembered.
    world
        .of_execution(Action::StageScaleDown(StageScaleDown::default()), "e2")
        .await
        .outputs();

    let half = StageScaleUp {
        instances: Some(sortie_step::task::Amount::Count(1)),
        skip_steady_state_check: false,
    };
    let told = world.of_execution(Action::StageScaleUp(half), "e2").await;
    assert_eq!(told.outputs()["stageScaledUp"], true);
    assert_eq!(replicas("web-blue").await, 1);
    assert!(
        autoscaler("web-blue").await.is_none(),
        "it would take the number over"
    );
    world
        .of_execution(Action::StageScaleDown(StageScaleDown::default()), "e2")
        .await
        .outputs();

    // Going back brings the pods back first.
    let told = world.swap(back(), "e2").await;
    assert_eq!(told.outputs()["primaryColor"], "blue", "{told:?}");
    assert_eq!(world.colors().await, ["blue", "green"]);
    assert_eq!(replicas("web-blue").await, 1);
    assert!(autoscaler("web-blue").await.is_some());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_to_a_colour_that_was_scaled_down_has_pods() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "stage_again").await;
    let whole = app("example.com/web:1");
    let sizeless = whole.replace("  replicas: 2\n", "");
    let scaled = documents(&[&whole, SCALER]);
    for (set, pods) in [(&whole, 2), (&sizeless, 1), (&scaled, 2)] {
        world.stage(set, "").await.outputs();
        world.scale_down("").await.outputs();
        let again = set.replace("web:1", "web:2");
        world.stage(&again, "").await.outputs();
        let copy = world.get("apps/v1/Deployment", "web-blue").await.unwrap();
        assert_eq!(copy["spec"]["replicas"], pods, "{set}");
        assert_eq!(copy["status"]["readyReplicas"], pods, "{set}");
    }
    assert_eq!(world.swap(SWAP, "").await.outputs()["swapped"], true);
    world.finish().await;
}

/// Watches a Service, and keeps each moment at which it has left pods that were ready for a colour that had none.
async fn observe(world: &World, stop: &CancellationToken) -> (Vec<String>, usize) {
    let api = connect(world.cluster.kubeconfig()).await;
    let namespace = world.namespace.name();
    let services = api.resolve("", "v1", "Service").await.unwrap();
    let mut watches = [
        api.watch(Selection::of(services, namespace).named("web"))
            .await
            .unwrap(),
        api.watch(Selection::of(Resource::pods(), namespace))
            .await
            .unwrap(),
    ];
    let (mut violations, mut changes) = (Vec::new(), 0);
    let mut before = String::new();
    loop {
        let [service, pods] = [0, 1].map(|at: usize| watches[at].view().objects);
        let selected = service.get("web").and_then(|web| {
            let selected = web.pointer("/spec/selector/sortie.dev~1color")?;
            selected.as_str().map(str::to_owned)
        });
        let color = selected.unwrap_or_default();
        let ready = |color: &str| {
            let of_color = |pod: &&std::sync::Arc<Value>| {
                let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
                let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
                pod.pointer("/metadata/labels/sortie.dev~1color") == Some(&json!(color))
                    && pod.pointer("/metadata/deletionTimestamp").is_none()
                    && conditions.is_some_and(|all| all.iter().any(is_ready))
            };
            pods.values().filter(of_color).count()
        };
        if color != before {
            changes += 1;
            if ready(&color) == 0 {
                violations.push(format!("{before} to {color}, which has no ready pod"));
            }
            before = color;
        }
        tokio::select! {
            () = watch::any_changed(&mut watches) => {}
            () = stop.cancelled() => return (violations, changes),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_a_colour_without_pods_wherever_a_swap_is_killed() {
    let ground = Ground::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::on(ground.cluster.clone(), "swap_observed").await;
    world.limits = crate::crashing::limits(5);
    world.stage(&app("example.com/web:1"), "").await.outputs();
    world.swap(SWAP, "").await.outputs();
    world.stage(&app("example.com/web:2"), "").await.outputs();
    let stop = CancellationToken::new();
    let deaths = async {
        let mut colors = world.colors().await;
        for place in ["before:1", "after:1", "before:2", "after:2"] {
            let order = Order::of(&world, Deed::Color(Coloring::LocalSwap), folder.path());
            let place = format!("patch:{place}");
            let died = run_until(&order, Some(place.clone())).await;
            assert_eq!(died, Err(()), "{place}");
            // Whoever comes next takes it back, and then swaps for itself.
            let told = world.swap(SWAP, "").await;
            assert!(told.said("was interrupted earlier"), "{place}");
            assert_eq!(told.outputs()["swapped"], true, "{place}");
            colors.reverse();
            assert_eq!(world.colors().await, colors, "{place}");
        }
        stop.cancel();
    };
    let ((violations, changes), ()) = tokio::join!(observe(&world, &stop), deaths);
    assert!(violations.is_empty(), "{violations:?}");
    assert!(changes >= 5, "{changes}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_looked_at_loses_its_pods() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "scale_exchanged").await;
    world.stage(&app("example.com/web:1"), "").await.outputs();
    world.swap(SWAP, "").await.outputs();
    world.stage(&app("example.com/web:2"), "").await.outputs();
    // A swap that nobody carries on: it has only to settle, so that whoever comes next brings it to its end.
    let slow = SwapServices {
        settle: Duration::from_secs(600),
        ..SWAP
    };
    let log = std::sync::Arc::new(crate::world::Log::default());
    let env = world.env(log.clone());
    let task = world.task(Action::SwapServices(slow));
    let leave = CancellationToken::new();
    let leaving = async {
        log.says("clients may still be on their way").await;
        leave.cancel();
    };
    let (outcome, ()) = tokio::join!(sortie_step::run_until(&task, &env, &leave), leaving);
    assert!(outcome.is_err(), "{outcome:?}");
    let told = world.scale_down("").await;
    assert_eq!(told.failure().code, "SRT-T072", "{:?}", told.failure());
    assert_eq!(world.roles().await, ["blue stage", "green primary"]);
    let numbered = StageScaleDown { number: Some(2) };
    let told = world
        .of_execution(Action::StageScaleDown(numbered), "")
        .await;
    assert_eq!(told.failure().code, "SRT-T072", "{:?}", told.failure());
    for name in ["web-blue", "web-green"] {
        let workload = world.get("apps/v1/Deployment", name).await.unwrap();
        assert_eq!(workload["spec"]["replicas"], 2, "{name}");
    }
    let told = world.scale_down("").await;
    assert_eq!(told.outputs()["releaseNumber"], 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_takes_a_swap_back_that_was_left_half_way() {
    let ground = Ground::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::on(ground.cluster.clone(), "swap_left").await;
    world.limits = crate::crashing::limits(5);
    world.stage(&app("example.com/web:1"), "").await.outputs();
    world.swap(SWAP, "").await.outputs();
    world.stage(&app("example.com/web:2"), "").await.outputs();
    let order = Order::of(&world, Deed::Color(Coloring::LocalSwap), folder.path());
    let died = run_until(&order, Some("patch:after:1".to_owned())).await;
    assert_eq!(died, Err(()));
    // Both Services lead to one colour, which says nothing about where the next version may go.
    let [traffic, stage] = world.colors().await;
    assert_eq!(traffic, stage);

    let told = world.stage(&app("example.com/web:3"), "").await;
    assert!(told.said("was interrupted earlier"), "{:?}", told.lines);
    assert_eq!(told.outputs()["stageColor"], "green", "{told:?}");
    assert_eq!(world.colors().await, ["blue", "green"]);
    assert_eq!(
        world.roles().await,
        ["blue primary", "green stage", "green stage"]
    );
    world.finish().await;
}
