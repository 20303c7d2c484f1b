//! An OCI registry on the cluster's bridge: nodes pull `registry.local/NAME` from it.

use std::{net::Ipv4Addr, net::TcpStream, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cluster::{
    Cluster, blocking,
    journal::{Entry, Journal},
    network,
    process::{Launcher, run, wait_until},
    state::Lock,
};

/// Port on the bridge; the node's containerd is told of it.
const PORT: u16 = 5000;
/// What the cluster's journal calls it.
const NAME: &str = "test-registry";

/// The registry of one cluster, shared by its tests and stopped with the cluster. Plain HTTP.
#[derive(Debug, Clone)]
pub struct Registry {
    address: Ipv4Addr,
    socket: String,
}

impl Registry {
    /// The cluster's registry, started when it is not running.
    pub async fn of(cluster: &Cluster) -> Result<Self> {
        let (Some(number), Some(dir)) = (cluster.number(), cluster.dir()) else {
            bail!(
                "nodes of the cluster {} would not reach a registry of this machine",
                cluster.name()
            );
        };
        let (dir, address) = (dir.to_owned(), network::bridge_address(number));
        let socket = dir.join("n1/run/c.sock").display().to_string();
        let netns = network::control_namespace(number);
        blocking(move || start(&dir, netns, address)).await?;
        Ok(Self { address, socket })
    }

    /// `ADDRESS:PORT`, as this machine reaches it (plain HTTP).
    pub fn address(&self) -> String {
        format!("{}:{PORT}", self.address)
    }

    /// Pushes an image that the node has (its full reference) as `name` (`sample:v1`, say) and returns what a pod says
    /// under `image:` to have it pulled.
    pub async fn push(&self, reference: &str, name: &str) -> Result<String> {
        let remote = format!("{}/{name}", self.address());
        let (socket, reference) = (self.socket.clone(), reference.to_owned());
        blocking(move || {
            let ctr = ["-a", &socket, "-n", "k8s.io", "images"];
            let tag = [&ctr[..], &["tag", "--force", &reference, &remote]].concat();
            run("ctr", tag)?;
            let push = [&ctr[..], &["push", "--plain-http", &remote]].concat();
            run("ctr", push)?;
            let remove = [&ctr[..], &["rm", &remote]].concat();
            run("ctr", remove)
        })
        .await
        .with_context(|| format!("push {name}"))?;
        Ok(format!("registry.local/{name}"))
    }
}

fn start(dir: &Path, netns: String, address: Ipv4Addr) -> Result<()> {
    let _lock = Lock::acquire(&dir.join("registry.lock"))?;
    let running = Journal::of(dir)
        .entries()?
        .into_iter()
        .any(|entry| matches!(entry, Entry::Process { name, id } if name == NAME && id.is_alive()));
    if running {
        return Ok(());
    }
    let config = dir.join("registry.yaml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{address}:{PORT}\"}}\n",
        dir.join("registry").display()
    );
    std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
    let launcher = Launcher {
        dir,
        netns: Some(netns),
    };
    let config = config.display().to_string();
    let process = launcher.start(NAME, Path::new("docker-registry"), ["serve", &config])?;
    let answers = || TcpStream::connect((address, PORT)).is_ok();
    wait_until(Duration::from_secs(30), || answers() || !process.is_alive());
    ensure!(
        answers(),
        "the registry did not start, see {}/log/{NAME}.log",
        dir.display()
    );
    Ok(())
}
