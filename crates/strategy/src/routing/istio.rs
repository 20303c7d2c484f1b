//! VirtualService of Istio.

use serde_json::{Map, Value, json};

use super::error::RoutingError;
use super::request::{How, Match, Route, Rule, Services, method};
use super::shares::{percents, service};

/// Everything but the routes.
pub(super) fn spec(
    name: &str,
    hosts: &[String],
    gateways: &[String],
    is_delegate: bool,
    services: &Services,
) -> Result<Value, RoutingError> {
    let mut spec = Map::new();
    if is_delegate {
        // Istio refuses one with hosts or gateways.
        return Ok(Value::Object(spec));
    }
    let hosts = match (hosts, &services.stable) {
        ([], Some(stable)) => vec![stable.clone()],
        ([], None) => {
            let what = format!("{name} names no hosts, and there is no stable Service");
            return Err(RoutingError::Incomplete { what });
        }
        (hosts, _) => hosts.to_vec(),
    };
    spec.insert("hosts".to_owned(), json!(hosts));
    if !gateways.is_empty() {
        spec.insert("gateways".to_owned(), json!(gateways));
    }
    Ok(Value::Object(spec))
}

/// The HTTP route of a route.
pub(super) fn rule(route: &Route, services: &Services) -> Result<Value, RoutingError> {
    let mut rule = Map::new();
    rule.insert("name".to_owned(), json!(route.name));
    let matches: Vec<Value> = route.rules.iter().map(condition).collect();
    if !matches.is_empty() {
        rule.insert("match".to_owned(), Value::Array(matches));
    }
    let mut destinations = Vec::new();
    let shares = percents(&route.name, &route.destinations)?;
    for (destination, weight) in route.destinations.iter().zip(shares) {
        let host = service(&route.name, destination, services)?;
        let mut to = json!({"host": host});
        if let Some(port) = destination.port {
            to["port"] = json!({"number": port});
        }
        destinations.push(json!({"destination": to, "weight": weight}));
    }
    rule.insert("route".to_owned(), Value::Array(destinations));
    Ok(Value::Object(rule))
}

fn condition(rule: &Rule) -> Value {
    match rule {
        Rule::Uri(text) => json!({"uri": string(text)}),
        Rule::Method(text) => {
            let value = method(&text.value).to_owned();
            json!({"method": string(&Match { value, ..*text })})
        }
        Rule::Scheme(text) => json!({"scheme": string(text)}),
        Rule::Authority(text) => json!({"authority": string(text)}),
        Rule::Port(port) => json!({"port": port}),
        Rule::Headers(all) => {
            let all = all
                .iter()
                .map(|header| (header.key.clone(), string(&header.value)));
            json!({"headers": all.collect::<Map<_, _>>()})
        }
    }
}

fn string(text: &Match) -> Value {
    let key = match text.how {
        How::Exact => "exact",
        How::Prefix => "prefix",
        How::Regex => "regex",
    };
    json!({key: text.value})
}
