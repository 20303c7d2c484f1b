//! How the API server learns of the metrics API: an APIService, and the Service and EndpointSlice that lead to it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::routes::{GROUP, VERSION};
use crate::wait_for;

/// What the server's certificate has to say: the API server checks the Service's name.
pub(super) const HOST: &str = "testkit-metrics.kube-system.svc";

const NAMESPACE: &str = "kube-system";
const SERVICE: &str = "testkit-metrics";
/// Bound on the API server's look at a new or a removed API; it needs a second.
const LIMIT: Duration = Duration::from_secs(60);

/// Registers the server at `address` and waits until the API server calls it available.
pub(super) async fn register(client: &Client, ca_pem: &str, address: SocketAddr) -> Result<()> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": address.port()}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
    });
    let api_service = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name()},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": STANDARD.encode(ca_pem),
            "service": {"namespace": NAMESPACE, "name": SERVICE, "port": 443},
        },
    });
    apply(&services(client), SERVICE, &service).await?;
    apply(&slices(client), SERVICE, &slice).await?;
    let api_services: Api<APIService> = Api::all(client.clone());
    apply(&api_services, &name(), &api_service).await?;
    wait_for(api_services, &name(), LIMIT, is_available).await?;
    Ok(())
}

/// Removes what [`register`] made, the APIService first, and returns when the API server answers for the group no more.
pub(super) async fn unregister(client: &Client) -> Result<()> {
    delete(&Api::<APIService>::all(client.clone()), &name()).await?;
    let forgotten = timeout(LIMIT, wait_forgotten(client)).await;
    delete(&slices(client), SERVICE).await?;
    delete(&services(client), SERVICE).await?;
    forgotten.context("the API server still answers for the removed metrics API")?
}

async fn wait_forgotten(client: &Client) -> Result<()> {
    const STEP: Duration = Duration::from_millis(50);
    loop {
        let request = http::Request::get(format!("/apis/{GROUP}/{VERSION}"))
            .body(Vec::new())
            .context("make a request for the group")?;
        match client.request_text(request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            // Still there, also when its server is not (the client repeats a request that is answered by 503 by itself).
            Ok(_) | Err(kube::Error::Api(_)) => sleep(STEP).await,
            Err(error) => return Err(error).context("ask for the group"),
        }
    }
}

fn is_available(api_service: Option<&APIService>) -> bool {
    let conditions = api_service
        .and_then(|one| one.status.as_ref())
        .and_then(|status| status.conditions.as_deref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Available" && condition.status == "True")
}

fn name() -> String {
    format!("{VERSION}.{GROUP}")
}

fn services(client: &Client) -> Api<Service> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn slices(client: &Client) -> Api<EndpointSlice> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Resource,
{
    let params = PatchParams::apply("testkit").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("apply {name}"))?;
    Ok(())
}

async fn delete<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Resource,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("delete {name}")),
    }
}
