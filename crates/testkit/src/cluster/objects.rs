//! Everything that a namespace holds.

use anyhow::{Context as _, Result};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    discovery::{Discovery, Scope, verbs},
};
use serde_json::Value;

use super::Cluster;

impl Cluster {
    /// Every object of the namespace, of all kinds that are served. Events are left out.
    pub async fn objects(&self, namespace: &str) -> Result<Vec<Value>> {
        let client = self.client().await?;
        let discovery = Discovery::new(client.clone())
            .run_aggregated()
            .await
            .context("discover the kinds")?;
        let kinds = discovery
            .groups()
            .flat_map(|group| group.recommended_resources());
        let mut objects = Vec::new();
        for (kind, capabilities) in kinds {
            let listed = capabilities.scope == Scope::Namespaced
                && capabilities.supports_operation(verbs::LIST);
            if !listed || kind.kind == "Event" {
                continue;
            }
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
            let list = match api.list(&ListParams::default()).await {
                // Another test's kind has gone meanwhile.
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                list => list.with_context(|| format!("list {}", kind.plural))?,
            };
            for object in list.items {
                let mut object = serde_json::to_value(object).context("encode an object")?;
                // An item of a list does not say what it is.
                object["apiVersion"] = kind.api_version.clone().into();
                object["kind"] = kind.kind.clone().into();
                objects.push(object);
            }
        }
        Ok(objects)
    }
}
