//! What an account asked of the API server, from the server's own audit log.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rand::RngExt as _;
use serde::Deserialize;

use super::{Cluster, Place};

/// Bound on the log's delay behind the requests.
const LIMIT: Duration = Duration::from_secs(20);

/// Metadata only: no body, hence no secret, is ever written. The cluster's own parts and its administrator are left
/// out, which keeps the log small. `/version` carries the marks of [`Cluster::audit`].
const POLICY: &str = "\
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
";

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
            loop {
                let text = tokio::fs::read_to_string(&log)
                    .await
                    .with_context(|| format!("read {}", log.display()))?;
                if text.contains(&mark) {
                    return Ok(text);
                }
                tokio::time::sleep(STEP).await;
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .with_context(|| format!("the API server did not write to {} in time", log.display()))?
    }
}

/// Arguments for the API server; writes the policy to `dir`.
pub(super) fn arguments(dir: &Path) -> Result<[String; 2]> {
    let policy = dir.join("audit-policy.yaml");
    std::fs::write(&policy, POLICY).with_context(|| format!("write {}", policy.display()))?;
    Ok([
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log_path(dir).display()),
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
        let (Some(object), Some(status)) = (event.object, event.response) else {
            continue;
        };
        if event.user.name != user {
            continue;
        }
        let next = places.len();
        let place = *places.entry(event.id).or_insert(next);
        let request = Audited {
            verb: event.verb,
            group: object.group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            query: event
                .uri
                .split_once('?')
                .map_or_else(String::new, |(_, query)| query.to_owned()),
            code: status.code,
        };
        requests.insert(place, request);
    }
    Ok(requests.into_values().collect())
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "auditID")]
    id: String,
    verb: String,
    #[serde(rename = "requestURI", default)]
    uri: String,
    user: User,
    #[serde(rename = "objectRef")]
    object: Option<Object>,
    #[serde(rename = "responseStatus")]
    response: Option<Response>,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "username", default)]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    #[serde(rename = "apiGroup")]
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    code: u16,
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
