//! What must not be deleted along with the rest of a release. Pure.

use serde_json::Value;
use sortie_manifest::ObjectId;

/// Kinds whose content cannot be brought back: they are kept unless somebody asks for their deletion.
const STORAGE: [(&str, &str); 4] = [
    ("", "PersistentVolumeClaim"),
    ("", "PersistentVolume"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "Namespace"),
];

/// What says that an object stays: annotation, and its value or one of its list of values.
const KEPT: [(&str, &str); 6] = [
    ("sortie.dev/prune", "false"),
    ("sortie.dev/skip-pruning", "true"),
    ("harness.io/skipPruning", "true"),
    ("helm.sh/resource-policy", "keep"),
    ("argocd.argoproj.io/sync-options", "Prune=false"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
];

/// The annotation with which even storage is deleted.
pub(crate) const WANTED: (&str, &str) = ("sortie.dev/prune", "true");

/// Whether what the object holds cannot be brought back.
pub(crate) fn is_storage(id: &ObjectId) -> bool {
    STORAGE.contains(&(id.group.as_str(), id.kind.as_str()))
}

/// Which annotation says that a live object stays.
pub(crate) fn annotated(live: &Value) -> Option<String> {
    let says = |(name, value): &(&str, &str)| {
        let mut words = annotation(live, name)?.split(',');
        let found = words.any(|word| word.trim().eq_ignore_ascii_case(value));
        found.then(|| format!("its annotation {name} says so"))
    };
    KEPT.iter().find_map(says)
}

/// Whether its annotation lets even storage go.
pub(crate) fn may_go(live: &Value) -> bool {
    let (name, value) = WANTED;
    annotation(live, name).is_some_and(|text| text.trim() == value)
}

/// Whether a controller made it, or has taken it over.
pub(crate) fn is_controlled(live: &Value) -> bool {
    let owners = live
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let controls = |owner: &Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    owners.is_some_and(|owners| owners.iter().any(controls))
}

/// An annotation of a live object.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// A text of a live object; empty where it has none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
