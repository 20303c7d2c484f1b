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

    /// Lets a backend that leads to the new side lead to the stable Service, or to the subset of that name.
    pub(super) fn turn_to_stable(self, backend: &mut Value, services: &Services) {
        let stable = services.stable.as_deref();
        match self {
            Self::HttpRoute | Self::GrpcRoute => set(backend, "name", stable),
            Self::TrafficSplit => set(backend, "service", stable),
            Self::VirtualService => {
                let Some(destination) = backend.get_mut("destination") else {
                    return;
                };
                if destination.get("subset").is_some() {
                    set(destination, "subset", Some("stable"));
                } else {
                    set(destination, "host", stable);
                }
            }
        }
    }

    /// Whether a backend is what `host` means: the Service, or the subset of that name.
    pub(super) fn leads_to(
        self,
        backend: &Value,
        host: &str,
        services: &Services,
        namespace: &str,
    ) -> bool {
        let text = |pointer: &str| backend.pointer(pointer).and_then(Value::as_str);
        match self {
            Self::HttpRoute | Self::GrpcRoute | Self::TrafficSplit => {
                let service = self.service(backend, namespace);
                service.is_some() && service == services.named(host)
            }
            Self::VirtualService => match text("/destination/subset") {
                Some(subset) => subset == host,
                None => match (services.named(host), text("/destination/host")) {
                    (Some(named), Some(there)) => {
                        short(named, namespace) == short(there, namespace)
                    }
                    _ => false,
                },
            },
        }
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

fn set(fields: &mut Value, key: &str, value: Option<&str>) {
    if let (Some(fields), Some(value)) = (fields.as_object_mut(), value) {
        fields.insert(key.to_owned(), value.into());
    }
}

/// A host as Istio reads it in a namespace, without what says where in the cluster.
fn short<'a>(host: &'a str, namespace: &str) -> &'a str {
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
