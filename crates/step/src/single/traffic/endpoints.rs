//! Whoever gets requests has a ready endpoint.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use sortie_cluster::Cause;
use sortie_cluster::watch::{Selection, View};
use sortie_strategy::routing::RoutingError;

use super::refused;
use crate::failure::Failure;
use crate::protection::text;
use crate::report::Unit;
use crate::run::Run;

/// How long endpoints may take: they follow their pods in a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Label on the endpoints of a Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Wait until each of these Services has a ready endpoint. What is no Service here, or one by name alone, is not known to us.
///
/// # Errors
/// One has none in time.
pub(super) async fn ready(run: &Run<'_>, names: BTreeSet<String>) -> Result<(), Failure> {
    let cluster = &run.env.cluster;
    let namespace = &run.task.release.namespace;
    let failed = |error| Failure::cluster(&error);
    let services = cluster.resolve("", "v1", "Service").await.map_err(failed)?;
    let slices = cluster.resolve("discovery.k8s.io", "v1", "EndpointSlice");
    let slices = slices.await.map_err(failed)?;
    for service in names {
        let found = cluster.get(&services, Some(namespace), &service).await;
        let is_known = found
            .map_err(failed)?
            .is_some_and(|found| !matches!(text(&found, "/spec/type"), "ExternalName"));
        if !is_known {
            continue;
        }
        let selection =
            Selection::of(slices.clone(), namespace).labelled(format!("{SERVICE_NAME}={service}"));
        let mut watched = match cluster.watch(selection).await {
            Ok(watched) => watched,
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => {
                let text = "we have no right to look whether Services have endpoints";
                run.warn(Unit::Initialize, text);
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        let pending = run.bounds.pending();
        pending.set(format!("Service/{service} had no ready endpoint"));
        let ready = watched.until(|view| has_ready(view).then_some(()));
        let waited = tokio::time::timeout(PATIENCE, ready).await;
        waited.map_err(|_| refused(&RoutingError::Deserted { service }))?;
    }
    Ok(())
}

fn has_ready(view: &View) -> bool {
    let mut slices = view.objects.values();
    slices.any(|slice| is_ready(slice))
}

/// Whether a slice has a ready endpoint. One whose readiness is not known counts, as the API says.
fn is_ready(slice: &Value) -> bool {
    let endpoints = slice.get("endpoints").and_then(Value::as_array);
    let mut endpoints = endpoints.into_iter().flatten();
    endpoints.any(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_is_ready_unless_it_says_otherwise() {
        for (slice, expected) in [
            (json!({}), false),
            (json!({"endpoints": null}), false),
            (json!({"endpoints": []}), false),
            (
                json!({"endpoints": [{"conditions": {"ready": false}}]}),
                false,
            ),
            (
                json!({"endpoints": [{"conditions": {"ready": false}}, {"conditions": {"ready": true}}]}),
                true,
            ),
            (json!({"endpoints": [{"addresses": ["10.0.0.1"]}]}), true),
        ] {
            assert_eq!(is_ready(&slice), expected, "{slice}");
        }
    }
}
