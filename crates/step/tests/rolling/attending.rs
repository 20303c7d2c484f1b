//! The autoscaler and the disruption budget of a release while a canary runs beside it.

use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::watch::Selection;
use sortie_step::task::{Action, Amount, RollingDeploy};
use sortie_testkit::MetricsApi;

use crate::canarying::canary;
use crate::world::{Told, World, documents, plain, web};

const SCALER: &str = "autoscaling/v2/HorizontalPodAutoscaler";
const BUDGET: &str = "policy/v1/PodDisruptionBudget";

/// Two to four pods, of which two are always to be there.
const BESIDE: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 9, periodSeconds: 1}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
";

/// The sample, whose pods ask for 10m of CPU.
fn set(image: &str) -> RollingDeploy {
    let asking = "          resources: {requests: {cpu: 10m}}\n          readinessProbe";
    let web = web(image, "").replace("          readinessProbe", asking);
    plain(&documents(&[&web, BESIDE]))
}

impl World {
    /// The object, once its status is as it should be.
    async fn awaited(&self, kind: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let (group_version, kind) = kind.rsplit_once('/').unwrap();
        let (group, version) = group_version.split_once('/').unwrap();
        let resource = self.api.resolve(group, version, kind).await.unwrap();
        let named = Selection::of(resource, self.namespace.name()).named("web");
        let mut watched = self.api.watch(named).await.unwrap();
        let mut last = Value::Null;
        let wait = async {
            loop {
                let view = watched.view();
                if let Some(object) = view.objects.get("web") {
                    last = object.as_ref().clone();
                    if is_it(&last) {
                        return;
                    }
                }
                watched.changed().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(90), wait).await;
        assert!(waited.is_ok(), "{last}");
        last
    }

    /// The autoscaler that decides, has brought its workload to so many pods, and counts them alone.
    async fn scaled_to(&self, count: u64) {
        self.awaited(SCALER, |scaler| {
            let status = &scaler["status"];
            let conditions = status["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            status["currentReplicas"] == count
                && status["desiredReplicas"] == count
                && conditions.any(|one| one["type"] == "ScalingActive" && one["status"] == "True")
        })
        .await;
    }

    /// The budget that sees so many healthy pods, and lets so many go.
    async fn spares(&self, healthy: u64, allowed: u64) {
        self.awaited(BUDGET, |budget| {
            let status = &budget["status"];
            status["currentHealthy"] == healthy && status["disruptionsAllowed"] == allowed
        })
        .await;
    }

    /// Evicts a pod that these labels select; what the API server says, where it refuses.
    async fn evict(&self, labels: &str) -> Result<(), String> {
        let names = [
            "get",
            "pods",
            "-l",
            labels,
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ];
        let pod = self.kubectl(&names, "").await;
        let name = self.namespace.name();
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": name},
        });
        let path = format!("/api/v1/namespaces/{name}/pods/{pod}/eviction");
        let asked = ["create", "--raw", &path, "-f", "-"];
        self.kubectl_tried(&asked, &eviction.to_string()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscaler_and_budget_of_the_release_see_the_canary() {
    let world = World::new("canary_scaled").await;
    let metrics = MetricsApi::install(&world.cluster).await.unwrap();
    let namespace = world.namespace.name();
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    // Exactly what is aimed at.
    metrics.set_cpu(namespace, "web-", 8);
    world.deploy(set(&v1)).await.outputs();
    world.scaled_to(2).await;
    world.spares(2, 0).await;
    let refused = world.evict("app=web").await.unwrap_err();
    assert!(refused.contains("disruption budget"), "{refused}");

    let both = |told: &Told| {
        let budget = "PodDisruptionBudget/";
        told.lines.iter().any(|(_, _, line)| {
            line.starts_with(budget) && line.contains("counts the pods of both sides together")
        })
    };
    let beside = |deploy: RollingDeploy| world.task(canary(deploy, Amount::Count(1)));
    let tried = RollingDeploy {
        dry_run: true,
        ..set(&v2)
    };
    assert!(both(&world.run(&beside(tried)).await));
    let told = world.run(&beside(set(&v2))).await;
    told.outputs();
    assert!(both(&told), "{:?}", told.lines);
    for kind in [SCALER, BUDGET] {
        assert!(world.get(kind, "web-canary").await.is_none(), "{kind}");
    }

    // The one budget allows what there is beside the release, and the canary's controller brings it back.
    world.spares(3, 1).await;
    world.evict("sortie.dev/track=canary").await.unwrap();
    world.spares(3, 1).await;
    // The autoscaler decides as before: the canary is none of its pods.
    world.scaled_to(2).await;
    metrics.set_cpu(namespace, "web-", 30);
    world.scaled_to(4).await;
    let copy = world.get("apps/v1/Deployment", "web-canary").await.unwrap();
    assert_eq!(copy["spec"]["replicas"], 1);
    world.spares(5, 3).await;
    metrics.set_cpu(namespace, "web-", 1);
    world.scaled_to(2).await;

    let deleted = world.run(&world.task(Action::CanaryDelete)).await;
    assert_eq!(deleted.outputs()["canaryDeleted"], true);
    world.spares(2, 0).await;
    assert!(world.evict("app=web").await.is_err());
    metrics.finish().await.unwrap();
    world.finish().await;
}
