//! What nobody may ever see of a release while steps work on it: looked for in each moment that there was.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sortie_strategy::invariant;
use sortie_strategy::progressive::{Observation, Workload};
use sortie_strategy::replicas::{Amount, Pair, Side, Sides, Slack};
use sortie_strategy::swap::{Exchange, Seen, Select};
use sortie_testkit::{History, Objects};

/// A progressive canary that a step works on: the workload and its canary have their pods together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing {
    /// Pods of both sides, as the manifest wants them.
    pub(crate) pods: u32,
    /// The percentage that the canary is to have.
    pub(crate) percent: u32,
}

/// Who looks, and what was noticed.
#[derive(Default)]
struct Observer {
    /// What the workloads share with their canaries.
    sharing: Option<Sharing>,
    /// Ready pods of both sides, as they were before.
    ready: BTreeMap<String, Pair>,
    /// Services that had ready endpoints and are to keep some.
    serving: BTreeSet<String>,
    /// What the selector of each Service was.
    selectors: BTreeMap<String, Value>,
    /// Pods that each workload wanted at the beginning, until somebody wants another number.
    sizes: BTreeMap<String, u32>,
    found: BTreeSet<String>,
}

/// What was seen that may not be: each thing once.
///
/// - A Service that had a ready endpoint has one for as long as it is there, and a ready pod that it selects. One for the
///   stage of blue-green, `NAME-stage`, may be without.
/// - No Service is given a colour without ready pods while the one it leaves has some.
/// - A workload whose size nobody changes has as many ready pods as its rollout promises, and its pods and its canary's
///   stay within its surge.
/// - So have a workload and its progressive canary together, counting pods that end; and on the way to a share between 1
///   and 99 % neither side loses its last ready pod.
pub(crate) fn violations(history: &History, sharing: Option<Sharing>) -> Vec<String> {
    let mut observer = Observer {
        sharing,
        ..Observer::default()
    };
    history.replay(|change, objects| {
        observer.look(change.is_none(), objects);
    });
    observer.found.into_iter().collect()
}

impl Observer {
    fn look(&mut self, is_beginning: bool, objects: &Objects) {
        self.services(objects);
        match self.sharing {
            Some(sharing) => self.pairs(sharing, objects),
            None => self.workloads(is_beginning, objects),
        }
    }

    fn services(&mut self, objects: &Objects) {
        for (name, service) in of_kind(objects, "Service") {
            let selector = &service["spec"]["selector"];
            if name.ends_with("-stage") || selector.is_null() {
                continue;
            }
            let endpoints = endpoints(objects, name);
            let pods = ready(&pods(objects, selector));
            if endpoints > 0 && pods > 0 {
                self.serving.insert(name.to_owned());
            } else if self.serving.contains(name) {
                let what = if pods == 0 { "pod" } else { "endpoint" };
                self.found
                    .insert(format!("the Service {name} is without a ready {what}"));
            }
            let before = self.selectors.insert(name.to_owned(), selector.clone());
            if let Some(before) = before.filter(|before| before != selector) {
                self.swapped(name, &before, selector, objects);
            }
        }
        let is_there = |name: &String| objects.contains_key(&("Service", name.clone()));
        self.serving.retain(is_there);
        self.selectors.retain(|name, _| is_there(name));
    }

    /// A Service selects something else.
    fn swapped(&mut self, service: &str, before: &Value, now: &Value, objects: &Objects) {
        let color = |selector: &Value| {
            let color = selector["sortie.dev/color"].as_str();
            color.unwrap_or_default().to_owned()
        };
        let exchange = Exchange {
            service: service.to_owned(),
            from: color(before),
            to: color(now),
            needs: 1,
        };
        let seen = Seen {
            selects: Some(exchange.to.clone()),
            ready: ready(&pods(objects, now)),
            ready_before: ready(&pods(objects, before)),
            is_followed: false,
        };
        let select = Select {
            exchange: 0,
            from: exchange.from.clone(),
            to: exchange.to.clone(),
        };
        self.note(invariant::never_deserted(&exchange, &seen, &select));
    }

    fn workloads(&mut self, is_beginning: bool, objects: &Objects) {
        let mut sizes = BTreeMap::new();
        let mut workloads = Vec::new();
        for (name, workload) in of_kind(objects, "Deployment") {
            let size = number(&workload["spec"]["replicas"]);
            if is_beginning || self.sizes.get(name) == Some(&size) {
                sizes.insert(name.to_owned(), size);
                let mut observed = observed(name, size, workload, objects);
                if let Some(one) = &mut observed {
                    one.slack.surge += one.sides.canary.wanted;
                }
                workloads.extend(observed);
            }
        }
        self.sizes = sizes;
        let seen = Observation {
            workloads,
            route: None,
        };
        self.note(invariant::bounded(&seen));
        self.note(invariant::served(&seen, &[0]));
    }

    /// Workloads that exchange pods with their canaries.
    fn pairs(&mut self, sharing: Sharing, objects: &Objects) {
        for (name, workload) in of_kind(objects, "Deployment") {
            let Some(mut one) = observed(name, sharing.pods, workload, objects) else {
                continue;
            };
            one.slack = one.slack.beside(sharing.pods);
            one.sides.stable.pods += ending(objects, workload);
            let after = one.ready;
            let before = self.ready.insert(name.to_owned(), after).unwrap_or(after);
            self.note(invariant::shared(&one, (before, after), sharing.percent));
            self.note(invariant::bounded(&Observation {
                workloads: vec![one],
                route: None,
            }));
        }
    }

    fn note(&mut self, checked: Result<(), invariant::Violation>) {
        if let Err(violation) = checked {
            self.found.insert(format!("{violation:?}"));
        }
    }
}

/// A workload with its canary; none of a canary itself, and of what has no pods.
fn observed(name: &str, size: u32, workload: &Value, objects: &Objects) -> Option<Workload> {
    let is_canary =
        workload.pointer("/metadata/labels/sortie.dev~1track") == Some(&"canary".into());
    if is_canary || size == 0 {
        return None;
    }
    let canary = objects.get(&("Deployment", format!("{name}-canary")));
    let of_canary = canary.map_or_else(Vec::new, |canary| pods(objects, selects(canary)));
    let mut stable = pods(objects, selects(workload));
    stable.retain(|pod| !of_canary.contains(pod));
    let beside = canary.map_or(0, |canary| number(&canary["spec"]["replicas"]));
    let rollout = &workload["spec"]["strategy"]["rollingUpdate"];
    let amount = |key: &str| Amount::parse(&rollout[key]).unwrap_or(Amount::Percent(25));
    let slack = Slack::of(amount("maxSurge"), amount("maxUnavailable"), size);
    let side = |wanted: u32, pods: &[&Value]| Side {
        wanted,
        pods: count(pods),
        ready: ready(pods),
        available: ready(pods),
    };
    Some(Workload {
        name: name.to_owned(),
        replicas: size,
        slack,
        sides: Sides {
            canary: side(beside, &of_canary),
            stable: side(size, &stable),
        },
        ready: Pair {
            canary: ready(&of_canary),
            stable: ready(&stable),
        },
    })
}

fn of_kind<'a>(objects: &'a Objects, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let all = objects.iter().filter(move |((of, _), _)| *of == kind);
    all.map(|((_, name), object)| (name.as_str(), object))
}

fn selects(workload: &Value) -> &Value {
    &workload["spec"]["selector"]["matchLabels"]
}

/// Live pods with these labels.
fn pods<'a>(objects: &'a Objects, labels: &Value) -> Vec<&'a Value> {
    let mut live = labelled(objects, labels);
    live.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    live
}

/// How many pods of a workload, and of a canary that has its labels, are about to go.
fn ending(objects: &Objects, workload: &Value) -> u32 {
    let mut ending = labelled(objects, selects(workload));
    ending.retain(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
    count(&ending)
}

/// Pods with these labels.
fn labelled<'a>(objects: &'a Objects, labels: &Value) -> Vec<&'a Value> {
    let matches = |pod: &&Value| {
        let of_pod = &pod["metadata"]["labels"];
        let mut wanted = labels.as_object().into_iter().flatten();
        wanted.all(|(key, value)| of_pod.get(key) == Some(value))
    };
    let all = of_kind(objects, "Pod").map(|(_, pod)| pod);
    all.filter(matches).collect()
}

fn ready(pods: &[&Value]) -> u32 {
    let is_ready = |pod: &&&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    u32::try_from(pods.iter().filter(is_ready).count()).unwrap()
}

/// Ready endpoints that the slices of a Service show.
fn endpoints(objects: &Objects, service: &str) -> usize {
    let of_service = |slice: &&Value| {
        slice.pointer("/metadata/labels/kubernetes.io~1service-name") == Some(&service.into())
    };
    let slices = of_kind(objects, "EndpointSlice").map(|(_, slice)| slice);
    let endpoints = slices
        .filter(of_service)
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten();
    endpoints
        .filter(|one| one["conditions"]["ready"] == true)
        .count()
}

fn count(pods: &[&Value]) -> u32 {
    u32::try_from(pods.len()).unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap_or(1).try_into().unwrap()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_testkit::Version;

    use super::*;

    /// A history that begins with what is good.
    struct Told(History);

    impl Told {
        fn new() -> Self {
            let mut told = Self(History::default());
            let selector = json!({"app": "web", "sortie.dev/color": "blue"});
            told.has("Service", "web", json!({"spec": {"selector": selector}}));
            told.workload(2, &selector);
            told.pod("a", "blue", true).pod("b", "blue", true);
            told.endpoints(&[true, true]);
            told.0.begin = told.0.versions.len() as u64;
            told
        }

        fn has(&mut self, kind: &'static str, name: &str, object: Value) -> &mut Self {
            self.changes(kind, name, Some(object))
        }

        fn changes(&mut self, kind: &'static str, name: &str, object: Option<Value>) -> &mut Self {
            self.0.versions.push(Version {
                revision: self.0.versions.len() as u64 + 1,
                kind,
                name: name.to_owned(),
                object,
            });
            self
        }

        fn workload(&mut self, replicas: u32, labels: &Value) -> &mut Self {
            let strategy = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
            let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels}, "strategy": strategy});
            self.has("Deployment", "web", json!({"spec": spec}))
        }

        fn pod(&mut self, name: &str, color: &str, is_ready: bool) -> &mut Self {
            let labels = json!({"app": "web", "sortie.dev/color": color});
            let status = if is_ready { "True" } else { "False" };
            let conditions = json!([{"type": "Ready", "status": status}]);
            let pod = json!({"metadata": {"labels": labels}, "status": {"conditions": conditions}});
            self.has("Pod", name, pod)
        }

        fn endpoints(&mut self, ready: &[bool]) -> &mut Self {
            let endpoint = |ready: &bool| json!({"conditions": {"ready": ready}});
            let endpoints: Vec<Value> = ready.iter().map(endpoint).collect();
            let labels = json!({"kubernetes.io/service-name": "web"});
            let slice = json!({"metadata": {"labels": labels}, "endpoints": endpoints});
            self.has("EndpointSlice", "web-1", slice)
        }

        fn selects(&mut self, color: &str) -> &mut Self {
            let selector = json!({"app": "web", "sortie.dev/color": color});
            self.has("Service", "web", json!({"spec": {"selector": selector}}))
        }

        /// Both sides have a pod, of two: half the pods are the canary's.
        fn sharing() -> Self {
            let mut told = Self(History::default());
            told.workload(1, &json!({"app": "web"}));
            let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "web", "sortie.dev/color": "canary"}}});
            let metadata = json!({"labels": {"sortie.dev/track": "canary"}});
            told.has(
                "Deployment",
                "web-canary",
                json!({"metadata": metadata, "spec": spec}),
            );
            told.pod("a", "stable", true).pod("b", "canary", true);
            told.0.begin = told.0.versions.len() as u64;
            told
        }

        /// A ready pod that is about to go.
        fn ending(&mut self, name: &str) -> &mut Self {
            let metadata =
                json!({"labels": {"app": "web"}, "deletionTimestamp": "2026-01-01T00:00:00Z"});
            self.has("Pod", name, json!({"metadata": metadata}))
        }

        fn found(&self) -> String {
            violations(&self.0, None).join("; ")
        }

        fn found_of(&self, percent: u32) -> String {
            let sharing = Sharing { pods: 2, percent };
            violations(&self.0, Some(sharing)).join("; ")
        }
    }

    #[test]
    fn a_rollout_a_canary_and_a_swap_as_they_should_be_break_nothing() {
        let mut told = Told::new();
        told.pod("c", "blue", false).pod("c", "blue", true);
        told.changes("Pod", "a", None).endpoints(&[true, true]);
        // A canary may be beside it, and go.
        let canary = json!({"app": "web", "sortie.dev/track": "canary"});
        let spec = json!({"replicas": 1, "selector": {"matchLabels": canary}});
        let metadata = json!({"labels": {"sortie.dev/track": "canary"}});
        let copy = json!({"metadata": metadata, "spec": spec});
        told.has("Deployment", "web-canary", copy);
        told.pod("d", "blue", false);
        told.changes("Pod", "d", None);
        told.changes("Deployment", "web-canary", None);
        // So may another colour, which takes over.
        told.pod("e", "green", true).selects("green");
        told.endpoints(&[true]);
        // A Service that goes needs nothing.
        told.workload(0, &json!({"app": "web", "sortie.dev/color": "blue"}));
        told.changes("Pod", "b", None).changes("Pod", "c", None);
        told.changes("Service", "web", None).endpoints(&[]);
        assert_eq!(told.found(), "");
    }

    #[test]
    fn what_may_not_be_is_found_though_it_is_over_at_the_end() {
        let unready = |told: &mut Told| {
            told.pod("b", "blue", false).pod("b", "blue", true);
        };
        let empty = |told: &mut Told| {
            told.endpoints(&[false]).endpoints(&[true]);
        };
        let many = |told: &mut Told| {
            told.pod("c", "blue", false).pod("d", "blue", false);
            told.changes("Pod", "c", None).changes("Pod", "d", None);
        };
        let deserted = |told: &mut Told| {
            told.selects("green").selects("blue");
        };
        let gone = |told: &mut Told| {
            told.workload(0, &json!({"app": "web", "sortie.dev/color": "blue"}));
            told.changes("Pod", "a", None).changes("Pod", "b", None);
            told.pod("c", "blue", true);
        };
        type Plant = fn(&mut Told);
        let plants: [(Plant, &str); 5] = [
            (
                unready,
                "Unavailable { workload: \"web\", available: 1, least: 2 }",
            ),
            (empty, "the Service web is without a ready endpoint"),
            (many, "TooMany { workload: \"web\", pods: 4, most: 3 }"),
            (
                deserted,
                "Deserted { service: \"web\", color: \"green\" }; the Service web is without a ready pod",
            ),
            (gone, "the Service web is without a ready pod"),
        ];
        for (plant, expected) in plants {
            let mut told = Told::new();
            plant(&mut told);
            assert_eq!(told.found(), expected);
        }
    }

    #[test]
    fn pods_change_sides_within_the_bounds_of_both() {
        let mut good = Told::sharing();
        good.pod("c", "canary", false).pod("c", "canary", true);
        good.ending("a").changes("Pod", "a", None);
        good.pod("d", "stable", true);
        good.ending("b").changes("Pod", "b", None);
        assert_eq!(good.found_of(100), "");
        let gone = |told: &mut Told| {
            told.changes("Pod", "a", None).pod("c", "canary", true);
        };
        let unready = |told: &mut Told| {
            told.pod("b", "canary", false).pod("b", "canary", true);
        };
        let many = |told: &mut Told| {
            told.pod("c", "canary", false).ending("d");
            told.changes("Pod", "d", None).changes("Pod", "c", None);
        };
        let canary = |told: &mut Told| {
            told.pod("c", "stable", true).changes("Pod", "b", None);
            told.pod("b", "canary", true);
        };
        let stable = |told: &mut Told| {
            told.pod("c", "canary", true).changes("Pod", "a", None);
        };
        type Plant = fn(&mut Told);
        let pair = |canary, stable| Pair { canary, stable };
        let lost = |before: Pair, after: Pair| {
            format!("Abandoned {{ workload: \"web\", before: {before:?}, after: {after:?} }}")
        };
        let few = "Unavailable { workload: \"web\", available: 1, least: 2 }";
        let plants: [(Plant, u32, String); 7] = [
            (gone, 100, few.to_owned()),
            (unready, 0, few.to_owned()),
            (
                many,
                50,
                "TooMany { workload: \"web\", pods: 4, most: 3 }".to_owned(),
            ),
            (canary, 50, lost(pair(1, 2), pair(0, 2))),
            (canary, 0, String::new()),
            (stable, 50, lost(pair(2, 1), pair(2, 0))),
            (stable, 100, String::new()),
        ];
        for (plant, percent, expected) in plants {
            let mut told = Told::sharing();
            plant(&mut told);
            assert_eq!(told.found_of(percent), expected);
        }
    }
}
