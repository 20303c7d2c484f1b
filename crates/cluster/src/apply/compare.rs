//! Whether a dry run's result is what is live already.

use serde_json::Value;

use super::mark::without_mark;

/// Whether applying changed nothing: all fields but bookkeeping, status and the mark are equal, and
/// so is the set of fields that `manager` owns.
pub(super) fn is_same(live: &Value, result: &Value, manager: &str) -> bool {
    managed_fields_of(live, manager) == managed_fields_of(result, manager)
        && content(live) == content(result)
}

/// The set of fields (`fieldsV1`) that a manager's server-side applies own in an object.
pub fn managed_fields_of<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    let text = |entry: &'a Value, key: &str| entry.get(key).and_then(Value::as_str);
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    entries
        .iter()
        .find(|entry| {
            text(entry, "manager") == Some(manager)
                && text(entry, "operation") == Some("Apply")
                && text(entry, "subresource").is_none()
        })
        .and_then(|entry| entry.get("fieldsV1"))
}

/// An object without status and without what the server counts and stamps by itself.
pub(super) fn content(object: &Value) -> Value {
    let mut content = object.clone();
    without_mark(&mut content);
    if let Some(fields) = content.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(key);
            }
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(replicas: u32, owned: &Value, version: &str) -> Value {
        json!({
            "metadata": {
                "name": "web", "resourceVersion": version, "generation": replicas,
                "managedFields": [
                    {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": version, "fieldsV1": {"f:status": {}}},
                    {"manager": "sortie", "operation": "Apply", "time": version, "fieldsV1": owned},
                ],
            },
            "spec": {"replicas": replicas},
            "status": {"readyReplicas": version},
        })
    }

    #[test]
    fn bookkeeping_and_status_do_not_count() {
        let owned = json!({"f:spec": {"f:replicas": {}}});
        assert!(is_same(
            &object(1, &owned, "1"),
            &object(1, &owned, "2"),
            "sortie"
        ));
    }

    #[test]
    fn values_and_owned_fields_count() {
        let owned = json!({"f:spec": {"f:replicas": {}}});
        assert!(!is_same(
            &object(1, &owned, "1"),
            &object(2, &owned, "1"),
            "sortie"
        ));
        let less = json!({"f:spec": {}});
        assert!(!is_same(
            &object(1, &owned, "1"),
            &object(1, &less, "1"),
            "sortie"
        ));
        // Somebody else's set is their affair.
        assert!(is_same(
            &object(1, &owned, "1"),
            &object(1, &less, "1"),
            "other"
        ));
    }
}
