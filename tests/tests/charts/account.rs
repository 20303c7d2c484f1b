//! A delegate's service account with exactly the rights of the chart, without a delegate.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sortie_cluster::{Access, Options};
use sortie_step::policy::Policy;
use sortie_testkit::Cluster;
use tempfile::TempDir;

use crate::helm::{DELEGATE, kubectl, objects, only};

/// An account that the API server knows, and everything the chart rendered for it.
pub(crate) struct Account {
    cluster: Cluster,
    folder: TempDir,
    home: String,
    rendered: Vec<Value>,
    /// Manifests of what is removed at the end.
    made: Vec<String>,
}

impl Account {
    /// Renders the chart with `values` for the namespace `home` and brings account, roles and bindings to the cluster.
    pub(crate) async fn create(home: &str, values: &str) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let rendered = objects(DELEGATE, home, values);
        let kinds = [
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
        ];
        let wanted = rendered
            .iter()
            .filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": wanted.collect::<Vec<_>>()});
        let rights = list.to_string();
        kubectl(cluster.kubeconfig(), &["create", "-f", "-"], &rights).unwrap();
        let account = Self {
            cluster,
            folder: tempfile::tempdir().unwrap(),
            home: home.to_owned(),
            rendered,
            made: vec![rights],
        };
        account.write_kubeconfig().await;
        account
    }

    /// The delegate's own namespace.
    pub(crate) fn home(&self) -> &str {
        &self.home
    }

    /// The administrator's kubeconfig with a token of the account instead.
    async fn write_kubeconfig(&self) {
        let accounts: Api<ServiceAccount> =
            Api::namespaced(self.cluster.client().await.unwrap(), &self.home);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(self.name(), &PostParams::default(), &request)
            .await
            .unwrap();
        let admin = std::fs::read_to_string(self.cluster.kubeconfig()).unwrap();
        let mut kubeconfig: Value = serde_saphyr::from_str(&admin).unwrap();
        kubeconfig["users"][0]["user"] = json!({"token": answer.status.unwrap().token});
        std::fs::write(self.kubeconfig(), kubeconfig.to_string()).unwrap();
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn name(&self) -> &str {
        only(&self.rendered, "ServiceAccount")["metadata"]["name"]
            .as_str()
            .unwrap()
    }

    /// The administrator's cluster.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Has these manifests' objects removed when the test ends, however it ends.
    pub(crate) fn remove_at_end(&mut self, manifests: &str) {
        self.made.push(manifests.to_owned());
    }

    /// A connection as this account.
    pub(crate) async fn connect(&self) -> sortie_cluster::Cluster {
        let access = Access::Kubeconfig {
            path: Some(self.kubeconfig()),
            context: None,
        };
        sortie_cluster::Cluster::connect(&access, Options::default())
            .await
            .unwrap()
    }

    /// The policy that the chart writes into the delegate's settings.
    pub(crate) fn policy(&self) -> Policy {
        let settings = only(&self.rendered, "ConfigMap")["data"]["delegate.yaml"]
            .as_str()
            .unwrap();
        let settings: Value = serde_saphyr::from_str(settings).unwrap();
        serde_saphyr::from_str(&settings["policy"].to_string()).unwrap()
    }

    /// The rules of the rendered role called `suffix`, in `namespace`.
    pub(crate) fn rules(&self, suffix: &str, namespace: Option<&str>) -> Vec<Value> {
        let role = self.rendered.iter().find(|object| {
            object["rules"].is_array()
                && object["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .ends_with(suffix)
                && object["metadata"]["namespace"].as_str() == namespace
        });
        role.unwrap_or_else(|| panic!("no role {suffix} in {namespace:?}"))["rules"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// Its name for the API server.
    pub(crate) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.home, self.name())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // What is not of a namespace outlives the namespaces of the test; the rest may be gone already.
        let words = ["delete", "--ignore-not-found", "--wait=false", "-f", "-"];
        for made in self.made.iter().rev() {
            if let Err(error) = kubectl(self.cluster.kubeconfig(), &words, made) {
                eprintln!("not everything was removed: {error}");
            }
        }
    }
}
