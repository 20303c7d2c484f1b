//! The resource metrics API `metrics.k8s.io/v1beta1`: discovery, PodMetrics and NodeMetrics.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::usage::{Usage, Usages, divide};
use crate::clock;

pub(super) const GROUP: &str = "metrics.k8s.io";
pub(super) const VERSION: &str = "v1beta1";

/// Over which time the usage is said to be measured. Short: an autoscaler leaves out what began before a pod was ready.
const WINDOW: &str = "1s";

/// Answers for the pods and nodes that exist when it is asked.
pub(super) fn router(client: Client, usages: Usages) -> Router {
    let resources = Router::new()
        .route("/", get(resources))
        .route("/nodes", get(list_nodes))
        .route("/nodes/{name}", get(get_node))
        .route("/pods", get(list_all_pods))
        .route("/namespaces/{namespace}/pods", get(list_pods))
        .route("/namespaces/{namespace}/pods/{name}", get(get_pod));
    Router::new()
        .route("/apis", get(groups))
        .route(&format!("/apis/{GROUP}"), get(group))
        .nest(&format!("/apis/{GROUP}/{VERSION}"), resources)
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "NotFound", "no such path") })
        .with_state(Source { client, usages })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    label_selector: String,
    field_selector: String,
    watch: String,
}

impl Options {
    fn list(&self) -> Result<ListParams, Failure> {
        if matches!(self.watch.as_str(), "true" | "1") {
            return Err(Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "metrics cannot be watched",
            ));
        }
        let mut params = ListParams::default();
        if !self.label_selector.is_empty() {
            params = params.labels(&self.label_selector);
        }
        if !self.field_selector.is_empty() {
            params = params.fields(&self.field_selector);
        }
        Ok(params)
    }
}

/// Where answers come from.
#[derive(Clone)]
struct Source {
    client: Client,
    usages: Usages,
}

impl Source {
    async fn pods(&self, api: Api<Pod>, options: &Options) -> Result<Json<Value>, Failure> {
        let pods = api.list(&options.list()?).await?;
        let items: Vec<Value> = pods
            .iter()
            .filter_map(|pod| Some(pod_metrics(pod, self.usages.of(pod)?)))
            .collect();
        Ok(Json(list("PodMetricsList", &items)))
    }

    /// The sum of the node's pods; nodes without any have no metrics.
    fn node(&self, node: &Node, pods: &[Pod]) -> Option<Value> {
        let name = node.name_any();
        let on_node = |pod: &&Pod| {
            pod.spec
                .as_ref()
                .is_some_and(|spec| spec.node_name.as_deref() == Some(&name))
        };
        let sum = pods
            .iter()
            .filter(on_node)
            .filter_map(|pod| self.usages.of(pod))
            .reduce(|a, b| Usage {
                cpu: Some(a.cpu.unwrap_or(0) + b.cpu.unwrap_or(0)),
                memory: Some(a.memory.unwrap_or(0) + b.memory.unwrap_or(0)),
            })?;
        let mut metrics = measured("NodeMetrics", &name, node.labels());
        metrics["usage"] = quantities(sum.cpu.unwrap_or(0), sum.memory.unwrap_or(0));
        Some(metrics)
    }
}

async fn list_all_pods(
    State(source): State<Source>,
    Query(options): Query<Options>,
) -> Result<Json<Value>, Failure> {
    source.pods(Api::all(source.client.clone()), &options).await
}

async fn list_pods(
    State(source): State<Source>,
    Path(namespace): Path<String>,
    Query(options): Query<Options>,
) -> Result<Json<Value>, Failure> {
    let api = Api::namespaced(source.client.clone(), &namespace);
    source.pods(api, &options).await
}

async fn get_pod(
    State(source): State<Source>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let api: Api<Pod> = Api::namespaced(source.client.clone(), &namespace);
    let pod = api.get(&name).await?;
    let usage = source.usages.of(&pod);
    usage.map_or_else(
        || Err(Failure::without_metrics("pods", &name)),
        |usage| Ok(Json(pod_metrics(&pod, usage))),
    )
}

async fn list_nodes(
    State(source): State<Source>,
    Query(options): Query<Options>,
) -> Result<Json<Value>, Failure> {
    let nodes: Api<Node> = Api::all(source.client.clone());
    let nodes = nodes.list(&options.list()?).await?;
    let pods: Api<Pod> = Api::all(source.client.clone());
    let pods = pods.list(&ListParams::default()).await?;
    let items: Vec<Value> = nodes
        .iter()
        .filter_map(|node| source.node(node, &pods.items))
        .collect();
    Ok(Json(list("NodeMetricsList", &items)))
}

async fn get_node(
    State(source): State<Source>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let nodes: Api<Node> = Api::all(source.client.clone());
    let node = nodes.get(&name).await?;
    let pods: Api<Pod> = Api::all(source.client.clone());
    let pods = pods.list(&ListParams::default()).await?;
    let metrics = source.node(&node, &pods.items);
    metrics
        .map(Json)
        .ok_or_else(|| Failure::without_metrics("nodes", &name))
}

fn pod_metrics(pod: &Pod, usage: Usage) -> Value {
    let containers = pod
        .spec
        .as_ref()
        .map_or(&[][..], |spec| spec.containers.as_slice());
    let parts = u64::try_from(containers.len()).unwrap_or(u64::MAX);
    let cpu = divide(usage.cpu.unwrap_or(0), parts);
    let memory = divide(usage.memory.unwrap_or(0), parts);
    let containers: Vec<Value> = containers
        .iter()
        .zip(cpu.zip(memory))
        .map(|(container, (cpu, memory))| {
            json!({"name": container.name, "usage": quantities(cpu, memory)})
        })
        .collect();
    let mut metrics = measured("PodMetrics", &pod.name_any(), pod.labels());
    metrics["metadata"]["namespace"] = json!(pod.namespace());
    metrics["containers"] = json!(containers);
    metrics
}

fn measured(kind: &str, name: &str, labels: &BTreeMap<String, String>) -> Value {
    let now = clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": kind,
        "metadata": {"name": name, "labels": labels, "creationTimestamp": now},
        "timestamp": now,
        "window": WINDOW,
    })
}

fn quantities(cpu: u64, memory: u64) -> Value {
    json!({"cpu": format!("{cpu}m"), "memory": memory.to_string()})
}

fn list(kind: &str, items: &[Value]) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": kind,
        "metadata": {},
        "items": items,
    })
}

async fn groups() -> Json<Value> {
    Json(json!({"apiVersion": "v1", "kind": "APIGroupList", "groups": [describe_group()]}))
}

async fn group() -> Json<Value> {
    let mut group = describe_group();
    group["apiVersion"] = json!("v1");
    group["kind"] = json!("APIGroup");
    Json(group)
}

fn describe_group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

async fn resources() -> Json<Value> {
    let resource = |name: &str, kind: &str, namespaced: bool| {
        json!({
            "name": name,
            "singularName": "",
            "namespaced": namespaced,
            "kind": kind,
            "verbs": ["get", "list"],
        })
    };
    Json(json!({
        "apiVersion": "v1",
        "kind": "APIResourceList",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [
            resource("nodes", "NodeMetrics", false),
            resource("pods", "PodMetrics", true),
        ],
    }))
}

/// A Kubernetes `Status`.
#[derive(Debug)]
struct Failure {
    code: StatusCode,
    reason: String,
    message: String,
}

impl Failure {
    fn new(code: StatusCode, reason: &str, message: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    fn without_metrics(resource: &str, name: &str) -> Self {
        let message = format!("{resource}.{GROUP} \"{name}\" not found");
        Self::new(StatusCode::NOT_FOUND, "NotFound", &message)
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self {
                code: StatusCode::from_u16(status.code)
                    .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                reason: status.reason,
                message: status.message,
            },
            error => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                &error.to_string(),
            ),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = json!({
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Failure",
            "code": self.code.as_u16(),
            "reason": self.reason,
            "message": self.message,
        });
        (self.code, Json(status)).into_response()
    }
}
