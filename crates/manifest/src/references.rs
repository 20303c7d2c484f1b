//! Where objects name ConfigMaps and Secrets.

use serde_json::{Map, Value};

use crate::object::Object;
use crate::workload::{self, Workload};

/// The two kinds that hold configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigKind {
    /// ConfigMap.
    ConfigMap,
    /// Secret.
    Secret,
}

/// One name of a ConfigMap or Secret inside another object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// What is named.
    pub kind: ConfigKind,
    /// Namespace, where the reference states another than that of the object it stands in.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ConfigKind {
    /// The kind as written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// The kind of an object, when it is one of the two.
    pub fn of(object: &Object) -> Option<Self> {
        match (object.group(), object.kind()) {
            ("", "ConfigMap") => Some(Self::ConfigMap),
            ("", "Secret") => Some(Self::Secret),
            _ => None,
        }
    }
}

/// Every ConfigMap and Secret that the object names at a place that Kubernetes defines: in pod
/// templates, and in ServiceAccounts, Ingresses and Gateways.
pub fn references(object: &Object) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut copy = object.clone();
    visit(&mut copy, &mut |kind, namespace, name| {
        found.push(Reference {
            kind,
            namespace: namespace.map(str::to_owned),
            name: name.clone(),
        });
    });
    found.sort();
    found.dedup();
    found
}

/// Calls `change` for every reference: its kind, the namespace it states if it states one, and the
/// name, which may be changed.
pub(crate) fn visit(
    object: &mut Object,
    change: &mut dyn FnMut(ConfigKind, Option<&str>, &mut String),
) {
    let (group, kind) = (object.group().to_owned(), object.kind().to_owned());
    let mut local = |kind: ConfigKind, name: &mut String| change(kind, None, name);
    match (group.as_str(), kind.as_str()) {
        ("", "ServiceAccount") => {
            for field in ["imagePullSecrets", "secrets"] {
                each(object.value_mut(), field, |secret| {
                    name(secret, "name", ConfigKind::Secret, &mut local)
                });
            }
        }
        ("networking.k8s.io" | "extensions", "Ingress") => {
            if let Some(spec) = map(object.value_mut(), "spec") {
                each(spec, "tls", |tls| {
                    name(tls, "secretName", ConfigKind::Secret, &mut local)
                });
            }
        }
        ("gateway.networking.k8s.io", "Gateway") => gateway(object.value_mut(), change),
        _ => {
            if kind == "DeploymentConfig" && Workload::of(&group, &kind).is_some() {
                hook_pods(object.value_mut(), &mut local);
            }
            if let Some(spec) = workload::pod_template_mut(object).and_then(|t| map(t, "spec")) {
                pod_spec(spec, &mut local);
            }
        }
    }
}

type Local<'a> = dyn FnMut(ConfigKind, &mut String) + 'a;

fn pod_spec(spec: &mut Map<String, Value>, change: &mut Local<'_>) {
    each(spec, "imagePullSecrets", |secret| {
        name(secret, "name", ConfigKind::Secret, change)
    });
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, field, |container| environment(container, change));
    }
    each(spec, "volumes", |volume| volume_source(volume, change));
}

fn environment(container: &mut Map<String, Value>, change: &mut Local<'_>) {
    each(container, "env", |variable| {
        if let Some(from) = map(variable, "valueFrom") {
            named(from, "configMapKeyRef", ConfigKind::ConfigMap, change);
            named(from, "secretKeyRef", ConfigKind::Secret, change);
        }
    });
    each(container, "envFrom", |from| {
        named(from, "configMapRef", ConfigKind::ConfigMap, change);
        named(from, "secretRef", ConfigKind::Secret, change);
    });
}

fn volume_source(volume: &mut Map<String, Value>, change: &mut Local<'_>) {
    named(volume, "configMap", ConfigKind::ConfigMap, change);
    for field in ["secret", "azureFile"] {
        if let Some(source) = map(volume, field) {
            name(source, "secretName", ConfigKind::Secret, change);
        }
    }
    if let Some(projected) = map(volume, "projected") {
        each(projected, "sources", |source| {
            named(source, "configMap", ConfigKind::ConfigMap, change);
            named(source, "secret", ConfigKind::Secret, change);
        });
    }
    for plugin in [
        "cephfs",
        "cinder",
        "flexVolume",
        "iscsi",
        "rbd",
        "scaleIO",
        "storageos",
    ] {
        if let Some(source) = map(volume, plugin) {
            named(source, "secretRef", ConfigKind::Secret, change);
        }
    }
    if let Some(source) = map(volume, "csi") {
        named(source, "nodePublishSecretRef", ConfigKind::Secret, change);
    }
}

/// A DeploymentConfig also runs pods for its strategy and its lifecycle hooks.
fn hook_pods(object: &mut Map<String, Value>, change: &mut Local<'_>) {
    let Some(strategy) = map(object, "spec").and_then(|spec| map(spec, "strategy")) else {
        return;
    };
    if let Some(custom) = map(strategy, "customParams") {
        environment(custom, change);
    }
    for params in ["recreateParams", "rollingParams"] {
        let Some(params) = map(strategy, params) else {
            continue;
        };
        for hook in ["pre", "mid", "post"] {
            if let Some(pod) = map(params, hook).and_then(|hook| map(hook, "execNewPod")) {
                environment(pod, change);
            }
        }
    }
}

fn gateway(
    object: &mut Map<String, Value>,
    change: &mut dyn FnMut(ConfigKind, Option<&str>, &mut String),
) {
    let Some(spec) = map(object, "spec") else {
        return;
    };
    each(spec, "listeners", |listener| {
        let Some(tls) = map(listener, "tls") else {
            return;
        };
        each(tls, "certificateRefs", |reference| {
            let word = |key: &str| {
                reference
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let is_secret = word("group").is_empty() && matches!(word("kind"), "" | "Secret");
            let namespace = Some(word("namespace").to_owned()).filter(|text| !text.is_empty());
            if let (true, Some(Value::String(name))) = (is_secret, reference.get_mut("name")) {
                change(ConfigKind::Secret, namespace.as_deref(), name);
            }
        });
    });
}

/// `field: {name: …}`
fn named(map_of: &mut Map<String, Value>, field: &str, kind: ConfigKind, change: &mut Local<'_>) {
    if let Some(reference) = map(map_of, field) {
        name(reference, "name", kind, change);
    }
}

fn name(reference: &mut Map<String, Value>, key: &str, kind: ConfigKind, change: &mut Local<'_>) {
    if let Some(Value::String(name)) = reference.get_mut(key) {
        change(kind, name);
    }
}

fn map<'a>(value: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    value.get_mut(key)?.as_object_mut()
}

fn each(value: &mut Map<String, Value>, key: &str, mut visit: impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Array(list)) = value.get_mut(key) {
        list.iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(&mut visit);
    }
}
