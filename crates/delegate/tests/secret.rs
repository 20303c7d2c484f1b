//! The identity's Secret on a real API server, with exactly the rights that the chart gives for it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::{Access, Cluster, Options};
use sortie_delegate::identity::{Identity, IdentityStore as _, PrivateKey, SecretStore};
use sortie_testkit::TestNamespace;

const NAME: &str = "edge-identity";

async fn send(namespace: &TestNamespace, path: &str, body: Value) -> Value {
    let path = path.replace("{ns}", namespace.name());
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(body.to_string().into_bytes()).unwrap();
    namespace.client().request(request).await.unwrap()
}

/// A kubeconfig of a service account that may do what the chart's identity Role says, and nothing else.
async fn kubeconfig(namespace: &TestNamespace, admin: &Path) -> tempfile::NamedTempFile {
    let account = json!({"metadata": {"name": "edge"}});
    send(
        namespace,
        "/api/v1/namespaces/{ns}/serviceaccounts",
        account,
    )
    .await;
    let named = json!([NAME]);
    let verbs = json!(["get", "update", "watch"]);
    let leases = json!(["coordination.k8s.io"]);
    let role = json!({"metadata": {"name": "identity"}, "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": named, "verbs": verbs},
        {"apiGroups": leases, "resources": ["leases"], "verbs": ["create"]},
        {"apiGroups": leases, "resources": ["leases"], "resourceNames": named, "verbs": verbs},
    ]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}";
    send(namespace, &format!("{rbac}/roles"), role).await;
    let binding = json!({
        "metadata": {"name": "identity"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "identity"},
        "subjects": [{"kind": "ServiceAccount", "name": "edge", "namespace": namespace.name()}],
    });
    send(namespace, &format!("{rbac}/rolebindings"), binding).await;
    let path = "/api/v1/namespaces/{ns}/serviceaccounts/edge/token";
    let token = send(namespace, path, json!({"spec": {}})).await["status"]["token"].clone();
    let text = std::fs::read_to_string(admin).unwrap();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({"token": token});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    file
}

async fn store(kubeconfig: &Path, namespace: &TestNamespace, holder: &str) -> SecretStore {
    let access = Access::Kubeconfig {
        path: Some(kubeconfig.to_owned()),
        context: None,
    };
    let cluster = Cluster::connect(&access, Options::default()).await.unwrap();
    SecretStore::new(
        cluster,
        namespace.name().to_owned(),
        NAME.to_owned(),
        holder.to_owned(),
    )
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(30), future).await;
    result.unwrap_or_else(|_| panic!("{what} did not happen within 30 s"))
}

fn identity() -> Identity {
    Identity {
        key: PrivateKey::generate().unwrap(),
        enrolment: None,
    }
}

#[tokio::test]
async fn replicas_share_one_secret_with_the_charts_rights() {
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let namespace = shared.namespace("identity").await.unwrap();
    let file = kubeconfig(&namespace, shared.kubeconfig()).await;
    let first = store(file.path(), &namespace, "pod-1").await;
    let second = store(file.path(), &namespace, "pod-2").await;

    assert!(first.load().await.unwrap().is_none());
    let lock = first.lock().await.unwrap();
    let mut waiting = std::pin::pin!(second.lock());
    let held = tokio::time::timeout(Duration::from_secs(2), &mut waiting).await;
    assert!(held.is_err(), "the second replica waits: {held:?}");
    let made = first
        .create(&identity(), &lock)
        .await
        .unwrap()
        .expect("nobody was before");
    lock.release().await;

    // Given back, not run out: well before the lease's end.
    let lock = tokio::time::timeout(Duration::from_secs(8), waiting)
        .await
        .unwrap()
        .unwrap();
    assert!(second.create(&identity(), &lock).await.unwrap().is_none());
    let seen = second.load().await.unwrap().unwrap();
    assert_eq!(seen.version, made.version);

    let mut changed = std::pin::pin!(first.changed(&made.version));
    let unchanged = tokio::time::timeout(Duration::from_millis(500), &mut changed).await;
    assert!(unchanged.is_err(), "nothing has changed: {unchanged:?}");
    let replaced = second
        .replace(&identity(), &made.version, &lock)
        .await
        .unwrap()
        .unwrap();
    assert_ne!(replaced.version, made.version);
    within("the change", changed).await.unwrap();
    assert!(
        second
            .replace(&identity(), &made.version, &lock)
            .await
            .unwrap()
            .is_none()
    );
    lock.release().await;

    namespace.finish().await.unwrap();
}
