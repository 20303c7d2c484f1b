//! What identifies the items of lists.

use std::collections::HashSet;

use serde_json::Value;

use crate::path;

/// The fields that identify an item, by the name of the list, best first. Most are the merge keys of
/// the Kubernetes API. A field with `?` may be absent, and is left out where it has its default.
const KEYS: &[(&str, &[&str])] = &[
    ("ports", &["containerPort", "protocol?"]),
    ("ports", &["port", "protocol?"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("volumeClaimTemplates", &["metadata.name"]),
    ("conditions", &["type"]),
    ("hostAliases", &["ip"]),
    (
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("readinessGates", &["conditionType"]),
    ("ownerReferences", &["uid"]),
    ("items", &["key"]),
    ("subjects", &["kind", "namespace?", "name"]),
    ("paths", &["path", "pathType?"]),
    ("rules", &["host"]),
    (
        "parentRefs",
        &["kind?", "namespace?", "name", "sectionName?", "port?"],
    ),
    ("backendRefs", &["kind?", "namespace?", "name", "port?"]),
];

/// The field that identifies the items of every other list.
const NAME: &[&str] = &["name"];

/// What identifies the items of two states of a list, item by item, when that is unique in both.
pub(super) fn identities(
    list: &str,
    old: &[Value],
    new: &[Value],
) -> Option<(Vec<String>, Vec<String>)> {
    candidates(list).find_map(|fields| Some((unique(old, fields)?, unique(new, fields)?)))
}

/// Where the item with an identity is.
pub(super) fn position(list: &str, items: &[Value], identity: &str) -> Option<usize> {
    candidates(list).find_map(|fields| {
        items
            .iter()
            .position(|item| identify(item, fields).as_deref() == Some(identity))
    })
}

fn candidates(list: &str) -> impl Iterator<Item = &'static [&'static str]> {
    let ours = KEYS.iter().filter(move |(name, _)| *name == list);
    ours.map(|(_, fields)| *fields).chain([NAME])
}

fn unique(items: &[Value], fields: &[&'static str]) -> Option<Vec<String>> {
    let identities: Vec<String> = items
        .iter()
        .map(|item| identify(item, fields))
        .collect::<Option<_>>()?;
    let distinct: HashSet<&str> = identities.iter().map(String::as_str).collect();
    (distinct.len() == identities.len()).then_some(identities)
}

fn identify(item: &Value, fields: &[&'static str]) -> Option<String> {
    let mut found = Vec::with_capacity(fields.len());
    for field in fields {
        let (name, optional) = match field.strip_suffix('?') {
            Some(name) => (name, true),
            None => (*field, false),
        };
        let value = name.split('.').try_fold(item, |value, key| value.get(key));
        match value.filter(|value| value.is_string() || value.is_number()) {
            Some(value) if optional && is_default(name, value) => {}
            Some(value) => found.push((name, value)),
            None if optional && value.is_none() => {}
            None => return None,
        }
    }
    Some(path::identity(found.into_iter()))
}

fn is_default(field: &str, value: &Value) -> bool {
    let text = value.as_str();
    text == Some("") || (field == "protocol" && text == Some("TCP"))
}
