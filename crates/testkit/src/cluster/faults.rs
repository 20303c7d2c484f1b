//! What can happen to a control plane, made to happen. Only for a cluster that a test has for itself.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::{
    Cluster, Place, control_plane,
    journal::{Entry, Journal},
    process::{self, ProcessId},
};

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Where everything is stored.
    Etcd,
    /// What everybody talks to.
    ApiServer,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
        }
    }
}

impl Cluster {
    /// Stops a part where it stands, as when its machine hangs (SIGSTOP).
    pub fn freeze(&self, part: Part) -> Result<()> {
        self.process(part).map(|id| id.signal(Signal::STOP))
    }

    /// Lets a frozen part go on (SIGCONT).
    pub fn thaw(&self, part: Part) -> Result<()> {
        self.process(part).map(|id| id.signal(Signal::CONT))
    }

    /// Ends the API server at once (SIGKILL), as when its machine loses power.
    pub async fn kill_api_server(&self) -> Result<()> {
        let id = self.process(Part::ApiServer)?;
        super::blocking(move || {
            id.signal(Signal::KILL);
            let limit = std::time::Duration::from_secs(20);
            anyhow::ensure!(
                process::wait_until(limit, || !id.is_alive() && is_alone(id.pid)),
                "kube-apiserver goes on"
            );
            Ok(())
        })
        .await
    }

    /// Starts the API server that was ended, and returns when it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        let Place::Here { dir, state, .. } = &self.place else {
            bail!("the API server of KUBECONFIG is not ours to start");
        };
        control_plane::start_api_server_again(state, dir, &self.client().await?).await
    }

    /// PEM files of the authority whose client certificates the API server accepts: certificate and
    /// key. None for the user's own cluster.
    pub fn client_authority(&self) -> Option<(PathBuf, PathBuf)> {
        let pki = self.dir()?.join("pki");
        Some((pki.join("ca.crt"), pki.join("ca.key")))
    }

    /// The one of this cluster that runs.
    fn process(&self, part: Part) -> Result<ProcessId> {
        let Place::Here {
            dir, owned: true, ..
        } = &self.place
        else {
            bail!("a cluster that others use as well is left alone");
        };
        let entries = Journal::of(dir).entries()?;
        let running = entries.into_iter().find_map(|entry| match entry {
            Entry::Process { name, id } if name == part.name() && id.is_alive() => Some(id),
            _ => None,
        });
        running.with_context(|| format!("{} of {} does not run", part.name(), self.name()))
    }
}

/// Whether no other thread of a process is left: as long as there is one, its ports are taken.
fn is_alone(pid: i32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(true, |tasks| tasks.count() <= 1)
}
