//! What a run asked of the API server and when, from the server's audit log.

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
#[derive(Debug, Default)]
pub(crate) struct Log {
    read: usize,
}

/// The requests of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    /// Requests on objects of the set, lists included.
    pub(crate) on_objects: u64,
    /// Of these, lists.
    pub(crate) lists: u64,
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
    /// The requests of `user` since the last call.
    pub(crate) async fn since(&mut self, cluster: &Cluster, user: &str) -> Result<Requests> {
        let text = cluster.audit_log().await?;
        let mut requests = Requests::default();
        let new = text.get(self.read..).unwrap_or_default();
        for line in new.split_inclusive('\n') {
            if !line.ends_with('\n') {
                break;
            }
            self.read += line.len();
            let event: Value = serde_json::from_str(line).context("parse the audit log")?;
            if event["user"]["username"] == user && event["stage"] == "ResponseComplete" {
                requests.count(&event);
            }
        }
        Ok(requests)
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
        self.lists += u64::from(verb == "list");
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
