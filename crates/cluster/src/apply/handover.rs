//! Fields that change hands without changing their values, by a patch of `metadata.managedFields`.
//!
//! Two occasions: an object that was applied by kubectl or helm becomes ours, with everything these
//! had set, so that a field which the manifest does not name any more goes away; and `spec.replicas`
//! of a workload is left to an autoscaler. If an apply just left the field out, the API server would
//! remove it as long as we are its only owner, and its default is one replica.

use serde_json::{Map, Value, json};

use super::MANAGER;

/// Managers whose fields become ours when we take an object over, whatever the operation.
pub(super) const FORMER: [&str; 7] = [
    "kubectl-client-side-apply",
    "kubectl-last-applied",
    "kubectl",
    "helm",
    "before-first-apply",
    "kubectl-create",
    "kubectl-replace",
];

/// The `metadata.managedFields` of an object, as they have to be before it is applied; `None` when
/// they may stay.
///
/// `leave` are the fields that we do not want to own any more, such as `["f:spec", "f:replicas"]`.
pub(super) fn handed_over(live: &Value, leave: Option<&[&str]>) -> Option<Value> {
    let mut entries = live.pointer("/metadata/managedFields")?.as_array()?.clone();
    let mut changed = false;
    if !entries.iter().any(is_ours) {
        changed |= take_over(&mut entries, live);
    }
    if let Some(path) = leave {
        for entry in entries.iter_mut().filter(|entry| is_ours(entry)) {
            if let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) {
                changed |= remove(fields, path);
            }
        }
    }
    changed.then_some(Value::Array(entries))
}

/// The `metadata.managedFields` of an object that we have made again, as they were when it was `kept`; what others have
/// written to the new one stays theirs. `None` when they are so already.
pub(super) fn given_back(live: &Value, kept: &Value) -> Option<Value> {
    let entries = |object: &Value| {
        let entries = object.pointer("/metadata/managedFields");
        entries.and_then(Value::as_array).cloned()
    };
    let who = |entry: &Value| {
        ["manager", "operation", "apiVersion", "subresource"].map(|key| entry.get(key).cloned())
    };
    let mut given = entries(live)?;
    given.retain(|entry| !is_ours(entry));
    for entry in entries(kept)? {
        let known = given.iter().any(|given| who(given) == who(&entry));
        if entry.get("subresource").is_none() && !known {
            given.push(entry);
        }
    }
    let ours = |entries: &[Value]| {
        let ours = entries.iter().find(|entry| is_ours(entry));
        ours.and_then(|entry| entry.get("fieldsV1").cloned())
    };
    let same = ours(&given) == ours(&entries(live)?);
    (!same).then_some(Value::Array(given))
}

/// The JSON patch that puts them into force, unless the object has been written meanwhile.
pub(super) fn patch(version: &str, entries: &Value) -> Value {
    json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
    ])
}

/// The same set without a field.
pub(super) fn without(mut fields: Value, path: &[&str]) -> Value {
    if let Some(fields) = fields.as_object_mut() {
        remove(fields, path);
    }
    fields
}

pub(super) fn is_ours(entry: &Value) -> bool {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    text("manager") == Some(MANAGER)
        && text("operation") == Some("Apply")
        && entry.get("subresource").is_none()
}

/// Whether an entry is of one whose fields become ours.
pub(super) fn is_former(entry: &Value) -> bool {
    let manager = entry.get("manager").and_then(Value::as_str);
    manager.is_some_and(|name| FORMER.contains(&name)) && entry.get("subresource").is_none()
}

/// Makes one entry of ours out of the former managers'. An entry names its fields as one version of the API does, and a
/// manager's applies have one entry: those of the live object's version are taken, or of the newest that there is. The next
/// apply, of whatever version, removes what it stops naming. Those of more versions stay.
fn take_over(entries: &mut Vec<Value>, live: &Value) -> bool {
    let versions = || {
        let former = entries.iter().filter(|entry| is_former(entry));
        former.filter_map(|entry| entry.get("apiVersion"))
    };
    let current = live.get("apiVersion");
    let version = versions()
        .find(|version| Some(*version) == current)
        .or_else(|| versions().next_back())
        .cloned();
    let mut former = Vec::new();
    entries.retain(|entry| {
        let take = is_former(entry) && entry.get("apiVersion") == version.as_ref();
        if take {
            former.push(entry.clone());
        }
        !take
    });
    let Some(mut ours) = former.pop() else {
        return false;
    };
    let mut fields = ours
        .get("fieldsV1")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for entry in former {
        if let Some(Value::Object(more)) = entry.get("fieldsV1") {
            unite(&mut fields, more);
        }
    }
    ours["manager"] = MANAGER.into();
    ours["operation"] = "Apply".into();
    ours["fieldsV1"] = Value::Object(fields);
    entries.push(ours);
    true
}

/// Adds the members of one set to another. A key without children is a member, and so is `.` for a
/// key with children.
fn unite(into: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, theirs) in more {
        let Value::Object(theirs) = theirs else {
            continue;
        };
        match into.get_mut(key) {
            Some(Value::Object(ours)) => {
                if ours.is_empty() != theirs.is_empty() {
                    ours.entry(".").or_insert_with(|| json!({}));
                }
                unite(ours, theirs);
            }
            _ => {
                into.insert(key.clone(), Value::Object(theirs.clone()));
            }
        }
    }
}

/// Removes a member with everything below it, and the keys above it that hold nothing else: without
/// children they would be members.
fn remove(fields: &mut Map<String, Value>, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        return fields.shift_remove(*first).is_some();
    }
    let Some(Value::Object(below)) = fields.get_mut(*first) else {
        return false;
    };
    let removed = remove(below, rest);
    if removed && below.is_empty() {
        fields.shift_remove(*first);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(entries: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "metadata": {"managedFields": entries}})
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn what_was_made_again_is_whose_it_was() {
        let entry = |manager: &str, operation: &str, field: &str| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": {field: {}}});
        let object = |entries: &[Value]| json!({"metadata": {"managedFields": entries}});
        let mut status = entry("controller", "Update", "f:status");
        status["subresource"] = "status".into();
        let ours = entry(MANAGER, "Apply", "f:a");
        let theirs = entry("kubectl-edit", "Update", "f:b");
        let kept = object(&[ours.clone(), theirs.clone(), status]);
        let all = entry(MANAGER, "Apply", "f:all");
        let webhook = entry("webhook", "Update", "f:c");
        let live = object(&[all, webhook.clone()]);
        let given = given_back(&live, &kept).unwrap();
        assert_eq!(given, json!([webhook, ours, theirs]));
        assert_eq!(given_back(&object(given.as_array().unwrap()), &kept), None);
    }

    #[test]
    fn former_managers_become_us_once() {
        let edited = entry(
            "kubectl-edit",
            "Update",
            &json!({"f:spec": {"f:paused": {}}}),
        );
        let scaled = json!({"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "subresource": "scale",
                            "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        let before = live(&json!([
            entry(
                "kubectl-client-side-apply",
                "Update",
                &json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}})
            ),
            edited,
            scaled,
            entry(
                "helm",
                "Apply",
                &json!({"f:metadata": {"f:labels": {"f:b": {}}}, "f:spec": {"f:template": {}}})
            ),
        ]));
        let after = handed_over(&before, None).unwrap();
        let ours = json!({"f:metadata": {"f:labels": {"f:b": {}, ".": {}, "f:a": {}}}, "f:spec": {"f:template": {}}});
        assert_eq!(
            after,
            json!([edited, scaled, entry("sortie", "Apply", &ours)])
        );
        assert_eq!(handed_over(&live(&after), None), None);
    }

    #[test]
    fn fields_of_another_version_are_taken_as_that_version_names_them() {
        let of = |version: &str, entry: Value| {
            let mut entry = entry;
            entry["apiVersion"] = version.into();
            entry
        };
        let fields = json!({"f:spec": {"f:a": {}}});
        let old = || of("apps/v1beta1", entry("kubectl-create", "Update", &fields));
        let ours = |version: &str| of(version, entry("sortie", "Apply", &fields));
        let after = handed_over(&live(&json!([old()])), None);
        assert_eq!(after, Some(json!([ours("apps/v1beta1")])));
        let new = entry("kubectl", "Update", &fields);
        let after = handed_over(&live(&json!([new, old()])), None);
        assert_eq!(after, Some(json!([old(), ours("apps/v1")])));
    }

    #[test]
    fn an_object_that_is_ours_already_keeps_its_other_managers() {
        let entries = json!([
            entry("sortie", "Apply", &json!({"f:spec": {"f:a": {}}})),
            entry("kubectl", "Update", &json!({"f:spec": {"f:b": {}}})),
        ]);
        assert_eq!(handed_over(&live(&entries), None), None);
    }

    #[test]
    fn a_field_is_left_without_making_its_parent_a_member() {
        let entries = |fields: &Value| json!([entry("sortie", "Apply", fields)]);
        let path: &[&str] = &["f:spec", "f:replicas"];
        for (before, after) in [
            (
                json!({"f:spec": {"f:replicas": {}, "f:selector": {}}}),
                json!({"f:spec": {"f:selector": {}}}),
            ),
            (
                json!({"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}}}),
                json!({"f:metadata": {"f:labels": {}}}),
            ),
        ] {
            let handed = handed_over(&live(&entries(&before)), Some(path));
            assert_eq!(handed, Some(entries(&after)));
            assert_eq!(handed_over(&live(&entries(&after)), Some(path)), None);
        }
    }

    #[test]
    fn a_member_with_children_stays_a_member() {
        let mut fields = json!({"f:ports": {}}).as_object().unwrap().clone();
        let more = json!({"f:ports": {"k:{\"port\":80}": {}}});
        unite(&mut fields, more.as_object().unwrap());
        let expected = json!({"f:ports": {".": {}, "k:{\"port\":80}": {}}});
        assert_eq!(Value::Object(fields), expected);
    }
}
