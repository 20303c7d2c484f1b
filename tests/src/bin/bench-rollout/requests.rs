//! How many requests reached the API server, from its audit log.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;
use sortie_testkit::Cluster;

/// Who scales the sets of pods of a Deployment. Argo Rollouts does that itself.
const DEPLOYMENT_CONTROLLER: &str = "system:serviceaccount:kube-system:deployment-controller";

/// A place in the audit log.
pub(crate) struct Place(u64);

/// Requests of each account.
pub(crate) struct Requests(BTreeMap<String, BTreeSet<String>>);

impl Place {
    pub(crate) async fn now(cluster: &Cluster) -> Result<Self> {
        Ok(Self(cluster.audit_place().await?))
    }

    /// What was asked since.
    pub(crate) async fn since(&self, cluster: &Cluster) -> Result<Requests> {
        let log = cluster.audit_log_since(self.0).await?;
        let mut requests = BTreeMap::<String, BTreeSet<String>>::new();
        // The first line may be half of one, and the last as well.
        let lines = log.split_inclusive('\n');
        for line in lines.filter(|line| line.starts_with('{') && line.ends_with('\n')) {
            let event: Value = serde_json::from_str(line).context("parse the audit log")?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let user = text(&event["user"]["username"]);
            // A watch appears twice.
            requests
                .entry(user)
                .or_default()
                .insert(text(&event["auditID"]));
        }
        Ok(Requests(requests))
    }
}

impl Requests {
    pub(crate) fn of(&self, user: &str) -> usize {
        self.0.get(user).map_or(0, BTreeSet::len)
    }

    pub(crate) fn of_deployment_controller(&self) -> usize {
        self.of(DEPLOYMENT_CONTROLLER)
    }
}
