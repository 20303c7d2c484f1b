//! Labels, hashes, masking and differences.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sortie_manifest::diff::{comparable, diff};
use sortie_manifest::labels::{Marks, color, release_id, selected_color, stamp, track};
use sortie_manifest::{Limits, Object, annotations, hash, parse, secrets, workload};

fn object(value: &Value) -> Object {
    parse("t.yaml", value.to_string().as_bytes(), &Limits::default())
        .unwrap()
        .remove(0)
}

fn marks() -> Marks {
    Marks {
        namespace: "shop".to_owned(),
        release: "web".to_owned(),
        track: Some("canary".to_owned()),
        color: None,
    }
}

#[test]
fn objects_and_their_pods_are_marked() {
    let mut deployment = object(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"a": "b"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}},
    }));
    stamp(&mut deployment, &marks());
    let id = release_id("shop", "web");
    let expected = json!({"a": "b", "sortie.dev/release": id, "sortie.dev/track": "canary"});
    assert_eq!(deployment.value()["metadata"]["labels"], expected);
    assert_eq!(
        deployment.value()["spec"]["template"]["metadata"]["labels"],
        expected
    );
    assert_eq!(
        deployment.value()["spec"]["selector"],
        json!({"matchLabels": {"a": "b"}})
    );
    assert_eq!(
        deployment.annotation("sortie.dev/release-name"),
        Some("shop/web")
    );
    let once = deployment.clone();
    stamp(&mut deployment, &marks());
    assert!(once == deployment);

    let mut config = object(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": null}}),
    );
    stamp(&mut config, &marks());
    assert_eq!(
        config.value()["metadata"]["labels"],
        json!({"sortie.dev/release": id})
    );

    let mut cron = object(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}},
    }));
    stamp(&mut cron, &marks());
    assert_eq!(
        cron.value()["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"],
        json!({"sortie.dev/release": id, "sortie.dev/track": "canary"})
    );

    let mut pod =
        object(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}));
    stamp(&mut pod, &marks());
    assert_eq!(pod.label("sortie.dev/release"), Some(id.as_str()));
}

#[test]
fn release_ids_are_label_values_and_keep_pairs_apart() {
    let id = release_id("shop", "web");
    assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()));
    assert_ne!(release_id("a", "b-c"), release_id("a-b", "c"));
    assert_ne!(release_id("a", "b"), release_id("b", "a"));
}

#[test]
fn annotations_decide_what_is_managed() {
    let with = |api: &str, kind: &str, annotations: Value| {
        object(
            &json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "annotations": annotations}}),
        )
    };
    let table = [
        ("apps/v1", "Deployment", json!({}), true),
        (
            "apps/v1",
            "Deployment",
            json!({"harness.io/direct-apply": "true"}),
            false,
        ),
        (
            "apps/v1",
            "Deployment",
            json!({"sortie.dev/direct-apply": "TRUE"}),
            false,
        ),
        (
            "apps/v1",
            "Deployment",
            json!({"sortie.dev/direct-apply": "false", "harness.io/direct-apply": "true"}),
            true,
        ),
        ("apps/v1", "StatefulSet", json!(null), true),
        ("batch/v1", "Job", json!({}), false),
        ("v1", "Service", json!({}), false),
        ("example.com/v1", "Deployment", json!({}), false),
        (
            "example.com/v1",
            "Widget",
            json!({"harness.io/managed-workload": "true"}),
            true,
        ),
    ];
    for (api, kind, notes, managed) in table {
        assert_eq!(
            workload::is_managed(&with(api, kind, notes.clone())),
            managed,
            "{api} {kind} {notes}"
        );
    }
    for (text, skipped) in [
        ("# harness.io/skip-file-for-deploy\na: 1", true),
        ("#sortie.dev/skip-file-for-deploy because\n", true),
        ("\u{feff}## harness.io/skip-file-for-deploy", true),
        ("a: 1 # harness.io/skip-file-for-deploy", false),
        ("\n# harness.io/skip-file-for-deploy", false),
        ("# harness.io/skip-file-for-deployment", false),
        ("", false),
    ] {
        assert_eq!(annotations::skips_file(text), skipped, "{text:?}");
    }
}

#[test]
fn names_of_older_manifests_mean_the_same() {
    let with = |metadata: Value, selector: Value| {
        let mut value = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": selector}});
        value["metadata"]["name"] = json!("web");
        object(&value)
    };
    let older = with(
        json!({
            "labels": {"harness.io/track": "canary", "harness.io/color": "blue"},
            "annotations": {
                "harness.io/skipPruning": "true", "harness.io/primary-service": "true",
                "harness.io/steadyStateCondition": "a", "harness.io/failureCondition": "b", "harness.io/managed": "true",
            },
        }),
        json!({"harness.io/color": "blue"}),
    );
    let ours = with(
        json!({
            "labels": {"sortie.dev/track": "stable", "harness.io/track": "canary", "sortie.dev/color": "green"},
            "annotations": {
                "sortie.dev/skip-pruning": "false", "harness.io/skipPruning": "true",
                "sortie.dev/steady-state-condition": "c", "harness.io/steadyStateCondition": "a",
            },
        }),
        json!({"sortie.dev/color": "green", "harness.io/color": "blue"}),
    );
    assert_eq!(
        (track(&older), color(&older)),
        (Some("canary"), Some("blue"))
    );
    assert_eq!(
        (track(&ours), color(&ours)),
        (Some("stable"), Some("green"))
    );
    assert_eq!(selected_color(&older), Some(("harness.io/color", "blue")));
    assert_eq!(selected_color(&ours), Some(("sortie.dev/color", "green")));
    assert_eq!(selected_color(&with(json!({}), json!({"app": "x"}))), None);
    for annotation in [
        annotations::SKIP_PRUNING,
        annotations::PRIMARY_SERVICE,
        annotations::MANAGED,
    ] {
        assert!(
            annotations::is_set(&older, annotation),
            "{}",
            annotation.name()
        );
        assert!(
            !annotations::is_set(&ours, annotation),
            "{}",
            annotation.name()
        );
    }
    assert!(!annotations::is_set(&older, annotations::STAGE_SERVICE));
    let steady = annotations::STEADY_STATE_CONDITION;
    assert_eq!(annotations::value(&older, steady), Some("a"));
    assert_eq!(annotations::value(&ours, steady), Some("c"));
    assert_eq!(
        annotations::value(&older, annotations::FAILURE_CONDITION),
        Some("b")
    );
}

/// Same names in two groups are two objects.
#[test]
fn identity_is_group_kind_namespace_and_name() {
    let with = |api: &str, namespace: Value| {
        object(&json!({"apiVersion": api, "kind": "Service", "metadata": {"name": "web", "namespace": namespace}})).id()
    };
    let core = with("v1", json!(null));
    assert_ne!(core, with("serving.knative.dev/v1", json!(null)));
    assert_ne!(core, with("v1", json!("shop")));
    assert_eq!(core.clone().in_namespace("shop"), with("v1", json!("shop")));
    assert_eq!(
        with("apps/v1", json!(null)),
        with("apps/v1beta2", json!(null))
    );
    let text = serde_json::to_string(&core).unwrap();
    assert_eq!(
        serde_json::from_str::<sortie_manifest::ObjectId>(&text).unwrap(),
        core
    );
}

#[test]
fn hashes_ignore_order_and_see_every_value() {
    let one = object(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}}),
    );
    let turned = object(
        &json!({"data": {"y": "2", "x": "1"}, "metadata": {"name": "a"}, "kind": "ConfigMap", "apiVersion": "v1"}),
    );
    let two = object(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}));
    let changed = object(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1", "y": 2}}),
    );
    let all = hash::manifest(&[one.clone(), two.clone()]);
    assert_eq!(all, hash::manifest(&[two.clone(), turned]));
    assert_ne!(all, hash::manifest(&[changed, two.clone()]));
    // The namespace that a set is meant for counts neither way; another one does.
    let placed = |namespace: &str| {
        let mut one = one.clone();
        one.set_namespace(namespace).unwrap();
        hash::manifest_in(&[one, two.clone()], "shop")
    };
    assert_eq!(placed("shop"), all);
    assert_ne!(placed("elsewhere"), all);
    assert_ne!(all, hash::manifest(std::slice::from_ref(&one)));
    assert_eq!(
        hash::canonical(&json!({"b": [1, {"d": null, "c": "\u{e9}\""}], "a": true})),
        r#"{"a":true,"b":[1,{"c":"é\"","d":null}]}"#
    );
    assert_eq!(
        hash::digest(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn masked_secrets_show_names_only() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{hunter2}", "a": "b"}},
        "data": {"x": "aHVudGVyMg==", "n": 5}, "stringData": {"y": "hunter2"},
    });
    let expected = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "***", "a": "b"}},
        "data": {"x": "***", "n": "***"}, "stringData": {"y": "***"},
    });
    assert_eq!(secrets::masked(&secret), expected);
    assert_eq!(
        secrets::masked(&json!({"kind": "List", "items": [secret]})),
        json!({"kind": "List", "items": [expected]})
    );
    let listed = json!({"kind": "SecretList", "items": [{"data": {"x": "hunter2"}}]});
    assert_eq!(
        secrets::masked(&listed),
        json!({"kind": "SecretList", "items": [{"data": {"x": "***"}}]})
    );
    let broken = json!({"apiVersion": "v1", "kind": "Secret", "data": "hunter2"});
    assert_eq!(secrets::masked(&broken)["data"], "***");
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "shown"}});
    assert_eq!(secrets::masked(&config), config);
}

fn deployment(image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "log", "image": "log:1"}, {"name": "web", "image": image},
        ]}}},
    })
}

#[test]
fn differences_name_the_field() {
    let mut after = deployment("web:2", 3);
    after["metadata"]["labels"]["app.kubernetes.io/name"] = json!("shop");
    after["spec"]["paused"] = json!(true);
    after["status"] = json!({"replicas": 3});
    after["metadata"]["resourceVersion"] = json!("12");
    after["spec"]["strategy"] = json!(null);
    let found = diff(Some(&deployment("web:1", 3)), Some(&after));
    let changes = serde_json::to_value(&found.changes).unwrap();
    assert_eq!(
        changes,
        json!([
            {"path": "metadata.labels[\"app.kubernetes.io/name\"]", "before": "web", "after": "shop"},
            {"path": "spec.template.spec.containers[name=web].image", "before": "web:1", "after": "web:2"},
            {"path": "spec.paused", "after": true},
        ])
    );
    insta::assert_snapshot!(found.text, @r#"
    @@ -2,14 +2,15 @@
     kind: Deployment
     metadata:
       labels:
    -    app.kubernetes.io/name: web
    +    app.kubernetes.io/name: shop
       name: web
     spec:
    +  paused: true
       replicas: 3
       template:
         spec:
           containers:
           - image: log:1
             name: log
    -      - image: web:1
    +      - image: web:2
             name: web
    "#);
}

#[test]
fn equal_objects_have_no_differences() {
    let mut live = deployment("web:1", 3);
    live["metadata"]["managedFields"] = json!([{}]);
    live["metadata"]["uid"] = json!("u");
    let found = diff(Some(&deployment("web:1", 3)), Some(&live));
    assert!(found.changes.is_empty() && found.text.is_empty());
    assert_eq!(comparable(&live), comparable(&deployment("web:1", 3)));
    let none = diff(None, None);
    assert!(none.changes.is_empty() && none.text.is_empty());
}

#[test]
fn lists_are_compared_by_name_or_position() {
    let lists = |before: Value, after: Value| {
        let found = diff(Some(&json!({"l": before})), Some(&json!({"l": after})));
        found
            .changes
            .into_iter()
            .map(|change| change.path)
            .collect::<Vec<_>>()
    };
    let named = |names: &[&str]| {
        Value::from(
            names
                .iter()
                .map(|name| json!({"name": name}))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        lists(named(&["a", "b"]), named(&["c", "a", "b"])),
        ["l[name=c]"]
    );
    assert_eq!(lists(named(&["a", "b"]), named(&["b"])), ["l[name=a]"]);
    assert_eq!(lists(named(&["a", "b"]), named(&["b", "a"])), ["l"]);
    assert_eq!(lists(named(&["a", "a"]), named(&["a", "b"])), ["l[1].name"]);
    assert_eq!(lists(json!([1, 2]), json!([1, 3, 4])), ["l[1]", "l[2]"]);
}

#[test]
fn secret_values_never_appear_in_differences() {
    let secret = |x: &str, y: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"x": x, "same": y},
        })
    };
    let found = diff(
        Some(&secret("b2xk", "c2FtZQ==")),
        Some(&secret("bmV3", "c2FtZQ==")),
    );
    let all = format!("{found:?}");
    assert!(
        !all.contains("b2xk") && !all.contains("bmV3") && !all.contains("c2FtZQ"),
        "{all}"
    );
    assert_eq!(found.changes.len(), 1);
    assert_eq!(found.changes[0].path, "data.x");
    for (before, after) in [
        (None, Some(secret("b2xk", ""))),
        (Some(secret("b2xk", "")), None),
    ] {
        let all = format!("{:?}", diff(before.as_ref(), after.as_ref()));
        assert!(!all.contains("b2xk") && all.contains("***"), "{all}");
    }
    // A change of kind must not uncover the other side.
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"x": "shown"}});
    let all = format!("{:?}", diff(Some(&secret("b2xk", "")), Some(&other)));
    assert!(!all.contains("b2xk"), "{all}");
}

#[test]
fn huge_differences_take_no_longer_than_their_size() {
    let many = |salt: usize| json!({"l": (0..60_000).map(|n| format!("x{}", n * 2 + salt)).collect::<Vec<_>>()});
    let found = diff(Some(&many(0)), Some(&many(1)));
    assert_eq!(found.changes.len(), 60_000);
    assert!(found.text.starts_with("-l:") && found.text.contains("\n+- x1\n"));
}
