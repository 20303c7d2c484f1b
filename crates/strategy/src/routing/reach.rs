//! At which side of a release requests arrive: by the pods that a Service selects, or a subset of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sortie_manifest::selector;

use super::kind::short;

/// Labels of pods.
pub type Labels = Map<String, Value>;

/// Where requests for a destination arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// At pods of neither side.
    Elsewhere,
    /// At the stable side alone.
    Stable,
    /// At both.
    Both,
    /// At the new side alone.
    New,
}

/// The destinations of a namespace, and where requests for them arrive. What is in it goes by its pods; what is not, and what
/// the words `stable`, `stage` and `canary` stand for, goes by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    of: BTreeMap<(String, Option<String>), Arrival>,
}

impl Arrival {
    /// Whether the word for a side means it.
    pub(super) fn is(self, word: &str) -> bool {
        match word {
            "stable" | "primary" => matches!(self, Self::Stable | Self::Both),
            "stage" | "canary" => self == Self::New,
            _ => false,
        }
    }
}

impl Reach {
    /// Where these Services and the subsets of these DestinationRules, all of one namespace, lead. Each side has the labels of
    /// its pods, one map for each workload.
    pub fn of(
        (services, rules): (&[Value], &[Value]),
        namespace: &str,
        (stable, new): (&[Labels], &[Labels]),
    ) -> Self {
        let mut reach = Self::default();
        let arrival = |selected: &Labels| {
            let matches = |labels: &Labels| selector::matches_map(selected, labels);
            match (stable.iter().any(matches), new.iter().any(matches)) {
                (true, true) => Arrival::Both,
                (true, false) => Arrival::Stable,
                (false, true) => Arrival::New,
                (false, false) => Arrival::Elsewhere,
            }
        };
        for service in services {
            let selected = service.pointer("/spec/selector").and_then(Value::as_object);
            let Some(selected) = selected.filter(|selected| !selected.is_empty()) else {
                continue;
            };
            let text = |pointer| service.pointer(pointer).and_then(Value::as_str);
            if text("/spec/type") == Some("ExternalName") {
                continue;
            }
            let name = text("/metadata/name").unwrap_or_default();
            reach.add((name, None), arrival(selected));
            for (subset, labels) in subsets(rules, name, namespace) {
                let mut both = selected.clone();
                // A label that the Service selects otherwise is had by no pod of it.
                let is_possible = labels.iter().all(|(key, value)| {
                    let known = both.entry(key.clone()).or_insert_with(|| value.clone());
                    known == value
                });
                let arrival = if is_possible {
                    arrival(&both)
                } else {
                    Arrival::Elsewhere
                };
                reach.add((name, Some(subset)), arrival);
            }
        }
        reach
    }

    /// Of two rules for one subset a router takes either.
    fn add(&mut self, (service, subset): (&str, Option<&str>), arrival: Arrival) {
        let target = (service.to_owned(), subset.map(str::to_owned));
        let known = self.of.entry(target).or_insert(arrival);
        *known = arrival.max(*known);
    }

    /// Where requests for a Service, or a subset of it, arrive; `None`: that is not known.
    pub(super) fn arrival(&self, service: &str, subset: Option<&str>) -> Option<Arrival> {
        let target = (service.to_owned(), subset.map(str::to_owned));
        self.of.get(&target).copied()
    }

    /// The one Service whose requests arrive at the stable side.
    pub(super) fn stable(&self) -> Option<&str> {
        let is_stable = |((_, subset), arrival): &(&(String, Option<String>), &Arrival)| {
            subset.is_none() && arrival.is("stable")
        };
        let mut all = self.of.iter().filter(is_stable);
        let ((service, _), _) = all.next()?;
        all.next().is_none().then_some(service)
    }

    /// A subset of a Service whose requests arrive at the stable side alone.
    pub(super) fn stable_subset(&self, service: &str) -> Option<&str> {
        self.of.iter().find_map(|((name, subset), arrival)| {
            let subset = subset.as_deref()?;
            (name == service && *arrival == Arrival::Stable).then_some(subset)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

/// The subsets that DestinationRules know of a Service.
fn subsets<'a>(
    rules: &'a [Value],
    service: &'a str,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a str, Labels)> {
    let of_service = move |rule: &&Value| {
        let host = rule.pointer("/spec/host").and_then(Value::as_str);
        host.is_some_and(|host| short(host, namespace) == service)
    };
    let all = |rule: &'a Value| rule.pointer("/spec/subsets").and_then(Value::as_array);
    let subsets = rules.iter().filter(of_service).filter_map(all).flatten();
    subsets.filter_map(|subset| {
        let labels = subset.get("labels").and_then(Value::as_object);
        let labels = labels.cloned().unwrap_or_default();
        Some((subset.get("name")?.as_str()?, labels))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(value: &Value) -> Labels {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn services_and_subsets_go_by_the_pods_that_they_select() {
        let service = |name: &str, selector: Value| {
            json!({
                "metadata": {"name": name}, "spec": {"selector": selector},
            })
        };
        let mut external = service("outside", json!({"app": "web"}));
        external["spec"]["type"] = "ExternalName".into();
        let services = [
            service("web", json!({"app": "web"})),
            service("all", json!({"app": "web", "track": "stable"})),
            service("testers", json!({"track": "canary"})),
            service("api", json!({"app": "api"})),
            service("hand", json!({})),
            external,
        ];
        let rule = |host: &str| {
            json!({"spec": {"host": host, "subsets": [
                {"name": "v2", "labels": {"track": "canary"}},
                {"name": "v1", "labels": {"track": "stable"}},
                {"name": "other", "labels": {"app": "api"}},
                {"name": "whole"},
            ]}})
        };
        let rules = [rule("web.shop.svc.cluster.local"), rule("api")];
        let stable = [labels(&json!({"app": "web", "track": "stable"}))];
        let new = [labels(&json!({"app": "web", "track": "canary"}))];
        let reach = Reach::of((&services, &rules), "shop", (&stable, &new));
        for (service, subset, expected) in [
            ("web", None, Some(Arrival::Both)),
            ("all", None, Some(Arrival::Stable)),
            ("testers", None, Some(Arrival::New)),
            ("api", None, Some(Arrival::Elsewhere)),
            ("hand", None, None),
            ("outside", None, None),
            ("absent", None, None),
            ("web", Some("v2"), Some(Arrival::New)),
            ("web", Some("v1"), Some(Arrival::Stable)),
            ("web", Some("other"), Some(Arrival::Elsewhere)),
            ("web", Some("whole"), Some(Arrival::Both)),
            ("web", Some("unknown"), None),
            // The same subsets of a host that the release is not behind.
            ("api", Some("v2"), Some(Arrival::Elsewhere)),
        ] {
            let found = reach.arrival(service, subset);
            assert_eq!(found, expected, "{service} {subset:?}");
        }
        assert_eq!(reach.stable_subset("web"), Some("v1"));
        assert_eq!(reach.stable(), None, "two of them");
    }
}
