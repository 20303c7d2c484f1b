//! Kinds of routers: their definitions as the projects publish them, so that a real API server judges what tests write.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use super::{Cluster, blocking, kubectl_apply, state::Lock, wait_for};
use crate::environment::tool;

/// Definitions that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crds {
    /// Gateway API, the standard channel. Where the experimental one is installed, that one stays.
    GatewayApi,
    /// Istio, all of its kinds.
    Istio,
    /// Service Mesh Interface: traffic splits and groups of routes.
    Smi,
    /// Argo Rollouts, for a benchmark beside it.
    ArgoRollouts,
}

impl Crds {
    /// Those of them that a test writes objects of.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::GatewayApi => &[
                "gatewayclasses.gateway.networking.k8s.io",
                "gateways.gateway.networking.k8s.io",
                "httproutes.gateway.networking.k8s.io",
                "grpcroutes.gateway.networking.k8s.io",
            ],
            Self::Istio => &[
                "virtualservices.networking.istio.io",
                "destinationrules.networking.istio.io",
            ],
            Self::Smi => &[
                "trafficsplits.split.smi-spec.io",
                "httproutegroups.specs.smi-spec.io",
            ],
            Self::ArgoRollouts => &[
                "rollouts.argoproj.io",
                "experiments.argoproj.io",
                "analysisruns.argoproj.io",
                "analysistemplates.argoproj.io",
                "clusteranalysistemplates.argoproj.io",
            ],
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::GatewayApi => "crds-gateway-api",
            Self::Istio => "crds-istio",
            Self::Smi => "crds-smi",
            Self::ArgoRollouts => "crds-argo-rollouts",
        }
    }
}

impl Cluster {
    /// Installs definitions, unless they are there, and returns when they are served.
    pub async fn install_crds(&self, crds: Crds) -> Result<()> {
        let lock_path = self.dir().map(|dir| dir.join("definitions.lock"));
        let _lock = match lock_path {
            Some(path) => Some(blocking(move || Lock::acquire(&path)).await?),
            None => None,
        };
        let client = self.client().await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let mut is_there = true;
        for name in crds.names() {
            let found = definitions.get_opt(name).await;
            is_there &= found
                .with_context(|| format!("read the definition {name}"))?
                .is_some();
        }
        if !is_there {
            let file = tool(crds.file())?;
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("read {}", file.display()))?;
            let text = match crds {
                Crds::Smi => in_today_s_form(&text)?,
                Crds::GatewayApi | Crds::Istio | Crds::ArgoRollouts => text,
            };
            let kubeconfig = self.kubeconfig().to_owned();
            blocking(move || kubectl_apply(&kubeconfig, &text))
                .await
                .with_context(|| format!("install {crds:?}"))?;
        }
        established(&client, crds.names()).await
    }
}

/// Returns when the named definitions are served.
pub(super) async fn established(client: &Client, names: &[&str]) -> Result<()> {
    for name in names {
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let is_served = |definition: Option<&CustomResourceDefinition>| {
            let conditions = definition.and_then(|it| it.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one.type_ == "Established" && one.status == "True")
            })
        };
        wait_for(definitions, name, Duration::from_secs(60), is_served).await?;
    }
    Ok(())
}

/// Definitions of `apiextensions.k8s.io/v1beta1`, which no API server takes any more, as `v1`: the versions that are served
/// get the schema, which has to name the type of everything.
fn in_today_s_form(text: &str) -> Result<String> {
    let old: Vec<Value> = serde_saphyr::from_multiple(text).context("parse definitions")?;
    let mut documents = String::new();
    for mut definition in old {
        definition["apiVersion"] = json!("apiextensions.k8s.io/v1");
        let spec = definition["spec"]
            .as_object_mut()
            .context("a definition without a spec")?;
        spec.remove("version");
        let mut schema = spec
            .remove("validation")
            .and_then(|mut validation| validation.get_mut("openAPIV3Schema").map(Value::take))
            .context("a definition without a schema")?;
        typed(&mut schema);
        let columns = spec.remove("additionalPrinterColumns").map(|columns| {
            let rename = |column: &Value| {
                let mut column = column.as_object().cloned().unwrap_or_default();
                let path = column.remove("JSONPath").unwrap_or_default();
                column.insert("jsonPath".to_owned(), path);
                Value::Object(column)
            };
            columns
                .as_array()
                .into_iter()
                .flatten()
                .map(rename)
                .collect::<Value>()
        });
        let versions = spec["versions"].take();
        let served = versions.as_array().into_iter().flatten();
        let served = served.filter(|version| version["served"] == true);
        let served = served.map(|version| {
            let mut version = version.clone();
            version["schema"] = json!({"openAPIV3Schema": schema});
            if let Some(columns) = &columns {
                version["additionalPrinterColumns"] = columns.clone();
            }
            version
        });
        let served = served.collect::<Value>();
        spec.insert("versions".to_owned(), served);
        documents.push_str("---\n");
        documents.push_str(&definition.to_string());
        documents.push('\n');
    }
    Ok(documents)
}

/// Whatever has properties is an object.
fn typed(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    if node.contains_key("properties") && !node.contains_key("type") {
        node.insert("type".to_owned(), json!("object"));
    }
    let properties = node.get_mut("properties").and_then(Value::as_object_mut);
    for (_, property) in properties.into_iter().flat_map(Map::iter_mut) {
        typed(property);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = node.get_mut(key) {
            typed(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_definition_gets_todays_form() {
        let old = "
apiVersion: apiextensions.k8s.io/v1beta1
kind: CustomResourceDefinition
metadata: {name: splits.example.com}
spec:
  version: v2
  versions: [{name: v2, served: true, storage: true}, {name: v1, served: false, storage: false}]
  additionalPrinterColumns: [{name: S, type: string, JSONPath: .spec.s}]
  validation: {openAPIV3Schema: {properties: {spec: {properties: {s: {type: string}}}}}}
";
        let new = in_today_s_form(old).unwrap();
        let new: Value = serde_json::from_str(new.strip_prefix("---\n").unwrap()).unwrap();
        assert_eq!(
            new["spec"],
            json!({"versions": [{
                "name": "v2", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"s": {"type": "string"}}},
                }}},
                "additionalPrinterColumns": [{"name": "S", "type": "string", "jsonPath": ".spec.s"}],
            }]})
        );
    }
}
