//! What an account asked of the API server, from the server's own audit log.

use std::{
    collections::BTreeMap,
    io::SeekFrom,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Cluster, Place};
use crate::audit_event::Event;

/// Bound on the log's delay behind the requests.
const LIMIT: Duration = Duration::from_secs(20);

/// What an API server writes to its audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    /// Every request of tests' own accounts, without bodies: no secret is ever written. The cluster's own parts and its
    /// administrator are left out, which keeps the log small.
    #[default]
    Requests,
    /// Every write of tests' own accounts, and what controllers make and delete, with bodies; of Secrets and tokens
    /// without. For [`effects`](crate::effects).
    Effects,
    /// Every request of everybody, without bodies: what programs cost an API server.
    Everything,
}

impl Audit {
    /// `/version` carries the marks of [`Cluster::audit_log`].
    const fn policy(self) -> &'static str {
        match self {
            Self::Requests => {
                "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    nonResourceURLs: [/version]
  - level: None
    userGroups: [system:masters, system:nodes, system:serviceaccounts:kube-system, system:unauthenticated]
  - level: None
    users: [system:kube-controller-manager, system:kube-scheduler, system:kube-proxy, system:apiserver]
  - level: None
    nonResourceURLs: ['*']
  - level: Metadata
"
            }
            Self::Everything => {
                "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - level: Metadata
"
            }
            Self::Effects => {
                "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - level: Metadata
    nonResourceURLs: [/version]
  - level: None
    nonResourceURLs: ['*']
  - level: None
    verbs: [get, list, watch]
  - level: None
    userGroups: [system:masters, system:nodes, system:unauthenticated]
  - level: None
    users: [system:kube-controller-manager, system:kube-scheduler, system:kube-proxy, system:apiserver]
  - level: None
    resources: [{group: '', resources: [events, endpoints]}, {group: events.k8s.io}, {group: discovery.k8s.io}, {group: authentication.k8s.io}, {group: authorization.k8s.io}]
  - level: Metadata
    resources: [{group: '', resources: [secrets, serviceaccounts/token]}]
  - level: RequestResponse
    userGroups: [system:serviceaccounts:kube-system]
    verbs: [create, delete]
  - level: None
    userGroups: [system:serviceaccounts:kube-system]
  - level: RequestResponse
"
            }
        }
    }
}

/// One request to the API server, as it was authorized.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audited {
    /// Kubernetes' verb, such as `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Such as `log` or `status`; empty for the resource itself.
    pub subresource: String,
    /// Empty for what has no namespace.
    pub namespace: String,
    /// Empty for lists, watches and most creations.
    pub name: String,
    /// What stands behind the `?` of the address.
    pub query: String,
    /// Status code of the answer; 403 is a missing right.
    pub code: u16,
}

impl Cluster {
    /// Every request that `user` (such as `system:serviceaccount:NAMESPACE:NAME`) has got an answer to so far, in the
    /// order of their arrival. Clusters of this machine only; they keep the log from their start.
    pub async fn audit(&self, user: &str) -> Result<Vec<Audited>> {
        read(&self.audit_log().await?, user)
    }

    /// The audit log up to this moment, a JSON document a line: a request that only marks the place is sent, and awaited in
    /// the log. Clusters of this machine only.
    pub async fn audit_log(&self) -> Result<String> {
        self.audit_log_since(0).await
    }

    /// How much its audit log holds now, in bytes: a place for [`Self::audit_log_since`].
    pub async fn audit_place(&self) -> Result<u64> {
        let log = self.audit_path()?;
        let found = tokio::fs::metadata(&log).await;
        Ok(found
            .with_context(|| format!("look at {}", log.display()))?
            .len())
    }

    fn audit_path(&self) -> Result<PathBuf> {
        let Place::Here { dir, .. } = &self.place else {
            bail!("the audit log of the cluster of KUBECONFIG cannot be read");
        };
        let log = log_path(dir);
        if !log.exists() {
            bail!(
                "the cluster {} was started without an audit log: take it down once (make cluster-down)",
                self.name()
            );
        }
        Ok(log)
    }

    /// The same from a place on. The first line may be one that was half written then.
    pub async fn audit_log_since(&self, place: u64) -> Result<String> {
        let log = self.audit_path()?;
        const STEP: Duration = Duration::from_millis(20);
        let mark: u64 = rand::rng().random();
        let mark = format!("/version?mark={mark:016x}");
        let request = http::Request::get(&mark)
            .body(Vec::new())
            .context("make a request for /version")?;
        self.client()
            .await?
            .request_text(request)
            .await
            .context("mark the place in the audit log")?;
        let wait = async {
            let mut file = tokio::fs::File::open(&log).await?;
            file.seek(SeekFrom::Start(place)).await?;
            let mut text = Vec::new();
            loop {
                // The mark may come in two pieces.
                let known = text.len().saturating_sub(mark.len());
                file.read_to_end(&mut text).await?;
                let new = text.get(known..).unwrap_or_default();
                if new
                    .windows(mark.len())
                    .any(|piece| piece == mark.as_bytes())
                {
                    return anyhow::Ok(String::from_utf8_lossy(&text).into_owned());
                }
                tokio::time::sleep(STEP).await;
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .with_context(|| format!("the API server did not write to {} in time", log.display()))?
            .with_context(|| format!("read {}", log.display()))
    }
}

/// Arguments for the API server; writes the policy to `dir`.
pub(super) fn arguments(dir: &Path, audit: Audit) -> Result<[String; 3]> {
    let policy = dir.join("audit-policy.yaml");
    std::fs::write(&policy, audit.policy())
        .with_context(|| format!("write {}", policy.display()))?;
    Ok([
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log_path(dir).display()),
        // MB. It would begin a new file after 100, and places in the former mean nothing there.
        "--audit-log-maxsize=1000000".to_owned(),
    ])
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("log/audit.jsonl")
}

/// The requests of `user` in a log. A watch appears when it starts and when it ends, and counts once.
fn read(text: &str, user: &str) -> Result<Vec<Audited>> {
    let mut requests: BTreeMap<usize, Audited> = BTreeMap::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.split_inclusive('\n') {
        // The last line may be half written.
        if !line.ends_with('\n') {
            break;
        }
        let event: Event = serde_json::from_str(line).context("parse the audit log")?;
        let Event { object, status, .. } = &event;
        if event.user.name != user || object.resource.is_empty() || status.code == 0 {
            continue;
        }
        let next = places.len();
        let place = *places.entry(event.id).or_insert(next);
        let request = Audited {
            verb: event.verb,
            group: event.object.group,
            resource: event.object.resource,
            subresource: event.object.subresource,
            namespace: event.object.namespace,
            name: event.object.name,
            query: event
                .uri
                .split_once('?')
                .map_or_else(String::new, |(_, query)| query.to_owned()),
            code: event.status.code,
        };
        requests.insert(place, request);
    }
    Ok(requests.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_is_read_and_a_watch_counts_once() {
        let line = |id: &str, user: &str, verb: &str, code: u16| {
            format!(
                r#"{{"auditID":"{id}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods/p/log?follow=true","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"pods","namespace":"a","subresource":"log","name":"p"}},"responseStatus":{{"code":{code}}}}}"#
            ) + "\n"
        };
        let mut log = line("1", "me", "watch", 200);
        log += &line("2", "you", "get", 200);
        log += &line("1", "me", "watch", 200);
        log += &line("3", "me", "get", 403);
        log += r#"{"auditID":"4","#;
        let requests = read(&log, "me").unwrap();
        let said: Vec<_> = requests.iter().map(|r| (r.verb.as_str(), r.code)).collect();
        assert_eq!(said, [("watch", 200), ("get", 403)]);
        assert_eq!(
            (
                requests[0].resource.as_str(),
                requests[0].subresource.as_str()
            ),
            ("pods", "log")
        );
        assert_eq!(requests[0].query, "follow=true");
        assert_eq!(requests[0].group, "");
    }
}
