//! Blue-green deployments: the colour without traffic, and the Services of both.

use serde_json::{Value, json};
use sortie_step::task::{Action, BlueGreenDeploy, Prune, RollingDeploy};

use crate::swapping::{SWAP, app};
use crate::world::{Told, World, config, documents, plain, web};

pub(crate) fn blue_green(deploy: RollingDeploy) -> Action {
    Action::BlueGreenDeploy(BlueGreenDeploy {
        deploy,
        skip_unchanged: true,
    })
}

pub(crate) const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
";

impl World {
    async fn blue_green(&self, deploy: RollingDeploy) -> Told {
        self.run(&self.task(blue_green(deploy))).await
    }

    /// The colour that a Service selects.
    async fn selects(&self, service: &str) -> Value {
        let service = self.get("v1/Service", service).await.unwrap();
        let selector = service.pointer("/spec/selector").unwrap();
        selector["sortie.dev/color"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_comes_in_the_colour_without_traffic() {
    let world = World::new("blue_green").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    let set = |image: &str, greeting: &str| {
        let config = config("web", greeting).replace(
            "  annotations: {sortie.dev/skip-versioning: \"true\"}\n",
            "",
        );
        let web = web(
            image,
            ", {name: GREETING, valueFrom: {configMapKeyRef: {name: web, key: a}}}",
        );
        documents(&[&web, SERVICE, &config])
    };
    let first = world.blue_green(plain(&set(&v1, "hello"))).await;
    let outputs = first.outputs();
    for (key, expected) in [
        ("primaryServiceName", json!("web")),
        ("stageServiceName", json!("web-stage")),
        ("primaryColor", json!("green")),
        ("stageColor", json!("blue")),
        ("stageDeploymentSkipped", json!(false)),
        ("releaseNumber", json!(1)),
    ] {
        assert_eq!(outputs[key], expected, "{key}");
    }
    assert_eq!(
        (world.selects("web").await, world.selects("web-stage").await),
        (json!("green"), json!("blue"))
    );
    let copy = world.get("apps/v1/Deployment", "web-blue").await.unwrap();
    assert_eq!(
        copy.pointer("/spec/selector/matchLabels").unwrap(),
        &json!({"app": "web", "sortie.dev/color": "blue"})
    );
    let env = copy.pointer("/spec/template/spec/containers/0/env/1/valueFrom/configMapKeyRef/name");
    assert_eq!(env.unwrap(), "web-blue");
    assert!(world.get("apps/v1/Deployment", "web").await.is_none());
    let head = world.heads().await.pop().unwrap();
    assert_eq!(
        (head.side.color.as_deref(), head.side.role.as_deref()),
        (Some("blue"), Some("stage"))
    );

    // Blue has the traffic; the next one is green, and the first stays as it is.
    let give = |service: &str, color: &str| {
        let patch = json!({"spec": {"selector": {"sortie.dev/color": color}}}).to_string();
        (service.to_owned(), patch)
    };
    for (service, patch) in [give("web", "blue"), give("web-stage", "green")] {
        world
            .kubectl(&["patch", "service", &service, "-p", &patch], "")
            .await;
    }
    let second = world.blue_green(plain(&set(&v2, "good day"))).await;
    assert_eq!(second.outputs()["stageColor"], "green");
    assert_eq!(
        (world.selects("web").await, world.selects("web-stage").await),
        (json!("blue"), json!("green"))
    );
    let still = world.get("apps/v1/Deployment", "web-blue").await.unwrap();
    assert_eq!(
        still.pointer("/metadata/generation"),
        copy.pointer("/metadata/generation")
    );
    assert_eq!(
        world.statuses().await,
        ["Succeeded", "Succeeded"],
        "both stand"
    );
    // Without colours the Services would reach both.
    let rolled = world.deploy(plain(&set(&v2, "good day"))).await;
    assert_eq!(rolled.failure().code, "SRT-T058");
    assert_eq!(world.selects("web").await, json!("blue"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stage_has_no_more_is_pruned() {
    let world = World::new("blue_green_prune").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let worker = web(&v1, "").replace("web", "worker");
    let prune = |set: &str| RollingDeploy {
        prune: Some(Prune::default()),
        ..plain(set)
    };
    let both = documents(&[&web(&v1, ""), &worker, SERVICE]);
    world.blue_green(prune(&both)).await.outputs();
    assert!(
        world
            .get("apps/v1/Deployment", "worker-blue")
            .await
            .is_some()
    );
    let told = world
        .blue_green(prune(&documents(&[&web(&v1, ""), SERVICE])))
        .await;
    let pruned = told.outputs()["prunedResourceIds"].to_string();
    assert!(pruned.contains("worker-blue"), "{pruned}");
    assert!(
        world
            .get("apps/v1/Deployment", "worker-blue")
            .await
            .is_none()
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_not_clear_are_refused_before_the_first_write() {
    let world = World::new("blue_green_refused").await;
    let app = web("registry.invalid/web:1", "");
    let other = SERVICE.replace("name: web}", "name: other}");
    for (set, code) in [
        (app.clone(), "SRT-T055"),
        (documents(&[&app, SERVICE, &other]), "SRT-T055"),
        (SERVICE.to_owned(), "SRT-T050"),
    ] {
        let told = world.blue_green(plain(&set)).await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
    }
    world.assert_untouched(&[("v1/Service", "web")]).await;
    // Services that would find nothing, or everything.
    let lost = SERVICE.replace("{app: web}", "{app: other}");
    let bare = SERVICE.replace("selector: {app: web}, ", "");
    for (service, code) in [(lost, "SRT-T063"), (bare, "SRT-T055")] {
        let told = world.blue_green(plain(&documents(&[&app, &service]))).await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
    }
    world.assert_untouched(&[("v1/Service", "web")]).await;
    // What is somebody's under a name that the deployment makes up.
    for (kind, name, theirs) in [
        (
            "v1/Service",
            "web-stage",
            SERVICE.replace("name: web}", "name: web-stage}"),
        ),
        (
            "apps/v1/Deployment",
            "web-blue",
            app.replacen("name: web}", "name: web-blue}", 1),
        ),
    ] {
        world.given(&theirs).await;
        let before = world.get(kind, name).await.unwrap();
        let set = documents(&[&app, SERVICE]);
        let told = world.blue_green(plain(&set)).await;
        assert_eq!(told.failure().code, "SRT-T054", "{:?}", told.failure());
        let after = world.get(kind, name).await.unwrap();
        // Its status is its controller's affair.
        for part in ["/metadata/generation", "/metadata/labels", "/spec"] {
            assert_eq!(after.pointer(part), before.pointer(part), "{part}");
        }
        let managers = after["metadata"]["managedFields"].to_string();
        assert!(!managers.contains("sortie"), "{managers}");
        if kind == "v1/Service" {
            let taken_over = RollingDeploy {
                adopt: true,
                dry_run: true,
                ..plain(&set)
            };
            world.blue_green(taken_over).await.outputs();
        }
        let (_, kind) = kind.rsplit_once('/').unwrap();
        world.kubectl(&["delete", kind, name], "").await;
    }
    // A Service whose colour somebody else decides about.
    let colored = SERVICE.replace("{app: web}", "{app: web, sortie.dev/color: green}");
    let manager = "--field-manager=some-operator";
    let apply = ["apply", "--server-side", manager, "-f", "-"];
    world.kubectl(&apply, &colored).await;
    let told = world.blue_green(plain(&documents(&[&app, SERVICE]))).await;
    assert_eq!(told.failure().code, "SRT-T064", "{:?}", told.failure());
    world.kubectl(&["delete", "service", "web"], "").await;
    assert!(world.heads().await.is_empty(), "a record was opened");
    world.given(SERVICE).await;
    let told = world.blue_green(plain(&documents(&[&app, SERVICE]))).await;
    assert_eq!(told.failure().code, "SRT-T056", "{:?}", told.failure());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claims_of_a_colour_last_as_its_manifest_says() {
    let world = World::new("blue_green_claims").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let stateful = web(&image, "")
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace("  selector:", "  serviceName: web\n  selector:");
    let claims = "  volumeClaimTemplates:\n    - metadata: {name: data}\n      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n";
    let set = documents(&[&format!("{stateful}{claims}"), SERVICE]);
    world.blue_green(plain(&set)).await.outputs();
    let copy = world.get("apps/v1/StatefulSet", "web-blue").await.unwrap();
    let policy = copy.pointer("/spec/persistentVolumeClaimRetentionPolicy");
    let retain = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    assert_eq!(policy, Some(&retain));
    let claim = world
        .get("v1/PersistentVolumeClaim", "data-web-blue-0")
        .await;
    let claim = claim.unwrap();
    assert_eq!(claim.pointer("/metadata/ownerReferences"), None);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_colour_is_as_large_as_the_other_and_has_its_own_budget() {
    const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
";
    let world = World::new("blue_green_size").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    let set = |image: &str| documents(&[&app(image), BUDGET]);
    world.stage(&set(&v1), "").await.outputs();
    world.swap(SWAP, "").await.outputs();
    let scale = |name: &'static str, count: &'static str| {
        ["scale", "deployment", name, "--replicas", count]
    };
    world.kubectl(&scale("web-blue", "3"), "").await;
    let wait = [
        "wait",
        "deployment/web-blue",
        "--for=jsonpath={.status.readyReplicas}=3",
    ];
    world.kubectl(&wait, "").await;
    world.stage(&set(&v2), "").await.outputs();
    let copy = world.get("apps/v1/Deployment", "web-green").await.unwrap();
    assert_eq!(copy.pointer("/spec/replicas"), Some(&json!(3)));
    // Three pods of each, of which two must be there.
    for color in ["blue", "green"] {
        let name = format!("web-{color}");
        let budget = format!("pdb/{name}");
        let wait = ["wait", &budget, "--for=jsonpath={.status.expectedPods}=3"];
        world.kubectl(&wait, "").await;
        let budget = world.get("policy/v1/PodDisruptionBudget", &name).await;
        let labels = budget.unwrap();
        let labels = labels.pointer("/spec/selector/matchLabels").cloned();
        let expected = json!({"app": "web", "sortie.dev/color": color});
        assert_eq!(labels, Some(expected));
    }
    let bare = world.get("policy/v1/PodDisruptionBudget", "web").await;
    assert!(bare.is_none(), "it would see the pods of both");
    // Somebody takes a pod away: the swap says it.
    world.kubectl(&scale("web-green", "2"), "").await;
    let told = world.swap(SWAP, "").await;
    told.outputs();
    assert!(told.said("all that 3 pods of blue get comes to 2 of green"));
    // The next set states two, and two is what has the traffic.
    world.stage(&set(&v1), "").await.outputs();
    let copy = world.get("apps/v1/Deployment", "web-blue").await.unwrap();
    assert_eq!(copy.pointer("/spec/replicas"), Some(&json!(2)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_colours_gets_them_and_leaves_no_old_pods() {
    let world = World::new("blue_green_former").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    let colored = |image: &str| {
        let label = "labels: {app: web, sortie.dev/color: green}";
        app(image).replace("labels: {app: web}", label)
    };
    world.deploy(plain(&colored(&v1))).await.outputs();
    let uncolored = world.stage(&app(&v2), "").await;
    assert_eq!(uncolored.failure().code, "SRT-T056");
    let patch = json!({"spec": {"selector": {"sortie.dev/color": "green"}}}).to_string();
    world
        .kubectl(&["patch", "service", "web", "-p", &patch], "")
        .await;
    world.stage(&app(&v2), "").await.outputs();
    let pruned = |set: &str| {
        let deploy = RollingDeploy {
            prune: Some(Prune::default()),
            ..plain(set)
        };
        blue_green(deploy)
    };
    // What has the traffic stays, whatever is pruned.
    world.run(&world.task(pruned(&app(&v2)))).await.outputs();
    assert!(world.get("apps/v1/Deployment", "web").await.is_some());
    world.swap(SWAP, "").await.outputs();
    assert_eq!(world.colors().await, ["blue", "green"]);
    // The old pods are green, as the next version's would be.
    let mixed = world.stage(&app(&v1), "").await;
    assert_eq!(mixed.failure().code, "SRT-T071", "{:?}", mixed.failure());
    assert!(world.get("apps/v1/Deployment", "web-green").await.is_none());
    let told = world.run(&world.task(pruned(&app(&v1)))).await;
    let gone = told.outputs()["prunedResourceIds"].to_string();
    assert!(
        gone.contains("Deployment") && gone.contains("/web\""),
        "{gone}"
    );
    assert!(world.get("apps/v1/Deployment", "web").await.is_none());
    world.swap(SWAP, "").await.outputs();
    world.finish().await;
}
