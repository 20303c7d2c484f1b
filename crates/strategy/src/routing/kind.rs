//! Where the kinds of routes keep rules, backends and weights.

use serde_json::Value;
use sortie_manifest::ObjectId;

use super::request::{Protocol, Services};

/// A kind of object with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Gateway API, HTTP.
    HttpRoute,
    /// Gateway API, gRPC.
    GrpcRoute,
    /// Istio.
    VirtualService,
    /// Service Mesh Interface. It is one rule.
    TrafficSplit,
}

impl RouteKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::VirtualService,
        Self::TrafficSplit,
    ];

    /// The kind of an object; `None`: it is no route.
    pub fn of(object: &Value) -> Option<Self> {
        let api_version = object.get("apiVersion")?.as_str()?;
        let group = api_version.split_once('/')?.0;
        let kind = object.get("kind")?.as_str()?;
        Self::ALL
            .into_iter()
            .find(|known| known.group() == group && known.kind() == kind)
    }

    /// API group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io",
            Self::VirtualService => "networking.istio.io",
            Self::TrafficSplit => "split.smi-spec.io",
        }
    }

    /// Kind.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::VirtualService => "VirtualService",
            Self::TrafficSplit => "TrafficSplit",
        }
    }

    /// The fields of the spec that say where requests go.
    pub(super) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::HttpRoute | Self::GrpcRoute => &["rules"],
            Self::VirtualService => &["http", "tcp", "tls"],
            Self::TrafficSplit => &["service", "backends", "matches"],
        }
    }

    /// The list in the spec that our rules lead; `None`: the object is one rule.
    pub(super) const fn list(self) -> Option<&'static str> {
        match self {
            Self::HttpRoute | Self::GrpcRoute => Some("rules"),
            Self::VirtualService => Some("http"),
            Self::TrafficSplit => None,
        }
    }

    const fn backends(self) -> &'static str {
        match self {
            Self::HttpRoute | Self::GrpcRoute => "backendRefs",
            Self::VirtualService => "route",
            Self::TrafficSplit => "backends",
        }
    }

    /// Every rule, those of [`RouteKind::list`] first.
    pub(super) fn rules_mut(self, object: &mut Value) -> Vec<&mut Value> {
        if self == Self::TrafficSplit {
            return object.get_mut("spec").into_iter().collect();
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
            return Vec::new();
        };
        let mut rules = Vec::new();
        for (key, value) in spec.iter_mut() {
            if self.fields().contains(&key.as_str())
                && let Some(list) = value.as_array_mut()
            {
                let is_first = Some(key.as_str()) == self.list();
                rules.push((!is_first, list));
            }
        }
        rules.sort_by_key(|(is_later, _)| *is_later);
        rules.into_iter().flat_map(|(_, list)| list).collect()
    }

    /// The backends of a rule.
    pub(super) fn backends_mut(self, rule: &mut Value) -> &mut [Value] {
        let list = self.backend_list_mut(rule);
        list.map_or(&mut [], Vec::as_mut_slice)
    }

    /// The list with the backends of a rule.
    pub(super) fn backend_list_mut(self, rule: &mut Value) -> Option<&mut Vec<Value>> {
        rule.get_mut(self.backends()).and_then(Value::as_array_mut)
    }

    /// The weight of a backend that stands beside others.
    pub(super) fn weight(self, backend: &Value) -> Option<u32> {
        match backend.get("weight") {
            Some(Value::Null) | None => Some(match self {
                Self::HttpRoute | Self::GrpcRoute => 1,
                Self::VirtualService | Self::TrafficSplit => 0,
            }),
            Some(weight) => u32::try_from(weight.as_u64()?).ok(),
        }
    }

    /// The Service of the route's namespace that a backend leads to.
    pub(super) fn service<'a>(self, backend: &'a Value, namespace: &str) -> Option<&'a str> {
        let text = |pointer: &str| backend.pointer(pointer).and_then(Value::as_str);
        match self {
            Self::HttpRoute | Self::GrpcRoute => {
                let is_here = text("/kind").unwrap_or("Service") == "Service"
                    && text("/group").unwrap_or("").is_empty()
                    && text("/namespace").unwrap_or(namespace) == namespace;
                text("/name").filter(|_| is_here)
            }
            Self::VirtualService => text("/destination/host")
                .map(|host| short(host, namespace))
                .filter(|host| !host.contains('.')),
            Self::TrafficSplit => text("/service"),
        }
    }

    /// The Service of the route's namespace that a backend leads to, and the subset of it that it names.
    pub(super) fn target<'a>(
        self,
        backend: &'a Value,
        namespace: &str,
    ) -> Option<(&'a str, Option<&'a str>)> {
        let subset = backend
            .pointer("/destination/subset")
            .and_then(Value::as_str);
        let subset = subset.filter(|_| self == Self::VirtualService);
        Some((self.service(backend, namespace)?, subset))
    }

    /// Lets a backend that leads to the new side lead to the stable Service, or to a subset of its own that does. False: there
    /// is none.
    pub(super) fn turn_to_stable(
        self,
        backend: &mut Value,
        services: &Services,
        namespace: &str,
    ) -> bool {
        let stable = services.stable.as_deref();
        let stable = stable.or_else(|| services.reach.stable());
        match self {
            Self::HttpRoute | Self::GrpcRoute => set(backend, "name", stable),
            Self::TrafficSplit => set(backend, "service", stable),
            Self::VirtualService => {
                let target = self.target(backend, namespace);
                let target =
                    target.map(|(host, subset)| (host.to_owned(), subset.map(str::to_owned)));
                let Some(destination) = backend.get_mut("destination") else {
                    return false;
                };
                let Some((host, Some(_))) = target else {
                    return set(destination, "host", stable);
                };
                let reach = &services.reach;
                if let Some(subset) = reach.stable_subset(&host) {
                    return set(destination, "subset", Some(subset));
                }
                let whole = reach.arrival(&host, None);
                if whole.is_some_and(|whole| whole.is("stable")) {
                    // Without the new side's pods all of it is the stable one's.
                    return destination
                        .as_object_mut()
                        .and_then(|fields| fields.shift_remove("subset"))
                        .is_some();
                }
                reach.is_empty() && set(destination, "subset", Some("stable"))
            }
        }
    }

    /// Whether a backend is what `host` means: the Service, or the subset of that name; where a word is looked for whose side
    /// is known, what leads to the pods of that side.
    pub(super) fn leads_to(
        self,
        backend: &Value,
        host: &str,
        services: &Services,
        namespace: &str,
    ) -> bool {
        let target = self.target(backend, namespace);
        let reach = &services.reach;
        let known = target.and_then(|(service, subset)| reach.arrival(service, subset));
        match target {
            Some((_, Some(_))) if known.is_some() => known.is_some_and(|known| known.is(host)),
            Some((service, Some(subset))) => {
                let is_ours = services.stable.as_deref().is_none_or(|own| own == service);
                subset == host && (reach.is_empty() || is_ours)
            }
            Some((service, None)) if !services.has(service) && known.is_some() => {
                services.named(host) == Some(service) || known.is_some_and(|known| known.is(host))
            }
            _ if self == Self::VirtualService => {
                let there = backend.pointer("/destination/host").and_then(Value::as_str);
                let subset = backend.pointer("/destination/subset");
                if let Some(subset) = subset {
                    return reach.is_empty() && subset.as_str() == Some(host);
                }
                match (services.named(host), there) {
                    (Some(named), Some(there)) => {
                        short(named, namespace) == short(there, namespace)
                    }
                    _ => false,
                }
            }
            Some((service, None)) => services.named(host) == Some(service),
            None => false,
        }
    }
}

/// What a rule of a route is called: by its name, or by its place from the first one.
pub(super) fn rule_name(rule: &Value, index: usize) -> String {
    match rule.get("name").and_then(Value::as_str) {
        Some(name) => format!("rule {name}"),
        None => format!("rule {}", index + 1),
    }
}

impl From<Protocol> for RouteKind {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http => Self::HttpRoute,
            Protocol::Grpc => Self::GrpcRoute,
        }
    }
}

fn set(fields: &mut Value, key: &str, value: Option<&str>) -> bool {
    if let (Some(fields), Some(value)) = (fields.as_object_mut(), value) {
        fields.insert(key.to_owned(), value.into());
        return true;
    }
    false
}

/// A host as Istio reads it in a namespace, without what says where in the cluster.
pub(super) fn short<'a>(host: &'a str, namespace: &str) -> &'a str {
    let local = host.strip_suffix(".svc.cluster.local");
    let local = local.or_else(|| host.strip_suffix(".svc")).unwrap_or(host);
    local
        .strip_suffix(namespace)
        .and_then(|name| name.strip_suffix('.'))
        .unwrap_or(local)
}

pub(super) fn is(object: &Value, id: &ObjectId) -> bool {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    text("/kind") == Some(&id.kind)
        && text("/metadata/name") == Some(&id.name)
        && text("/apiVersion")
            .and_then(|version| version.split_once('/'))
            .is_some_and(|(group, _)| group == id.group)
}

pub(super) fn named(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    format!("{}/{}", kind.unwrap_or("?"), name.unwrap_or("?"))
}

pub(super) fn namespace(object: &Value) -> &str {
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default()
}
