//! Fields that kubectl has set, that the manifest does not name, and that stay all the same when an object is taken over.

use serde_json::{Map, Value};

use super::handover::{handed_over, is_former, is_ours};
use super::{MANAGER, Outcome, Planned, managed_fields_of};

/// A field that stays in an object that is taken over, because somebody had set it by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remaining {
    /// The field manager that owns it: `kubectl-set`, `kubectl-edit`, `kubectl-patch`.
    pub manager: String,
    /// Its path, as the API server writes it: `.spec.template.spec.containers[name="web"].env[name="EXTRA"]`.
    pub path: String,
}

impl Planned {
    /// What kubectl has set in an object that is taken over, beside the manifests that it has applied, and this manifest
    /// does not name: it stays. Of an object that is not taken over, nothing.
    pub fn remaining(&self) -> Vec<Remaining> {
        let Outcome::Accepted {
            live: Some(live),
            result,
            ..
        } = &self.outcome
        else {
            return Vec::new();
        };
        if self.former().is_none() {
            return Vec::new();
        }
        let result = result.whole();
        remaining(&live.whole(), managed_fields_of(&result, MANAGER))
    }
}

/// What remains in a live object, if these fields become ours.
fn remaining(live: &Value, ours: Option<&Value>) -> Vec<Remaining> {
    let after = handed_over(live, None);
    let entries = after
        .as_ref()
        .or_else(|| live.pointer("/metadata/managedFields"));
    let mut all = Vec::new();
    for entry in entries.and_then(Value::as_array).into_iter().flatten() {
        let manager = entry.get("manager").and_then(Value::as_str);
        let manager = manager.unwrap_or_default();
        let theirs = manager.starts_with("kubectl") || is_former(entry);
        if !theirs || is_ours(entry) || entry.get("subresource").is_some() {
            continue;
        }
        if let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) {
            let mut paths = Vec::new();
            collect(fields, ours, "", &mut paths);
            all.extend(paths.into_iter().map(|path| Remaining {
                manager: manager.to_owned(),
                path,
            }));
        }
    }
    all.sort();
    all
}

/// The paths of the members of a set that are not in ours. An item of a list that is not ours at all is named as one.
fn collect(fields: &Map<String, Value>, ours: Option<&Value>, path: &str, paths: &mut Vec<String>) {
    for (key, below) in fields.iter().filter(|(key, _)| *key != ".") {
        let ours = ours.and_then(|ours| ours.get(key));
        let path = format!("{path}{}", segment(key));
        match below.as_object().filter(|below| !below.is_empty()) {
            Some(below) if ours.is_some() || key.starts_with("f:") => {
                collect(below, ours, &path, paths);
            }
            _ if ours.is_none() => paths.push(path),
            _ => {}
        }
    }
}

/// One element of a path (Kubernetes: `FieldsV1`).
fn segment(key: &str) -> String {
    let (kind, text) = key.split_once(':').unwrap_or(("", key));
    match kind {
        "f" => format!(".{text}"),
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("[{}]", keys.join(","))
        }
        "v" => format!("[={text}]"),
        _ => format!("[{text}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kubectl_has_set_besides_and_we_do_not_name_remains() {
        let fields = json!({
            "f:metadata": {"f:annotations": {".": {}, "f:team": {}, "f:ours": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
                "f:image": {},
                "f:env": {".": {}, "k:{\"name\":\"EXTRA\"}": {".": {}, "f:name": {}, "f:value": {}}},
            }}}}},
        });
        let ours = json!({
            "f:metadata": {"f:annotations": {"f:ours": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}}},
        });
        let entry = |manager: &str| json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": fields});
        let live = |manager: &str| json!({"apiVersion": "apps/v1", "metadata": {"managedFields": [entry(manager)]}});
        let told = remaining(&live("kubectl-set"), Some(&ours));
        let paths: Vec<&str> = told.iter().map(|one| one.path.as_str()).collect();
        let env = r#".spec.template.spec.containers[name="web"].env[name="EXTRA"]"#;
        assert_eq!(paths, [".metadata.annotations.team", env]);
        assert!(told.iter().all(|one| one.manager == "kubectl-set"));
        // What these had applied becomes ours, and goes; what controllers own is theirs.
        for manager in ["kubectl-create", "helm", "kube-controller-manager"] {
            assert_eq!(remaining(&live(manager), Some(&ours)), [], "{manager}");
        }
    }
}
