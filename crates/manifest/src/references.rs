//! Where objects name ConfigMaps and Secrets.
//!
//! Known are the places that Kubernetes and OpenShift define, and pod templates inside the custom
//! resources of [`crate::workload`]. For any other place an object says itself where to look, with
//! the annotations `sortie.dev/configmap-paths` and `sortie.dev/secret-paths`: places separated by
//! commas or spaces, such as `spec.auth.secretName, spec.sources[].secrets[]`.

use serde_json::{Map, Value};

use crate::annotations;
use crate::object::Object;
use crate::pattern;
use crate::workload;

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
    /// Whether the object works without what is named.
    pub optional: bool,
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

/// Every ConfigMap and Secret that the object names at a known or declared place.
pub fn references(object: &Object) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut read = |map, place: &str, kind| {
        pattern::read(map, place, &mut |parent: &Map<String, Value>, name| {
            if is_of(parent, kind) {
                found.push(Reference {
                    kind,
                    namespace: word(parent, "namespace").map(str::to_owned),
                    name: name.to_owned(),
                    optional: parent.get("optional") == Some(&Value::Bool(true)),
                });
            }
        });
    };
    for (kind, place) in places(object.group(), object.kind()) {
        read(object.value(), place, *kind);
    }
    for (kind, place) in declared(object) {
        read(object.value(), &place, kind);
    }
    if let Some(Value::Object(spec)) =
        workload::pod_template(object).and_then(|template| template.get("spec"))
    {
        for (kind, place) in POD {
            read(spec, place, *kind);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Makes the new name of a reference from its kind, the namespace it states if it states one, and
/// its name; `None` leaves it.
pub(crate) type Rename<'r> = dyn FnMut(ConfigKind, Option<&str>, &str) -> Option<String> + 'r;

/// Renames every reference for which `name` makes a new name.
pub(crate) fn rename(object: &mut Object, name: &mut Rename<'_>) {
    let known = places(object.group(), object.kind());
    let declared = declared(object);
    let mut rewrite = |map: &mut Map<String, Value>, place: &str, kind| {
        pattern::rewrite(map, place, &mut |parent, old| {
            is_of(parent, kind)
                .then(|| name(kind, word(parent, "namespace"), old))
                .flatten()
        });
    };
    for (kind, place) in known {
        rewrite(object.value_mut(), place, *kind);
    }
    for (kind, place) in declared {
        rewrite(object.value_mut(), &place, kind);
    }
    if let Some(Value::Object(spec)) =
        workload::pod_template_mut(object).and_then(|template| template.get_mut("spec"))
    {
        for (kind, place) in POD {
            rewrite(spec, place, *kind);
        }
    }
}

/// The places that the object's annotations declare and that say nothing: malformed ones, and those
/// at which the object has no text.
pub(crate) fn idle_places(object: &Object) -> Vec<String> {
    declarations(object)
        .filter(|(_, place)| {
            let mut used = false;
            if pattern::is_place(place) {
                pattern::read(object.value(), place, &mut |_, _| used = true);
            }
            !used
        })
        .map(|(_, place)| place.to_owned())
        .collect()
}

const CONFIG_MAP: ConfigKind = ConfigKind::ConfigMap;
const SECRET: ConfigKind = ConfigKind::Secret;

/// Places in a pod spec.
const POD: &[(ConfigKind, &str)] = &[
    (SECRET, "imagePullSecrets[].name"),
    (
        CONFIG_MAP,
        "initContainers[].env[].valueFrom.configMapKeyRef.name",
    ),
    (SECRET, "initContainers[].env[].valueFrom.secretKeyRef.name"),
    (CONFIG_MAP, "initContainers[].envFrom[].configMapRef.name"),
    (SECRET, "initContainers[].envFrom[].secretRef.name"),
    (
        CONFIG_MAP,
        "containers[].env[].valueFrom.configMapKeyRef.name",
    ),
    (SECRET, "containers[].env[].valueFrom.secretKeyRef.name"),
    (CONFIG_MAP, "containers[].envFrom[].configMapRef.name"),
    (SECRET, "containers[].envFrom[].secretRef.name"),
    (
        CONFIG_MAP,
        "ephemeralContainers[].env[].valueFrom.configMapKeyRef.name",
    ),
    (
        SECRET,
        "ephemeralContainers[].env[].valueFrom.secretKeyRef.name",
    ),
    (
        CONFIG_MAP,
        "ephemeralContainers[].envFrom[].configMapRef.name",
    ),
    (SECRET, "ephemeralContainers[].envFrom[].secretRef.name"),
    (CONFIG_MAP, "volumes[].configMap.name"),
    (SECRET, "volumes[].secret.secretName"),
    (CONFIG_MAP, "volumes[].projected.sources[].configMap.name"),
    (SECRET, "volumes[].projected.sources[].secret.name"),
    (SECRET, "volumes[].azureFile.secretName"),
    (SECRET, "volumes[].cephfs.secretRef.name"),
    (SECRET, "volumes[].cinder.secretRef.name"),
    (SECRET, "volumes[].csi.nodePublishSecretRef.name"),
    (SECRET, "volumes[].flexVolume.secretRef.name"),
    (SECRET, "volumes[].iscsi.secretRef.name"),
    (SECRET, "volumes[].rbd.secretRef.name"),
    (SECRET, "volumes[].scaleIO.secretRef.name"),
    (SECRET, "volumes[].storageos.secretRef.name"),
];

/// A DeploymentConfig also runs pods for its strategy and its lifecycle hooks.
const DEPLOYMENT_CONFIG: &[(ConfigKind, &str)] = &[
    (
        CONFIG_MAP,
        "spec.strategy.customParams.environment[].valueFrom.configMapKeyRef.name",
    ),
    (
        SECRET,
        "spec.strategy.customParams.environment[].valueFrom.secretKeyRef.name",
    ),
    (
        CONFIG_MAP,
        "spec.strategy.recreateParams.pre.execNewPod.env[].valueFrom.configMapKeyRef.name",
    ),
    (
        SECRET,
        "spec.strategy.recreateParams.pre.execNewPod.env[].valueFrom.secretKeyRef.name",
    ),
    (
        CONFIG_MAP,
        "spec.strategy.recreateParams.mid.execNewPod.env[].valueFrom.configMapKeyRef.name",
    ),
    (
        SECRET,
        "spec.strategy.recreateParams.mid.execNewPod.env[].valueFrom.secretKeyRef.name",
    ),
    (
        CONFIG_MAP,
        "spec.strategy.recreateParams.post.execNewPod.env[].valueFrom.configMapKeyRef.name",
    ),
    (
        SECRET,
        "spec.strategy.recreateParams.post.execNewPod.env[].valueFrom.secretKeyRef.name",
    ),
    (
        CONFIG_MAP,
        "spec.strategy.rollingParams.pre.execNewPod.env[].valueFrom.configMapKeyRef.name",
    ),
    (
        SECRET,
        "spec.strategy.rollingParams.pre.execNewPod.env[].valueFrom.secretKeyRef.name",
    ),
    (
        CONFIG_MAP,
        "spec.strategy.rollingParams.post.execNewPod.env[].valueFrom.configMapKeyRef.name",
    ),
    (
        SECRET,
        "spec.strategy.rollingParams.post.execNewPod.env[].valueFrom.secretKeyRef.name",
    ),
];

/// Places beside pod templates, from the root of the object.
fn places(group: &str, kind: &str) -> &'static [(ConfigKind, &'static str)] {
    match (group, kind) {
        ("", "ServiceAccount") => &[
            (SECRET, "imagePullSecrets[].name"),
            (SECRET, "secrets[].name"),
        ],
        ("networking.k8s.io" | "extensions", "Ingress") => &[(SECRET, "spec.tls[].secretName")],
        ("gateway.networking.k8s.io", "Gateway") => {
            &[(SECRET, "spec.listeners[].tls.certificateRefs[].name")]
        }
        ("apps.openshift.io", "DeploymentConfig") => DEPLOYMENT_CONFIG,
        _ => &[],
    }
}

/// The well-formed places that the object's annotations declare.
fn declared(object: &Object) -> Vec<(ConfigKind, String)> {
    declarations(object)
        .filter(|(_, place)| pattern::is_place(place))
        .map(|(kind, place)| (kind, place.to_owned()))
        .collect()
}

/// At most 100 places: what more an annotation lists does not count.
fn declarations(object: &Object) -> impl Iterator<Item = (ConfigKind, &str)> {
    [
        (CONFIG_MAP, annotations::CONFIG_MAP_PATHS),
        (SECRET, annotations::SECRET_PATHS),
    ]
    .into_iter()
    .filter_map(|(kind, name)| Some((kind, object.annotation(name)?)))
    .flat_map(|(kind, list)| {
        list.split(|c: char| c == ',' || c.is_whitespace())
            .filter(|place| !place.is_empty())
            .map(move |place| (kind, place))
    })
    .take(100)
}

/// Whether the map around a name leaves it open what kind it names, or says this one.
fn is_of(parent: &Map<String, Value>, kind: ConfigKind) -> bool {
    word(parent, "kind").is_none_or(|said| said == kind.as_str()) && word(parent, "group").is_none()
}

fn word<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str().filter(|text| !text.is_empty())
}
