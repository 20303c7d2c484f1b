//! The file that says what a cluster is: written before anything is started, rewritten when it is ready.

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rand::RngExt as _;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Kind, Settings, network};
use crate::environment;

/// Highest cluster number: each takes the networks 172.30.N, 10.(100+N) and 10.(150+N).
const MAX_CLUSTERS: u8 = 40;

/// How clusters are started. One more with each change of a program's arguments that tests rely on: a running cluster of
/// another revision is started anew instead of being reused.
pub(crate) const REVISION: u32 = 2;

/// One cluster of this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Its number among the clusters in network namespaces; none on loopback.
    pub(crate) number: Option<u8>,
    pub(crate) ports: Ports,
    /// The [`REVISION`] that started it; 0 for those before there were any.
    #[serde(default)]
    pub(crate) revision: u32,
    /// What was asked of it.
    #[serde(default)]
    pub(crate) settings: Settings,
    /// True once everything answered; false means an interrupted start.
    pub(crate) ready: bool,
}

/// Where the parts of the control plane listen. Fixed in a network namespace, free ones on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) api_server: u16,
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) controller_manager: u16,
    pub(crate) scheduler: u16,
    pub(crate) kwok: u16,
}

impl State {
    /// Chooses a number or ports that no other cluster of this machine uses and writes the state to `dir`.
    pub(crate) fn allocate(name: &str, kind: Kind, dir: &Path) -> Result<Self> {
        let _lock = Lock::acquire(&allocation_lock(kind, dir))?;
        let state = match kind {
            Kind::Real => {
                let number = (1..=MAX_CLUSTERS).find(|number| network::is_free(*number));
                let number = number
                    .with_context(|| format!("all {MAX_CLUSTERS} cluster numbers are in use"))?;
                network::reserve(number, dir)?;
                Self {
                    name: name.to_owned(),
                    kind,
                    number: Some(number),
                    ports: Ports::IN_NAMESPACE,
                    revision: REVISION,
                    settings: Settings::default(),
                    ready: false,
                }
            }
            Kind::Kwok => Self {
                name: name.to_owned(),
                kind,
                number: None,
                ports: Ports::free(dir)?,
                revision: REVISION,
                settings: Settings::default(),
                ready: false,
            },
        };
        state.write(dir)?;
        Ok(state)
    }

    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = Self::path(dir);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let state = serde_json::from_slice(&bytes);
                Ok(Some(
                    state.with_context(|| format!("parse {}", path.display()))?,
                ))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = Self::path(dir);
        let new = dir.join(".state.new");
        let bytes = serde_json::to_vec_pretty(self).context("encode the cluster's state")?;
        std::fs::write(&new, bytes)
            .and_then(|()| std::fs::rename(&new, &path))
            .with_context(|| format!("write {}", path.display()))
    }

    /// Address that the API server binds and advertises: the bridge, or loopback.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.number
            .map_or(Ipv4Addr::LOCALHOST, network::bridge_address)
    }

    /// URL of the API server, the same for host, nodes and pods.
    pub(crate) fn server(&self) -> String {
        format!("https://{}:{}", self.address(), self.ports.api_server)
    }

    /// Network of the pods.
    pub(crate) fn pod_network(&self) -> String {
        self.number
            .map_or_else(|| "10.244.0.0/16".to_owned(), network::pod_network)
    }

    /// The `index`-th address of the Service network.
    pub(crate) fn service_address(&self, index: u8) -> Ipv4Addr {
        match self.number {
            Some(number) => network::service_address(number, index),
            None => Ipv4Addr::new(10, 96, 0, index),
        }
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join("state.json")
    }
}

impl Ports {
    const IN_NAMESPACE: Self = Self {
        api_server: 6443,
        etcd: 2379,
        etcd_peer: 2380,
        controller_manager: 10257,
        scheduler: 10259,
        kwok: 10247,
    };

    /// Six ports below the ephemeral range, where nothing listens and which no cluster beside `dir` has been given.
    fn free(dir: &Path) -> Result<Self> {
        let mut taken = beside(dir);
        let mut next = || -> Result<u16> {
            for _ in 0..2000 {
                let port = rand::rng().random_range(20_000..32_000);
                if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
                {
                    taken.push(port);
                    return Ok(port);
                }
            }
            bail!("no free port between 20000 and 32000 on 127.0.0.1")
        };
        Ok(Self {
            api_server: next()?,
            etcd: next()?,
            etcd_peer: next()?,
            controller_manager: next()?,
            scheduler: next()?,
            kwok: next()?,
        })
    }

    fn all(self) -> [u16; 6] {
        let Self {
            api_server,
            etcd,
            etcd_peer,
            controller_manager,
            scheduler,
            kwok,
        } = self;
        [
            api_server,
            etcd,
            etcd_peer,
            controller_manager,
            scheduler,
            kwok,
        ]
    }
}

/// Numbers are the machine's, so clusters of other cache folders count as well; ports are chosen per cache folder.
fn allocation_lock(kind: Kind, dir: &Path) -> PathBuf {
    match kind {
        Kind::Real => PathBuf::from("/run/lock/sortie-clusters"),
        Kind::Kwok => dir.with_file_name(".ports.lock"),
    }
}

/// Ports of the clusters whose folders lie next to `dir`.
fn beside(dir: &Path) -> Vec<u16> {
    let siblings = dir
        .parent()
        .and_then(|parent| std::fs::read_dir(parent).ok());
    siblings
        .into_iter()
        .flatten()
        .filter_map(|entry| State::read(&entry.ok()?.path()).ok().flatten())
        .flat_map(|state| state.ports.all())
        .collect()
}

/// A lock between processes, held until dropped (or until its process ends, however it ends).
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock. Blocks the thread.
    pub(crate) fn acquire(path: &Path) -> Result<Self> {
        Self::open(path, FlockOperation::LockExclusive)
            .with_context(|| format!("lock {}", path.display()))
    }

    /// None when somebody holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>> {
        match Self::open(path, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }

    fn open(path: &Path, operation: FlockOperation) -> std::io::Result<Self> {
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            flock(&file, operation)?;
            // The holder before may have removed the file: then somebody else may hold a newer one.
            let held = file.metadata()?;
            if std::fs::metadata(path).is_ok_and(|current| current.ino() == held.ino()) {
                return Ok(Self { _file: file });
            }
        }
    }

    /// Removes the lock's file and gives the lock back.
    pub(crate) fn remove(self, path: &Path) -> Result<()> {
        std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
    }
}

/// Folder of the cluster `name`.
pub(crate) fn default_dir(name: &str) -> Result<PathBuf> {
    anyhow::ensure!(
        !name.is_empty()
            && name.len() <= 24
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
        "the cluster name {name:?} must be 1 to 24 of a-z, 0-9 and '-' (unix socket paths are short)"
    );
    Ok(environment::cache_dir()?.join("clusters").join(name))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_holds_the_lock_although_its_file_is_removed_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let lock = Lock::acquire(&path).unwrap();
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        lock.remove(&path).unwrap();
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_held_lock_is_not_waited_for_when_tried() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path).unwrap();
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn a_cluster_from_before_the_revisions_is_of_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::allocate("old", Kind::Kwok, dir.path());
        assert_eq!(state.unwrap().revision, REVISION);
        let path = State::path(dir.path());
        let mut old: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        old.as_object_mut().unwrap().remove("revision");
        std::fs::write(&path, old.to_string()).unwrap();
        let read = State::read(dir.path()).unwrap().unwrap();
        assert_ne!(read.revision, REVISION);
    }

    #[test]
    fn names_make_short_folders() {
        for name in [
            "",
            "a/b",
            "..",
            "UPPER",
            "a-name-that-is-far-too-long-for-a-socket",
        ] {
            assert!(default_dir(name).is_err(), "{name:?}");
        }
    }
}
