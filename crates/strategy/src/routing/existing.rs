//! Routes that are there: what of them changes, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ROUTES;
use super::error::RoutingError;
use super::kind::{self, RouteKind};
use super::request::{Config, Inherit, InheritedRoute, Services};
use super::shares::{percents, shifted};
use crate::weights::shared;

/// A live object with what a configuration asks for. One whose rules are all ours becomes what is asked for; in one that
/// somebody wrote, routes with conditions come before its rules, and the others are weights of its rules.
///
/// `spec` is what a new object would have beside `rules`.
pub(super) fn configured(
    live: &Value,
    config: &Config,
    spec: Result<Value, RoutingError>,
    rules: Vec<Value>,
    services: &Services,
) -> Result<Value, RoutingError> {
    let kind = of(live)?;
    let mut object = without_added(live)?;
    let is_ours = leading(live)? > 0 && list_of(kind, &object).is_empty();
    if is_ours {
        let Value::Object(spec) = spec? else {
            return Ok(object);
        };
        if let Some(there) = object.get_mut("spec").and_then(Value::as_object_mut) {
            there.retain(|key, _| spec.contains_key(key) || !WHERE.contains(&key.as_str()));
            there.extend(spec);
        }
        let names: Vec<&str> = config.routes.iter().map(|it| it.name.as_str()).collect();
        lead(kind, &mut object, rules, &names);
        return Ok(object);
    }
    let mut added = (Vec::new(), Vec::new());
    for (route, rule) in config.routes.iter().zip(rules) {
        if !route.rules.is_empty() {
            added.0.push(rule);
            added.1.push(route.name.as_str());
            continue;
        }
        let hosts = route.destinations.iter().map(|one| one.host.as_str());
        let shares = percents(&route.name, &route.destinations)?;
        let named: Vec<(&str, u32)> = hosts.zip(shares).collect();
        weigh(&mut object, &route.name, &named, services)?;
    }
    lead(kind, &mut object, added.0, &added.1);
    Ok(object)
}

/// What of a spec says to whom a route applies.
const WHERE: [&str; 4] = ["parentRefs", "hostnames", "hosts", "gateways"];

/// The object with these percents for the canary and the stable Service, in every rule that leads to both. Other backends
/// keep their weights, and their shares of the whole.
///
/// # Errors
/// No rule leads to both, or the whole that they share beside others is too small for the percentage.
pub fn split(object: &Value, services: &Services, canary: u32) -> Result<Value, RoutingError> {
    let mut object = object.clone();
    let canary = canary.min(100);
    let new = new_side(&object, services)?;
    let named = [("stable", 100 - canary), (new, canary)];
    weigh(&mut object, "of stable and canary", &named, services)?;
    Ok(object)
}

/// The canary's percentage of what it shares with the stable Service, in the first rule that leads to both.
pub fn canary_share(object: &Value, services: &Services) -> Option<u32> {
    let kind = RouteKind::of(object)?;
    let new = new_side(object, services).ok()?;
    let mut object = object.clone();
    let namespace = kind::namespace(&object).to_owned();
    for rule in kind.rules_mut(&mut object) {
        let backends = kind.backends_mut(rule);
        if let Some(found) = find(kind, backends, &["stable", new], services, &namespace) {
            let weight = |index: usize| kind.weight(&backends[index]).map(u64::from);
            let (stable, canary) = (weight(found[0])?, weight(found[1])?);
            let share = (canary * 200 + stable + canary).checked_div(2 * (stable + canary))?;
            return u32::try_from(share).ok();
        }
    }
    None
}

/// Objects of `live` with new weights, those that a route is about.
///
/// # Errors
/// A destination has no weight, nothing leads to all destinations of a route, or weights make no shares.
pub fn inherited(
    inherit: &Inherit,
    services: &Services,
    live: &[Value],
) -> Result<Vec<Value>, RoutingError> {
    let mut objects: Vec<(Value, bool)> = live.iter().map(|one| (one.clone(), false)).collect();
    for route in &inherit.routes {
        let mut named = Vec::new();
        for one in &route.destinations {
            let weight = one.weight.ok_or_else(|| RoutingError::Incomplete {
                what: format!("{} of route {} has no weight", one.host, route.name),
            })?;
            named.push((one.host.as_str(), weight));
        }
        if named.is_empty() {
            let what = format!("route {} has no destination", route.name);
            return Err(RoutingError::Incomplete { what });
        }
        let mut is_found = false;
        for by_name in [true, false] {
            for (object, is_about) in &mut objects {
                if shift(object, route, &named, services, by_name)? {
                    (*is_about, is_found) = (true, true);
                }
            }
            if is_found {
                break;
            }
        }
        if !is_found {
            let object = "the release".to_owned();
            return Err(no_route(object, &route.name, &named));
        }
    }
    let about = objects.into_iter().filter(|(_, is_about)| *is_about);
    Ok(about.map(|(object, _)| object).collect())
}

/// The object without the rules that steps have put before the others. One that a step made has no rule then.
///
/// # Errors
/// The annotation is not what a step writes.
pub fn without_added(object: &Value) -> Result<Value, RoutingError> {
    let kind = of(object)?;
    let mut object = object.clone();
    let added = leading(&object)?;
    if let Some(key) = kind.list()
        && let Some(rules) = object["spec"].get_mut(key).and_then(Value::as_array_mut)
    {
        rules.drain(..added.min(rules.len()));
    }
    if let Some(annotations) = annotations_mut(&mut object) {
        annotations.shift_remove(ROUTES);
        if annotations.is_empty()
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.shift_remove("annotations");
        }
    }
    Ok(object)
}

/// The Services of the route's namespace that get more of the requests than they got before, or some for the first time.
pub fn gaining(live: Option<&Value>, wanted: &Value) -> BTreeSet<String> {
    let before = live.map(shares_of).unwrap_or_default();
    let after = shares_of(wanted).into_iter();
    let gaining = after
        .filter(|(service, share)| *share > before.get(service.as_str()).copied().unwrap_or(0));
    gaining.map(|(service, _)| service).collect()
}

/// For each Service its parts of all rules, in millionths.
fn shares_of(object: &Value) -> BTreeMap<String, u64> {
    let mut shares = BTreeMap::new();
    let Ok(kind) = of(object) else {
        return shares;
    };
    let mut object = object.clone();
    let namespace = kind::namespace(&object).to_owned();
    for rule in kind.rules_mut(&mut object) {
        let backends = kind.backends_mut(rule);
        let weights = weights(kind, backends).unwrap_or_default();
        let all: u64 = weights.iter().copied().map(u64::from).sum();
        let is_alone = backends.len() == 1;
        for (backend, weight) in backends.iter().zip(weights) {
            let weight = u64::from(weight) * 1_000_000;
            let share = match weight.checked_div(all) {
                Some(share) => share,
                // A single destination of Istio needs no weight.
                None if is_alone && kind == RouteKind::VirtualService => 1_000_000,
                None => 0,
            };
            if let Some(service) = kind.service(backend, &namespace) {
                *shares.entry(service.to_owned()).or_default() += share;
            }
        }
    }
    shares
}

/// The operations of a JSON patch that makes one of the other: fields of the spec as a whole, and our annotation.
pub fn changed_fields(live: &Value, wanted: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    let empty = serde_json::Map::new();
    let spec = |object: &'_ Value| object.get("spec").and_then(Value::as_object).cloned();
    let (before, after) = (
        spec(live).unwrap_or_else(|| empty.clone()),
        spec(wanted).unwrap_or_else(|| empty.clone()),
    );
    for key in before.keys() {
        if !after.contains_key(key) {
            operations.push(json!({"op": "remove", "path": format!("/spec/{key}")}));
        }
    }
    for (key, value) in &after {
        if before.get(key) != Some(value) {
            let path = format!("/spec/{key}");
            operations.push(json!({"op": "add", "path": path, "value": value}));
        }
    }
    let note = |object: &Value| {
        let annotations = object.pointer("/metadata/annotations");
        annotations.and_then(|all| all.get(ROUTES)).cloned()
    };
    let path = format!("/metadata/annotations/{}", ROUTES.replace('/', "~1"));
    match (note(live), note(wanted)) {
        (before, Some(after)) if before.as_ref() != Some(&after) => {
            if live.pointer("/metadata/annotations").is_some() {
                operations.push(json!({"op": "add", "path": path, "value": after}));
            } else {
                let value = json!({ROUTES: after});
                operations
                    .push(json!({"op": "add", "path": "/metadata/annotations", "value": value}));
            }
        }
        (Some(_), None) => operations.push(json!({"op": "remove", "path": path})),
        _ => {}
    }
    operations
}

/// New weights for one route of one object; false: it is not about that route.
fn shift(
    object: &mut Value,
    route: &InheritedRoute,
    named: &[(&str, u32)],
    services: &Services,
    by_name: bool,
) -> Result<bool, RoutingError> {
    let kind = of(object)?;
    let names = names(object)?;
    let namespace = kind::namespace(object).to_owned();
    let hosts: Vec<&str> = named.iter().map(|(host, _)| *host).collect();
    let mut is_found = false;
    for (index, rule) in kind.rules_mut(object).into_iter().enumerate() {
        let own = rule.get("name").and_then(Value::as_str);
        let is_named = names.get(index).map(String::as_str).or(own) == Some(&route.name);
        let backends = kind.backends_mut(rule);
        if is_named != by_name || (!by_name && backends.len() < 2) {
            continue;
        }
        let Some(found) = find(kind, backends, &hosts, services, &namespace) else {
            continue;
        };
        let current = weights(kind, backends).ok_or_else(|| malformed(kind, "weight"))?;
        let named = found
            .iter()
            .copied()
            .zip(named.iter().map(|(_, weight)| *weight));
        let named: Vec<(usize, u32)> = named.collect();
        let shares = shifted(&route.name, &current, &named)?;
        for (backend, share) in backends.iter_mut().zip(shares) {
            backend["weight"] = share.into();
        }
        is_found = true;
    }
    Ok(is_found)
}

/// Gives percents that make a hundred to backends, in every rule that leads to all of them.
fn weigh(
    object: &mut Value,
    route: &str,
    named: &[(&str, u32)],
    services: &Services,
) -> Result<(), RoutingError> {
    let kind = of(object)?;
    let name = kind::named(object);
    let namespace = kind::namespace(object).to_owned();
    let hosts: Vec<&str> = named.iter().map(|(host, _)| *host).collect();
    let shares: Vec<u32> = named.iter().map(|(_, share)| *share).collect();
    let mut is_found = false;
    for rule in kind.rules_mut(object) {
        let backends = kind.backends_mut(rule);
        let Some(found) = find(kind, backends, &hosts, services, &namespace) else {
            continue;
        };
        let current = weights(kind, backends).ok_or_else(|| malformed(kind, "weight"))?;
        for (index, weight) in found.iter().zip(beside(&name, &current, &found, &shares)?) {
            backends[*index]["weight"] = weight.into();
        }
        is_found = true;
    }
    if is_found {
        Ok(())
    } else {
        Err(no_route(name, route, named))
    }
}

/// The weights of some backends with these shares, so that the others keep theirs of the whole.
fn beside(
    object: &str,
    current: &[u32],
    found: &[usize],
    shares: &[u32],
) -> Result<Vec<u32>, RoutingError> {
    let others = current.iter().enumerate();
    let mut others = others.filter(|(index, weight)| !found.contains(index) && **weight > 0);
    if others.next().is_none() {
        return Ok(shares.to_vec());
    }
    let whole: u64 = found.iter().map(|index| u64::from(current[*index])).sum();
    let coarse = |percent: u32| RoutingError::Coarse {
        object: object.to_owned(),
        percent,
        whole,
    };
    let most = shares.iter().copied().max().unwrap_or(0);
    let parts = u32::try_from(whole).ok().filter(|whole| *whole > 0);
    let parts = parts.and_then(|whole| shared(shares, whole).ok());
    let parts = parts.ok_or_else(|| coarse(most))?;
    for (part, share) in parts.iter().zip(shares) {
        // Not a point away from what is asked for.
        let (has, wants) = (u64::from(*part) * 100, u64::from(*share) * whole);
        if has.abs_diff(wants) > whole {
            return Err(coarse(*share));
        }
    }
    Ok(parts)
}

/// Where each host is among the backends; `None`: one is missing, or is there twice.
pub(super) fn find(
    kind: RouteKind,
    backends: &[Value],
    hosts: &[&str],
    services: &Services,
    namespace: &str,
) -> Option<Vec<usize>> {
    let index = |host: &&str| {
        let mut there = backends.iter().enumerate();
        let mut there = there
            .by_ref()
            .filter(|(_, backend)| kind.leads_to(backend, host, services, namespace));
        let (index, _) = there.next()?;
        there.next().is_none().then_some(index)
    };
    let found: Vec<usize> = hosts.iter().map(index).collect::<Option<_>>()?;
    let distinct: BTreeSet<_> = found.iter().collect();
    (distinct.len() == found.len()).then_some(found)
}

/// The word for the new side that the object's backends know: a subset may be named by it.
fn new_side(object: &Value, services: &Services) -> Result<&'static str, RoutingError> {
    let kind = of(object)?;
    let mut copy = object.clone();
    let namespace = kind::namespace(object);
    let is_stage = kind.rules_mut(&mut copy).into_iter().any(|rule| {
        let backends = kind.backends_mut(rule);
        let is = |word| find(kind, backends, &[word], services, namespace).is_some();
        is("stage") && !is("canary")
    });
    Ok(if is_stage { "stage" } else { "canary" })
}

pub(super) fn weights(kind: RouteKind, backends: &[Value]) -> Option<Vec<u32>> {
    backends
        .iter()
        .map(|backend| kind.weight(backend))
        .collect()
}

/// Puts rules before the others, and notes their names.
fn lead(kind: RouteKind, object: &mut Value, rules: Vec<Value>, names: &[&str]) {
    let (Some(key), false) = (kind.list(), rules.is_empty()) else {
        return;
    };
    let theirs = list_of(kind, object).to_vec();
    object["spec"][key] = rules.into_iter().chain(theirs).collect();
    object["metadata"]["annotations"][ROUTES] = json!(names).to_string().into();
}

fn list_of(kind: RouteKind, object: &Value) -> &[Value] {
    let list = kind.list().and_then(|key| object.get("spec")?.get(key));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How many of the leading rules are ours.
pub(super) fn leading(object: &Value) -> Result<usize, RoutingError> {
    Ok(match of(object)?.list() {
        Some(_) => names(object)?.len(),
        None => 0,
    })
}

/// The names of the leading rules.
pub(super) fn names(object: &Value) -> Result<Vec<String>, RoutingError> {
    let annotations = object.pointer("/metadata/annotations");
    match annotations.and_then(|all| all.get(ROUTES)) {
        None => Ok(Vec::new()),
        Some(text) => {
            let names = text
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok());
            names.ok_or_else(|| RoutingError::Malformed {
                object: kind::named(object),
                field: "annotation sortie.dev/routes",
            })
        }
    }
}

fn annotations_mut(object: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    object
        .get_mut("metadata")?
        .get_mut("annotations")?
        .as_object_mut()
}

pub(super) fn of(object: &Value) -> Result<RouteKind, RoutingError> {
    let kind = RouteKind::of(object).filter(|_| object.get("spec").is_some_and(Value::is_object));
    kind.ok_or_else(|| RoutingError::Malformed {
        object: kind::named(object),
        field: "spec",
    })
}

fn malformed(kind: RouteKind, field: &'static str) -> RoutingError {
    RoutingError::Malformed {
        object: kind.kind().to_owned(),
        field,
    }
}

fn no_route(object: String, route: &str, named: &[(&str, u32)]) -> RoutingError {
    let hosts = named.iter().map(|(host, _)| (*host).to_owned()).collect();
    RoutingError::NoSuchRoute {
        object,
        route: route.to_owned(),
        hosts,
    }
}
