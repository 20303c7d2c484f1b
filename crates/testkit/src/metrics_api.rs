//! `metrics.k8s.io` as a cluster with a metrics server has it, with usages that the test sets: a real autoscaler scales
//! by them.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use anyhow::{Context as _, Result, bail};
use kube::Client;
use rustls::ServerConfig;
use tokio::{sync::oneshot, task::JoinSet};

use self::usage::Usages;
use crate::{
    cluster::{
        Cluster, blocking, connect, network,
        pki::{Authority, Subject},
        state::Lock,
    },
    https,
};

mod registration;
mod routes;
mod tls;
mod usage;

/// The cluster's metrics API, served by this test and removed when dropped.
///
/// A pod that nothing was set for has no metrics, as with a metrics server that has not seen it yet.
#[derive(Debug)]
pub struct MetricsApi {
    usages: Usages,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What the server's thread takes with it.
#[derive(Debug)]
struct Server {
    dir: PathBuf,
    kubeconfig: PathBuf,
    listener: TcpListener,
    tls: ServerConfig,
    ca_pem: String,
    usages: Usages,
    /// One metrics API per cluster; given back when the thread ends.
    _lock: Lock,
}

impl MetricsApi {
    /// Serves the API and returns when the API server calls it available. Waits while another test has its own: a
    /// cluster has only one.
    pub async fn install(cluster: &Cluster) -> Result<Self> {
        let (Some(number), Some(dir)) = (cluster.number(), cluster.dir()) else {
            bail!(
                "the API server of the cluster {} would not reach a metrics API of this machine",
                cluster.name()
            );
        };
        let (dir, lock_path) = (dir.to_owned(), lock_path(dir));
        let lock = blocking(move || Lock::acquire(&lock_path)).await?;
        let address = network::host_address(number);
        let usages = Usages::default();
        let server = Server::new(address, dir, cluster.kubeconfig(), &usages, lock)?;
        let (ready, registered) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        // A thread of its own: the API also answers while the test's runtime is busy, and after it.
        let thread = std::thread::Builder::new()
            .name("metrics-api".to_owned())
            .spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("make a runtime")?
                    .block_on(server.run(ready, stopped))
            })
            .context("start a thread")?;
        let api = Self {
            usages,
            stop: Some(stop),
            thread: Some(thread),
        };
        match registered.await {
            Ok(()) => Ok(api),
            // It did not come so far: its thread knows why.
            Err(_) => match api.finish().await {
                Ok(()) => bail!("the metrics API ended early"),
                Err(error) => Err(error.context("install the metrics API")),
            },
        }
    }

    /// From now on each running pod of the namespace whose name begins with `pod_prefix` uses this much CPU, divided
    /// among its containers. The longest prefix counts.
    pub fn set_cpu(&self, namespace: &str, pod_prefix: &str, millicores: u64) {
        self.usages
            .set(namespace, pod_prefix, |usage| usage.cpu = Some(millicores));
    }

    /// Like [`MetricsApi::set_cpu`], for memory.
    pub fn set_memory(&self, namespace: &str, pod_prefix: &str, bytes: u64) {
        self.usages
            .set(namespace, pod_prefix, |usage| usage.memory = Some(bytes));
    }

    /// Removes it from the cluster and reports a failure to.
    pub async fn finish(mut self) -> Result<()> {
        match self.end() {
            Some(thread) => blocking(move || join(thread)).await,
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Option<JoinHandle<Result<()>>> {
        drop(self.stop.take());
        self.thread.take()
    }
}

impl Drop for MetricsApi {
    fn drop(&mut self) {
        if let Some(thread) = self.end()
            && let Err(error) = join(thread)
        {
            crate::report(&format!("the metrics API was not removed: {error:#}"));
        }
    }
}

/// Removes the metrics API of a test that was killed: an API server with an unavailable API deletes no namespace.
pub(crate) async fn remove_leftover(dir: &Path, client: &Client) -> Result<()> {
    if !marker(dir).exists() {
        return Ok(());
    }
    // Somebody's who runs is no leftover.
    match Lock::try_acquire(&lock_path(dir))? {
        Some(_lock) => unregister(dir, client).await,
        None => Ok(()),
    }
}

impl Server {
    fn new(
        address: Ipv4Addr,
        dir: PathBuf,
        kubeconfig: &Path,
        usages: &Usages,
        lock: Lock,
    ) -> Result<Self> {
        let listener = TcpListener::bind((address, 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("listen on {address}"))?;
        let authority = Authority::new("metrics-test-ca")?;
        let identity = authority.issue(&Subject {
            user: "metrics",
            names: &[registration::HOST],
            ..Subject::default()
        })?;
        let path = dir.join("pki/front-proxy-ca.crt");
        let clients =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self {
            tls: tls::tls(&identity, &clients)?,
            ca_pem: authority.pem().to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            usages: usages.clone(),
            dir,
            listener,
            _lock: lock,
        })
    }

    /// Serves until `stop` is dropped. `ready` is told when the API is available, and dropped when that failed.
    async fn run(self, ready: oneshot::Sender<()>, stop: oneshot::Receiver<()>) -> Result<()> {
        let client = connect(&self.kubeconfig).await?;
        let address = self.listener.local_addr().context("ask for the address")?;
        let listener =
            tokio::net::TcpListener::from_std(self.listener).context("use the listener")?;
        let router = routes::router(client.clone(), self.usages.clone());
        let mut server = JoinSet::new();
        server.spawn(https::serve(listener, self.tls, router));
        std::fs::write(marker(&self.dir), b"").context("note the metrics API")?;
        let registered = registration::register(&client, &self.ca_pem, address).await;
        if registered.is_ok() && ready.send(()).is_ok() {
            stop.await.ok();
        }
        let removed = unregister(&self.dir, &client).await;
        registered.and(removed)
    }
}

async fn unregister(dir: &Path, client: &Client) -> Result<()> {
    registration::unregister(client).await?;
    std::fs::remove_file(marker(dir)).context("forget the metrics API")
}

/// Exists from before the API is registered until after it is removed.
fn marker(dir: &Path) -> PathBuf {
    dir.join("metrics-api")
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("metrics-api.lock")
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("the metrics API's thread panicked"))?
}
