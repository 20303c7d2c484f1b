//! Routing of traffic in a task message.

use sortie_proto::v1;
use sortie_strategy::routing::{
    Config, Destination, Header, How, Inherit, InheritedRoute, Match, Protocol, Provider, Route,
    Routing, Rule,
};

use super::Malformed;

/// What the step asks of the router.
pub(super) fn routing(step: v1::KubernetesTrafficRouting) -> Result<Routing, Malformed> {
    use v1::kubernetes_traffic_routing::Routing as Wire;
    Ok(match step.routing.ok_or(Malformed::Missing("routing"))? {
        Wire::Config(config) => Routing::Config(self::config(config)?),
        Wire::Inherit(weights) => Routing::Inherit(Inherit {
            routes: weights
                .routes
                .into_iter()
                .map(|route| {
                    Ok(InheritedRoute {
                        name: route.name,
                        destinations: destinations(route.destinations)?,
                    })
                })
                .collect::<Result<_, _>>()?,
        }),
    })
}

fn config(config: v1::TrafficRoutes) -> Result<Config, Malformed> {
    use v1::traffic_routes::Provider as Wire;
    let provider = config
        .provider
        .ok_or(Malformed::Missing("provider of the routes"))?;
    Ok(Config {
        name: config.name,
        provider: match provider {
            Wire::GatewayApi(gateway) => Provider::GatewayApi {
                protocol: match gateway.grpc {
                    true => Protocol::Grpc,
                    false => Protocol::Http,
                },
                hosts: gateway.hosts,
                gateways: gateway.gateways,
            },
            Wire::Istio(istio) => Provider::Istio {
                hosts: istio.hosts,
                gateways: istio.gateways,
                is_delegate: istio.is_delegate,
            },
            Wire::Smi(smi) => Provider::Smi {
                root: Some(smi.root_service).filter(|root| !root.is_empty()),
            },
        },
        routes: config
            .routes
            .into_iter()
            .map(route)
            .collect::<Result<_, _>>()?,
    })
}

fn route(route: v1::TrafficRoute) -> Result<Route, Malformed> {
    Ok(Route {
        name: route.name,
        rules: route
            .rules
            .into_iter()
            .map(rule)
            .collect::<Result<_, _>>()?,
        destinations: destinations(route.destinations)?,
    })
}

fn destinations(destinations: Vec<v1::TrafficDestination>) -> Result<Vec<Destination>, Malformed> {
    destinations
        .into_iter()
        .map(|destination| {
            Ok(Destination {
                host: destination.host,
                port: destination.port.map(port).transpose()?,
                weight: destination.weight,
            })
        })
        .collect()
}

fn rule(rule: v1::TrafficRule) -> Result<Rule, Malformed> {
    use v1::traffic_rule::Rule as Wire;
    Ok(
        match rule
            .rule
            .ok_or(Malformed::Unknown("condition on requests"))?
        {
            Wire::Uri(uri) => Rule::Uri(matching(uri)?),
            Wire::Method(method) => Rule::Method(matching(method)?),
            Wire::Headers(headers) => {
                let headers = headers.headers.into_iter().map(|header| {
                    let value = header
                        .value
                        .ok_or(Malformed::Missing("value of a header"))?;
                    Ok(Header {
                        key: header.key,
                        value: matching(value)?,
                    })
                });
                Rule::Headers(headers.collect::<Result<_, _>>()?)
            }
            Wire::Port(number) => Rule::Port(port(number)?),
            Wire::Scheme(scheme) => Rule::Scheme(matching(scheme)?),
            Wire::Authority(authority) => Rule::Authority(matching(authority)?),
        },
    )
}

fn matching(text: v1::TextMatch) -> Result<Match, Malformed> {
    use v1::text_match::Match as Wire;
    let (how, value) = match text.r#match.ok_or(Malformed::Unknown("way to compare"))? {
        Wire::Exact(value) => (How::Exact, value),
        Wire::Prefix(value) => (How::Prefix, value),
        Wire::Regex(value) => (How::Regex, value),
    };
    Ok(Match { how, value })
}

fn port(number: u32) -> Result<u16, Malformed> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or(Malformed::Unknown("port"))
}
