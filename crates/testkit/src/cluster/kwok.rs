//! Fake nodes: KWOK plays the kubelet, pods become Ready without running anything.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use super::{kubectl_apply, node::is_ready, process::Launcher, state::State};
use crate::environment::tool;

/// Fake nodes of a cluster.
const NODES: usize = 10;

/// Starts KWOK and returns when its nodes are Ready.
pub(crate) async fn start(state: &State, dir: &Path, client: &Client) -> Result<()> {
    let kubeconfig = dir.join("kubeconfig");
    let address = format!("127.0.0.1:{}", state.ports.kwok);
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        // It ends at once when it has no stages.
        format!("--config={}", tool("kwok-stages")?.display()),
        "--manage-all-nodes=false".to_owned(),
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
        "--cidr=10.0.0.1/24".to_owned(),
        "--node-ip=127.0.0.1".to_owned(),
        format!("--node-port={}", state.ports.kwok),
        format!("--server-address={address}"),
        "--node-lease-duration-seconds=40".to_owned(),
    ];
    Launcher { dir, netns: None }.start("kwok", &tool("kwok")?, arguments)?;
    kubectl_apply(&kubeconfig, &nodes()).context("apply the fake nodes")?;
    let api: Api<Node> = Api::all(client.clone());
    for index in 1..=NODES {
        let name = format!("kwok-{index}");
        super::wait_for(api.clone(), &name, Duration::from_secs(120), is_ready)
            .await
            .context("wait for the fake nodes")?;
    }
    Ok(())
}

fn nodes() -> String {
    let mut text = String::new();
    for index in 1..=NODES {
        let zone = index % 3;
        // Writing to a String does not fail.
        write!(
            text,
            r#"---
apiVersion: v1
kind: Node
metadata:
  name: kwok-{index}
  annotations: {{kwok.x-k8s.io/node: fake, node.alpha.kubernetes.io/ttl: "0"}}
  labels:
    type: kwok
    kubernetes.io/hostname: kwok-{index}
    kubernetes.io/os: linux
    kubernetes.io/arch: amd64
    topology.kubernetes.io/zone: zone-{zone}
status:
  allocatable: {{cpu: "64", memory: 256Gi, pods: "500"}}
  capacity: {{cpu: "64", memory: 256Gi, pods: "500"}}
"#
        )
        .ok();
    }
    text
}
