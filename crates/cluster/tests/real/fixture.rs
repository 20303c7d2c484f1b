//! A namespace of the shared cluster, and our connection to it.

use std::sync::Arc;

use serde_json::{Value, json};
use sortie_cluster::apply::{Applied, Planned, Scope};
use sortie_cluster::lease::Guard;
use sortie_cluster::{Access, Cluster, Error, Options};
use sortie_manifest::{Limits, Object, labels};
use sortie_testkit::TestNamespace;

/// One of many kinds.
pub const SET: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {password: hunter22}
data: {blob: aGVsbG8=}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: web.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: web}
spec: {schedule: '@daily', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: 'web:reader'}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 1, maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
";

pub struct Fixture {
    pub cluster: Cluster,
    pub namespace: TestNamespace,
    kubeconfig: std::path::PathBuf,
}

impl Fixture {
    pub async fn new(test: &str) -> Self {
        let shared = sortie_testkit::Cluster::shared().await.unwrap();
        let namespace = shared.namespace(test).await.unwrap();
        let kubeconfig = shared.kubeconfig().to_owned();
        let cluster = connect(&kubeconfig, Options::default()).await;
        Self {
            cluster,
            namespace,
            kubeconfig,
        }
    }

    pub fn ns(&self) -> &str {
        self.namespace.name()
    }

    /// A second connection with nothing shared.
    pub async fn another(&self, options: Options) -> Cluster {
        connect(&self.kubeconfig, options).await
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// A new token of a service account of the namespace.
    pub async fn token_of(&self, name: &str) -> String {
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{name}/token",
            self.ns()
        );
        let body =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(serde_json::to_vec(&body).unwrap()).unwrap();
        let answer: Value = self.namespace.client().request(request).await.unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// A connection as a service account of the namespace, which has no rights.
    pub async fn as_service_account(&self, name: &str) -> Cluster {
        let token = self.token_of(name).await;
        let file =
            self.kubeconfig_with(|config| config["users"][0]["user"] = json!({"token": token}));
        connect(file.path(), Options::default()).await
    }

    /// A connection as a new service account that may do everything.
    pub async fn as_administrator(&self, name: &str) -> Cluster {
        let ns = self.ns();
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        let path = format!("/api/v1/namespaces/{ns}/serviceaccounts");
        self.send(http::Method::POST, &path, "application/json", &account)
            .await;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": ns}],
        });
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings");
        self.send(http::Method::POST, &path, "application/json", &binding)
            .await;
        self.as_service_account(name).await
    }

    /// A request of the administrator.
    pub async fn send(
        &self,
        method: http::Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Value {
        let mark = if path.contains('?') { '&' } else { '?' };
        let manager = if path.contains("fieldManager") {
            ""
        } else {
            "fieldManager=somebody"
        };
        let path = format!("{path}{mark}{manager}");
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", content_type);
        let request = request.body(serde_json::to_vec(body).unwrap()).unwrap();
        self.namespace.client().request(request).await.unwrap()
    }

    /// What is at a path.
    pub async fn live(&self, path: &str) -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.namespace.client().request(request).await.unwrap()
    }

    /// A copy of the administrator's kubeconfig with a change.
    pub fn kubeconfig_with(&self, change: impl FnOnce(&mut Value)) -> tempfile::NamedTempFile {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let mut config = serde_json::to_value(config).unwrap();
        change(&mut config);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config.to_string()).unwrap();
        file
    }

    pub fn scope(&self) -> Scope {
        Scope {
            release: labels::release_id(self.ns(), "web"),
            ..Scope::default()
        }
    }

    pub async fn plan(&self, objects: Vec<Object>) -> Result<Vec<Planned>, Vec<Error>> {
        let targets = self.cluster.locate(objects, self.ns()).await?;
        self.cluster.plan(targets, &self.scope()).await
    }

    /// Plans and applies a set, one object after the other.
    pub async fn apply(&self, objects: Vec<Object>) -> Vec<Applied> {
        let mut applied = Vec::new();
        for planned in self.plan(objects).await.unwrap() {
            applied.push(
                self.cluster
                    .apply(&planned, &Guard::unfenced())
                    .await
                    .unwrap(),
            );
        }
        applied
    }

    pub async fn finish(self) {
        self.namespace.finish().await.unwrap();
    }
}

pub async fn connect(kubeconfig: &std::path::Path, options: Options) -> Cluster {
    let access = Access::Kubeconfig {
        path: Some(kubeconfig.to_owned()),
        context: None,
    };
    Cluster::connect(&access, options).await.unwrap()
}

/// Parses manifests and marks them as ours.
pub fn objects(namespace: &str, yaml: &str) -> Vec<Object> {
    let mut objects =
        sortie_manifest::parse("web.yaml", yaml.as_bytes(), &Limits::default()).unwrap();
    let marks = labels::Marks {
        namespace: namespace.to_owned(),
        release: "web".to_owned(),
        track: None,
        color: None,
    };
    objects
        .iter_mut()
        .for_each(|object| labels::stamp(object, &marks));
    objects
}

pub fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: {value}}}\n")
}

/// Creates or changes something behind our back, as kubectl would under `manager`.
pub async fn meddle(fixture: &Fixture, manager: &str, object: Value) -> Value {
    use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
    use kube::core::GroupVersionKind;
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap());
    let client = fixture.namespace.client();
    let resource = ApiResource::from_gvk(&gvk);
    let api: Api<DynamicObject> = Api::namespaced_with(client, fixture.ns(), &resource);
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let params = PatchParams::apply(manager).force();
    let written = api
        .patch(&name, &params, &Patch::Apply(object))
        .await
        .unwrap();
    serde_json::to_value(written).unwrap()
}

/// A Deployment that any API server accepts.
pub fn deployment(name: &str, image: &str) -> String {
    let document = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    });
    format!("---\n{document}\n")
}

pub fn version(applied: &Applied) -> String {
    version_of(&applied.object)
}

pub fn version_of(object: &Arc<Value>) -> String {
    object
        .pointer("/metadata/resourceVersion")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}
