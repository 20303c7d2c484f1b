//! The sample application in a namespace, behind a Service of its own.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{TestNamespace, wait_for};

/// Bound on its start.
const LIMIT: Duration = Duration::from_secs(120);

impl TestNamespace {
    /// Runs one pod of `image` behind a Service with the port 80, both called `name`, and waits until it is available.
    pub async fn serve(&self, name: &str, image: &str) -> Result<()> {
        let service = json!({
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        });
        let deployment = json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{
                        "name": "web", "image": image, "imagePullPolicy": "IfNotPresent",
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
                    }]},
                },
            },
        });
        let params = PostParams::default();
        let services: Api<Service> = Api::namespaced(self.client(), self.name());
        let service = serde_json::from_value(service).context("make a Service")?;
        let created = services.create(&params, &service).await;
        created.with_context(|| format!("create the Service {name}"))?;
        let deployments: Api<Deployment> = Api::namespaced(self.client(), self.name());
        let deployment = serde_json::from_value(deployment).context("make a Deployment")?;
        let created = deployments.create(&params, &deployment).await;
        created.with_context(|| format!("create the Deployment {name}"))?;
        let is_available = |one: Option<&Deployment>| {
            let status = one.and_then(|one| one.status.as_ref());
            status.and_then(|status| status.available_replicas) == Some(1)
        };
        Box::pin(wait_for(deployments, name, LIMIT, is_available)).await?;
        Ok(())
    }
}
