//! Versions of one Service as Istio tells them apart: subsets of a DestinationRule, and a VirtualService that leads to them.

use serde_json::{Value, json};

use super::error::RoutingError;
use super::kind;

/// A version of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// The subset's name.
    pub subset: &'a str,
    /// What its pods are labelled with.
    pub labels: &'a [(&'a str, &'a str)],
    /// Its percentage of the requests.
    pub weight: u32,
}

/// A DestinationRule with these subsets. Others stay as they are.
///
/// # Errors
/// It has no spec.
pub fn set_subsets(rule: &Value, versions: &[Version<'_>]) -> Result<Value, RoutingError> {
    let mut rule = rule.clone();
    let name = kind::named(&rule);
    let spec = rule.get_mut("spec").and_then(Value::as_object_mut);
    let spec = spec.ok_or_else(|| malformed(&name, "spec"))?;
    let subsets = spec
        .entry("subsets")
        .or_insert_with(|| Value::Array(Vec::new()));
    let subsets = subsets
        .as_array_mut()
        .ok_or_else(|| malformed(&name, "spec.subsets"))?;
    for version in versions {
        let labels: serde_json::Map<String, Value> = version
            .labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        let there = subsets
            .iter_mut()
            .find(|subset| subset.get("name").and_then(Value::as_str) == Some(version.subset));
        match there {
            Some(subset) => subset["labels"] = labels.into(),
            None => subsets.push(json!({"name": version.subset, "labels": labels})),
        }
    }
    Ok(rule)
}

/// A VirtualService whose one HTTP route leads to subsets of its one host.
///
/// # Errors
/// It has not just one HTTP route to just one host.
pub fn route_to_subsets(route: &Value, versions: &[Version<'_>]) -> Result<Value, RoutingError> {
    let mut route = route.clone();
    let name = kind::named(&route);
    let one = || malformed(&name, "single HTTP route to a single host");
    let routes = route
        .pointer_mut("/spec/http")
        .and_then(Value::as_array_mut);
    let Some([http]) = routes.map(Vec::as_mut_slice) else {
        return Err(one());
    };
    let destinations = http.get("route").and_then(Value::as_array);
    let mut hosts: Vec<&Value> = destinations
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("destination"))
        .collect();
    hosts.dedup_by(|one, other| one.get("host") == other.get("host"));
    let [destination] = hosts[..] else {
        return Err(one());
    };
    let destinations = versions.iter().map(|version| {
        let mut destination = destination.clone();
        destination["subset"] = version.subset.into();
        json!({"destination": destination, "weight": version.weight})
    });
    let destinations = destinations.collect();
    http["route"] = destinations;
    Ok(route)
}

fn malformed(object: &str, field: &'static str) -> RoutingError {
    RoutingError::Malformed {
        object: object.to_owned(),
        field,
    }
}
