//! A data plane of the Gateway API: Contour reads routes, Envoy carries requests. Both are processes in the node's network
//! namespace, where Services and pods are reached.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};

use super::{
    Cluster, blocking,
    definitions::established,
    journal::{Entry, Journal},
    kubectl_apply, network,
    process::{Launcher, ProcessId, run, wait_until},
    state::Lock,
    wait_for,
};
use crate::environment::tool;

const NAMESPACE: &str = "sortie-gateway";
const NAME: &str = "gw";
/// Where Contour lets Envoy listen for a gateway's port 80.
const PORT: u16 = 8080;
/// Servers of tests: a cluster without them is healthy all the same, and the next test that wants them starts them.
const CONTOUR: &str = "test-contour";
const ENVOY: &str = "test-envoy";

/// The gateway of a cluster. It stays as long as the cluster; tests share it, each with host names of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// What a route names as its parent: `namespace/name`.
    pub name: String,
    /// Where its HTTP listener is, as the node reaches it.
    pub address: Ipv4Addr,
    /// Its port there.
    pub port: u16,
}

impl Cluster {
    /// The gateway, started when it does not run. Routes of all namespaces may be attached to it.
    pub async fn gateway(&self) -> Result<Gateway> {
        let (Some(number), Some(dir)) = (self.number(), self.dir()) else {
            bail!(
                "the cluster {} has no node on this machine for a gateway",
                self.name()
            );
        };
        let lock_path = dir.join("definitions.lock");
        let _lock = blocking(move || Lock::acquire(&lock_path)).await?;
        let client = self.client().await?;
        if !is_running(dir)? {
            let (dir, kubeconfig) = (dir.to_owned(), self.kubeconfig().to_owned());
            let install = move || {
                for file in ["crds-gateway-api-experimental", "crds-contour"] {
                    let file = tool(file)?;
                    let text = std::fs::read_to_string(&file)
                        .with_context(|| format!("read {}", file.display()))?;
                    kubectl_apply(&kubeconfig, &text)?;
                }
                Ok(())
            };
            blocking(install).await.context("install the gateway")?;
            established(&client, &DEFINITIONS).await?;
            let kubeconfig = self.kubeconfig().to_owned();
            blocking(move || kubectl_apply(&kubeconfig, &objects())).await?;
            let kubeconfig = self.kubeconfig().to_owned();
            blocking(move || start(&dir, &kubeconfig, number)).await?;
        }
        accepted(&client).await?;
        Ok(Gateway {
            name: format!("{NAMESPACE}/{NAME}"),
            address: Ipv4Addr::LOCALHOST,
            port: PORT,
        })
    }
}

const DEFINITIONS: [&str; 4] = [
    "gatewayclasses.gateway.networking.k8s.io",
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "httpproxies.projectcontour.io",
];

fn objects() -> String {
    format!(
        r#"apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: contour}}
spec: {{controllerName: projectcontour.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {NAME}, namespace: {NAMESPACE}}}
spec:
  gatewayClassName: contour
  listeners: [{{name: http, protocol: HTTP, port: 80, allowedRoutes: {{namespaces: {{from: All}}}}}}]
"#
    )
}

fn is_running(dir: &Path) -> Result<bool> {
    let entries = Journal::of(dir).entries()?;
    let runs = |wanted: &str| {
        entries.iter().any(
            |entry| matches!(entry, Entry::Process { name, id } if name == wanted && id.is_alive()),
        )
    };
    Ok(runs(CONTOUR) && runs(ENVOY))
}

fn start(dir: &Path, kubeconfig: &Path, number: u8) -> Result<()> {
    // What is left of them would hold their ports.
    for entry in Journal::of(dir).entries()? {
        if let Entry::Process { name, id } = entry
            && (name == CONTOUR || name == ENVOY)
        {
            id.stop(Duration::from_secs(1));
        }
    }
    let config = dir.join("contour.yaml");
    let text = format!("gateway: {{gatewayRef: {{namespace: {NAMESPACE}, name: {NAME}}}}}\n");
    std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
    let contour = tool("contour")?;
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let config = format!("--config-path={}", config.display());
    let netns = network::node_namespace(number);
    let launcher = Launcher {
        dir,
        netns: Some(netns.clone()),
    };
    let arguments = [
        "serve",
        &kubeconfig,
        &config,
        "--xds-address=127.0.0.1",
        "--xds-port=8001",
        "--insecure",
        "--disable-leader-election",
        "--stats-port=8003",
        "--http-port=8004",
        "--health-port=8004",
        "--contour-cafile=",
        "--contour-cert-file=",
        "--contour-key-file=",
    ];
    launcher.start(CONTOUR, &contour, arguments)?;
    let bootstrap = dir.join("envoy.json");
    let admin = dir.join("envoy-admin.sock").display().to_string();
    let file = bootstrap.display().to_string();
    let arguments = [
        "bootstrap",
        "--xds-address=127.0.0.1",
        "--xds-port=8001",
        "--admin-address",
        &admin,
        &file,
    ];
    run(&contour, arguments).context("write Envoy's configuration")?;
    start_envoy(dir, &netns, &bootstrap)
}

/// The wheel's Envoy ends with the thread that started it: it is given to init first, and only then becomes Envoy.
fn start_envoy(dir: &Path, netns: &str, bootstrap: &Path) -> Result<()> {
    let (log, pid) = (
        dir.join("log").join(format!("{ENVOY}.log")),
        dir.join("envoy.pid"),
    );
    if pid.exists() {
        std::fs::remove_file(&pid).with_context(|| format!("remove {}", pid.display()))?;
    }
    let output = std::fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let errors = output.try_clone().context("open Envoy's log")?;
    let script = r#"sleep 0.2; echo "$$" >"$0.new"; mv "$0.new" "$0"; exec "$@""#;
    let mut command = Command::new("setsid");
    command.args(["--fork", "nsenter", &format!("--net=/run/netns/{netns}")]);
    command
        .args(["sh", "-c", script])
        .arg(&pid)
        .arg(tool("envoy")?);
    command.arg("-c").arg(bootstrap);
    command.args([
        "--service-cluster",
        "c",
        "--service-node",
        "n",
        "--log-level",
        "warning",
    ]);
    command.args(["--concurrency", "1", "--disable-hot-restart"]);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let status = command.status().context("start Envoy")?;
    anyhow::ensure!(status.success(), "setsid ended with {status}");
    let is_up = || pid.exists();
    anyhow::ensure!(
        wait_until(Duration::from_secs(10), is_up),
        "Envoy did not start, see {}",
        log.display()
    );
    let text = std::fs::read_to_string(&pid).context("read Envoy's pid")?;
    let id = text.trim().parse().ok().and_then(ProcessId::of);
    let id = id.with_context(|| format!("Envoy ended at once, see {}", log.display()))?;
    Journal::of(dir).record(&Entry::Process {
        name: ENVOY.to_owned(),
        id,
    })
}

/// Returns when Contour has accepted the gateway.
async fn accepted(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let limit = Duration::from_secs(60);
    wait_for(namespaces, NAMESPACE, limit, |namespace| {
        namespace.is_some()
    })
    .await?;
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
    let kind = ApiResource::from_gvk(&kind);
    let gateways: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
    let is_accepted = |gateway: &DynamicObject| {
        let conditions = gateway.data.pointer("/status/conditions");
        conditions
            .and_then(|all| all.as_array())
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Accepted" && one["status"] == "True")
    };
    let watched =
        kube::runtime::wait::await_condition(gateways, NAME, |gateway: Option<&DynamicObject>| {
            gateway.is_some_and(is_accepted)
        });
    tokio::time::timeout(limit, watched)
        .await
        .context("the gateway was not accepted within 60 s, see log/test-contour.log")?
        .context("watch the gateway")?;
    Ok(())
}
