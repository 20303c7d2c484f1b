//! Progressive canaries of workloads that are autoscaled.

use serde_json::{Value, json};

use crate::crashing::Scene;
use crate::crashing::ground::Who;
use crate::crashing::process::{Deed, Halt};
use crate::crashing::story::{self, Story};
use crate::progressing::app;
use crate::world::{World, documents, plain};

/// An autoscaler of the Deployment, with its limits.
pub(crate) fn scaler((min, max): (u32, u32)) -> String {
    format!(
        "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  minReplicas: {min}
  maxReplicas: {max}
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 90}}}}}}]
"
    )
}

impl World {
    /// The limits of the autoscaler.
    pub(crate) async fn limits(&self) -> (Value, Value) {
        let kind = "autoscaling/v2/HorizontalPodAutoscaler";
        let scaler = self.get(kind, "web").await.unwrap();
        (
            scaler["spec"]["minReplicas"].clone(),
            scaler["spec"]["maxReplicas"].clone(),
        )
    }

    /// Waits until so many pods of a Deployment are available.
    async fn available(&self, name: &str, count: u32) {
        let wait = format!("--for=jsonpath={{.status.availableReplicas}}={count}");
        let deployment = format!("deployment/{name}");
        self.kubectl(&["wait", &wait, &deployment, "--timeout=90s"], "")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_decides_within_what_the_original_has_left() {
    let world = World::new("progressive_scaled").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    // It decides, and not the manifest.
    let set = |version: &str| {
        let app = app(&image, version).replace("  replicas: 4\n", "");
        documents(&[&app, &scaler((3, 8))])
    };
    world.deploy(plain(&set("1"))).await.outputs();
    world.available("web", 3).await;
    world.share(&set("2"), 30, "e1").await.outputs();
    assert_eq!(world.sides().await, (2, Some(1)));
    assert_eq!(world.limits().await, (json!(2), json!(6)));
    world.share(&set("2"), 60, "e1").await.outputs();
    assert_eq!(world.sides().await, (1, Some(2)));
    assert_eq!(world.limits().await, (json!(1), json!(4)));
    let told = world.back("e1").await;
    assert_eq!(told.outputs()["rolledBack"], true);
    assert_eq!(world.sides().await, (3, None));
    assert_eq!(world.limits().await, (json!(3), json!(8)));
    world.share(&set("2"), 100, "e2").await.outputs();
    assert_eq!(world.sides().await, (3, None));
    assert_eq!(world.limits().await, (json!(3), json!(8)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_of_nobody_knows_whom_is_left_alone() {
    let world = World::new("progressive_foreign").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.deploy(plain(&app(&image, "1"))).await.outputs();
    world.kubectl(&["apply", "-f", "-"], &scaler((4, 9))).await;
    let told = world.share(&app(&image, "2"), 50, "e1").await;
    assert_eq!(told.failure().code, "SRT-T118", "{:?}", told.failure());
    let owner = json!([{"op": "add", "path": "/metadata/ownerReferences", "value": [
        {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "load", "uid": "1"},
    ]}]);
    let patch = [
        "patch",
        "hpa",
        "web",
        "--type=json",
        "-p",
        &owner.to_string(),
    ];
    world.kubectl(&patch, "").await;
    let told = world.share(&app(&image, "2"), 50, "e1").await;
    assert_eq!(told.failure().code, "SRT-T115", "{:?}", told.failure());
    assert!(told.failure().message.contains("ScaledObject load"));
    assert_eq!(world.heads().await.len(), 1);
    assert_eq!(world.sides().await, (4, None));
    assert_eq!(world.limits().await, (json!(4), json!(9)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_given_back_whenever_a_step_was_killed() {
    // Held, pods written on both sides, limits in proportion.
    for patch in [
        "patch:after:1",
        "patch:after:2",
        "patch:after:3",
        "patch:after:4",
        "patch:before:5",
    ] {
        let mut scene = Scene::set(Story::Progressive, "half_scaled").await;
        let set = |version| documents(&[&story::version(version), &scaler((1, 6))]);
        scene.world.deploy(plain(&set(1))).await.outputs();
        scene.order.deed = Deed::Progressive(set(2), 50);
        let halt = Halt::Die(patch.to_owned());
        assert_eq!(scene.start(Who::First, &halt).end().await, None, "{patch}");
        let world = &scene.world;
        let told = world.back("").await;
        assert_eq!(told.outputs()["rolledBack"], true, "{patch}");
        assert_eq!(world.sides().await, (2, None), "{patch}");
        assert_eq!(world.limits().await, (json!(1), json!(6)), "{patch}");
        scene.close().await;
    }
}
