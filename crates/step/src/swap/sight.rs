//! What a swap sees: its Services, pods of both colours and endpoints, by watches alone.

use std::time::Duration;

use serde_json::{Map, Value};
use sortie_cluster::watch::{self, Selection, View, Watched};
use sortie_cluster::{Cluster, Error, Resource};
use sortie_manifest::selector;
use sortie_strategy::swap::{Plan, Seen};

use super::exchange::Exchange;

/// Label on the endpoints of a Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Watches for all that a swap decides by.
pub(super) struct Sight {
    watches: Vec<Watched>,
    /// For each Service of the plan.
    services: Vec<Service>,
}

/// Where a Service and what is behind it is seen.
struct Service {
    name: String,
    key: String,
    service: usize,
    pods: usize,
    endpoints: usize,
}

impl Sight {
    /// Look from now on.
    ///
    /// # Errors
    /// The API server refuses a watch.
    pub(super) async fn open(cluster: &Cluster, exchange: &Exchange) -> Result<Self, Error> {
        let services = cluster.resolve("", "v1", "Service").await?;
        let endpoints = "EndpointSlice";
        let endpoints = cluster.resolve("discovery.k8s.io", "v1", endpoints).await?;
        let mut sight = Self {
            watches: Vec::new(),
            services: Vec::new(),
        };
        let mut known = Vec::new();
        for (namespace, name, key) in exchange.services() {
            let selected = |resource: &Resource| Selection::of(resource.clone(), namespace);
            let place = Service {
                name: name.to_owned(),
                key: key.to_owned(),
                service: sight
                    .watch(cluster, &mut known, selected(&services).named(name))
                    .await?,
                pods: {
                    let pods = Selection::of(Resource::pods(), namespace).labelled(key);
                    sight.watch(cluster, &mut known, pods).await?
                },
                endpoints: {
                    let of = selected(&endpoints).labelled(format!("{SERVICE_NAME}={name}"));
                    sight.watch(cluster, &mut known, of).await?
                },
            };
            sight.services.push(place);
        }
        Ok(sight)
    }

    async fn watch(
        &mut self,
        cluster: &Cluster,
        known: &mut Vec<Selection>,
        selection: Selection,
    ) -> Result<usize, Error> {
        if let Some(index) = known.iter().position(|known| *known == selection) {
            return Ok(index);
        }
        self.watches.push(cluster.watch(selection.clone()).await?);
        known.push(selection);
        Ok(known.len() - 1)
    }

    /// One look, for each exchange of the plan.
    pub(super) fn look(&self, plan: &Plan) -> Vec<Seen> {
        let views: Vec<View> = self.watches.iter().map(Watched::view).collect();
        let exchanges = plan.exchanges.iter().zip(&self.services);
        let look = exchanges.map(|(exchange, place)| {
            let listed = |index: usize| -> Vec<&Value> {
                let objects = views[index].objects.values();
                objects.map(AsRef::as_ref).collect()
            };
            let service = views[place.service].objects.get(&place.name);
            let (pods, endpoints) = (listed(place.pods), listed(place.endpoints));
            let colors = (exchange.from.as_str(), exchange.to.as_str());
            seen(
                service.map(AsRef::as_ref),
                (&pods, &endpoints),
                &place.key,
                colors,
            )
        });
        look.collect()
    }

    /// Resolves when something is seen, or after `at_most`.
    pub(super) async fn changed(&mut self, at_most: Duration) {
        let changed = watch::any_changed(&mut self.watches);
        drop(tokio::time::timeout(at_most, changed).await);
    }
}

/// What is seen of one Service.
fn seen(
    service: Option<&Value>,
    (pods, endpoints): (&[&Value], &[&Value]),
    key: &str,
    (from, to): (&str, &str),
) -> Seen {
    let selector = service.and_then(|service| service.pointer("/spec/selector")?.as_object());
    let selects = selector.and_then(|selector| selector.get(key)?.as_str());
    let ready = |color: &str| {
        let selector = selector.map(|selector| of_color(selector, key, color));
        let matches = |pod: &&&Value| {
            let selector = selector.as_ref();
            selector.is_some_and(|selector| selector::matches_map(selector, &labels(pod)))
        };
        let count = pods
            .iter()
            .filter(matches)
            .filter(|pod| is_ready(pod))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    Seen {
        selects: selects.map(str::to_owned),
        ready: ready(to),
        ready_before: ready(from),
        is_followed: is_followed(pods, endpoints, (key, to)),
    }
}

/// The selector with another colour.
pub(crate) fn of_color(
    selector: &Map<String, Value>,
    key: &str,
    color: &str,
) -> Map<String, Value> {
    let mut selector = selector.clone();
    selector.insert(key.to_owned(), color.into());
    selector
}

fn labels(object: &Value) -> Map<String, Value> {
    let labels = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    labels.cloned().unwrap_or_default()
}

/// Whether a pod is ready, and does not end.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let is_true = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && conditions.is_some_and(|conditions| conditions.iter().any(is_true))
}

/// Whether ready endpoints are pods of the colour, one at least, and nothing else.
fn is_followed(pods: &[&Value], endpoints: &[&Value], (key, color): (&str, &str)) -> bool {
    let all = endpoints
        .iter()
        .filter_map(|slice| slice.get("endpoints")?.as_array());
    // Where nothing is said it is ready.
    let is_ready =
        |endpoint: &&Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let is_of_color = |endpoint: &Value| {
        let uid = endpoint.pointer("/targetRef/uid");
        let pod = pods.iter().find(|pod| pod.pointer("/metadata/uid") == uid);
        uid.is_some()
            && pod.is_some_and(|pod| labels(pod).get(key).is_some_and(|label| label == color))
    };
    let mut ready = all.flatten().filter(is_ready).peekable();
    ready.peek().is_some() && ready.all(is_of_color)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, color: &str, ready: bool) -> Value {
        json!({
            "metadata": {"name": name, "uid": name, "labels": {"app": "web", "color": color}},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        })
    }

    fn slice(endpoints: &[(&str, Option<bool>)]) -> Value {
        let endpoint = |(name, ready): &(&str, Option<bool>)| {
            let mut endpoint =
                json!({"targetRef": {"kind": "Pod", "name": name, "uid": name}, "conditions": {}});
            if let Some(ready) = ready {
                endpoint["conditions"]["ready"] = (*ready).into();
            }
            endpoint
        };
        let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
        json!({"endpoints": endpoints})
    }

    fn look(selector: &Value, endpoints: &[Value]) -> Seen {
        let service = json!({"spec": {"selector": selector}});
        let mut ending = pod("b2", "blue", true);
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let mut api = pod("a1", "green", true);
        api["metadata"]["labels"]["app"] = "api".into();
        let pods = [
            pod("b1", "blue", true),
            ending,
            pod("g1", "green", true),
            pod("g2", "green", true),
            pod("g3", "green", false),
            api,
        ];
        let pods: Vec<&Value> = pods.iter().collect();
        let endpoints: Vec<&Value> = endpoints.iter().collect();
        seen(
            Some(&service),
            (&pods, &endpoints),
            "color",
            ("blue", "green"),
        )
    }

    #[test]
    fn only_ready_pods_that_would_be_selected_count() {
        let seen = look(&json!({"app": "web", "color": "blue"}), &[]);
        assert_eq!(seen.selects.as_deref(), Some("blue"));
        assert_eq!((seen.ready, seen.ready_before), (2, 1));
        let seen = look(&json!({"color": "blue"}), &[]);
        assert_eq!((seen.ready, seen.ready_before), (3, 1));
        let seen = look(&json!({"app": "web"}), &[]);
        assert_eq!((seen.selects, seen.ready), (None, 2));
        let gone = super::seen(None, (&[], &[]), "color", ("blue", "green"));
        assert_eq!(
            (gone.selects, gone.ready, gone.is_followed),
            (None, 0, false)
        );
    }

    #[test]
    fn endpoints_follow_when_they_are_of_the_new_colour_alone() {
        let yes = Some(true);
        for (slices, followed) in [
            (vec![], false),
            (vec![slice(&[])], false),
            (vec![slice(&[("g1", yes)])], true),
            (
                vec![
                    slice(&[("g1", None)]),
                    slice(&[("g2", yes), ("g3", Some(false))]),
                ],
                true,
            ),
            (vec![slice(&[("g1", yes), ("b1", yes)])], false),
            (vec![slice(&[("g1", yes), ("b1", Some(false))])], true),
            (vec![slice(&[("b1", Some(false))])], false),
            (vec![slice(&[("g1", yes), ("unknown", yes)])], false),
            (
                vec![json!({"endpoints": [{"addresses": ["10.0.0.1"]}]})],
                false,
            ),
        ] {
            let seen = look(&json!({"app": "web", "color": "green"}), &slices);
            assert_eq!(seen.is_followed, followed, "{slices:?}");
        }
    }
}
