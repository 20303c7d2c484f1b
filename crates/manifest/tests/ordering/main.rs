//! Waves, stages, dependencies: which objects are written together, and what must be there before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod properties;
mod tables;

use serde_json::{Value, json};
use sortie_manifest::order::{OrderError, Plan, plan};
use sortie_manifest::{Limits, Object, parse};

pub(crate) fn objects(text: &str) -> Vec<Object> {
    parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap()
}

/// `Kind.group/name` with annotations and the rest of the document.
pub(crate) fn object(what: &str, annotations: &Value, rest: &Value) -> Object {
    let (kind, name) = what.split_once('/').unwrap();
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let api_version = match group {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    };
    let mut value = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "annotations": annotations},
    });
    for (key, item) in rest.as_object().cloned().unwrap_or_default() {
        value[key] = item;
    }
    objects(&value.to_string()).remove(0)
}

pub(crate) fn bare(what: &str) -> Object {
    object(what, &json!({}), &json!({}))
}

pub(crate) fn noted(what: &str, key: &str, value: &str) -> Object {
    object(what, &json!({key: value}), &json!({}))
}

pub(crate) fn pods(spec: &Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

/// The batches as short names: `wave: Kind/name Kind/name`.
pub(crate) fn shown(set: &[Object], plan: &Plan) -> Vec<String> {
    plan.batches
        .iter()
        .map(|batch| {
            let names: Vec<_> = batch
                .members
                .iter()
                .map(|at| set[*at].id().short())
                .collect();
            format!("{}: {}", batch.wave, names.join(" "))
        })
        .collect()
}

pub(crate) fn planned(set: &[Object]) -> Vec<String> {
    shown(set, &plan(set, "shop").unwrap())
}

pub(crate) fn refusal(set: &[Object]) -> OrderError {
    let mut errors = plan(set, "shop").unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}
