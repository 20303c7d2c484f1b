//! Network namespaces of a cluster: one for the control plane with a bridge (172.30.N.1) that everything hangs on, one
//! per node. The host has one leg in it (172.30.N.254) and a route to the pods; Services exist only inside a node's
//! namespace, so that kube-proxy's rules never touch the machine's own.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    journal::{Entry, Journal},
    process::run,
};

/// Address of the bridge: API server, git server and registry, as seen by host, nodes and pods.
pub(crate) fn bridge_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, number, 1)
}

/// Address of this machine's leg on the bridge.
pub(crate) fn host_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, number, 254)
}

/// Address of the node.
pub(crate) fn node_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, number, 11)
}

pub(crate) fn pod_network(number: u8) -> String {
    format!("10.{}.0.0/16", 100 + number)
}

/// The part of the pod network that the node gives out.
pub(crate) fn node_pod_network(number: u8) -> String {
    format!("10.{}.1.0/24", 100 + number)
}

pub(crate) fn service_address(number: u8, index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 150 + number, 0, index)
}

/// Namespace of the control plane; the host's leg has the same name.
pub(crate) fn control_namespace(number: u8) -> String {
    format!("sortie-{number}")
}

/// Namespace of the node.
pub(crate) fn node_namespace(number: u8) -> String {
    format!("sortie-{number}-n1")
}

/// True when nothing on this machine has this number's names or addresses.
pub(crate) fn is_free(number: u8) -> bool {
    let [control, node] = [control_namespace(number), node_namespace(number)];
    let namespaces = Path::new("/run/netns");
    let route = run(
        "ip",
        ["-4", "route", "show", &format!("172.30.{number}.0/24")],
    );
    !namespaces.join(&control).exists()
        && !namespaces.join(node).exists()
        && !Path::new("/sys/class/net").join(control).exists()
        && route.is_ok_and(|text| text.trim().is_empty())
}

/// Takes the number by making its namespace.
pub(crate) fn reserve(number: u8, dir: &Path) -> Result<()> {
    let namespace = control_namespace(number);
    run("ip", ["netns", "add", &namespace])
        .context("make a network namespace (a real cluster needs root)")?;
    Journal::of(dir).record(&Entry::Netns(namespace))
}

/// Bridge, host leg and route to the pods, in the namespace that [`reserve`] made.
pub(crate) fn connect_control(number: u8, dir: &Path) -> Result<()> {
    let namespace = control_namespace(number);
    let (bridge, host) = (bridge_address(number), host_address(number));
    let pods = pod_network(number);
    batch(
        Some(&namespace),
        "link set lo up\n\
         link add br0 type bridge\n",
    )?;
    batch(
        Some(&namespace),
        &format!("addr add {bridge}/24 dev br0\nlink set br0 up\n"),
    )?;
    Journal::of(dir).record(&Entry::Link(namespace.clone()))?;
    batch(
        None,
        &format!("link add {namespace} type veth peer name host0 netns {namespace}\n"),
    )?;
    batch(Some(&namespace), "link set host0 master br0 up\n")?;
    batch(
        None,
        &format!(
            "addr add {host}/24 dev {namespace}\n\
             link set {namespace} up\n\
             route add {pods} via {bridge} dev {namespace}\n"
        ),
    )?;
    set_kernel_switches(&namespace, &["net/ipv4/ip_forward=1"])
}

/// The node's namespace, its leg on the bridge and the routes to its pods.
pub(crate) fn connect_node(number: u8, dir: &Path) -> Result<()> {
    let (control, node) = (control_namespace(number), node_namespace(number));
    let (bridge, address) = (bridge_address(number), node_address(number));
    Journal::of(dir).record(&Entry::Netns(node.clone()))?;
    run("ip", ["netns", "add", &node])?;
    let pods = node_pod_network(number);
    batch(
        Some(&control),
        &format!(
            "link add p-n1 type veth peer name eth0 netns {node}\n\
             link set p-n1 master br0 up\n"
        ),
    )?;
    batch(
        Some(&node),
        &format!(
            "link set lo up\n\
             addr add {address}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via {bridge}\n"
        ),
    )?;
    batch(Some(&control), &format!("route add {pods} via {address}\n"))?;
    set_kernel_switches(
        &node,
        &["net/ipv4/ip_forward=1", "net/ipv4/conf/all/rp_filter=0"],
    )?;
    // Only where the kernel filters bridged packets at all.
    set_kernel_switches(&node, &["net/bridge/bridge-nf-call-iptables=1"]).ok();
    Ok(())
}

/// Several `ip` commands in one process.
fn batch(namespace: Option<&str>, commands: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    if let Some(namespace) = namespace {
        ip.args(["-n", namespace]);
    }
    ip.args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = ip.spawn().context("start ip")?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(commands.as_bytes())
            .context("write to ip")?;
    }
    let output = child.wait_with_output().context("wait for ip")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ip failed on {commands:?}: {}",
        errors.trim()
    );
    Ok(())
}

fn set_kernel_switches(namespace: &str, switches: &[&str]) -> Result<()> {
    let script: String = switches
        .iter()
        .filter_map(|switch| switch.split_once('='))
        .map(|(key, value)| format!("echo {value} >/proc/sys/{key} && "))
        .collect();
    let netns = format!("--net=/run/netns/{namespace}");
    run("nsenter", [&netns, "sh", "-c", &format!("{script}true")])?;
    Ok(())
}
