//! Accounts to tell programs apart by in an audit log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use sortie_testkit::{Cluster, wait_for};

/// Namespace of the accounts.
const ACCOUNTS: &str = "bench-accounts";
const HOURS: u64 = 6;

/// An account with a kubeconfig.
#[derive(Debug)]
pub struct Account {
    /// As the audit log names it.
    pub user: String,
    /// What it shows to the API server.
    pub token: String,
    /// The file to work with as this account.
    pub kubeconfig: PathBuf,
}

impl Account {
    /// Make an account that may do everything; its kubeconfig lies in `folder`.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create(cluster: &Cluster, name: &str, folder: &Path) -> Result<Self> {
        let client = cluster.client().await?;
        make_namespace(cluster, ACCOUNTS).await?;
        let params = PostParams::default();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), ACCOUNTS);
        let account = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        accounts
            .create(&params, &account)
            .await
            .context("create an account")?;
        let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        let binding = json!({"metadata": {"name": format!("bench-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": ACCOUNTS}]});
        let binding = serde_json::from_value(binding)?;
        bindings
            .create(&params, &binding)
            .await
            .context("bind an account")?;
        let path = format!("/api/v1/namespaces/{ACCOUNTS}/serviceaccounts/{name}/token");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": HOURS * 3600}});
        let request = http::Request::post(path).header("content-type", "application/json");
        let answer: Value = client
            .request(request.body(body.to_string().into_bytes())?)
            .await?;
        let token = answer
            .pointer("/status/token")
            .and_then(Value::as_str)
            .context("a token")?;
        let mut config = serde_json::to_value(Kubeconfig::read_from(cluster.kubeconfig())?)?;
        let Some(user) = config.pointer_mut("/users/0/user") else {
            bail!("the kubeconfig has no user");
        };
        *user = json!({"token": token});
        let kubeconfig = folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&kubeconfig, config.to_string()).context("write a kubeconfig")?;
        Ok(Self {
            user: format!("system:serviceaccount:{ACCOUNTS}:{name}"),
            token: token.to_owned(),
            kubeconfig,
        })
    }
}

/// Make a namespace, if need be.
///
/// # Errors
/// The API server refuses it.
pub async fn make_namespace(cluster: &Cluster, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client().await?);
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    match namespaces.create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error).context("create a namespace"),
    }
}

/// Delete a namespace with everything in it, and wait until it is gone.
///
/// # Errors
/// It does not go.
pub async fn clear_namespace(cluster: &Cluster, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client().await?);
    namespaces
        .delete(name, &Default::default())
        .await
        .with_context(|| format!("delete the namespace {name}"))?;
    let limit = Duration::from_secs(900);
    wait_for(namespaces, name, limit, |found| found.is_none()).await?;
    Ok(())
}
