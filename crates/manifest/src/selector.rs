//! Which labels a selector of the Kubernetes API matches.

use serde_json::{Map, Value};

/// Whether a `LabelSelector` (`matchLabels`, `matchExpressions`) matches these labels: all its requirements must hold, an empty
/// one matches everything, none at all nothing. What is not a selector, or has an unknown operator, matches nothing.
pub fn matches(selector: Option<&Value>, labels: &Map<String, Value>) -> bool {
    let Some(Value::Object(selector)) = selector else {
        return false;
    };
    let equal = match selector.get("matchLabels") {
        None | Some(Value::Null) => true,
        Some(Value::Object(wanted)) => matches_map(wanted, labels),
        Some(_) => false,
    };
    let required = match selector.get("matchExpressions") {
        None | Some(Value::Null) => true,
        Some(Value::Array(all)) => all.iter().all(|one| holds(one, labels)),
        Some(_) => false,
    };
    equal && required
}

/// Whether a plain map of labels, as Services and ReplicationControllers have it, matches these labels.
pub fn matches_map(wanted: &Map<String, Value>, labels: &Map<String, Value>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

fn holds(requirement: &Value, labels: &Map<String, Value>) -> bool {
    let text = |key: &str| requirement.get(key).and_then(Value::as_str);
    let (Some(key), Some(operator)) = (text("key"), text("operator")) else {
        return false;
    };
    let values = requirement.get("values").and_then(Value::as_array);
    let is_among = |value: &Value| values.is_some_and(|values| values.contains(value));
    match operator {
        "In" => labels.get(key).is_some_and(is_among),
        "NotIn" => !labels.get(key).is_some_and(is_among),
        "Exists" => labels.contains_key(key),
        "DoesNotExist" => !labels.contains_key(key),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_hold_together() {
        let labels = json!({"app": "web", "track": "canary"});
        let labels = labels.as_object().unwrap();
        let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, expected) in [
            (json!({}), true),
            (json!(null), false),
            (json!([]), false),
            (json!({"matchLabels": {"app": "web"}}), true),
            (
                json!({"matchLabels": {"app": "web", "track": "stable"}}),
                false,
            ),
            (json!({"matchLabels": {"tier": "web"}}), false),
            (json!({"matchLabels": "app"}), false),
            (expression("track", "In", json!(["stable", "canary"])), true),
            (expression("track", "In", json!(["stable"])), false),
            (expression("tier", "In", json!(["web"])), false),
            (expression("track", "NotIn", json!(["canary"])), false),
            (expression("tier", "NotIn", json!(["web"])), true),
            (expression("track", "Exists", json!(null)), true),
            (expression("tier", "Exists", json!([])), false),
            (expression("tier", "DoesNotExist", json!(null)), true),
            (expression("track", "DoesNotExist", json!(null)), false),
            (expression("track", "Like", json!(["canary"])), false),
            (
                json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "track", "operator": "DoesNotExist"}]}),
                false,
            ),
        ] {
            assert_eq!(matches(Some(&selector), labels), expected, "{selector}");
        }
        assert!(!matches(None, labels));
    }
}
