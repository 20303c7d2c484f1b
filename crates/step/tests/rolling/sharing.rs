//! Fields that the steps share: with the patches of a strategy, with an autoscaler, with another release.

use serde_json::{Value, json};
use sortie_cluster::lease::Guard;
use sortie_manifest::ObjectId;
use sortie_step::task::{Action, Prune, RollingDeploy, Target};

use crate::world::{World, config, documents, plain, web};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

/// Changes single fields as a strategy does it.
async fn patched(world: &World, kind: (&str, &str), operations: Value) {
    let (group, kind) = kind;
    let resource = world.api.resolve(group, "v1", kind).await.unwrap();
    let id = ObjectId {
        group: group.into(),
        kind: kind.into(),
        namespace: Some(world.namespace.name().to_owned()),
        name: "web".into(),
    };
    let guard = Guard::unfenced();
    let patch = world.api.patch(&resource, &id, &operations, &guard);
    patch.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_after_a_swap_points_the_service_where_the_manifest_says() {
    let world = World::new("after_swap").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let set = documents(&[SERVICE, &web(&image, "")]);
    world.deploy(plain(&set)).await.outputs();
    let swap = json!([
        {"op": "test", "path": "/spec/selector/app", "value": "web"},
        {"op": "add", "path": "/spec/selector/sortie.dev~1color", "value": "green"},
    ]);
    patched(&world, ("", "Service"), swap).await;

    let told = world.deploy(plain(&set)).await;
    told.outputs();
    let service = world.get("v1/Service", "web").await.unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": "web"}));
    assert!(
        !told.said("taken from"),
        "our own patch is no conflict: {:?}",
        told.lines
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_after_a_patch_keeps_what_only_the_patch_added() {
    let world = World::new("after_patch").await;
    let (v1, v2) = (
        world.cluster.image("sample-v1").await.unwrap(),
        world.cluster.image("sample-v2").await.unwrap(),
    );
    world.deploy(plain(&web(&v1, ""))).await.outputs();
    let patch = json!([
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": v2},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": "/metadata/annotations/team", "value": "web"},
    ]);
    patched(&world, ("apps", "Deployment"), patch).await;

    let told = world.deploy(plain(&web(&v1, ""))).await;
    told.outputs();
    let web = world.get("apps/v1/Deployment", "web").await.unwrap();
    let image = web.pointer("/spec/template/spec/containers/0/image");
    assert_eq!(image.unwrap(), v1.as_str(), "the manifest names it");
    assert_eq!(web["spec"]["replicas"], 2, "only the patch does");
    assert_eq!(web["metadata"]["annotations"]["team"], "web");
    assert!(!told.said("taken from"), "{:?}", told.lines);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_release_is_refused_and_stays_with_it() {
    let world = World::new("two_releases").await;
    world.deploy(plain(&config("shared", "1"))).await.outputs();
    let other = |options: RollingDeploy| {
        let mut task = world.task(Action::RollingDeploy(options));
        task.release.name = "other".to_owned();
        task
    };
    let set = documents(&[&config("own", "1"), &config("shared", "2")]);
    let refused = world.run(&other(plain(&set))).await;
    assert!(refused.failure().message.contains("shared"), "{refused:?}");
    assert!(world.get("v1/ConfigMap", "own").await.is_none());
    let shared = async || world.get("v1/ConfigMap", "shared").await.unwrap()["data"]["a"].clone();
    assert_eq!(shared().await, "1");

    let adopted = RollingDeploy {
        adopt: true,
        ..plain(&set)
    };
    world.run(&other(adopted)).await.outputs();
    assert_eq!(shared().await, "2");
    // It is not the first one's any more, which neither changes nor prunes it.
    let back = world.deploy(plain(&config("shared", "3"))).await;
    assert!(back.failure().message.contains("shared"), "{back:?}");
    let pruning = RollingDeploy {
        prune: Some(sortie_step::task::Prune::default()),
        ..plain(&config("mine", "1"))
    };
    world.deploy(pruning).await.outputs();
    assert_eq!(shared().await, "2");
    world.finish().await;
}

/// An autoscaler that finds no metrics, and more pods than it allows.
const ONE_POD: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  minReplicas: 1
  maxReplicas: 1
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
";

async fn scaled_to_one(world: &World) {
    let one = "--for=jsonpath={.spec.replicas}=1";
    let wait = ["wait", one, "deployment/web", "--timeout=120s"];
    world.kubectl(&wait, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_deletes_an_autoscaler_brings_the_replicas_back() {
    let world = World::new("autoscaler_gone").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let two = |image: &str| web(image, "").replacen("spec:\n", "spec:\n  replicas: 2\n", 1);
    let both = |image: &str| documents(&[&two(image), ONE_POD]);
    let back = async |case: &str| {
        let autoscaler = world.get("autoscaling/v2/HorizontalPodAutoscaler", "web");
        assert!(autoscaler.await.is_none(), "{case}");
        let web = world.get("apps/v1/Deployment", "web").await.unwrap();
        assert_eq!(web["spec"]["replicas"], 2, "{case}");
        assert_eq!(web["status"]["availableReplicas"], 2, "{case}");
    };
    world.deploy(plain(&two(&v1))).await.outputs();
    world.deploy(plain(&both(&v3))).await.failure();
    scaled_to_one(&world).await;
    world.rollback(Target::Below(2)).await.outputs();
    back("rolled back").await;

    world.deploy(plain(&both(&v1))).await.outputs();
    scaled_to_one(&world).await;
    let pruning = RollingDeploy {
        prune: Some(Prune { limit: Some(9) }),
        ..plain(&two(&v1))
    };
    let line = "replicas go back from 1 to 2 once the autoscaler is deleted";
    let trying = RollingDeploy {
        dry_run: true,
        ..pruning.clone()
    };
    let tried = world.deploy(trying).await;
    let rows = tried.outputs()["dryRun"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["object"]["kind"] == "Deployment");
    let expected = json!({"before": 1, "after": 2});
    assert_eq!(row.unwrap()["replicas"], expected, "{rows:?}");
    assert_eq!(row.unwrap()["change"], "configured");
    assert!(tried.said(line), "{:?}", tried.lines);
    let compared = world.task(Action::Diff(pruning.clone().into()));
    let compared = world.run(&compared).await;
    let objects = compared.outputs()["objects"].as_array().unwrap();
    let web = objects
        .iter()
        .find(|one| one["object"]["kind"] == "Deployment");
    let change = json!([{"path": "spec.replicas", "before": 1, "after": 2}]);
    assert_eq!(web.unwrap()["changes"], change, "{objects:?}");
    assert_eq!(web.unwrap()["notes"], json!([line]));
    world.deploy(pruning).await.outputs();
    back("pruned").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_an_autoscaler_sets_are_left_to_it() {
    let world = World::new("autoscaler").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let web = web(&image, "").replacen("spec:\n", "spec:\n  replicas: 1\n", 1);
    world.deploy(plain(&web)).await.outputs();
    world.given("apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  minReplicas: 2\n  maxReplicas: 3\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]\n").await;
    world
        .kubectl(
            &[
                "wait",
                "--for=jsonpath={.spec.replicas}=2",
                "deployment/web",
                "--timeout=120s",
            ],
            "",
        )
        .await;
    let changed = web.replace("value: \"0\"", "value: \"1\"");
    world.deploy(plain(&changed)).await.outputs();
    let web = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(web["spec"]["replicas"], 2);
    world.finish().await;
}
