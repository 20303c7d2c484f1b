//! What an object cannot do without, found from its content.

use serde_json::{Map, Value};

use super::stated::Space;
use crate::object::Object;
use crate::pattern;
use crate::references::{self, ConfigKind};
use crate::workload;

/// Something that an object names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: Space,
    pub(super) name: String,
    /// Whether the object is refused, does not start or does not become healthy without it. What is
    /// not strict gives way where anything else asks for another order.
    pub(super) strict: bool,
}

const RBAC: &str = "rbac.authorization.k8s.io";
const GATEWAY: &str = "gateway.networking.k8s.io";

/// Everything that the object names and that may be in the same set.
pub(super) fn needs(object: &Object) -> Vec<Need<'_>> {
    let mut needs = Needs(Vec::new());
    for reference in references::references(object) {
        if reference.optional {
            continue;
        }
        // A legacy list in an account names tokens, which need the account.
        let is_token = object.kind() == "ServiceAccount"
            && !names(object.value(), "imagePullSecrets[].name").contains(&reference.name.as_str());
        if is_token && reference.kind == ConfigKind::Secret {
            continue;
        }
        needs.0.push(Need {
            group: "",
            kind: reference.kind.as_str(),
            namespace: reference.namespace.map_or(Space::Same, Space::Of),
            name: reference.name,
            strict: true,
        });
    }
    if let Some(spec) = pod_spec(object) {
        needs.pod(spec);
    }
    needs.of_kind(object);
    needs.0
}

/// The account that the pods of an object run as.
pub(super) fn account(object: &Object) -> Option<&str> {
    let spec = pod_spec(object)?;
    let named = ["serviceAccountName", "serviceAccount"]
        .iter()
        .find_map(|key| word(spec, key));
    Some(named.unwrap_or("default"))
}

/// The accounts that a binding gives rights: namespace, if it is stated, and name.
pub(super) fn subjects(object: &Object) -> Vec<(Option<&str>, &str)> {
    if object.group() != RBAC || !matches!(object.kind(), "RoleBinding" | "ClusterRoleBinding") {
        return Vec::new();
    }
    let mut found = Vec::new();
    pattern::read(object.value(), "subjects[].name", &mut |subject, name| {
        if word(subject, "kind") == Some("ServiceAccount") {
            found.push((word(subject, "namespace"), name));
        }
    });
    found
}

/// The group and kind that a custom resource definition defines.
pub(super) fn defines(object: &Object) -> Option<(&str, &str)> {
    if (object.group(), object.kind()) != ("apiextensions.k8s.io", "CustomResourceDefinition") {
        return None;
    }
    let spec = object.value().get("spec")?;
    Some((
        spec.get("group")?.as_str()?,
        spec.get("names")?.get("kind")?.as_str()?,
    ))
}

struct Needs<'a>(Vec<Need<'a>>);

impl<'a> Needs<'a> {
    fn add(&mut self, group: &'a str, kind: &'a str, namespace: Space, name: &str) {
        self.0.push(Need {
            group,
            kind,
            namespace,
            name: name.to_owned(),
            strict: true,
        });
    }

    /// Adds what stands at each of the places.
    fn at(&mut self, map: &Map<String, Value>, wanted: (&'a str, &'a str, Space), place: &str) {
        let (group, kind, home) = wanted;
        for name in names(map, place) {
            self.add(group, kind, home.clone(), name);
        }
    }

    fn pod(&mut self, spec: &'a Map<String, Value>) {
        let same = |kind| ("", kind, Space::Same);
        self.at(spec, same("ServiceAccount"), "serviceAccountName");
        self.at(spec, same("ServiceAccount"), "serviceAccount");
        let claim = "volumes[].persistentVolumeClaim.claimName";
        self.at(spec, same("PersistentVolumeClaim"), claim);
        let priority = ("scheduling.k8s.io", "PriorityClass", Space::Cluster);
        self.at(spec, priority, "priorityClassName");
        let runtime = ("node.k8s.io", "RuntimeClass", Space::Cluster);
        self.at(spec, runtime, "runtimeClassName");
    }

    fn of_kind(&mut self, object: &'a Object) {
        let value = object.value();
        let service = || ("", "Service", Space::Same);
        match (object.group(), object.kind()) {
            (RBAC, "RoleBinding" | "ClusterRoleBinding") => {
                let kind = value
                    .get("roleRef")
                    .and_then(|role| role.get("kind")?.as_str());
                match kind {
                    Some("Role") => self.at(value, (RBAC, "Role", Space::Same), "roleRef.name"),
                    _ => self.at(value, (RBAC, "ClusterRole", Space::Cluster), "roleRef.name"),
                }
            }
            ("", "Secret") => {
                let owner = object.annotation("kubernetes.io/service-account.name");
                if let Some(name) = owner {
                    self.add("", "ServiceAccount", Space::Same, name);
                }
            }
            ("", "PersistentVolumeClaim" | "PersistentVolume") => {
                let class = ("storage.k8s.io", "StorageClass", Space::Cluster);
                self.at(value, class, "spec.storageClassName");
            }
            ("apps", "StatefulSet") => {
                // Not strict: a Service may be made to wait for its pods.
                self.at(value, service(), "spec.serviceName");
                self.lenient_last(names(value, "spec.serviceName").len());
            }
            ("networking.k8s.io" | "extensions", "Ingress") => {
                let class = ("networking.k8s.io", "IngressClass", Space::Cluster);
                self.at(value, class, "spec.ingressClassName");
                self.at(value, service(), "spec.defaultBackend.service.name");
                self.at(
                    value,
                    service(),
                    "spec.rules[].http.paths[].backend.service.name",
                );
            }
            (GATEWAY, "Gateway") => {
                let class = (GATEWAY, "GatewayClass", Space::Cluster);
                self.at(value, class, "spec.gatewayClassName");
            }
            (GATEWAY, "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute") => {
                self.by_reference(value, "spec.parentRefs[].name", (GATEWAY, "Gateway"));
                self.by_reference(value, "spec.rules[].backendRefs[].name", ("", "Service"));
            }
            ("autoscaling", "HorizontalPodAutoscaler") => self.target(value),
            ("apiregistration.k8s.io", "APIService") => {
                self.elsewhere(value, "spec.service.name");
            }
            ("admissionregistration.k8s.io", _) => {
                self.elsewhere(value, "webhooks[].clientConfig.service.name");
            }
            _ => {}
        }
    }

    /// References that may state group, kind and namespace, with the kind that they mean otherwise.
    fn by_reference(
        &mut self,
        value: &'a Map<String, Value>,
        place: &str,
        default: (&'a str, &'a str),
    ) {
        pattern::read(value, place, &mut |reference, name| {
            let group = reference.get("group").and_then(Value::as_str);
            let kind = word(reference, "kind").unwrap_or(default.1);
            let home =
                word(reference, "namespace").map_or(Space::Same, |name| Space::Of(name.to_owned()));
            self.add(group.unwrap_or(default.0), kind, home, name);
        });
    }

    fn target(&mut self, value: &'a Map<String, Value>) {
        pattern::read(value, "spec.scaleTargetRef.name", &mut |target, name| {
            let version = word(target, "apiVersion").unwrap_or("v1");
            let group = version.split_once('/').map_or("", |(group, _)| group);
            if let Some(kind) = word(target, "kind") {
                self.add(group, kind, Space::Same, name);
            }
        });
    }

    /// Services that a cluster-scoped object names; not strict, since it works again when they come.
    fn elsewhere(&mut self, value: &'a Map<String, Value>, place: &str) {
        pattern::read(value, place, &mut |service, name| {
            if let Some(namespace) = word(service, "namespace") {
                self.add("", "Service", Space::Of(namespace.to_owned()), name);
                self.lenient_last(1);
            }
        });
    }

    fn lenient_last(&mut self, count: usize) {
        for need in self.0.iter_mut().rev().take(count) {
            need.strict = false;
        }
    }
}

fn pod_spec(object: &Object) -> Option<&Map<String, Value>> {
    workload::pod_template(object)?.get("spec")?.as_object()
}

fn names<'a>(map: &'a Map<String, Value>, place: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    pattern::read(map, place, &mut |_, name| found.push(name));
    found.retain(|name| !name.is_empty());
    found
}

fn word<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str().filter(|text| !text.is_empty())
}
