//! What a run asked of the API server and when, from the server's audit log.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;
use sortie_testkit::Cluster;

/// Plurals of the kinds in the set.
const KINDS: [&str; 7] = [
    "configmaps",
    "secrets",
    "services",
    "serviceaccounts",
    "roles",
    "rolebindings",
    "deployments",
];

/// The audit log of a cluster, read onwards.
pub(crate) struct Log {
    client: kube::Client,
    path: PathBuf,
    read: usize,
    marks: usize,
}

/// The requests of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    /// Requests on objects of the set, lists included.
    pub(crate) on_objects: u64,
    /// Of these, writes that are no dry runs.
    pub(crate) writes: u64,
    /// Writes of a lease or a release record.
    pub(crate) records: u64,
    /// Everything else: reads of those, discovery, statuses.
    pub(crate) others: u64,
    /// When the first arrived.
    pub(crate) first: Option<Timestamp>,
    /// When the last write to an object of the set was answered.
    pub(crate) last_write: Option<Timestamp>,
    /// When the last request was answered.
    pub(crate) last: Option<Timestamp>,
}

impl Log {
    pub(crate) async fn of(cluster: &Cluster) -> Result<Self> {
        let folder = cluster.dir().context("a cluster of this machine")?;
        Ok(Self {
            client: cluster.client().await?,
            path: folder.join("log/audit.jsonl"),
            read: 0,
            marks: 0,
        })
    }

    /// The requests of `user` since the last call.
    pub(crate) async fn since(&mut self, user: &str) -> Result<Requests> {
        let text = self.text().await?;
        let mut requests = Requests::default();
        let new = text.get(self.read..).unwrap_or_default();
        for line in new.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                break;
            }
            self.read += line.len();
            let event: Value = serde_json::from_slice(line).context("parse the audit log")?;
            if event["user"]["username"] == user && event["stage"] == "ResponseComplete" {
                requests.count(&event);
            }
        }
        Ok(requests)
    }

    /// The log up to now: the server writes it a moment behind, so a request marks the place.
    async fn text(&mut self) -> Result<Vec<u8>> {
        self.marks += 1;
        let mark = format!("/version?bench={}.", self.marks);
        let request = http::Request::get(&mark).body(Vec::new())?;
        self.client
            .request_text(request)
            .await
            .context("mark the audit log")?;
        let wait = async {
            loop {
                let text = std::fs::read(&self.path).context("read the audit log")?;
                let new = text.get(self.read..).unwrap_or_default();
                if new.windows(mark.len()).any(|part| part == mark.as_bytes()) {
                    return Ok(text);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, wait)
            .await
            .context("the audit log lags behind")?
    }
}

impl Requests {
    fn count(&mut self, event: &Value) {
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let time = |pointer: &str| text(pointer).parse::<Timestamp>().ok();
        let (verb, name) = (text("/verb"), text("/objectRef/name"));
        let (arrived, answered) = (time("/requestReceivedTimestamp"), time("/stageTimestamp"));
        self.first = self.first.into_iter().chain(arrived).min();
        self.last = self.last.max(answered);
        let ours = ["sortie.", "sh.helm."]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let uri = text("/requestURI");
        let on_object = KINDS.contains(&text("/objectRef/resource")) && !ours && verb != "watch";
        let records = uri.contains("sortie.dev%2Frelease.v1") || uri.contains("owner%3Dhelm");
        let code = event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64);
        let wrote = matches!(verb, "create" | "update" | "patch" | "delete")
            && !uri.contains("dryRun=All")
            && code.is_some_and(|code| code < 300);
        if !on_object || (records && !uri.contains("%21%3D")) {
            if wrote && (ours || text("/objectRef/resource") == "leases") {
                self.records += 1;
            } else {
                self.others += u64::from(verb != "watch");
            }
            return;
        }
        self.on_objects += 1;
        if wrote {
            self.writes += 1;
            self.last_write = self.last_write.max(answered);
        }
    }

    /// Seconds from the first request to the last acknowledged write; to the last answer when nothing was written.
    pub(crate) fn applied(&self) -> Option<f64> {
        let end = self.last_write.or(self.last)?;
        Some(end.duration_since(self.first?).as_secs_f64())
    }

    /// Seconds from the first request to `end`.
    pub(crate) fn until(&self, end: Timestamp) -> Option<f64> {
        Some(end.duration_since(self.first?).as_secs_f64())
    }
}
