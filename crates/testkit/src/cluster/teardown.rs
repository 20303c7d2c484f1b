//! Takes a cluster down: everything that its journal names, newest first, whether its start was finished or not.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    journal::{Entry, Journal},
    process::{ProcessId, run, wait_until},
};

/// Stops and removes all that the cluster in `dir` made outside it. The folder itself stays, for its logs. Blocks the
/// thread, up to 10 s; may be repeated.
pub(crate) fn take_down(dir: &Path) -> Result<()> {
    let entries = Journal::of(dir).entries()?;
    stop_processes(&entries);
    let sockets = shim_sockets(&entries);
    stop_shims(dir);
    for entry in &entries {
        if let Entry::Cgroup(name) = entry {
            empty_cgroup(name);
        }
    }
    unmount_below(dir)?;
    for entry in entries.iter().rev() {
        match entry {
            Entry::Link(name) => forget(run("ip", ["link", "del", name])),
            Entry::Netns(name) => forget(run("ip", ["netns", "del", name])),
            Entry::Cgroup(name) => remove_cgroup(name),
            Entry::CniNetwork(name) => remove_cni_results(name),
            Entry::Process { .. } | Entry::ContainerdState(_) => {}
        }
    }
    for socket in sockets {
        forget(std::fs::remove_file(socket));
    }
    remove_log_links(dir);
    remove_stale_device_socket();
    for file in ["journal", "state.json"] {
        let path = dir.join(file);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Clean-up goes on when a thing is gone already.
fn forget<T, E>(outcome: Result<T, E>) {
    drop(outcome);
}

fn stop_processes(entries: &[Entry]) {
    let processes: Vec<(&str, ProcessId)> = entries
        .iter()
        .rev()
        .filter_map(|entry| match entry {
            Entry::Process { name, id } => Some((name.as_str(), *id)),
            _ => None,
        })
        .collect();
    // etcd and the API server are killed outright: a graceful stop takes 5 s and more, and nothing outlives the folder.
    let is_store = |name: &str| matches!(name, "etcd" | "kube-apiserver");
    let (stores, others): (Vec<_>, Vec<_>) = processes.iter().partition(|(name, _)| is_store(name));
    others.iter().for_each(|(_, id)| id.signal(Signal::TERM));
    wait_until(Duration::from_secs(3), || {
        others.iter().all(|(_, id)| !id.is_alive())
    });
    others
        .iter()
        .chain(&stores)
        .for_each(|(_, id)| id.signal(Signal::KILL));
    wait_until(Duration::from_secs(3), || {
        processes.iter().all(|(_, id)| !id.is_alive())
    });
}

/// Shims outlive containerd by design; ours are those that were told of a socket in our folder.
fn stop_shims(dir: &Path) {
    let address = format!("-address\0{}/", dir.display());
    for (pid, link) in proc_links("exe") {
        if !link.to_string_lossy().contains("containerd-shim") {
            continue;
        }
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(&address) {
            kill(pid);
        }
    }
}

/// Sockets that shims made in the runtime folder that all containerds of the machine share.
fn shim_sockets(entries: &[Entry]) -> Vec<PathBuf> {
    let mut sockets = Vec::new();
    for entry in entries {
        let Entry::ContainerdState(state) = entry else {
            continue;
        };
        let tasks = state.join("io.containerd.runtime.v2.task/k8s.io");
        for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
            let address = std::fs::read_to_string(task.path().join("address")).unwrap_or_default();
            if let Some(path) = address.trim().strip_prefix("unix://")
                && path.starts_with("/run/containerd/s/")
            {
                sockets.push(PathBuf::from(path));
            }
        }
    }
    sockets
}

/// Kills whatever still runs in this cluster's own cgroups.
fn empty_cgroup(name: &str) {
    wait_until(Duration::from_secs(5), || {
        let mut pids = BTreeSet::new();
        for root in cgroup_roots(name) {
            collect_pids(&root, &mut pids);
        }
        pids.iter().copied().for_each(kill);
        pids.is_empty()
    });
}

fn collect_pids(cgroup: &Path, pids: &mut BTreeSet<i32>) {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in subfolders(cgroup) {
        collect_pids(&child, pids);
    }
}

fn remove_cgroup(name: &str) {
    for root in cgroup_roots(name) {
        // A cgroup is busy for a moment after its last process ended.
        wait_until(Duration::from_secs(2), || {
            remove_tree_of_cgroups(&root);
            !root.exists()
        });
    }
}

fn remove_tree_of_cgroups(cgroup: &Path) {
    for child in subfolders(cgroup) {
        remove_tree_of_cgroups(&child);
    }
    forget(std::fs::remove_dir(cgroup));
}

/// The cgroup in each hierarchy (v1), or the one there is (v2).
fn cgroup_roots(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut found: Vec<PathBuf> = subfolders(root)
        .into_iter()
        .map(|hierarchy| hierarchy.join(name))
        .collect();
    found.push(root.join(name));
    found.retain(|path| path.is_dir());
    found
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Deepest first; lazily, so that a mount that something still holds does not stop the rest.
fn unmount_below(dir: &Path) -> Result<()> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    let prefix = format!("{}/", dir.display());
    let mut points: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.starts_with(&prefix))
        .collect();
    points.sort_unstable();
    for point in points.iter().rev() {
        run("umount", ["-l", point]).with_context(|| format!("unmount {point}"))?;
    }
    Ok(())
}

/// The CNI library caches results in a folder of the machine, as NETWORK-CONTAINER-eth0, and another for each
/// container's loopback device.
fn remove_cni_results(network: &str) {
    let folder = Path::new("/var/lib/cni/results");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let container = name
            .strip_prefix(network)
            .and_then(|rest| rest.strip_prefix('-'));
        if let Some(container) = container.and_then(|rest| rest.strip_suffix("-eth0")) {
            forget(std::fs::remove_file(
                folder.join(format!("cni-loopback-{container}-lo")),
            ));
            forget(std::fs::remove_file(entry.path()));
        }
    }
}

/// The kubelet links each container's log from `/var/log/containers`, wherever its own folder is.
fn remove_log_links(dir: &Path) {
    let links = std::fs::read_dir("/var/log/containers")
        .into_iter()
        .flatten()
        .flatten();
    for link in links {
        if std::fs::read_link(link.path()).is_ok_and(|target| target.starts_with(dir)) {
            forget(std::fs::remove_file(link.path()));
        }
    }
}

/// The kubelet's socket for device plugins has a fixed place on the machine: removed when no kubelet answers there.
fn remove_stale_device_socket() {
    let socket = Path::new("/var/lib/kubelet/device-plugins/kubelet.sock");
    let answer = UnixStream::connect(socket);
    if answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        forget(std::fs::remove_file(socket));
    }
}

fn proc_links(name: &str) -> Vec<(i32, PathBuf)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, std::fs::read_link(format!("/proc/{pid}/{name}")).ok()?)))
        .collect()
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        forget(kill_process(pid, Signal::KILL));
    }
}
