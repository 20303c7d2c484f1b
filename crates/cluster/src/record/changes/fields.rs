//! The fields in which two states of an object differ, and how to bring the first back. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::apply::MARK;

/// A field that was changed. Lists count as one field.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Keys from the object to the field.
    pub path: Vec<String>,
    /// Value before; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    pub before: Option<Value>,
    /// Value after our write; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    pub after: Option<Value>,
}

impl std::fmt::Debug for Field {
    /// Never the values: they may be a Secret's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Field").field(&self.name()).finish()
    }
}

/// A JSON null is a value like any other.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    #[expect(clippy::ref_option, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Value>, D::Error> {
        Value::deserialize(deserializer).map(Some)
    }
}

impl Field {
    /// As people write it: `spec.replicas`.
    pub fn name(&self) -> String {
        self.path.join(".")
    }

    /// Whether the object has what our write left.
    pub fn is_ours(&self, live: &Value) -> bool {
        at(live, &self.path) == self.after.as_ref()
    }

    /// Whether the object has what it had before.
    pub fn is_undone(&self, live: &Value) -> bool {
        at(live, &self.path) == self.before.as_ref()
    }

    /// The operation of a JSON patch that brings the former value back; `None` when what the field is part of is gone.
    fn operation(&self, live: &Value) -> Option<Value> {
        let (_, parents) = self.path.split_last()?;
        at(live, parents)?.as_object()?;
        let path = pointer(&self.path);
        Some(match &self.before {
            Some(value) => json!({"op": "add", "path": path, "value": value}),
            None => json!({"op": "remove", "path": path}),
        })
    }
}

/// What an undoing does to an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Undoing {
    /// Operations of a JSON patch; empty: nothing is to be done.
    pub operations: Vec<Value>,
    /// Fields that somebody else has changed since, which stay as they are.
    pub left: Vec<String>,
}

/// How to bring the former values back in an object as it is now.
pub fn undoing(fields: &[Field], live: &Value) -> Undoing {
    let mut undoing = Undoing::default();
    for field in fields.iter().filter(|field| !field.is_undone(live)) {
        match field.operation(live).filter(|_| field.is_ours(live)) {
            Some(operation) => undoing.operations.push(operation),
            None => undoing.left.push(field.name()),
        }
    }
    undoing
}

/// Operations of a JSON patch that write what was noted, in an object as it is now: for a task that was interrupted
/// before it wrote, or that does not know whether it did.
pub fn redoing(fields: &[Field], live: &Value) -> Vec<Value> {
    let missing = fields.iter().filter(|field| !field.is_ours(live));
    missing
        .map(|field| {
            let path = pointer(&field.path);
            match &field.after {
                Some(value) => json!({"op": "add", "path": path, "value": value}),
                None => json!({"op": "remove", "path": path}),
            }
        })
        .collect()
}

/// The fields in which `after` differs from `before`, as far as people set them: not status, bookkeeping or our mark. In
/// the order of their paths.
pub fn fields(before: &Value, after: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    compare(&mut Vec::new(), before, after, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// As [`fields`], when an earlier attempt of the same task may have written some of them already.
pub fn fields_since(earlier: &[Field], live: &Value, after: &Value) -> Vec<Field> {
    fields(&former(earlier, live), after)
}

/// An object as it was before these fields were written, where nobody has changed them since.
pub fn former(fields: &[Field], live: &Value) -> Value {
    let mut former = live.clone();
    for field in fields.iter().filter(|field| field.is_ours(live)) {
        put(&mut former, &field.path, field.before.as_ref());
    }
    former
}

/// Fields of the metadata that only the API server writes.
const BOOKKEEPING: [&str; 6] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
];

fn compare(path: &mut Vec<String>, before: &Value, after: &Value, found: &mut Vec<Field>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            found.push(Field {
                path: path.clone(),
                before: Some(before.clone()),
                after: Some(after.clone()),
            });
        }
        return;
    };
    let added = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(added) {
        if is_bookkeeping(path, key) {
            continue;
        }
        path.push(key.clone());
        match (old.get(key), new.get(key)) {
            (Some(before), Some(after)) => compare(path, before, after, found),
            (before, after) => found.push(Field {
                path: path.clone(),
                before: before.cloned(),
                after: after.cloned(),
            }),
        }
        path.pop();
    }
}

fn is_bookkeeping(path: &[String], key: &str) -> bool {
    match path {
        [] => key == "status",
        [metadata] if metadata == "metadata" => BOOKKEEPING.contains(&key),
        [metadata, annotations] if metadata == "metadata" && annotations == "annotations" => {
            key == MARK
        }
        _ => false,
    }
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// Sets or removes a field whose parents are there.
fn put(object: &mut Value, path: &[String], value: Option<&Value>) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let parent = parents
        .iter()
        .try_fold(object, |value, key| value.get_mut(key));
    let Some(parent) = parent.and_then(Value::as_object_mut) else {
        return;
    };
    set(parent, last, value);
}

fn set(parent: &mut Map<String, Value>, key: &str, value: Option<&Value>) {
    match value {
        Some(value) => drop(parent.insert(key.to_owned(), value.clone())),
        None => drop(parent.shift_remove(key)),
    }
}

fn pointer(path: &[String]) -> String {
    let escaped = path
        .iter()
        .map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")));
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn web(replicas: u32, image: &str) -> Value {
        json!({
            "metadata": {"name": "web", "resourceVersion": replicas.to_string(), "generation": replicas,
                "annotations": {"a.b/c": "1", "sortie.dev/applied": image}},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
            "status": {"replicas": replicas},
        })
    }

    #[test]
    fn only_what_people_set_counts_and_lists_count_whole() {
        let found = fields(&web(1, "a"), &web(2, "b"));
        let names: Vec<_> = found.iter().map(Field::name).collect();
        assert_eq!(names, ["spec.replicas", "spec.template.spec.containers"]);
        assert!(fields(&web(1, "a"), &web(1, "a")).is_empty());
    }

    #[test]
    fn what_somebody_else_has_changed_since_is_left() {
        let found = fields(&web(1, "a"), &web(2, "b"));
        let undoing = undoing(&found, &web(5, "b"));
        assert_eq!(undoing.left, ["spec.replicas"]);
        let expected = json!([{
            "op": "add", "path": "/spec/template/spec/containers", "value": [{"name": "web", "image": "a"}],
        }]);
        assert_eq!(json!(undoing.operations), expected);
        // What is as it was before needs nothing.
        assert_eq!(super::undoing(&found, &web(1, "a")), Undoing::default());
    }

    #[test]
    fn keys_are_escaped_and_lost_parents_are_told() {
        let before = json!({"metadata": {"annotations": {}}});
        let after = json!({"metadata": {"annotations": {"a.b/c~d": "1"}}});
        let found = fields(&before, &after);
        let undoing = undoing(&found, &after);
        let expected = json!([{"op": "remove", "path": "/metadata/annotations/a.b~1c~0d"}]);
        assert_eq!(json!(undoing.operations), expected);
        // Removed with all other annotations: it is as before.
        let gone = json!({"metadata": {}});
        assert_eq!(super::undoing(&found, &gone), Undoing::default());
        let taken = fields(&after, &before);
        assert_eq!(
            super::undoing(&taken, &gone).left,
            ["metadata.annotations.a.b/c~d"]
        );
    }

    #[test]
    fn a_second_attempt_keeps_what_was_before_the_first() {
        let first = fields(&web(1, "a"), &web(2, "a"));
        // The first has written, and the second would set something else as well.
        let both = fields_since(&first, &web(2, "a"), &web(2, "b"));
        let names: Vec<_> = both.iter().map(Field::name).collect();
        assert_eq!(names, ["spec.replicas", "spec.template.spec.containers"]);
        assert_eq!(both[0].before, Some(json!(1)));
        // The first has not written.
        assert_eq!(fields_since(&first, &web(1, "a"), &web(2, "a")), first);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..4_u32).prop_map(Value::from),
            "[a-c]".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d/~]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn what_was_noted_and_not_written_is_written() {
        let found = fields(&web(1, "a"), &web(2, "b"));
        let half = redoing(&found, &web(2, "a"));
        let expected = json!([{
            "op": "add", "path": "/spec/template/spec/containers", "value": [{"name": "web", "image": "b"}],
        }]);
        assert_eq!(json!(half), expected);
        assert!(redoing(&found, &web(2, "b")).is_empty());
    }

    proptest! {
        #[test]
        fn undoing_brings_the_former_object_back(before in values(), after in values()) {
            let (before, after) = (json!({"spec": before}), json!({"spec": after}));
            let found = fields(&before, &after);
            let text = serde_json::to_string(&found).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Vec<Field>>(&text).unwrap(), &found);
            let undoing = undoing(&found, &after);
            prop_assert!(undoing.left.is_empty());
            prop_assert_eq!(undoing.operations.len(), found.len());
            let mut object = after.clone();
            for field in &found {
                put(&mut object, &field.path, field.before.as_ref());
            }
            prop_assert_eq!(&object, &before);
            prop_assert_eq!(fields_since(&found, &after, &after), found);
        }
    }
}
