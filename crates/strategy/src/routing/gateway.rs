//! HTTPRoute and GRPCRoute of the Gateway API.

use serde_json::{Map, Value, json};

use super::error::RoutingError;
use super::kind::RouteKind;
use super::request::{Header, How, Match, Protocol, Route, Rule, Services, method};
use super::shares::{percents, service};

const GROUP: &str = RouteKind::HttpRoute.group();

/// Everything but the rules.
pub(super) fn spec(hosts: &[String], gateways: &[String]) -> Result<Value, RoutingError> {
    if gateways.is_empty() {
        let what = "the route names no gateway that it is attached to".to_owned();
        return Err(RoutingError::Incomplete { what });
    }
    let parents = gateways
        .iter()
        .map(|gateway| match gateway.split_once('/') {
            Some((namespace, name)) => {
                json!({"group": GROUP, "kind": "Gateway", "namespace": namespace, "name": name})
            }
            None => json!({"group": GROUP, "kind": "Gateway", "name": gateway}),
        });
    let mut spec = json!({"parentRefs": parents.collect::<Vec<_>>()});
    if !hosts.is_empty() {
        spec["hostnames"] = json!(hosts);
    }
    Ok(spec)
}

/// The rule of a route.
pub(super) fn rule(
    protocol: Protocol,
    route: &Route,
    services: &Services,
) -> Result<Value, RoutingError> {
    let mut backends = Vec::new();
    for (destination, weight) in route
        .destinations
        .iter()
        .zip(percents(&route.name, &route.destinations)?)
    {
        let name = service(&route.name, destination, services)?;
        if name.contains('.') {
            return Err(RoutingError::Host {
                kind: RouteKind::from(protocol).kind(),
                route: route.name.clone(),
                host: name.to_owned(),
            });
        }
        let port = destination
            .port
            .or_else(|| services.ports.get(name).copied());
        let port = port.ok_or_else(|| RoutingError::NoPort {
            route: route.name.clone(),
            service: name.to_owned(),
        })?;
        // With what the API server would add, so that what is live is what was written.
        backends.push(
            json!({"group": "", "kind": "Service", "name": name, "port": port, "weight": weight}),
        );
    }
    let mut rule = Map::new();
    let mut matches = Vec::new();
    for one in &route.rules {
        matches.push(match protocol {
            Protocol::Http => http(route, one)?,
            Protocol::Grpc => grpc(route, one)?,
        });
    }
    if matches.is_empty() && protocol == Protocol::Http {
        matches.push(json!({"path": {"type": "PathPrefix", "value": "/"}}));
    }
    if !matches.is_empty() {
        rule.insert("matches".to_owned(), Value::Array(matches));
    }
    rule.insert("backendRefs".to_owned(), Value::Array(backends));
    Ok(Value::Object(rule))
}

fn http(route: &Route, rule: &Rule) -> Result<Value, RoutingError> {
    let refuse = |how, instead| Err(unsupported(RouteKind::HttpRoute, route, rule, how, instead));
    let mut condition = json!({"path": {"type": "PathPrefix", "value": "/"}});
    match rule {
        Rule::Uri(Match { how, value }) => {
            let kind = match how {
                How::Exact => "Exact",
                How::Prefix => "PathPrefix",
                How::Regex => "RegularExpression",
            };
            condition["path"] = json!({"type": kind, "value": value});
        }
        Rule::Method(Match {
            how: How::Exact,
            value,
        }) => condition["method"] = json!(method(value)),
        Rule::Method(Match { how, .. }) => {
            return refuse(
                how.name(),
                "name each method in a rule of its own, by exact",
            );
        }
        Rule::Headers(all) => condition["headers"] = headers(all),
        Rule::Port(_) => {
            return refuse(
                "its number",
                "attach the route to a listener of the gateway with that port",
            );
        }
        Rule::Scheme(Match { how, .. }) => {
            return refuse(
                how.name(),
                "attach the route to a listener of the gateway with that protocol",
            );
        }
        Rule::Authority(Match { how, .. }) => {
            return refuse(how.name(), "give the whole object these hosts");
        }
    }
    Ok(condition)
}

fn grpc(route: &Route, rule: &Rule) -> Result<Value, RoutingError> {
    let refuse = |how, instead| Err(unsupported(RouteKind::GrpcRoute, route, rule, how, instead));
    match rule {
        // The path of a call is /package.Service/Method.
        Rule::Uri(Match { how, value }) => {
            let path = value.strip_prefix('/').unwrap_or(value);
            let parts = path.split_once('/');
            match (how, parts) {
                (How::Exact, Some((service, method)))
                    if !service.is_empty() && !method.is_empty() =>
                {
                    Ok(json!({"method": {"type": "Exact", "service": service, "method": method}}))
                }
                (How::Prefix, Some((service, ""))) if !service.is_empty() => {
                    Ok(json!({"method": {"type": "Exact", "service": service}}))
                }
                _ => refuse(
                    how.name(),
                    "match /package.Service/Method by exact, or /package.Service/ by prefix",
                ),
            }
        }
        Rule::Headers(all) => Ok(json!({"headers": headers(all)})),
        Rule::Method(Match { how, .. }) => refuse(
            how.name(),
            "every call is a POST: match the uri /package.Service/Method instead",
        ),
        Rule::Port(_) => refuse(
            "its number",
            "attach the route to a listener of the gateway with that port",
        ),
        Rule::Scheme(Match { how, .. }) => refuse(
            how.name(),
            "attach the route to a listener of the gateway with that protocol",
        ),
        Rule::Authority(Match { how, .. }) => {
            refuse(how.name(), "give the whole object these hosts")
        }
    }
}

/// There is no prefix for headers: it is a regular expression.
fn headers(all: &[Header]) -> Value {
    let one = |header: &Header| match header.value.how {
        How::Exact => json!({"type": "Exact", "name": header.key, "value": header.value.value}),
        How::Prefix | How::Regex => {
            json!({"type": "RegularExpression", "name": header.key, "value": header.value.regex()})
        }
    };
    all.iter().map(one).collect()
}

fn unsupported(
    kind: RouteKind,
    route: &Route,
    rule: &Rule,
    how: &'static str,
    instead: &'static str,
) -> RoutingError {
    RoutingError::Unsupported {
        kind: kind.kind(),
        route: route.name.clone(),
        rule: rule.name(),
        how,
        instead,
    }
}
