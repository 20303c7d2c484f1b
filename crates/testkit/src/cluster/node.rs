//! A real node: containerd, kubelet and kube-proxy in a network namespace of their own.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use tokio::time::sleep;

use super::{
    journal::{Entry, Journal},
    network,
    pki::{Authority, Subject},
    process::{Launcher, ProcessId, run},
    state::State,
};
use crate::environment::tool;

/// The node's name in the cluster.
pub(crate) const NAME: &str = "n1";

/// The folders and names of one cluster's node.
#[derive(Debug, Clone)]
pub(crate) struct RealNode<'a> {
    /// The cluster's folder.
    cluster: &'a Path,
    number: u8,
    dns: IpAddr,
    server: String,
    pods: String,
}

impl<'a> RealNode<'a> {
    pub(crate) fn new(state: &State, cluster: &'a Path) -> Result<Self> {
        let number = state
            .number
            .context("a real node needs network namespaces")?;
        Ok(Self {
            cluster,
            number,
            dns: state.service_address(10).into(),
            server: state.server(),
            pods: state.pod_network(),
        })
    }

    fn dir(&self) -> PathBuf {
        self.cluster.join(NAME)
    }

    /// The socket that `ctr` and the kubelet talk to.
    pub(crate) fn containerd_socket(cluster: &Path) -> PathBuf {
        cluster.join(NAME).join("run/c.sock")
    }

    fn launcher(&self) -> Launcher<'_> {
        Launcher {
            dir: self.cluster,
            netns: Some(network::node_namespace(self.number)),
        }
    }

    /// Network and containerd; needs no control plane, so both start at the same time.
    pub(crate) async fn start_containerd(&self) -> Result<()> {
        network::connect_node(self.number, self.cluster)?;
        let dir = self.dir();
        for folder in [
            "cni/conf",
            "run",
            "containerd",
            "kubelet",
            "pod-logs",
            "registries",
        ] {
            std::fs::create_dir_all(dir.join(folder)).with_context(|| format!("make {folder}"))?;
        }
        let journal = Journal::of(self.cluster);
        journal.record(&Entry::CniNetwork(network::node_namespace(self.number)))?;
        journal.record(&Entry::ContainerdState(dir.join("run/s")))?;
        write(&dir.join("cni/conf/10-bridge.conflist"), &self.cni_config())?;
        self.write_registry_hosts(&dir.join("registries"))?;
        let config = dir.join("containerd.toml");
        write(&config, &containerd_config(&dir))?;
        let config = config.display().to_string();
        let process = self.launcher().start(
            "containerd",
            Path::new("containerd"),
            ["-c", &config, "-l", "warn"],
        )?;
        wait_for_containerd(self.cluster, process).await
    }

    /// kubelet and kube-proxy; returns when the node is Ready.
    pub(crate) async fn join(&self, authority: &Authority, client: &Client) -> Result<()> {
        let cgroup = network::node_namespace(self.number);
        make_cgroup(&cgroup, &Journal::of(self.cluster))?;
        self.start_kubelet(authority, &cgroup)?;
        self.start_kube_proxy(authority)?;
        let nodes: Api<Node> = Api::all(client.clone());
        super::wait_for(nodes, NAME, Duration::from_secs(120), is_ready)
            .await
            .with_context(|| format!("wait for the node, see {}/log", self.cluster.display()))?;
        Ok(())
    }

    fn start_kubelet(&self, authority: &Authority, cgroup: &str) -> Result<ProcessId> {
        let (dir, pki) = (self.dir(), self.cluster.join("pki"));
        let address = network::node_address(self.number);
        let user = format!("system:node:{NAME}");
        let subject = Subject {
            group: Some("system:nodes"),
            user: &user,
            names: &[NAME],
            addresses: &[address.into(), IpAddr::from([127, 0, 0, 1])],
        };
        let (certificate, key) = authority.issue(&subject)?.write(&pki, "kubelet")?;
        let kubeconfig = dir.join("kubelet.kubeconfig");
        authority.write_kubeconfig(&kubeconfig, &self.server, &subject)?;
        write(&dir.join("resolv.conf"), "")?;
        let config = dir.join("kubelet.yaml");
        let text = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
containerRuntimeEndpoint: unix://{socket}
address: {address}
healthzBindAddress: 127.0.0.1
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {ca}}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {certificate}
tlsPrivateKeyFile: {key}
clusterDomain: cluster.local
clusterDNS: [{dns}]
resolvConf: {dir}/resolv.conf
podLogsDir: {dir}/pod-logs
volumePluginDir: {dir}/kubelet/volume-plugins
failSwapOn: false
maxPods: 200
nodeStatusUpdateFrequency: 5s
nodeLeaseDurationSeconds: 40
syncFrequency: 10s
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%}}
enforceNodeAllocatable: [pods]
serializeImagePulls: false
# An imported image stays usable when the same content was pulled under another name.
imagePullCredentialsVerificationPolicy: NeverVerify
",
            socket = Self::containerd_socket(self.cluster).display(),
            ca = pki.join("ca.crt").display(),
            certificate = certificate.display(),
            key = key.display(),
            dns = self.dns,
            dir = dir.display(),
        );
        write(&config, &text)?;
        let arguments = [
            format!("--config={}", config.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--root-dir={}", dir.join("kubelet").display()),
            format!("--cert-dir={}", dir.join("kubelet/pki").display()),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={address}"),
            "--node-labels=type=real".to_owned(),
            "--v=2".to_owned(),
        ];
        self.launcher()
            .start("kubelet", &tool("kubelet")?, arguments)
    }

    fn start_kube_proxy(&self, authority: &Authority) -> Result<ProcessId> {
        let dir = self.dir();
        let kubeconfig = dir.join("kube-proxy.kubeconfig");
        let subject = Subject {
            user: "system:kube-proxy",
            ..Subject::default()
        };
        authority.write_kubeconfig(&kubeconfig, &self.server, &subject)?;
        let config = dir.join("kube-proxy.yaml");
        let text = format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {{kubeconfig: {kubeconfig}}}
clusterCIDR: {pods}
hostnameOverride: {NAME}
bindAddress: {address}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
nftables: {{minSyncPeriod: 100ms, syncPeriod: 30s}}
",
            kubeconfig = kubeconfig.display(),
            pods = self.pods,
            address = network::node_address(self.number),
        );
        write(&config, &text)?;
        let arguments = [format!("--config={}", config.display()), "--v=2".to_owned()];
        self.launcher()
            .start("kube-proxy", &tool("kube-proxy")?, arguments)
    }

    /// A bridge with addresses given out by the node; hairpin lets a pod reach itself through its Service.
    fn cni_config(&self) -> String {
        format!(
            r#"{{"cniVersion": "0.4.0", "name": "{name}", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {{"type": "host-local", "dataDir": "{dir}/cni/ipam", "ranges": [[{{"subnet": "{pods}"}}]],
            "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
]}}
"#,
            name = network::node_namespace(self.number),
            dir = self.dir().display(),
            pods = network::node_pod_network(self.number),
        )
    }

    /// Images named `registry.local/...` that were not imported come from a registry on the bridge, port 5000, over plain
    /// HTTP; so do those named by its address.
    fn write_registry_hosts(&self, dir: &Path) -> Result<()> {
        let registry = format!("{}:5000", network::bridge_address(self.number));
        let text = format!(
            "server = \"http://{registry}\"\n[host.\"http://{registry}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
        for name in ["registry.local", &registry] {
            make_dir(&dir.join(name))?;
            write(&dir.join(name).join("hosts.toml"), &text)?;
        }
        Ok(())
    }
}

/// Everything below the node's folder. Without `restrict_oom_score_adj` runc fails with "can't get final child's PID
/// from pipe" where the machine withholds CAP_SYS_RESOURCE.
fn containerd_config(dir: &Path) -> String {
    format!(
        r#"version = 2
root = "{dir}/containerd"
state = "{dir}/run/s"
oom_score = 0
[grpc]
  address = "{dir}/run/c.sock"
[ttrpc]
  address = "{dir}/run/c.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.local/pause:1"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{dir}/registries"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{dir}/cni/conf"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{dir}/run/runc"
"#,
        dir = dir.display()
    )
}

async fn wait_for_containerd(cluster: &Path, process: ProcessId) -> Result<()> {
    const TRIES: u32 = 300;
    let socket = RealNode::containerd_socket(cluster).display().to_string();
    for _ in 0..TRIES {
        if run("ctr", ["-a", &socket, "version"]).is_ok() {
            return Ok(());
        }
        ensure!(
            process.is_alive(),
            "containerd ended, see {}/log",
            cluster.display()
        );
        sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!(
        "containerd did not answer within 30 s, see {}/log",
        cluster.display()
    )
}

/// The node's pods get a cgroup of their own at the root of each hierarchy: of all controllers (v1), or one (v2).
fn make_cgroup(name: &str, journal: &Journal) -> Result<()> {
    const ROOT: &str = "/sys/fs/cgroup";
    journal.record(&Entry::Cgroup(name.to_owned()))?;
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return make_dir(&Path::new(ROOT).join(name));
    }
    for entry in std::fs::read_dir(ROOT).context("list the cgroup hierarchies")? {
        let entry = entry.context("list the cgroup hierarchies")?;
        let hierarchy = entry.path();
        // Names such as `cpu,cpuacct` may be reached by symbolic links as well.
        if !hierarchy.is_dir() || entry.file_name() == "unified" {
            continue;
        }
        make_dir(&hierarchy.join(name))?;
        // A cpuset without processors and memory takes no process.
        for setting in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = std::fs::read_to_string(hierarchy.join(setting)) {
                write(&hierarchy.join(name).join(setting), &value)?;
            }
        }
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

pub(crate) fn is_ready(node: Option<&Node>) -> bool {
    let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one.type_ == "Ready" && one.status == "True")
    })
}
