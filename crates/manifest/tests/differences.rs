//! Lists by what identifies their items, and changes that can be put back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sortie_manifest::diff::{apply, comparable, diff};

/// The paths of the changes between two lists under a name, and that they can be put back.
fn paths(list: &str, before: &Value, after: &Value) -> Vec<String> {
    let (before, after) = (
        json!({"spec": {list: before}}),
        json!({"spec": {list: after}}),
    );
    let found = diff(Some(&before), Some(&after));
    assert_eq!(apply(Some(&before), &found.changes), Some(Some(after)));
    found
        .changes
        .into_iter()
        .map(|change| change.path.trim_start_matches("spec.").to_owned())
        .collect()
}

#[test]
fn items_are_matched_by_what_identifies_them() {
    let table = [
        (
            "containers",
            json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]),
            json!([{"name": "b", "image": "2"}]),
            vec!["containers[name=a]", "containers[name=b].image"],
        ),
        (
            "ports",
            json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]),
            json!([{"containerPort": 53, "protocol": "UDP", "name": "dns"}, {"containerPort": 53, "protocol": "TCP"}]),
            vec![
                "ports[containerPort=53].protocol",
                "ports[containerPort=53,protocol=UDP].name",
                "ports",
            ],
        ),
        (
            "ports",
            json!([{"port": 80, "targetPort": 8080}, {"port": 443}]),
            json!([{"port": 443}, {"port": 80, "targetPort": "http"}]),
            vec!["ports[port=80].targetPort", "ports"],
        ),
        (
            "env",
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]),
            json!([{"name": "N", "value": "1"}, {"name": "A", "value": "2"}, {"name": "B", "value": "1"}]),
            vec!["env[name=A].value", "env[name=N]"],
        ),
        (
            "conditions",
            json!([{"type": "Ready", "status": "False"}]),
            json!([{"type": "Available", "status": "True"}, {"type": "Ready", "status": "True"}]),
            vec![
                "conditions[type=Ready].status",
                "conditions[type=Available]",
            ],
        ),
        (
            "volumeMounts",
            json!([{"name": "x", "mountPath": "/a"}, {"name": "x", "mountPath": "/b"}]),
            json!([{"name": "y", "mountPath": "/b"}]),
            vec![
                "volumeMounts[mountPath=/a]",
                "volumeMounts[mountPath=/b].name",
            ],
        ),
        (
            "subjects",
            json!([{"kind": "User", "name": "x"}, {"kind": "ServiceAccount", "name": "x", "namespace": "a"}]),
            json!([{"kind": "ServiceAccount", "name": "x", "namespace": "b"}, {"kind": "User", "name": "x"}]),
            vec![
                "subjects[kind=ServiceAccount,namespace=a,name=x]",
                "subjects[kind=ServiceAccount,namespace=b,name=x]",
            ],
        ),
        (
            "volumeClaimTemplates",
            json!([{"metadata": {"name": "data"}, "spec": 1}]),
            json!([{"metadata": {"name": "data"}, "spec": 2}]),
            vec!["volumeClaimTemplates[metadata.name=data].spec"],
        ),
        (
            "rules",
            json!([{"host": "a.example", "http": 1}, {"host": "b.example"}]),
            json!([{"host": "b.example"}, {"host": "a.example", "http": 2}]),
            vec!["rules[host=a.example].http", "rules"],
        ),
        // Without an identity of their own they are compared by position.
        (
            "rules",
            json!([{"http": 1}, {"host": "b"}]),
            json!([{"http": 2}]),
            vec!["rules[0].http", "rules[1]"],
        ),
        (
            "env",
            json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
            json!([{"name": "A", "value": "1"}, {"name": "A", "value": "3"}, {"name": "B"}]),
            vec!["env[1].value", "env[2]"],
        ),
        (
            "args",
            json!(["a", "b"]),
            json!(["b"]),
            vec!["args[0]", "args[1]"],
        ),
        ("args", json!(["a"]), json!(["a", null]), vec!["args[1]"]),
        // Keys that hold anything are still paths.
        (
            "env",
            json!([{"name": "a]b=\"c", "value": "1"}, {"name": "5", "value": "1"}]),
            json!([{"name": "a]b=\"c", "value": "2"}, {"name": "5", "value": "2"}]),
            vec!["env[name=\"a]b=\\\"c\"].value", "env[name=\"5\"].value"],
        ),
    ];
    for (list, before, after, expected) in table {
        assert_eq!(paths(list, &before, &after), expected, "{before} {after}");
    }
}

#[test]
fn changes_are_json_for_programs() {
    let item = |name: &str| json!({"name": name});
    let before = json!({"l": [item("a"), item("b")], "gone": 1, "same": 2});
    let after = json!({"l": [item("b"), item("new"), item("a")], "same": 2, "x.y": null, "z": [1]});
    let found = diff(Some(&before), Some(&after));
    assert_eq!(
        serde_json::to_value(&found.changes).unwrap(),
        json!([
            {"path": "gone", "before": 1},
            {"path": "l[name=new]", "after": {"name": "new"}, "index": 1},
            {"path": "l", "before": ["name=a", "name=b"], "after": ["name=b", "name=new", "name=a"], "reordered": true},
            {"path": "z", "after": [1]},
        ])
    );
    let unfit = [
        json!({}),
        json!({"l": 5, "gone": 1}),
        json!({"l": [item("c")], "gone": 1}),
    ];
    for other in unfit {
        assert_eq!(apply(Some(&other), &found.changes), None, "{other}");
    }
    assert_eq!(apply(None, &found.changes), None);
}

#[test]
fn a_secret_says_what_changed_and_shows_nothing() {
    let secret = |content: Value| {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        for (key, value) in content.as_object().unwrap() {
            secret[key] = value.clone();
        }
        secret
    };
    let table = [
        // The two ways to write the same value.
        (
            json!({"stringData": {"k": "hunter2"}}),
            json!({"data": {"k": "aHVudGVyMg=="}}),
            vec![],
        ),
        (
            json!({"stringData": {"k": "hunter2"}, "data": {"k": "eA=="}}),
            json!({"data": {"k": "aHVudGVyMg=="}}),
            vec![],
        ),
        (
            json!({"stringData": {"k": "hunter3", "l": "hunter2"}}),
            json!({"data": {"k": "aHVudGVyMg==", "m": "aHVudGVyMg=="}}),
            vec!["data.k", "data.l", "data.m"],
        ),
        (
            json!({"metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}}}),
            json!({"metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter3"}}}),
            vec!["metadata.annotations[\"kubectl.kubernetes.io/last-applied-configuration\"]"],
        ),
        // Malformed ones hide as much.
        (
            json!({"data": "hunter2"}),
            json!({"data": "hunter3"}),
            vec!["data"],
        ),
        (
            json!({"data": ["hunter2"]}),
            json!({"data": {"k": "hunter2"}}),
            vec!["data"],
        ),
        (
            json!({"stringData": {"k": 5, "l": {"m": "hunter2"}}}),
            json!({"stringData": {"k": 5, "l": {"m": "hunter3"}}}),
            vec!["stringData.l"],
        ),
    ];
    for (before, after, expected) in table {
        let found = diff(Some(&secret(before.clone())), Some(&secret(after)));
        let paths: Vec<_> = found
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .collect();
        assert_eq!(paths, expected, "{before}");
        let all = format!("{found:?}{}", serde_json::to_string(&found).unwrap());
        assert!(
            !all.contains("hunter") && !all.contains("aHVudGVy"),
            "{all}"
        );
        assert_eq!(found.text.is_empty(), expected.is_empty());
    }
    let list = |value: &str| json!({"kind": "List", "items": [secret(json!({"stringData": {"k": value}}))]});
    let all = format!("{:?}", diff(Some(&list("hunter2")), Some(&list("hunter3"))));
    assert!(!all.contains("hunter"), "{all}");
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..3_i64).prop_map(Value::from),
        "[abA0\\]=\",.\\[ ]{0,3}".prop_map(Value::from),
    ]
}

/// Documents with the lists and fields that identities are made from.
fn document() -> impl Strategy<Value = Value> {
    let key = proptest::sample::select(vec![
        "name",
        "ports",
        "containerPort",
        "port",
        "protocol",
        "env",
        "containers",
        "conditions",
        "type",
        "rules",
        "host",
        "items",
        "key",
        "subjects",
        "kind",
        "namespace",
        "parentRefs",
        "metadata",
        "volumeClaimTemplates",
        "data",
        "a.b",
        "",
        "status",
    ]);
    scalar().prop_recursive(5, 60, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|entries| {
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect::<Map<_, _>>(),
                )
            }),
            // Lists of maps with names are rare among random values, and frequent in manifests.
            prop::collection::vec((0..4_u8, scalar()), 0..5).prop_map(|items| {
                Value::from(
                    items
                        .into_iter()
                        .map(|(name, value)| json!({"name": format!("n{name}"), "value": value}))
                        .collect::<Vec<_>>(),
                )
            }),
        ]
    })
}

/// A value and another that differs from it in few places, as states of an object do.
fn states() -> impl Strategy<Value = (Value, Value)> {
    let moved = (
        document(),
        prop::collection::vec((any::<usize>(), document()), 0..4),
    )
        .prop_map(|(before, edits)| {
            let mut after = before.clone();
            for (at, value) in edits {
                edit(&mut after, at, value);
            }
            (before, after)
        });
    prop_oneof![moved, (document(), document())]
}

/// Puts a value somewhere in a document, or takes something away, or turns a list around.
fn edit(value: &mut Value, at: usize, new: Value) {
    let (choice, rest) = (at % 7, at / 7);
    match value {
        Value::Array(items) if !items.is_empty() => {
            let count = items.len();
            match choice {
                0 => items.reverse(),
                1 => drop(items.remove(rest % count)),
                2 => items.insert(rest % count, new),
                _ => edit(&mut items[rest % count], rest / count, new),
            }
        }
        Value::Object(map) if !map.is_empty() => {
            let count = map.len();
            let key = map.keys().nth(rest % count).unwrap().clone();
            match choice {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert("added".to_owned(), new)),
                _ => edit(&mut map[&key], rest / count, new),
            }
        }
        value => *value = new,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn changes_make_after_from_before((before, after) in states()) {
        let (before, after) = (comparable(&before), comparable(&after));
        let found = diff(Some(&before), Some(&after));
        let made = apply(Some(&before), &found.changes);
        prop_assert_eq!(made, Some(Some(after.clone())), "{:?}", found.changes);
        prop_assert_eq!(found.changes.is_empty(), before == after);
        prop_assert_eq!(found.text.is_empty(), before == after);
        let back = diff(Some(&after), Some(&before));
        prop_assert_eq!(apply(Some(&after), &back.changes), Some(Some(before)));
    }

    #[test]
    fn equal_objects_have_no_differences(value in document(), managed in document()) {
        let mut live = json!({"spec": value, "metadata": {"name": "x"}});
        let mut written = live.clone();
        live["metadata"]["managedFields"] = managed.clone();
        live["status"] = managed;
        written["nothing"] = Value::Null;
        prop_assert_eq!(diff(Some(&written), Some(&live)).changes, vec![]);
    }

    #[test]
    fn whole_objects_come_and_go(value in document()) {
        let value = comparable(&value);
        let made = diff(None, Some(&value));
        prop_assert_eq!(apply(None, &made.changes), Some(Some(value.clone())));
        let gone = diff(Some(&value), None);
        prop_assert_eq!(apply(Some(&value), &gone.changes), Some(None));
        prop_assert_eq!(apply(None, &diff(None, None).changes), Some(None));
    }
}
