//! What a step asks of a router, whatever router it is.

use std::collections::BTreeMap;
use std::fmt;

use super::reach::Reach;

/// How traffic is to be routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Routes in full: they are made, or those of an object that is there are brought to this.
    Config(Config),
    /// Only weights of routes that are there.
    Inherit(Inherit),
}

/// Routes in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose objects say it.
    pub provider: Provider,
    /// Name of the object.
    pub name: String,
    /// The routes, the first that matches a request counts.
    pub routes: Vec<Route>,
}

/// A router's kind, with what only it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// HTTPRoute or GRPCRoute of the Gateway API.
    GatewayApi {
        /// Which of them.
        protocol: Protocol,
        /// Host names that the route answers to; none: all of its listeners'.
        hosts: Vec<String>,
        /// The gateways it is attached to, each `[namespace/]name`.
        gateways: Vec<String>,
    },
    /// VirtualService of Istio.
    Istio {
        /// Hosts that it is about; none: the stable Service.
        hosts: Vec<String>,
        /// Gateways, as Istio names them.
        gateways: Vec<String>,
        /// It is included by another VirtualService, and has no hosts and gateways of its own.
        is_delegate: bool,
    },
    /// TrafficSplit and HTTPRouteGroup of the Service Mesh Interface.
    Smi {
        /// The Service that clients use; `None`: the stable one.
        root: Option<String>,
    },
}

/// What a Gateway API route speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTPRoute.
    #[default]
    Http,
    /// GRPCRoute.
    Grpc,
}

/// Requests that go the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Which requests it is about: those that fulfil any of these; none: all.
    pub rules: Vec<Rule>,
    /// Where they go.
    pub destinations: Vec<Destination>,
}

/// Only weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherit {
    /// For each route some of its destinations.
    pub routes: Vec<InheritedRoute>,
}

/// New weights of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InheritedRoute {
    /// The name it was made with; where nothing has it, all routes with these destinations.
    pub name: String,
    /// Those that change; the others share what is left.
    pub destinations: Vec<Destination>,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// A Service, or one of the words `stable` (also `primary`), `stage` and `canary`.
    pub host: String,
    /// The Service's port; `None`: its first.
    pub port: Option<u16>,
    /// Its part of the requests, in proportion to the others'; `None`: none, or where nobody has one, the same as all.
    pub weight: Option<u32>,
}

/// A condition on requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// On the path.
    Uri(Match),
    /// On the method.
    Method(Match),
    /// On headers: all of them.
    Headers(Vec<Header>),
    /// On the port that was connected to.
    Port(u16),
    /// On the scheme.
    Scheme(Match),
    /// On host name and port, as the request says them.
    Authority(Match),
}

/// A condition on one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name.
    pub key: String,
    /// What its value must be.
    pub value: Match,
}

/// A condition on text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// How it is compared.
    pub how: How,
    /// With what.
    pub value: String,
}

/// How text is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// It is the same.
    #[default]
    Exact,
    /// It begins so.
    Prefix,
    /// It fulfils a regular expression (RE2) as a whole.
    Regex,
}

/// The Services that a route may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// What the words `stable` and `primary` mean.
    pub stable: Option<String>,
    /// What the word `stage` means; `canary` too, where that has no Service of its own.
    pub stage: Option<String>,
    /// What the word `canary` means; `stage` too, where that has no Service of its own.
    pub canary: Option<String>,
    /// The first port of each Service that is known.
    pub ports: BTreeMap<String, u16>,
    /// Where requests for Services and subsets arrive, as far as that was looked at.
    pub reach: Reach,
}

impl Services {
    /// The Service's name; `None` for a word that means nothing here.
    pub fn named<'a>(&'a self, host: &'a str) -> Option<&'a str> {
        match host {
            "stable" | "primary" => self.stable.as_deref(),
            "stage" => self.stage.as_deref().or(self.canary.as_deref()),
            "canary" => self.canary.as_deref().or(self.stage.as_deref()),
            name => Some(name),
        }
    }

    /// Whether one of the words means the Service.
    pub(super) fn has(&self, service: &str) -> bool {
        let words = [&self.stable, &self.stage, &self.canary];
        words.into_iter().flatten().any(|name| name == service)
    }
}

impl Rule {
    /// The condition's name, as a user writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Uri(_) => "uri",
            Self::Method(_) => "method",
            Self::Headers(_) => "headers",
            Self::Port(_) => "port",
            Self::Scheme(_) => "scheme",
            Self::Authority(_) => "authority",
        }
    }
}

impl Match {
    /// A regular expression (RE2) for the whole text that says the same.
    pub fn regex(&self) -> String {
        match self.how {
            How::Exact => escaped(&self.value),
            How::Prefix => format!("{}.*", escaped(&self.value)),
            How::Regex => self.value.clone(),
        }
    }
}

impl How {
    /// Its name, as a user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Regex => "regex",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A method as HTTP names it: Harness calls one of them OPTION.
pub(super) fn method(name: &str) -> &str {
    if name == "OPTION" { "OPTIONS" } else { name }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for one in text.chars() {
        if r"\.+*?()|[]{}^$".contains(one) {
            escaped.push('\\');
        }
        escaped.push(one);
    }
    escaped
}
