//! The same requests from a pod, for a cluster whose node is not on this machine.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, LogParams, PostParams},
};
use serde_json::json;

use crate::{Cluster, TrafficReport, wait_for};

/// Name of the pod.
const NAME: &str = "sortie-traffic";
/// Bound on its start (the image may have to be pulled) and on its end.
const LIMIT: Duration = Duration::from_secs(120);

/// A pod that asks a Service until it is stopped.
#[derive(Debug)]
pub struct TrafficPod {
    pods: Api<Pod>,
}

impl TrafficPod {
    /// Starts the pod in `namespace`; `image` is one of the sample application.
    pub async fn start(
        cluster: &Cluster,
        namespace: &str,
        service: &str,
        image: &str,
    ) -> Result<Self> {
        let (address, port) = cluster.service(namespace, service).await?;
        let pods: Api<Pod> = Api::namespaced(cluster.client().await?, namespace);
        let pod = serde_json::from_value(json!({
            "metadata": {"name": NAME},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "traffic",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["--ask", format!("{address}:{port}")],
                    "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }],
            },
        }))
        .context("describe the traffic pod")?;
        pods.create(&PostParams::default(), &pod)
            .await
            .context("create the traffic pod")?;
        let is_running = |pod: Option<&Pod>| {
            let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
            phase == Some("Running")
        };
        wait_for(pods.clone(), NAME, LIMIT, is_running).await?;
        Ok(Self { pods })
    }

    /// Deletes the pod and returns what it counted.
    pub async fn stop(self) -> Result<TrafficReport> {
        let follow = LogParams {
            follow: true,
            ..LogParams::default()
        };
        let log = self.pods.log_stream(NAME, &follow).await;
        let mut log = log.context("read the traffic pod's log")?;
        let delete = self.pods.delete(NAME, &DeleteParams::default()).await;
        delete.context("delete the traffic pod")?;
        let mut text = String::new();
        let read = tokio::time::timeout(LIMIT, log.read_to_string(&mut text)).await;
        read.context("the traffic pod did not end")?
            .context("read the traffic pod's log")?;
        let report = text
            .lines()
            .find_map(|line| serde_json::from_str(line).ok());
        report.with_context(|| format!("the traffic pod left no counts: {text}"))
    }
}
