//! CoreDNS as a Deployment behind the Service kube-dns, the eleventh address of the Service network.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};

use super::kubectl_apply;

/// Applies CoreDNS and returns when it answers.
pub(crate) async fn start(address: Ipv4Addr, dir: &Path, client: &Client) -> Result<()> {
    kubectl_apply(&dir.join("kubeconfig"), &manifest(address)).context("apply CoreDNS")?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    super::wait_for(
        deployments,
        "coredns",
        Duration::from_secs(120),
        is_available,
    )
    .await
    .context("wait for the cluster's DNS")?;
    Ok(())
}

fn is_available(deployment: Option<&Deployment>) -> bool {
    let status = deployment.and_then(|deployment| deployment.status.as_ref());
    status
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
        > 0
}

fn manifest(address: Ipv4Addr) -> String {
    format!(
        r#"apiVersion: v1
kind: ServiceAccount
metadata: {{name: coredns, namespace: kube-system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: "system:coredns"}}
rules:
- {{apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "system:coredns"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}}
subjects: [{{kind: ServiceAccount, name: coredns, namespace: kube-system}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns, namespace: kube-system}}
data:
  Corefile: |
    .:5353 {{
      errors
      health :8181
      ready :8182
      kubernetes cluster.local in-addr.arpa ip6.arpa {{
        ttl 5
      }}
      cache 5
      loadbalance
    }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: coredns, namespace: kube-system}}
spec:
  replicas: 1
  selector: {{matchLabels: {{k8s-app: kube-dns}}}}
  template:
    metadata: {{labels: {{k8s-app: kube-dns}}}}
    spec:
      serviceAccountName: coredns
      dnsPolicy: Default
      nodeSelector: {{type: real}}
      containers:
      - name: coredns
        image: registry.local/coredns:1
        imagePullPolicy: IfNotPresent
        volumeMounts: [{{name: config, mountPath: /etc/coredns}}]
        readinessProbe: {{httpGet: {{path: /ready, port: 8182}}, periodSeconds: 1}}
      volumes: [{{name: config, configMap: {{name: coredns}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {address}
  selector: {{k8s-app: kube-dns}}
  ports:
  - {{name: dns, port: 53, targetPort: 5353, protocol: UDP}}
  - {{name: dns-tcp, port: 53, targetPort: 5353, protocol: TCP}}
"#
    )
}
