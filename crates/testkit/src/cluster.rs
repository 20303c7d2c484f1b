//! A Kubernetes on this machine: started, shared between test processes, taken down without a trace.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde::{Deserialize, Serialize};

use self::{
    journal::{Entry, Journal},
    node::RealNode,
    state::{Lock, State},
};
use crate::{environment, images, metrics_api};

pub(crate) use self::api::{connect, kubectl_apply, readyz};
pub use self::audit::{Audit, Audited};
pub use self::definitions::Crds;
pub use self::faults::Part;
pub use self::gateway::Gateway;
pub(crate) use crate::wait::wait_for;

mod api;
mod audit;
mod control_plane;
mod definitions;
mod dns;
mod faults;
mod gateway;
pub(crate) mod journal;
mod kwok;
pub(crate) mod network;
mod node;
mod objects;
pub(crate) mod pki;
pub(crate) mod process;
mod start;
pub(crate) mod state;
mod teardown;
mod volumes;

/// Name of the cluster that tests share and `make cluster` starts.
pub const SHARED_NAME: &str = "shared";

/// What a cluster consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A node that runs containers and routes Services. Needs root.
    Real,
    /// A control plane and ten fake nodes on loopback. Needs no root.
    Kwok,
}

/// What a test wants of its own cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What its audit log holds.
    pub audit: Audit,
    /// Arguments of the API server, which win over the usual ones.
    pub api_server: Vec<String>,
    /// Its store waits for the disk before it acknowledges a write, as in production. Otherwise it does not.
    #[serde(default)]
    pub durable: bool,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    kubeconfig: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The user's own cluster, of which only the API is known.
    Elsewhere,
    /// In a folder of this machine.
    Here {
        dir: PathBuf,
        state: State,
        owned: bool,
    },
}

impl Cluster {
    /// The one real cluster of all tests: the user's own when `KUBECONFIG` is set, otherwise the running one when it
    /// is healthy, otherwise a new one. It stays up for the next test process; `make cluster-down` ends it.
    pub async fn shared() -> Result<Self> {
        match environment::user_kubeconfig() {
            Some(kubeconfig) => Self::attach(&kubeconfig).await,
            None => Self::up(Kind::Real, SHARED_NAME, None).await,
        }
    }

    /// A cluster of its own, taken down when dropped.
    pub async fn start(kind: Kind) -> Result<Self> {
        Self::start_audited(kind, Audit::default()).await
    }

    /// The same, with what its audit log is to hold.
    pub async fn start_audited(kind: Kind, audit: Audit) -> Result<Self> {
        let settings = Settings {
            audit,
            ..Settings::default()
        };
        Self::start_with(kind, settings).await
    }

    /// The same, with other settings.
    pub async fn start_with(kind: Kind, settings: Settings) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!(
            "t{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut cluster = Self::up_with(kind, &name, None, settings).await?;
        if let Place::Here { owned, .. } = &mut cluster.place {
            *owned = true;
        }
        Ok(cluster)
    }

    /// The named cluster of this machine: as it runs when it is healthy, otherwise started (what was left of it is
    /// removed first). `dir` overrides its folder, `$SORTIE_CACHE/clusters/NAME`.
    pub async fn up(kind: Kind, name: &str, dir: Option<&Path>) -> Result<Self> {
        Self::up_with(kind, name, dir, Settings::default()).await
    }

    async fn up_with(
        kind: Kind,
        name: &str,
        dir: Option<&Path>,
        settings: Settings,
    ) -> Result<Self> {
        let dir = folder(name, dir)?;
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let lock_path = dir.with_extension("lock");
        let _lock = blocking(move || Lock::acquire(&lock_path)).await?;
        if let Some(state) = State::read(&dir)? {
            if state.ready
                && state.kind == kind
                && state.revision == state::REVISION
                && state.settings == settings
                && is_healthy(&dir).await
            {
                if kind == Kind::Real {
                    let client = connect(&dir.join("kubeconfig")).await?;
                    metrics_api::remove_leftover(&dir, &client).await?;
                    volumes::provide(&dir, &client).await?;
                }
                return Ok(Self::here(dir, state));
            }
            ensure!(
                state.kind == kind || !state.ready,
                "the cluster {name} is a {:?} one: take it down first, or choose another name",
                state.kind
            );
        }
        let old = dir.clone();
        blocking(move || teardown::take_down(&old)).await?;
        match start::bring_up((kind, settings), name, &dir).await {
            Ok(state) => Ok(Self::here(dir, state)),
            Err(error) => {
                let failed = dir.clone();
                blocking(move || teardown::take_down(&failed)).await?;
                Err(error.context(format!(
                    "start the cluster {name}; logs are in {}/log",
                    dir.display()
                )))
            }
        }
    }

    /// The user's own cluster.
    pub async fn attach(kubeconfig: &Path) -> Result<Self> {
        let client = connect(kubeconfig).await?;
        readyz(&client)
            .await
            .with_context(|| format!("reach the cluster of KUBECONFIG={}", kubeconfig.display()))?;
        Ok(Self {
            name: "user".to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            place: Place::Elsewhere,
        })
    }

    fn here(dir: PathBuf, state: State) -> Self {
        Self {
            name: state.name.clone(),
            kubeconfig: dir.join("kubeconfig"),
            place: Place::Here {
                dir,
                state,
                owned: false,
            },
        }
    }

    /// Its name on this machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new client of the administrator, bound to the calling runtime (each test has its own).
    pub async fn client(&self) -> Result<Client> {
        connect(&self.kubeconfig).await
    }

    /// Address of the control plane's bridge, which host, nodes and pods reach: API server, git server and registry
    /// listen on it. None for fake nodes and for the user's own cluster.
    pub fn bridge_address(&self) -> Option<Ipv4Addr> {
        Some(network::bridge_address(self.number()?))
    }

    /// Folder with the logs of all its processes (`log/NAME.log`). None for the user's own cluster.
    pub fn dir(&self) -> Option<&Path> {
        match &self.place {
            Place::Elsewhere => None,
            Place::Here { dir, .. } => Some(dir),
        }
    }

    pub(crate) fn number(&self) -> Option<u8> {
        match &self.place {
            Place::Elsewhere => None,
            Place::Here { state, .. } => state.number,
        }
    }

    /// Builds the image `name` of `tests/cluster/build-images.sh` when it changed (`sample-v1`, `delegate`, ...), loads
    /// it into the node and returns what a pod says under `image:`. For the user's own cluster it is pushed to
    /// `IMAGE_PREFIX` instead.
    pub async fn image(&self, name: &str) -> Result<String> {
        if matches!(self.place, Place::Elsewhere) {
            let prefix = environment::image_prefix().context(
                "the cluster of KUBECONFIG gets its images from a registry: set IMAGE_PREFIX to where they are pushed",
            )?;
            return images::push(name, &prefix).await;
        }
        let image = images::build(name).await?;
        self.load(&image).await?;
        Ok(image.reference)
    }

    /// Imports a docker archive or OCI archive into the node.
    pub async fn load_image(&self, archive: &Path) -> Result<()> {
        let Place::Here { dir, state, .. } = &self.place else {
            anyhow::bail!(
                "images cannot be loaded into the cluster of KUBECONFIG: push them to a registry it reaches"
            );
        };
        ensure!(state.kind == Kind::Real, "fake nodes hold no images");
        let socket = RealNode::containerd_socket(dir).display().to_string();
        let archive = archive.display().to_string();
        blocking(move || {
            process::run(
                "ctr",
                ["-a", &socket, "-n", "k8s.io", "images", "import", &archive],
            )
        })
        .await
        .map(drop)
    }

    async fn load(&self, image: &images::Image) -> Result<()> {
        let Some(dir) = self.dir() else {
            return self.load_image(&image.archive).await;
        };
        let loaded = dir.join("images").join(&image.name);
        let lock_path = dir.join("images").join(".lock");
        let _lock = blocking(move || Lock::acquire(&lock_path)).await?;
        if std::fs::read_to_string(&loaded).is_ok_and(|key| key == image.key) {
            return Ok(());
        }
        self.load_image(&image.archive).await?;
        std::fs::write(&loaded, &image.key).with_context(|| format!("write {}", loaded.display()))
    }

    /// Takes it down: nothing stays but its folder's logs, and these too when `dir` is the default. The user's own
    /// cluster is left alone.
    pub async fn down(name: &str, dir: Option<&Path>) -> Result<()> {
        let keep = dir.is_some();
        let dir = folder(name, dir)?;
        blocking(move || remove(&dir, keep)).await
    }

    /// The named cluster of this machine when it is healthy; nothing is started.
    pub async fn find(name: &str, dir: Option<&Path>) -> Result<Option<Self>> {
        let dir = folder(name, dir)?;
        let Some(state) = State::read(&dir)? else {
            return Ok(None);
        };
        let healthy = state.ready && is_healthy(&dir).await;
        Ok(healthy.then(|| Self::here(dir, state)))
    }

    /// The clusters of the cache folder, also those whose start was interrupted: name, kind, folder, and whether all its processes run.
    pub fn list() -> Result<Vec<Summary>> {
        let parent = environment::cache_dir()?.join("clusters");
        let mut summaries = Vec::new();
        for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
            let dir = entry.path();
            // Locks lie beside the folders.
            if !dir.is_dir() {
                continue;
            }
            let kubeconfig = dir.join("kubeconfig");
            if let Some(State {
                name, kind, ready, ..
            }) = State::read(&dir)?
            {
                let running = ready && dead_processes(&dir)?.is_empty();
                summaries.push(Summary {
                    name,
                    kind: Some(kind),
                    running,
                    kubeconfig,
                });
            } else if !Journal::of(&dir).entries()?.is_empty() {
                let name = entry.file_name().to_string_lossy().into_owned();
                summaries.push(Summary {
                    name,
                    kind: None,
                    running: false,
                    kubeconfig,
                });
            }
        }
        summaries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(summaries)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Place::Here {
            dir, owned: true, ..
        } = &self.place
            && let Err(error) = remove(dir, false)
        {
            crate::report(&format!(
                "the cluster {} was not taken down: {error:#}",
                self.name
            ));
        }
    }
}

/// One line of [`Cluster::list`].
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// What it consists of; unknown when its start was interrupted early.
    pub kind: Option<Kind>,
    /// True when all its processes run.
    pub running: bool,
    /// The administrator's kubeconfig file.
    pub kubeconfig: PathBuf,
}

fn folder(name: &str, dir: Option<&Path>) -> Result<PathBuf> {
    match dir {
        Some(dir) => std::path::absolute(dir).with_context(|| format!("resolve {}", dir.display())),
        None => state::default_dir(name),
    }
}

fn remove(dir: &Path, keep: bool) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let lock_path = dir.with_extension("lock");
    let lock = Lock::acquire(&lock_path)?;
    teardown::take_down(dir)?;
    if !keep && dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    lock.remove(&lock_path)
}

/// All recorded processes run and the API server says it is ready.
async fn is_healthy(dir: &Path) -> bool {
    if !dead_processes(dir).is_ok_and(|dead| dead.is_empty()) {
        return false;
    }
    let Ok(client) = connect(&dir.join("kubeconfig")).await else {
        return false;
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), readyz(&client)).await;
    matches!(answer, Ok(Ok(())))
}

/// Recorded processes that ended, servers of single tests not counted.
fn dead_processes(dir: &Path) -> Result<Vec<String>> {
    let entries = Journal::of(dir).entries()?;
    let dead = entries.into_iter().filter_map(|entry| match entry {
        Entry::Process { name, id } if !id.is_alive() && !name.starts_with("test-") => Some(name),
        _ => None,
    });
    Ok(dead.collect())
}

/// Runs blocking work beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a blocking task panicked")?
}
