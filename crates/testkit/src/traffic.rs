//! Requests to Services as their users send them: from inside the node's network namespace, where Services exist.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::cluster::{Cluster, blocking, network};

/// Bound on each step of a request.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two requests, so that a probe leaves the processors to what it watches.
const PAUSE: Duration = Duration::from_millis(4);
/// Failures kept word by word.
const MAX_FAILURES: usize = 20;

/// An answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// What a probe has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// Requests sent.
    pub total: u64,
    /// Requests without an answer, or with one that is not 200.
    pub failed: u64,
    /// Good answers by their first word, the sample's version.
    pub versions: BTreeMap<String, u64>,
    /// The first failures, one line each.
    pub failures: Vec<String>,
}

impl TrafficReport {
    /// Good answers of one version.
    pub fn count(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or(0)
    }
}

/// A loop of requests, each on a connection of its own, until it is stopped.
#[derive(Debug)]
pub struct TrafficProbe {
    stop: Arc<AtomicBool>,
    reports: watch::Receiver<TrafficReport>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl TrafficProbe {
    /// Begins to send `GET /` to a Service's cluster address (or anything else that the node reaches).
    pub fn start(cluster: &Cluster, address: Ipv4Addr, port: u16) -> Result<Self> {
        Self::start_for(cluster, address, port, &format!("{address}:{port}"))
    }

    /// The same, to another host at that address: through a gateway, which goes by it.
    pub fn start_for(cluster: &Cluster, address: Ipv4Addr, port: u16, host: &str) -> Result<Self> {
        Self::start_with(cluster, (address, port), host, "")
    }

    /// The same, with more header lines, each with its line end.
    pub fn start_with(
        cluster: &Cluster,
        (address, port): (Ipv4Addr, u16),
        host: &str,
        headers: &str,
    ) -> Result<Self> {
        let (host, headers) = (host.to_owned(), headers.to_owned());
        let target = SocketAddr::from((address, port));
        let ask = move |stop: &AtomicBool, sender: &watch::Sender<TrafficReport>| {
            ask_for((Some(&host), &headers), || Ok(target), stop, sender);
            Ok(())
        };
        Ok(Self::start_on(NodeNetwork::of(cluster)?, ask))
    }

    /// Begins to call the sample's gRPC method ([`crate::grpc`]) for a host, through a gateway that goes by it.
    pub fn start_grpc(
        cluster: &Cluster,
        (address, port): (Ipv4Addr, u16),
        host: &str,
    ) -> Result<Self> {
        let (host, target) = (host.to_owned(), SocketAddr::from((address, port)));
        let call = move |stop: &AtomicBool, sender: &watch::Sender<TrafficReport>| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("start a runtime")?;
            while !stop.load(Ordering::Relaxed) {
                let outcome = runtime.block_on(crate::grpc::call(target, &host));
                sender.send_modify(|report| count(report, outcome));
                std::thread::sleep(PAUSE);
            }
            Ok(())
        };
        Ok(Self::start_on(NodeNetwork::of(cluster)?, call))
    }

    /// Runs a loop on a thread in the node's network namespace.
    fn start_on(
        node: NodeNetwork,
        run: impl FnOnce(&AtomicBool, &watch::Sender<TrafficReport>) -> Result<()> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (sender, reports) = watch::channel(TrafficReport::default());
        let thread = std::thread::spawn(move || {
            node.enter()?;
            run(&stopped, &sender)
        });
        Self {
            stop,
            reports,
            thread: Some(thread),
        }
    }

    /// What was counted so far.
    pub fn report(&self) -> TrafficReport {
        self.reports.borrow().clone()
    }

    /// Waits until the counts are as wished.
    pub async fn wait_for(
        &mut self,
        limit: Duration,
        wish: impl Fn(&TrafficReport) -> bool,
    ) -> Result<TrafficReport> {
        let outcome = tokio::time::timeout(limit, self.reports.wait_for(|report| wish(report)))
            .await
            .map(|counted| counted.map(|report| report.clone()));
        match outcome {
            Ok(report) => report.context("the probe ended"),
            Err(_) => {
                anyhow::bail!(
                    "the traffic is not as awaited after {limit:?}: {:?}",
                    self.report()
                )
            }
        }
    }

    /// Ends the loop and returns the counts.
    pub async fn stop(mut self) -> Result<TrafficReport> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = move || {
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("the probe's thread panicked"))?
            };
            blocking(ended).await?;
        }
        Ok(self.report())
    }
}

/// Sends `GET /` until it is told to stop, each request on a connection of its own. The target is looked up each time.
/// Blocks the thread.
pub fn ask(
    target: impl Fn() -> Result<SocketAddr>,
    stop: &AtomicBool,
    report: &watch::Sender<TrafficReport>,
) {
    ask_for((None, ""), target, stop, report);
}

fn ask_for(
    (host, headers): (Option<&str>, &str),
    target: impl Fn() -> Result<SocketAddr>,
    stop: &AtomicBool,
    report: &watch::Sender<TrafficReport>,
) {
    while !stop.load(Ordering::Relaxed) {
        let outcome = target().and_then(|target| {
            let host = host.map_or_else(|| target.to_string(), str::to_owned);
            request(target, (&host, headers), "GET", "/")
        });
        report.send_modify(|report| count(report, outcome));
        std::thread::sleep(PAUSE);
    }
}

impl Drop for TrafficProbe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Cluster {
    /// Cluster address and first port of a Service.
    pub async fn service(&self, namespace: &str, name: &str) -> Result<(Ipv4Addr, u16)> {
        let services: Api<Service> = Api::namespaced(self.client().await?, namespace);
        let service = services.get(name).await;
        let service = service.with_context(|| format!("read the Service {namespace}/{name}"))?;
        let spec = service.spec.unwrap_or_default();
        let address = spec.cluster_ip.unwrap_or_default();
        let address = address.parse();
        let address = address
            .with_context(|| format!("the Service {namespace}/{name} has no cluster address"))?;
        let port = spec
            .ports
            .unwrap_or_default()
            .first()
            .map_or(80, |port| port.port);
        Ok((
            address,
            u16::try_from(port).context("a Service port beyond 65535")?,
        ))
    }

    /// One request from the node: to a Service's cluster address, or to a pod.
    pub async fn request(
        &self,
        address: Ipv4Addr,
        port: u16,
        method: &str,
        path: &str,
    ) -> Result<Reply> {
        let node = NodeNetwork::of(self)?;
        let (method, path) = (method.to_owned(), path.to_owned());
        // A thread of its own: it never comes back from the namespace.
        let send = move || {
            node.enter()?;
            let target = SocketAddr::from((address, port));
            request(target, (&target.to_string(), ""), &method, &path)
        };
        let thread = std::thread::spawn(send);
        blocking(move || {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a request panicked"))?
        })
        .await
    }
}

/// The network namespace of a cluster's node.
#[derive(Debug)]
struct NodeNetwork {
    link: File,
}

impl NodeNetwork {
    fn of(cluster: &Cluster) -> Result<Self> {
        let number = cluster.number().with_context(|| {
            format!(
                "the cluster {} has no node on this machine to send requests from",
                cluster.name()
            )
        })?;
        let path = format!("/run/netns/{}", network::node_namespace(number));
        let link = File::open(&path).with_context(|| format!("open {path}"))?;
        Ok(Self { link })
    }

    /// Moves the calling thread into it, for good.
    fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.link.as_fd(), Some(LinkNameSpaceType::Network))
            .context("enter the node's network namespace")
    }
}

fn count(report: &mut TrafficReport, outcome: Result<Reply>) {
    report.total += 1;
    let failure = match outcome {
        Ok(Reply { status: 200, body }) => {
            let version = body.split_whitespace().next().unwrap_or_default();
            *report.versions.entry(version.to_owned()).or_default() += 1;
            return;
        }
        Ok(Reply { status, body }) => format!("request {}: {status} {}", report.total, body.trim()),
        Err(error) => format!("request {}: {error:#}", report.total),
    };
    report.failed += 1;
    if report.failures.len() < MAX_FAILURES {
        report.failures.push(failure);
    }
}

/// One request on a connection of its own.
fn request(
    target: SocketAddr,
    (host, headers): (&str, &str),
    method: &str,
    path: &str,
) -> Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&target, TIMEOUT)
        .with_context(|| format!("connect to {target}"))?;
    stream
        .set_read_timeout(Some(TIMEOUT))
        .context("set a time-out")?;
    stream
        .set_write_timeout(Some(TIMEOUT))
        .context("set a time-out")?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(head.as_bytes())
        .context("send the request")?;
    let mut bytes = Vec::new();
    stream
        .take(1024 * 1024)
        .read_to_end(&mut bytes)
        .context("read the answer")?;
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(answer: &str) -> Result<Reply> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer broke off")?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.with_context(|| format!("no HTTP answer: {head:?}"))?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    let whole = length.is_none_or(|length| body.len() == length);
    ensure!(
        whole,
        "the answer broke off after {} bytes of its body",
        body.len()
    );
    Ok(Reply {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_answer_is_a_failure() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nv1 a\n";
        assert_eq!(
            parse(whole).unwrap(),
            Reply {
                status: 200,
                body: "v1 a\n".to_owned()
            }
        );
        for broken in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nv1 a\n",
        ] {
            assert!(parse(broken).is_err(), "{broken:?}");
        }
        let mut report = TrafficReport::default();
        for answer in [whole, whole, "", "HTTP/1.1 503 no\r\n\r\noff"] {
            count(&mut report, parse(answer));
        }
        assert_eq!((report.total, report.failed, report.count("v1")), (4, 2, 2));
    }
}
