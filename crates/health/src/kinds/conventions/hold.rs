//! Suspended by whoever wrote the object: by a field of its spec, or by an annotation or label.

use serde_json::Value;

use super::words::parts;

/// Fields of a spec that stop the object while they are true.
const STOPS: [&str; 11] = [
    "disabled",
    "halted",
    "hibernate",
    "hibernated",
    "maintenancePause",
    "pause",
    "paused",
    "stop",
    "stopped",
    "suspend",
    "suspended",
];

/// Fields of a spec that stop the object while they are false.
const RUNS: [&str; 3] = ["active", "enabled", "running"];

/// First words of the names of annotations and labels that do.
const MARKS: [&str; 6] = [
    "hibernate",
    "hibernation",
    "pause",
    "paused",
    "suspend",
    "suspended",
];

/// What such a name may go on with: the whole object is meant, not a part of it.
const OF_ALL: [&str; 4] = ["reconcile", "reconciliation", "reconciling", "sync"];

/// How the object is suspended, if it is.
pub(super) fn wished(object: &Value) -> Option<String> {
    by_spec(object).or_else(|| by_mark(object))
}

fn by_spec(object: &Value) -> Option<String> {
    let spec = object.pointer("/spec")?;
    let field = STOPS
        .iter()
        .find(|field| spec.get(**field).is_some_and(is_yes));
    if let Some(field) = field {
        return Some(format!("spec.{field} is set"));
    }
    let field = RUNS
        .iter()
        .find(|field| spec.get(**field) == Some(&Value::Bool(false)))?;
    Some(format!("spec.{field} is false"))
}

fn by_mark(object: &Value) -> Option<String> {
    ["annotations", "labels"].into_iter().find_map(|place| {
        let marks = object.pointer("/metadata")?.get(place)?.as_object()?;
        let (key, value) = marks.iter().find(|(key, value)| stops(key, value))?;
        let place = place.trim_end_matches('s');
        Some(format!(
            "{place} {key} is {}",
            value.as_str().unwrap_or("set")
        ))
    })
}

fn stops(key: &str, value: &Value) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let words = parts(name);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [mark] | [mark, _] if MARKS.contains(mark) => {
            words.get(1).is_none_or(|next| OF_ALL.contains(next)) && is_yes(value)
        }
        [what] if OF_ALL.contains(what) => {
            matches!(value.as_str(), Some("disabled" | "paused" | "suspended"))
        }
        _ => false,
    }
}

fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::String(text) => matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "yes" | "on" | "1"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_wrote_the_object_can_suspend_it() {
        for (object, expected) in [
            (json!({"spec": {"suspend": true}}), true),
            (json!({"spec": {"suspend": false}}), false),
            (json!({"spec": {"stop": "yes"}}), true),
            (json!({"spec": {"active": false}}), true),
            (json!({"spec": {"active": true}}), false),
            (json!({"spec": {"running": false}}), true),
            (
                json!({"metadata": {"annotations": {"x.io/paused": "true"}}, "spec": {}}),
                true,
            ),
            (
                json!({"metadata": {"annotations": {"x.io/paused": "false"}}, "spec": {}}),
                false,
            ),
            (
                json!({"metadata": {"annotations": {"x.io/pause-image": "true"}}, "spec": {}}),
                false,
            ),
            (
                json!({"metadata": {"labels": {"x.io/pauseReconciliation": "true"}}}),
                true,
            ),
            (
                json!({"metadata": {"annotations": {"x.io/reconcile": "disabled"}}}),
                true,
            ),
            (
                json!({"metadata": {"annotations": {"x.io/reconcile": "true"}}}),
                false,
            ),
            (json!({"spec": 3, "metadata": {"labels": []}}), false),
        ] {
            assert_eq!(wished(&object).is_some(), expected, "{object}");
        }
    }
}
