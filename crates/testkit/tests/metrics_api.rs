//! A real autoscaler scales by the metrics that a test sets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::{
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use sortie_testkit::{Cluster, Kind, MetricsApi, wait_for};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

const LIMIT: Duration = Duration::from_secs(90);

/// Two containers that ask for 20m together.
fn deployment(image: &str) -> Deployment {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "10m"}},
        })
    };
    let value = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container("web"), container("side")],
                },
            },
        },
    });
    serde_json::from_value(value).unwrap()
}

fn autoscaler() -> HorizontalPodAutoscaler {
    let at_once = json!({
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}],
    });
    let value = json!({
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
            }],
            "behavior": {"scaleUp": at_once, "scaleDown": at_once},
        },
    });
    serde_json::from_value(value).unwrap()
}

fn scaling_active(
    autoscaler: Option<&HorizontalPodAutoscaler>,
) -> Option<&HorizontalPodAutoscalerCondition> {
    let conditions = autoscaler?.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == "ScalingActive")
}

fn has_available(deployment: Option<&Deployment>, replicas: i32) -> bool {
    deployment
        .and_then(|one| one.status.as_ref())
        .is_some_and(|status| {
            status.replicas == Some(replicas) && status.available_replicas == Some(replicas)
        })
}

async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    client.request(request).await
}

#[tokio::test]
async fn an_autoscaler_follows_the_usage_that_is_set() {
    let cluster = Cluster::shared().await.unwrap();
    let image = cluster.image("pause").await.unwrap();
    let metrics = MetricsApi::install(&cluster).await.unwrap();
    let namespace = cluster.namespace("autoscaler").await.unwrap();
    let (client, name) = (namespace.client(), namespace.name());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), name);
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), name);
    let params = PostParams::default();
    deployments
        .create(&params, &deployment(&image))
        .await
        .unwrap();
    autoscalers.create(&params, &autoscaler()).await.unwrap();

    // No usage is set yet: the autoscaler says that it is blind.
    let blind = |autoscaler: Option<&HorizontalPodAutoscaler>| {
        scaling_active(autoscaler).is_some_and(|one| {
            one.status == "False" && one.reason.as_deref() == Some("FailedGetResourceMetric")
        })
    };
    wait_for(autoscalers.clone(), "web", LIMIT, blind)
        .await
        .unwrap();
    wait_for(deployments.clone(), "web", LIMIT, |web| {
        has_available(web, 1)
    })
    .await
    .unwrap();

    // Exactly the target: it sees, and keeps what it has.
    metrics.set_cpu(name, "web-", 10);
    let active = |autoscaler: Option<&HorizontalPodAutoscaler>| {
        scaling_active(autoscaler).is_some_and(|one| one.status == "True")
    };
    let seen = wait_for(autoscalers.clone(), "web", LIMIT, active)
        .await
        .unwrap()
        .unwrap();
    let status = seen.status.unwrap();
    assert_eq!(status.desired_replicas, 1);
    let current = &status.current_metrics.unwrap()[0];
    let current = &current.resource.as_ref().unwrap().current;
    assert_eq!(current.average_utilization, Some(50), "{current:?}");

    metrics.set_cpu(name, "web-", 40);
    metrics.set_memory(name, "web-", 1000);
    wait_for(deployments.clone(), "web", LIMIT, |web| {
        has_available(web, 3)
    })
    .await
    .unwrap();
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{name}/pods");
    let listed = get(&client, &format!("{path}?labelSelector=app%3Dweb"))
        .await
        .unwrap();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 3, "{listed}");
    let containers = json!([
        {"name": "web", "usage": {"cpu": "20m", "memory": "500"}},
        {"name": "side", "usage": {"cpu": "20m", "memory": "500"}},
    ]);
    for item in items {
        assert_eq!(item["containers"], containers, "{item}");
        let one = item["metadata"]["name"].as_str().unwrap();
        let one = get(&client, &format!("{path}/{one}")).await.unwrap();
        assert_eq!(one["containers"], containers, "{one}");
    }
    let others = get(&client, &format!("{path}?labelSelector=app%3Dother"))
        .await
        .unwrap();
    assert_eq!(others["items"], json!([]));
    let nodes = get(&client, "/apis/metrics.k8s.io/v1beta1/nodes")
        .await
        .unwrap();
    assert_eq!(
        nodes["items"][0]["usage"],
        json!({"cpu": "120m", "memory": "3000"}),
        "{nodes}"
    );

    metrics.set_cpu(name, "web-", 1);
    wait_for(deployments, "web", LIMIT, |web| has_available(web, 1))
        .await
        .unwrap();
    metrics.finish().await.unwrap();
    namespace.finish().await.unwrap();
}

const DISCOVERY: &str = "/apis/metrics.k8s.io/v1beta1";
/// Tells [`holds_it_until_killed`] its cluster.
const HOLD: &str = "METRICS_API_TEST_CLUSTER";

/// What the API server answers for the group.
async fn discovery(client: &Client) -> u16 {
    match get(client, DISCOVERY).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

/// Where the server listens, as the API server was told.
async fn url(client: &Client) -> String {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "kube-system");
    let slice = slices.get("testkit-metrics").await.unwrap();
    let port = slice.ports.unwrap()[0].port.unwrap();
    format!("https://{}:{port}/apis", slice.endpoints[0].addresses[0])
}

/// In a cluster of its own, where nobody else installs it.
#[tokio::test]
async fn one_test_at_a_time_has_it_and_nothing_stays() {
    let cluster = Cluster::start(Kind::Real).await.unwrap();
    let client = cluster.client().await.unwrap();
    assert_eq!(discovery(&client).await, 404);
    let inside = AtomicU32::new(0);
    let one = async || {
        let metrics = MetricsApi::install(&cluster).await.unwrap();
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
        assert_eq!(discovery(&client).await, 200);
        let direct = Command::new("curl")
            .args(["--silent", "--insecure", "--max-time", "20"])
            .arg(url(&client).await)
            .output()
            .await
            .unwrap();
        assert!(
            !direct.status.success() && direct.stdout.is_empty(),
            "only the API server may ask: {direct:?}"
        );
        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
        metrics.finish().await.unwrap();
    };
    tokio::join!(one(), one());
    assert_eq!(discovery(&client).await, 404);
    drop(MetricsApi::install(&cluster).await.unwrap());
    assert_eq!(discovery(&client).await, 404);

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_it_until_killed", "--nocapture"])
        .env(HOLD, cluster.name())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let installed = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("installed") {
                return;
            }
        }
        panic!("the child ended early");
    };
    tokio::time::timeout(LIMIT, installed).await.unwrap();
    let again = || Cluster::up(Kind::Real, cluster.name(), None);
    again().await.unwrap();
    assert_eq!(discovery(&client).await, 200, "it is in use");
    child.kill().await.unwrap();
    again().await.unwrap();
    assert_eq!(discovery(&client).await, 404);
}

/// The other half of the test above, in a process that is killed; nothing by itself.
#[tokio::test]
async fn holds_it_until_killed() {
    let Some(name) = std::env::var_os(HOLD) else {
        return;
    };
    let cluster = Cluster::up(Kind::Real, name.to_str().unwrap(), None)
        .await
        .unwrap();
    let _metrics = MetricsApi::install(&cluster).await.unwrap();
    println!("installed");
    std::future::pending::<()>().await;
}
