//! Routing of traffic.

use super::instances::number;
use crate::field::{FlagField, ListField, TextField};
use crate::problem::Code;
use crate::reader::{Context, Fields};

/// Options of `K8sTrafficRouting`, and `trafficRouting` of a deployment.
#[derive(Clone, Debug)]
pub enum TrafficRouting {
    /// `config`: routes in full.
    Config(Box<RoutingConfig>),
    /// `inherit`: only weights of routes that are there; at least one route, without rules.
    Inherit(Vec<Route>),
}

/// Routes in full.
#[derive(Clone, Debug)]
pub struct RoutingConfig {
    /// `provider`, with what only it has.
    pub provider: Provider,
    /// Name of the object.
    pub name: TextField,
    /// At least one.
    pub routes: Vec<Route>,
}

/// The routers.
#[derive(Clone, Debug)]
pub enum Provider {
    /// `gatewayApi`
    GatewayApi {
        /// What all routes speak.
        protocol: Protocol,
        /// Host names.
        hosts: ListField,
        /// Each `[namespace/]name`.
        gateways: ListField,
    },
    /// `istio`
    Istio {
        /// Hosts.
        hosts: ListField,
        /// As Istio names them.
        gateways: ListField,
        /// Included by another VirtualService.
        delegate_service: Option<FlagField>,
    },
    /// `smi`
    Smi {
        /// The Service that clients use.
        root_service: Option<TextField>,
    },
}

/// `type` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http`
    Http,
    /// `grpc`, of the Gateway API.
    Grpc,
}

/// Requests that go the same way.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: TextField,
    /// Which requests: any of these; none: all.
    pub rules: Vec<Rule>,
    /// Where they go; at least one.
    pub destinations: Vec<Destination>,
}

/// A condition on requests.
#[derive(Clone, Debug)]
pub enum Rule {
    /// `uri`
    Uri(Match),
    /// `method`
    Method(Match),
    /// `headers`: all of them; at least one.
    Headers(Vec<Header>),
    /// `port`
    Port(TextField),
    /// `scheme`
    Scheme(Match),
    /// `authority`
    Authority(Match),
}

/// A condition on text.
#[derive(Clone, Debug)]
pub struct Match {
    /// `matchType`; `exact` when there is none.
    pub how: MatchType,
    /// With what it is compared.
    pub value: TextField,
}

/// A condition on one header.
#[derive(Clone, Debug)]
pub struct Header {
    /// Name.
    pub key: TextField,
    /// What its value must be.
    pub value: Match,
}

/// How text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchType {
    /// `exact`
    Exact,
    /// `prefix`
    Prefix,
    /// `regex`
    Regex,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// A Service, or `stable`, `stage` or `canary`.
    pub host: TextField,
    /// Its part of the requests, in proportion to the others'.
    pub weight: Option<TextField>,
    /// The Service's port.
    pub port: Option<TextField>,
}

impl TrafficRouting {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const TYPES: [(&str, bool); 2] = [("config", true), ("inherit", false)];
        let whole = spec.required_choice("type", &TYPES, cx);
        let fields = spec.required_map("trafficRouting", cx)?;
        Self::of(fields, whole?, cx)
    }

    /// Reads the option of a deployment, whose form goes by what it has: a `provider`, or `routes` alone.
    pub(super) fn read_option(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let is_stated = spec
            .node("trafficRouting")
            .is_some_and(|node| !node.is_empty());
        let mut fields = spec.map("trafficRouting", cx).filter(|_| is_stated)?;
        let whole = fields.node("provider").is_some() || fields.node("routes").is_none();
        Self::of(fields, whole, cx)
    }

    fn of(mut fields: Fields<'_>, whole: bool, cx: &mut Context<'_>) -> Option<Self> {
        let read = if whole {
            let config = RoutingConfig::read(&mut fields, cx);
            config.map(|config| Self::Config(Box::new(config)))
        } else {
            let routes = Route::read_all(&mut fields, None, cx);
            routes.map(|(routes, _)| Self::Inherit(routes))
        };
        fields.finish(cx);
        read
    }
}

/// `provider`
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    GatewayApi,
    Istio,
    Smi,
}

impl RoutingConfig {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const PROVIDERS: [(&str, Kind); 3] = [
            ("gatewayApi", Kind::GatewayApi),
            ("istio", Kind::Istio),
            ("smi", Kind::Smi),
        ];
        let kind = fields.required_choice("provider", &PROVIDERS, cx);
        let mut spec = fields.required_map("spec", cx)?;
        let kind = kind?;
        let name = spec.required_text("name", cx);
        let routes = Route::read_all(&mut spec, Some(kind), cx);
        let (routes, protocol) = routes.unzip();
        let provider = match kind {
            Kind::GatewayApi => Provider::GatewayApi {
                protocol: protocol.unwrap_or(Protocol::Http),
                hosts: spec.texts("hosts", cx),
                gateways: spec.texts("gateways", cx),
            },
            Kind::Istio => Provider::Istio {
                hosts: spec.texts("hosts", cx),
                gateways: spec.texts("gateways", cx),
                delegate_service: spec.flag("delegateService", cx),
            },
            Kind::Smi => Provider::Smi {
                root_service: spec
                    .text("rootService", cx)
                    .filter(|service| !service.value.text().is_empty()),
            },
        };
        spec.finish(cx);
        Some(Self {
            provider,
            name: name?,
            routes: routes?,
        })
    }
}

impl Route {
    /// Reads `routes`; without a provider they have destinations alone. Also what they speak.
    fn read_all(
        fields: &mut Fields<'_>,
        provider: Option<Kind>,
        cx: &mut Context<'_>,
    ) -> Option<(Vec<Self>, Protocol)> {
        const BOTH: [(&str, Protocol); 2] = [("http", Protocol::Http), ("grpc", Protocol::Grpc)];
        let known = match provider {
            Some(Kind::GatewayApi) => &BOTH[..],
            _ => &BOTH[..1],
        };
        if fields.node("routes").is_none_or(|node| node.is_empty()) {
            fields.missing("routes", cx);
        }
        let (mut routes, mut spoken) = (Vec::new(), None);
        let mut whole = true;
        for (node, path) in fields.items("routes", cx) {
            let Some(mut item) = Fields::open(node, path, cx) else {
                whole = false;
                continue;
            };
            if let Some(mut route) = item.required_map("route", cx) {
                let protocol = match (provider, route.node("type")) {
                    (None, None) => Some(Protocol::Http),
                    _ => route.required_choice("type", known, cx),
                };
                if let (Some(first), Some(own)) = (spoken, protocol)
                    && first != own
                {
                    let message = "the routes of one object are all `http` or all `grpc`";
                    let path = route.path_of("type");
                    cx.error(
                        Code::Conflict,
                        &path,
                        route.position_of_value("type"),
                        message,
                    );
                }
                spoken = spoken.or(protocol);
                let read = Self::read(&mut route, provider.is_some(), cx);
                route.finish(cx);
                whole &= read.is_some();
                routes.extend(read);
            } else {
                whole = false;
            }
            item.finish(cx);
        }
        let complete = whole && !routes.is_empty();
        complete.then_some((routes, spoken.unwrap_or(Protocol::Http)))
    }

    fn read(fields: &mut Fields<'_>, with_rules: bool, cx: &mut Context<'_>) -> Option<Self> {
        let name = fields.required_text("name", cx);
        let mut rules = Some(Vec::new());
        if with_rules {
            rules = wrapped(fields, "rules", "rule", Rule::read, cx);
        }
        if fields
            .node("destinations")
            .is_none_or(|node| node.is_empty())
        {
            fields.missing("destinations", cx);
        }
        let destinations = wrapped(fields, "destinations", "destination", Destination::read, cx);
        Some(Self {
            name: name?,
            rules: rules?,
            destinations: destinations?,
        })
    }
}

/// A list whose items have one field each; `None` when any of them cannot be read.
fn wrapped<T>(
    fields: &mut Fields<'_>,
    list: &'static str,
    name: &'static str,
    read: impl Fn(&mut Fields<'_>, &mut Context<'_>) -> Option<T>,
    cx: &mut Context<'_>,
) -> Option<Vec<T>> {
    let each = fields.items(list, cx).into_iter().map(|(node, path)| {
        let mut item = Fields::open(node, path, cx)?;
        let inner = item.required_map(name, cx);
        item.finish(cx);
        let mut inner = inner?;
        let read = read(&mut inner, cx);
        inner.finish(cx);
        read
    });
    let each: Vec<Option<T>> = each.collect();
    each.into_iter().collect()
}

impl Destination {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let host = fields.required_text("host", cx);
        let weight = number(
            fields,
            "weight",
            |_| true,
            "a whole number from 0 is needed here",
            cx,
        );
        Some(Self {
            host: host?,
            weight,
            port: port(fields, "port", cx),
        })
    }
}

fn port(fields: &mut Fields<'_>, name: &'static str, cx: &mut Context<'_>) -> Option<TextField> {
    let form = "a port from 1 to 65535 is needed here";
    number(fields, name, |port| (1..=65535).contains(&port), form, cx)
}

/// `type` of a rule.
#[derive(Clone, Copy)]
enum RuleKind {
    Uri,
    Method,
    Headers,
    Port,
    Scheme,
    Authority,
}

impl Rule {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const TYPES: [(&str, RuleKind); 6] = [
            ("uri", RuleKind::Uri),
            ("method", RuleKind::Method),
            ("headers", RuleKind::Headers),
            ("port", RuleKind::Port),
            ("scheme", RuleKind::Scheme),
            ("authority", RuleKind::Authority),
        ];
        let kind = fields.required_choice("type", &TYPES, cx);
        let mut spec = fields.required_map("spec", cx)?;
        // A name for people.
        spec.accept(&["name"]);
        let read = match kind? {
            RuleKind::Uri => Match::read(&mut spec, cx).map(Self::Uri),
            RuleKind::Method => Match::read(&mut spec, cx).map(Self::Method),
            RuleKind::Scheme => Match::read(&mut spec, cx).map(Self::Scheme),
            RuleKind::Authority => Match::read(&mut spec, cx).map(Self::Authority),
            RuleKind::Port => {
                if spec.node("value").is_none() {
                    spec.missing("value", cx);
                }
                port(&mut spec, "value", cx).map(Self::Port)
            }
            RuleKind::Headers => headers(&mut spec, cx).map(Self::Headers),
        };
        spec.finish(cx);
        read
    }
}

fn headers(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Vec<Header>> {
    if spec.node("values").is_none_or(|node| node.is_empty()) {
        spec.missing("values", cx);
    }
    let each = spec.items("values", cx).into_iter().map(|(node, path)| {
        let mut item = Fields::open(node, path, cx)?;
        let key = item.required_text("key", cx);
        let value = Match::read(&mut item, cx);
        item.finish(cx);
        Some(Header {
            key: key?,
            value: value?,
        })
    });
    let each: Vec<Option<Header>> = each.collect();
    let headers: Vec<Header> = each.into_iter().collect::<Option<_>>()?;
    (!headers.is_empty()).then_some(headers)
}

impl Match {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const TYPES: [(&str, MatchType); 3] = [
            ("exact", MatchType::Exact),
            ("prefix", MatchType::Prefix),
            ("regex", MatchType::Regex),
        ];
        let how = match fields.node("matchType") {
            None => Some(MatchType::Exact),
            Some(_) => fields.choice("matchType", &TYPES, cx),
        };
        let value = fields.required_text("value", cx);
        Some(Self {
            how: how?,
            value: value?,
        })
    }
}
