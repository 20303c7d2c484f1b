//! Routing of traffic.

use sortie_model::TextField;
use sortie_model::pipeline::spec::TrafficRouting;
use sortie_model::pipeline::spec::traffic::{
    Destination, Match, MatchType, Protocol, Provider, Route, RoutingConfig, Rule,
};
use sortie_proto::v1;

use super::action::Builder;
use crate::engine::fault::Fault;

impl Builder<'_> {
    pub(super) fn traffic_routing(
        &self,
        options: &TrafficRouting,
    ) -> Result<v1::KubernetesTrafficRouting, Fault> {
        use v1::kubernetes_traffic_routing::Routing as Wire;
        let routing = match options {
            TrafficRouting::Config(config) => Wire::Config(self.routes(config)?),
            TrafficRouting::Inherit(routes) => Wire::Inherit(v1::TrafficWeights {
                routes: self.each(routes, Self::route)?,
            }),
        };
        Ok(v1::KubernetesTrafficRouting {
            release: self.release(),
            routing: Some(routing),
        })
    }

    /// The option of a deployment.
    pub(super) fn routing(
        &self,
        options: Option<&TrafficRouting>,
    ) -> Result<Option<v1::KubernetesTrafficRouting>, Fault> {
        let routing = options.map(|options| self.traffic_routing(options));
        routing.transpose()
    }

    fn routes(&self, config: &RoutingConfig) -> Result<v1::TrafficRoutes, Fault> {
        use v1::traffic_routes::Provider as Wire;
        let provider = match &config.provider {
            Provider::GatewayApi {
                protocol,
                hosts,
                gateways,
            } => Wire::GatewayApi(v1::GatewayApiProvider {
                grpc: *protocol == Protocol::Grpc,
                hosts: self.list("hosts", hosts)?,
                gateways: self.list("gateways", gateways)?,
            }),
            Provider::Istio {
                hosts,
                gateways,
                delegate_service,
            } => Wire::Istio(v1::IstioProvider {
                hosts: self.list("hosts", hosts)?,
                gateways: self.list("gateways", gateways)?,
                is_delegate: self.flag("delegateService", delegate_service.as_ref())?,
            }),
            Provider::Smi { root_service } => {
                let root = root_service.as_ref();
                let root = root
                    .map(|root| self.text("rootService", root))
                    .transpose()?;
                Wire::Smi(v1::SmiProvider {
                    root_service: root.unwrap_or_default(),
                })
            }
        };
        Ok(v1::TrafficRoutes {
            name: self.text("name", &config.name)?,
            routes: self.each(&config.routes, Self::route)?,
            provider: Some(provider),
        })
    }

    fn each<T, U>(
        &self,
        items: &[T],
        resolve: impl Fn(&Self, &T) -> Result<U, Fault>,
    ) -> Result<Vec<U>, Fault> {
        items.iter().map(|item| resolve(self, item)).collect()
    }

    fn route(&self, route: &Route) -> Result<v1::TrafficRoute, Fault> {
        Ok(v1::TrafficRoute {
            name: self.text("name of the route", &route.name)?,
            rules: self.each(&route.rules, Self::rule)?,
            destinations: self.each(&route.destinations, Self::destination)?,
        })
    }

    fn destination(&self, destination: &Destination) -> Result<v1::TrafficDestination, Fault> {
        let port = destination.port.as_ref();
        Ok(v1::TrafficDestination {
            host: self.text("host", &destination.host)?,
            port: port.map(|port| self.port(port)).transpose()?,
            weight: self.count("weight", destination.weight.as_ref())?,
        })
    }

    fn rule(&self, rule: &Rule) -> Result<v1::TrafficRule, Fault> {
        use v1::traffic_rule::Rule as Wire;
        let rule = match rule {
            Rule::Uri(uri) => Wire::Uri(self.matching(uri)?),
            Rule::Method(method) => Wire::Method(self.matching(method)?),
            Rule::Scheme(scheme) => Wire::Scheme(self.matching(scheme)?),
            Rule::Authority(authority) => Wire::Authority(self.matching(authority)?),
            Rule::Port(port) => Wire::Port(self.port(port)?),
            Rule::Headers(headers) => Wire::Headers(v1::HeaderMatches {
                headers: self.each(headers, |builder, header| {
                    Ok(v1::HeaderMatch {
                        key: builder.text("key", &header.key)?,
                        value: Some(builder.matching(&header.value)?),
                    })
                })?,
            }),
        };
        Ok(v1::TrafficRule { rule: Some(rule) })
    }

    fn matching(&self, matching: &Match) -> Result<v1::TextMatch, Fault> {
        use v1::text_match::Match as Wire;
        let value = self.text("value", &matching.value)?;
        let matching = match matching.how {
            MatchType::Exact => Wire::Exact(value),
            MatchType::Prefix => Wire::Prefix(value),
            MatchType::Regex => Wire::Regex(value),
        };
        Ok(v1::TextMatch {
            r#match: Some(matching),
        })
    }

    fn port(&self, field: &TextField) -> Result<u32, Fault> {
        match self.number("port", field)? {
            port @ 1..=65535 => Ok(port),
            other => Err(Fault::mismatch(format!("there is no port {other}"))),
        }
    }
}
