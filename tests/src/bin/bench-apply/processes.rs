//! How much processor time other programs use, from `/proc`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sortie_testkit::Cluster;
use sortie_tests::measured::processor;

/// The processes of a cluster's control plane, with what they had used at one moment.
pub(crate) struct ControlPlane {
    used: BTreeMap<u32, f64>,
}

impl ControlPlane {
    /// API server, store and controllers, as they are now: what has the cluster's folder among its arguments.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let folder = cluster.dir().context("the cluster has no folder")?;
        let mut used = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").context("list processes")? {
            let name = entry.context("list processes")?.file_name();
            let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if is_of(process, folder)
                && let Some(seconds) = processor(process)
            {
                used.insert(process, seconds);
            }
        }
        ensure!(!used.is_empty(), "the cluster has no process");
        Ok(Self { used })
    }

    /// Seconds that they have used since.
    pub(crate) fn seconds(&self) -> Result<f64> {
        let used = self.used.iter().map(|(process, before)| {
            let now = processor(*process).context("a part of the cluster has ended")?;
            Ok(now - before)
        });
        used.sum()
    }
}

fn is_of(process: u32, folder: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    folder.to_str().is_some_and(|folder| line.contains(folder))
}
