//! Who decides what a route says.

use serde_json::Value;
use sortie_manifest::labels::RELEASE;

use super::kind::RouteKind;
use crate::writer::is_ours_or_a_persons;

/// Whoever else decides where the route leads: a controller that owns the object, a tool that says it manages it, or the
/// last writer of its rules. `None`: it is the release's, or a person's, or its author allows it by the annotation
/// `sortie.dev/managed`.
pub fn manager(route: &Value, release_id: &str) -> Option<String> {
    let metadata = route.get("metadata")?;
    let text = |map: &str, key: &str| metadata.get(map)?.get(key)?.as_str();
    let is_allowed = ["sortie.dev/managed", "harness.io/managed"]
        .iter()
        .find_map(|key| text("annotations", key))
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    if is_allowed {
        return None;
    }
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    let owner = owners
        .into_iter()
        .flatten()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true));
    if let Some(owner) = owner {
        let part = |key| owner.get(key).and_then(Value::as_str).unwrap_or("?");
        return Some(format!("{}/{}", part("kind"), part("name")));
    }
    match text("labels", RELEASE) {
        Some(release) if release == release_id => {}
        Some(_) => return Some("another release of Sortie".to_owned()),
        None => {
            let said = ["labels", "annotations"]
                .into_iter()
                .find_map(|map| text(map, "app.kubernetes.io/managed-by"));
            if let Some(by) = said.filter(|by| !by.eq_ignore_ascii_case("sortie")) {
                return Some(by.to_owned());
            }
        }
    }
    writer_of_rules(route)
}

/// A field manager, neither ours nor a person's, that has written where requests go.
fn writer_of_rules(route: &Value) -> Option<String> {
    let kind = RouteKind::of(route)?;
    let entries = route.pointer("/metadata/managedFields")?.as_array()?;
    let writes = |entry: &&Value| {
        let spec = entry.pointer("/fieldsV1/f:spec");
        spec.is_some_and(|spec| {
            let mut fields = kind.fields().iter();
            fields.any(|field| spec.get(format!("f:{field}")).is_some())
        })
    };
    let managers = entries
        .iter()
        .filter(writes)
        .filter_map(|entry| entry.get("manager")?.as_str());
    let mut others = managers.filter(|manager| !is_ours_or_a_persons(manager));
    others.next().map(str::to_owned)
}
