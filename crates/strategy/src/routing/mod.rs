//! Routes of the routers that Sortie knows, as JSON values: what a step asks for comes in with what is live, and what the
//! objects shall be goes out.
//!
//! A route that a step makes is wholly ours. In one that somebody wrote, a step changes weights of the rules that lead to
//! the destinations it names, and puts rules with conditions before the others. How many of the leading rules are ours, and
//! their names, is in the annotation [`ROUTES`]. Nothing else of an object is touched: no other backend, filter or host.

mod error;
mod existing;
mod gateway;
mod istio;
mod kept;
mod kind;
mod owner;
#[cfg(test)]
mod properties;
mod reach;
mod request;
mod retreat;
mod shares;
mod smi;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};
use sortie_manifest::ObjectId;

pub use error::RoutingError;
pub use existing::{canary_share, changed_fields, gaining, inherited, split, without_added};
pub use kept::{WEIGHTS, is_steered, is_written_by_steps, kept};
pub use kind::RouteKind;
pub use owner::manager;
pub use reach::{Arrival, Labels, Reach};
pub use request::{
    Config, Destination, Header, How, Inherit, InheritedRoute, Match, Protocol, Provider, Route,
    Routing, Rule, Services,
};
pub use retreat::{Retreat, bound_to_stable, easing, retreat};
pub use shares::percents;

/// Annotation on a route object: a JSON list with the names of its leading rules, which a step has written.
pub const ROUTES: &str = "sortie.dev/routes";

/// Annotation on a route object: `"true"` lets its rules lead to nobody when a side has no pods. It is only there to look at a
/// version, and no client goes by it.
pub const PREVIEW: &str = "sortie.dev/preview";

/// Whether a route may lead to nobody ([`PREVIEW`]).
pub fn is_preview(route: &Value) -> bool {
    let annotations = route.pointer("/metadata/annotations");
    let said = annotations.and_then(|all| all.get(PREVIEW)?.as_str());
    said.is_some_and(|said| said.trim().eq_ignore_ascii_case("true"))
}

/// The objects that a configuration is about, in the order in which they are written.
pub fn objects(config: &Config, namespace: &str) -> Vec<ObjectId> {
    let id = |kind: RouteKind, name: String| ObjectId {
        group: kind.group().to_owned(),
        kind: kind.kind().to_owned(),
        namespace: Some(namespace.to_owned()),
        name,
    };
    match &config.provider {
        Provider::GatewayApi { protocol, .. } => {
            vec![id((*protocol).into(), config.name.clone())]
        }
        Provider::Istio { .. } => vec![id(RouteKind::VirtualService, config.name.clone())],
        Provider::Smi { .. } => smi::objects(config, namespace),
    }
}

/// What the objects of [`objects`] shall be. `live` has those that there are, in any order.
///
/// # Errors
/// The router cannot do it, a Service or a weight is missing, or a live object has no place for it.
pub fn configured(
    config: &Config,
    services: &Services,
    namespace: &str,
    live: &[Value],
) -> Result<Vec<Value>, RoutingError> {
    check(config)?;
    if let Provider::Smi { root } = &config.provider {
        return smi::configured(config, root.as_deref(), services, namespace, live);
    }
    let mut rules = Vec::new();
    for route in &config.routes {
        rules.push(match &config.provider {
            Provider::GatewayApi { protocol, .. } => gateway::rule(*protocol, route, services)?,
            _ => istio::rule(route, services)?,
        });
    }
    let id = objects(config, namespace).remove(0);
    let object = match live.iter().find(|live| kind::is(live, &id)) {
        Some(live) => existing::configured(live, config, spec(config, services), rules, services)?,
        None => new(&id, config, spec(config, services)?, rules),
    };
    Ok(vec![object])
}

/// What a new object says beside its rules.
fn spec(config: &Config, services: &Services) -> Result<Value, RoutingError> {
    match &config.provider {
        Provider::GatewayApi {
            hosts, gateways, ..
        } => gateway::spec(hosts, gateways),
        Provider::Istio {
            hosts,
            gateways,
            is_delegate,
        } => istio::spec(&config.name, hosts, gateways, *is_delegate, services),
        Provider::Smi { .. } => Ok(json!({})),
    }
}

/// A whole object, of which every rule is ours.
fn new(id: &ObjectId, config: &Config, mut spec: Value, rules: Vec<Value>) -> Value {
    let is_istio = id.kind == "VirtualService";
    spec[if is_istio { "http" } else { "rules" }] = Value::Array(rules);
    let routes = config.routes.iter();
    whole(id, "v1", spec, routes.map(|route| route.name.as_str()))
}

/// An object with nothing but a spec, and the names of its routes.
fn whole<'a>(
    id: &ObjectId,
    version: &str,
    spec: Value,
    routes: impl Iterator<Item = &'a str>,
) -> Value {
    let mut metadata = json!({"name": id.name, "namespace": id.namespace});
    let routes: Vec<&str> = routes.collect();
    if !routes.is_empty() {
        metadata["annotations"] = json!({ROUTES: json!(routes).to_string()});
    }
    let mut object = json!({
        "apiVersion": format!("{}/{version}", id.group),
        "kind": id.kind,
        "metadata": metadata,
    });
    object["spec"] = spec;
    object
}
fn check(config: &Config) -> Result<(), RoutingError> {
    let incomplete = |what: String| Err(RoutingError::Incomplete { what });
    if config.routes.is_empty() {
        return incomplete(format!("{} has no route", config.name));
    }
    let mut names = std::collections::BTreeSet::new();
    for route in &config.routes {
        if route.destinations.is_empty() {
            return incomplete(format!("route {} has no destination", route.name));
        }
        if !names.insert(route.name.as_str()) {
            return incomplete(format!("there are two routes {}", route.name));
        }
        let empty = |rule: &Rule| matches!(rule, Rule::Headers(headers) if headers.is_empty());
        if route.rules.iter().any(empty) {
            return incomplete(format!("a headers rule of route {} is empty", route.name));
        }
    }
    Ok(())
}
