//! TrafficSplit and HTTPRouteGroup of the Service Mesh Interface: a split for each route, with a group for its conditions.

use serde_json::{Map, Value, json};
use sortie_manifest::ObjectId;

use super::error::RoutingError;
use super::kind::{self, RouteKind};
use super::request::{Config, How, Match, Route, Rule, Services, method};
use super::shares::{percents, service};
use super::{ROUTES, whole};

const VERSION: &str = "v1alpha4";

/// Groups come before the splits that name them.
pub(super) fn objects(config: &Config, namespace: &str) -> Vec<ObjectId> {
    let id = |group: &str, kind: &str, route: &Route| ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name(config, route),
    };
    let split = RouteKind::TrafficSplit;
    let groups = config.routes.iter().filter(|route| !route.rules.is_empty());
    let groups = groups.map(|route| id("specs.smi-spec.io", "HTTPRouteGroup", route));
    let splits = config.routes.iter();
    groups
        .chain(splits.map(|route| id(split.group(), split.kind(), route)))
        .collect()
}

/// One route has the configuration's name; of several, each has its own appended.
fn name(config: &Config, route: &Route) -> String {
    if config.routes.len() == 1 {
        config.name.clone()
    } else {
        format!("{}-{}", config.name, route.name)
    }
}

pub(super) fn configured(
    config: &Config,
    root: Option<&str>,
    services: &Services,
    namespace: &str,
    live: &[Value],
) -> Result<Vec<Value>, RoutingError> {
    let root = root.or(services.stable.as_deref());
    let root = root.and_then(|root| services.named(root)).ok_or_else(|| {
        let what = format!(
            "{} names no rootService, and there is no stable Service",
            config.name
        );
        RoutingError::Incomplete { what }
    })?;
    let mut specs = Vec::new();
    for route in config.routes.iter().filter(|route| !route.rules.is_empty()) {
        specs.push((json!({"matches": matches(route)?}), None));
    }
    for route in &config.routes {
        let shares = percents(&route.name, &route.destinations)?;
        let mut backends = Vec::new();
        for (destination, weight) in route.destinations.iter().zip(shares) {
            let service = service(&route.name, destination, services)?;
            if destination.port.is_some() {
                return Err(RoutingError::Unsupported {
                    kind: "TrafficSplit",
                    route: route.name.clone(),
                    rule: "the destination's port",
                    how: "its number",
                    instead: "leave the port out: all ports of a Service are split",
                });
            }
            backends.push(json!({"service": service, "weight": weight}));
        }
        let mut spec = json!({"service": root, "backends": backends});
        if !route.rules.is_empty() {
            spec["matches"] = json!([{"kind": "HTTPRouteGroup", "name": name(config, route)}]);
        }
        specs.push((spec, Some(route.name.as_str())));
    }
    let ids = objects(config, namespace);
    let objects = ids.iter().zip(specs).map(|(id, (spec, route))| {
        let new = whole(id, VERSION, spec, route.into_iter());
        match live.iter().find(|live| kind::is(live, id)) {
            Some(live) => {
                let mut object = live.clone();
                object["spec"] = new["spec"].clone();
                if let Some(routes) = new
                    .pointer("/metadata/annotations")
                    .and_then(|all| all.get(ROUTES))
                {
                    object["metadata"]["annotations"][ROUTES] = routes.clone();
                }
                object
            }
            None => new,
        }
    });
    Ok(objects.collect())
}

fn matches(route: &Route) -> Result<Vec<Value>, RoutingError> {
    let of = |(index, rule): (usize, &Rule)| {
        let mut condition = Map::new();
        let name = format!("{}-{}", route.name, index + 1);
        condition.insert("name".to_owned(), json!(name));
        let (key, value) = one(route, rule)?;
        condition.insert(key.to_owned(), value);
        if key != "methods" {
            condition.insert("methods".to_owned(), json!(["*"]));
        }
        Ok(Value::Object(condition))
    };
    route.rules.iter().enumerate().map(of).collect()
}

fn one(route: &Route, rule: &Rule) -> Result<(&'static str, Value), RoutingError> {
    let (how, instead) = match rule {
        Rule::Uri(path) => return Ok(("pathRegex", json!(path.regex()))),
        Rule::Method(Match {
            how: How::Exact,
            value,
        }) => return Ok(("methods", json!([method(value)]))),
        Rule::Headers(all) => {
            let all = all
                .iter()
                .map(|header| json!({header.key.as_str(): header.value.regex()}));
            return Ok(("headers", all.collect()));
        }
        Rule::Method(Match { how, .. }) => (
            how.name(),
            "name each method in a rule of its own, by exact",
        ),
        Rule::Port(_) => ("its number", "match the uri, the method or headers"),
        Rule::Scheme(Match { how, .. }) | Rule::Authority(Match { how, .. }) => {
            (how.name(), "match the uri, the method or headers")
        }
    };
    Err(RoutingError::Unsupported {
        kind: "HTTPRouteGroup",
        route: route.name.clone(),
        rule: rule.name(),
        how,
        instead,
    })
}
