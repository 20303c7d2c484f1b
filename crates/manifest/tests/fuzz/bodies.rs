//! What is done with bytes from anywhere. Each body is a plain function, for any driver: it panics
//! when the crate breaks a promise, and its work is bounded by the limits.

use serde_json::Value;
use sortie_manifest::diff::{apply, comparable, diff};
use sortie_manifest::versioning::{Scheme, version};
use sortie_manifest::{Limits, Object, hash, order, parse, secrets, yaml};

/// Small enough that a case takes milliseconds.
const LIMITS: Limits = Limits {
    bytes: 64 * 1024,
    documents: 50,
    depth: 40,
    nodes: 5_000,
};

/// Splitting: every text has objects or an error with a place; values survive being written.
pub(crate) fn split(bytes: &[u8]) {
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    let documents = match yaml::documents("f", bytes, &LIMITS) {
        Ok(documents) => documents,
        Err(error) => {
            let place = error.place();
            assert!((1..=lines + 1).contains(&place.line), "{error}");
            assert!(
                place.document >= 1 && error.to_string().len() < 1000,
                "{error}"
            );
            assert!(parse("f", bytes, &LIMITS).is_err());
            return;
        }
    };
    assert!(documents.len() <= LIMITS.documents);
    for document in &documents {
        assert!((1..=lines + 1).contains(&document.line));
        let text = yaml::write(&document.value);
        let limits = Limits::default();
        let again =
            yaml::documents("f", text.as_bytes(), &limits).expect("what was written is YAML");
        assert_eq!(again[0].value, document.value, "{text}");
    }
    if let Ok(objects) = parse("f", bytes, &LIMITS) {
        assert!(objects.len() <= LIMITS.documents);
        prepare(objects);
    }
}

/// What a deployment does with a set before it writes.
fn prepare(mut objects: Vec<Object>) {
    let before = hash::manifest(&objects);
    let plan = order::plan(&objects, "shop");
    if let Ok(plan) = &plan {
        let mut members: Vec<usize> = plan
            .batches
            .iter()
            .flat_map(|batch| batch.members.clone())
            .collect();
        members.sort_unstable();
        assert!(members.into_iter().eq(0..objects.len()));
    }
    for error in plan.err().into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    for object in &objects {
        let value = Value::Object(object.value().clone());
        assert_eq!(
            secrets::masked(&secrets::masked(&value)),
            secrets::masked(&value)
        );
        assert!(diff(Some(&value), Some(&value)).changes.is_empty());
    }
    assert_eq!(hash::manifest(&objects), before);
    version(&mut objects, "shop", Scheme::ContentHash);
    let once = objects.clone();
    version(&mut objects, "shop", Scheme::ContentHash);
    assert!(once == objects);
}

/// Differences: between any two documents there are changes that lead from one to the other, and the
/// values of Secrets are in none.
pub(crate) fn differ(bytes: &[u8]) {
    let Ok(documents) = yaml::documents("f", bytes, &LIMITS) else {
        return;
    };
    let values: Vec<&Value> = documents
        .iter()
        .map(|document| &document.value)
        .take(6)
        .collect();
    for pair in values.windows(2) {
        let found = diff(Some(pair[0]), Some(pair[1]));
        let [before, after] = [pair[0], pair[1]].map(comparable);
        assert_eq!(found.changes.is_empty(), found.text.is_empty());
        assert_eq!(
            found.changes.is_empty(),
            before == after,
            "{:?}",
            found.changes
        );
        if [&before, &after].into_iter().any(holds_secrets) {
            continue;
        }
        let made = apply(Some(&before), &found.changes);
        assert_eq!(made, Some(Some(after)), "{:?}", found.changes);
    }
}

/// Masked values cannot be put back.
fn holds_secrets(value: &Value) -> bool {
    secrets::masked(value) != *value
}
