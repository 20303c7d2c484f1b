//! Names that follow content, and everything that must follow the names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_manifest::references::{ConfigKind, references};
use sortie_manifest::versioning::{Scheme, content_hash, original_name, separate, version};
use sortie_manifest::{Limits, Object, parse};

fn objects(text: &str) -> Vec<Object> {
    parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap()
}

fn object(value: &Value) -> Object {
    objects(&value.to_string()).remove(0)
}

/// A pod spec that names a ConfigMap `c` and a Secret `s` at every place there is.
fn pod_spec() -> Value {
    let container = json!({
        "name": "x", "image": "s",
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "s"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "c"}}},
            {"name": "C", "value": "c"},
        ],
        "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
    });
    json!({
        "initContainers": [container], "containers": [container], "ephemeralContainers": [container],
        "imagePullSecrets": [{"name": "s"}, {"name": "elsewhere"}],
        "volumes": [
            {"name": "c", "configMap": {"name": "c"}},
            {"name": "s", "secret": {"secretName": "s"}},
            {"name": "p", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}},
            {"name": "f", "azureFile": {"secretName": "s"}},
            {"name": "r", "rbd": {"secretRef": {"name": "s"}}},
            {"name": "d", "csi": {"nodePublishSecretRef": {"name": "s"}}},
        ],
    })
}

fn workloads() -> Vec<Object> {
    let template = json!({"spec": pod_spec()});
    let with = |api: &str, kind: &str, spec: Value| {
        object(&json!({"apiVersion": api, "kind": kind, "metadata": {"name": "w"}, "spec": spec}))
    };
    let plain = json!({"template": template});
    vec![
        with("v1", "Pod", pod_spec()),
        with("apps/v1", "Deployment", plain.clone()),
        with("apps/v1", "StatefulSet", plain.clone()),
        with("apps/v1", "DaemonSet", plain.clone()),
        with("apps/v1", "ReplicaSet", plain.clone()),
        with("v1", "ReplicationController", plain.clone()),
        with("batch/v1", "Job", plain.clone()),
        with(
            "batch/v1",
            "CronJob",
            json!({"jobTemplate": {"spec": plain}}),
        ),
        with(
            "apps.openshift.io/v1",
            "DeploymentConfig",
            json!({
                "template": template,
                "strategy": {
                    "customParams": {"environment": [
                        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "s"}}},
                    ]},
                    "rollingParams": {"pre": {"execNewPod": {"env": [
                        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "c"}}},
                    ]}}},
                },
            }),
        ),
        object(&json!({
            "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "w"}, "template": template,
        })),
        with("argoproj.io/v1alpha1", "Rollout", plain.clone()),
        with("serving.knative.dev/v1", "Service", plain.clone()),
        with("apps.kruise.io/v1alpha1", "CloneSet", plain.clone()),
        with(
            "keda.sh/v1alpha1",
            "ScaledJob",
            json!({"jobTargetRef": plain}),
        ),
    ]
}

fn configs() -> Vec<Object> {
    objects(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: v}\n",
    )
}

/// How often a text stands as a whole value under a key that names a configuration.
fn count(value: &Value, name: &str) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| count(item, name)).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| match item {
                Value::String(text) if key == "name" || key == "secretName" => {
                    usize::from(text == name)
                }
                item => count(item, name),
            })
            .sum(),
        _ => 0,
    }
}

#[test]
fn every_reference_in_every_workload_follows() {
    for workload in workloads() {
        let mut set = configs();
        set.push(workload);
        let before = Value::Object(set[2].value().clone());
        let renames = version(&mut set, "shop", Scheme::ContentHash).renames;
        assert_eq!(renames.len(), 2);
        let after = Value::Object(set[2].value().clone());
        let kind = set[2].kind();
        // The name of the volume `c` and `s` stays; everything else with that name is a reference.
        assert_eq!(count(&after, "c"), 1, "{kind}");
        assert_eq!(count(&after, "s"), 1, "{kind}");
        for (old, rename) in ["c", "s"].iter().zip(&renames) {
            assert_eq!(count(&after, &rename.to), count(&before, old) - 1, "{kind}");
        }
        assert_eq!(count(&after, "elsewhere"), 1);
        let text = after.to_string();
        assert!(
            text.contains(r#""key":"c""#) && text.contains(r#""image":"s""#),
            "{text}"
        );
        let named: Vec<_> = references(&set[2])
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(
            named,
            [renames[0].to.as_str(), "elsewhere", renames[1].to.as_str()],
            "{kind}"
        );
    }
}

#[test]
fn accounts_routes_and_gateways_follow() {
    let mut set = configs();
    set.extend(objects(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nimagePullSecrets: [{name: s}]\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: {tls: [{secretName: s}]}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\n\
         spec: {listeners: [{tls: {certificateRefs: [{name: s}, {name: s, namespace: other}, {name: s, kind: X}]}}]}\n",
    ));
    let renames = version(&mut set, "shop", Scheme::ContentHash).renames;
    let to = &renames[1].to;
    assert_eq!(set[2].value()["imagePullSecrets"], json!([{"name": to}]));
    assert_eq!(set[3].value()["spec"]["tls"], json!([{"secretName": to}]));
    let refs = &set[4].value()["spec"]["listeners"][0]["tls"]["certificateRefs"];
    assert_eq!(
        *refs,
        json!([{"name": to}, {"name": "s", "namespace": "other"}, {"name": "s", "kind": "X"}])
    );
}

#[test]
fn declared_places_follow_in_any_kind() {
    let mut set = configs();
    set.extend(objects(
        "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: w\n  annotations:\n    \
         sortie.dev/configmap-paths: spec.config, spec.sources[].name\n    \
         sortie.dev/secret-paths: |\n      spec.keys[]\n      spec.sources[].name spec.nothing, spec..bad a[0]\n\
         spec:\n  config: c\n  keys: [s, x, s]\n  other: s\n  \
         sources: [{kind: ConfigMap, name: c}, {kind: Secret, name: s}, {kind: Secret, name: c}]\n",
    ));
    let versioned = version(&mut set, "shop", Scheme::ReleaseNumber(3));
    assert_eq!(
        set[2].value()["spec"],
        json!({
            "config": "c-3", "keys": ["s-3", "x", "s-3"], "other": "s",
            "sources": [{"kind": "ConfigMap", "name": "c-3"}, {"kind": "Secret", "name": "s-3"}, {"kind": "Secret", "name": "c"}],
        })
    );
    let idle: Vec<_> = versioned
        .idle
        .iter()
        .map(|idle| idle.place.as_str())
        .collect();
    assert_eq!(idle, ["spec.nothing", "spec..bad", "a[0]"]);
    assert!(versioned.mentions.is_empty(), "{:?}", versioned.mentions);
    assert_eq!(references(&set[2]).len(), 4);
}

#[test]
fn optional_references_are_known_as_such() {
    let pod = object(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"volumes": [
            {"secret": {"secretName": "a", "optional": true}}, {"configMap": {"name": "b", "optional": false}},
        ]},
    }));
    let found: Vec<_> = references(&pod)
        .into_iter()
        .map(|found| (found.name, found.optional))
        .collect();
    assert_eq!(found, [("b".to_owned(), false), ("a".to_owned(), true)]);
}

#[test]
fn namespaces_keep_names_apart() {
    let mut set = objects(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: one}\ndata: {k: v}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: one}\nspec: {volumes: [{configMap: {name: c}}]}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec: {volumes: [{configMap: {name: c}}]}\n",
    );
    let mut in_one = set.clone();
    version(&mut set, "two", Scheme::ReleaseNumber(7));
    let name = |set: &[Object], at: usize| {
        set[at].value()["spec"]["volumes"][0]["configMap"]["name"].clone()
    };
    assert_eq!((name(&set, 1), name(&set, 2)), (json!("c-7"), json!("c")));
    version(&mut in_one, "one", Scheme::ReleaseNumber(7));
    assert_eq!(
        (name(&in_one, 1), name(&in_one, 2)),
        (json!("c-7"), json!("c-7"))
    );
}

#[test]
fn some_objects_keep_their_name() {
    let mut set = objects(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {sortie.dev/skip-versioning: 'true'}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, annotations: {harness.io/skip-versioning: 'true'}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: c}\ntype: kubernetes.io/service-account-token\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: d}\ntype: bootstrap.kubernetes.io/token\n---\n\
         apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: e}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: f, annotations: {harness.io/skip-versioning: 'false'}}\n",
    );
    let renames = version(&mut set, "shop", Scheme::ReleaseNumber(2)).renames;
    let names: Vec<_> = set.iter().map(Object::name).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f-2"]);
    assert_eq!(renames.len(), 1);
    assert_eq!(
        (renames[0].kind, renames[0].from.as_str()),
        (ConfigKind::ConfigMap, "f")
    );
    assert_eq!(original_name(&set[5]), "f");
}

#[test]
fn a_copy_reads_what_versioning_has_left_alone_under_its_own_name() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{
        "name": "x", "image": "x",
        "envFrom": [{"configMapRef": {"name": "kept"}}, {"configMapRef": {"name": "free"}}, {"configMapRef": {"name": "other"}}],
    }]}});
    let mut set = objects(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {sortie.dev/skip-versioning: 'true'}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: free}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: token}\ntype: kubernetes.io/service-account-token\n",
    );
    set.push(object(&pod));
    version(&mut set, "shop", Scheme::ReleaseNumber(7));
    separate(&mut set, "shop", "canary");
    let once = set.clone();
    separate(&mut set, "shop", "canary");
    assert_eq!(set, once);
    let names: Vec<_> = set.iter().map(Object::name).collect();
    assert_eq!(names, ["kept-canary", "free-7", "token", "p"]);
    let read: Vec<_> = references(&set[3])
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(read, ["free-7", "kept-canary", "other"]);
    assert_eq!(original_name(&set[0]), "kept");
}

#[test]
fn the_hash_covers_content_and_nothing_else() {
    let hash = |text: &str| content_hash(&objects(text)[0]);
    let base = hash("{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: aGk=, y: ''}}");
    for same in [
        "{apiVersion: v1, kind: Secret, metadata: {name: b, labels: {l: m}}, data: {y: '', x: aGk=}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {x: hi}, data: {y: ''}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: a}, type: Opaque, data: {x: aGk=, y: ''}, immutable: false}",
    ] {
        assert_eq!(hash(same), base, "{same}");
    }
    for other in [
        "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: aGk=}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: aGo=, y: ''}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: aGk=, y: ''}, immutable: true}",
        "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: aGk=, y: ''}, type: kubernetes.io/tls}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, binaryData: {x: aGk=}, data: {y: ''}}",
    ] {
        assert_ne!(hash(other), base, "{other}");
    }
    assert_eq!(base.len(), 10);
}

#[test]
fn a_change_of_content_gives_a_new_name_from_the_original() {
    let mut set = configs();
    version(&mut set, "shop", Scheme::ContentHash);
    let first = set[0].name().to_owned();
    set[0]
        .edit(|value| value["data"]["k"] = json!("w"))
        .unwrap();
    let renames = version(&mut set, "shop", Scheme::ContentHash).renames;
    assert_ne!(set[0].name(), first);
    assert_eq!(renames[0].from, "c");
    assert_eq!(set[0].name().len(), "c-".len() + 10);
    // An annotation that does not fit the name is not believed.
    let mut forged = objects(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {sortie.dev/original-name: other}}\n",
    );
    version(&mut forged, "shop", Scheme::ReleaseNumber(1));
    assert_eq!(forged[0].name(), "c-1");
}

#[test]
fn long_names_are_cut_to_the_limit() {
    // 253 bytes, the longest name there is; the cut falls behind the dot, which may not end a name.
    let long = format!("{}.{}", "a".repeat(241), "b".repeat(11));
    let mut set = vec![
        object(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": long}})),
        object(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"volumes": [{"configMap": {"name": long}}]},
        })),
    ];
    version(&mut set, "shop", Scheme::ContentHash);
    let name = set[0].name();
    assert_eq!(
        name,
        format!("{}-{}", "a".repeat(241), content_hash(&set[0]))
    );
    assert_eq!(
        set[1].value()["spec"]["volumes"][0]["configMap"]["name"],
        name
    );
    let once = set.clone();
    version(&mut set, "shop", Scheme::ContentHash);
    assert!(once == set);
}

#[test]
fn names_at_unknown_places_are_reported() {
    let mut set = configs();
    set.extend(objects(
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: x, labels: {secret: s}}\n\
         spec: {tlsSecret: s, size: s, refs: [{kind: ConfigMap, name: c}], configMapNames: [a, c], other: {name: c}}\n",
    ));
    let found: Vec<_> = version(&mut set, "shop", Scheme::ContentHash)
        .mentions
        .into_iter()
        .map(|mention| (mention.path, mention.name))
        .collect();
    let expected = [
        ("spec.tlsSecret", "s"),
        ("spec.refs[0].name", "c"),
        ("spec.configMapNames[1]", "c"),
    ];
    assert_eq!(
        found,
        expected.map(|(path, name)| (path.to_owned(), name.to_owned()))
    );
}

proptest! {
    #[test]
    fn doing_it_twice_changes_nothing(
        names in proptest::collection::btree_set("[a-z]{1,3}(-[0-9]{1,2})?", 1..5),
        data in "[a-z]{0,4}",
        number in 0..3_u64,
        by_number: bool,
    ) {
        let mut set: Vec<Object> = names.iter().map(|name| {
            object(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": data}}))
        }).collect();
        let volumes: Vec<_> = names.iter().map(|name| json!({"name": name, "configMap": {"name": name}})).collect();
        set.push(object(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"volumes": volumes}})));
        let scheme = if by_number { Scheme::ReleaseNumber(number) } else { Scheme::ContentHash };
        let first = version(&mut set, "shop", scheme);
        let once = set.clone();
        // Every reference names an object of the set.
        let (pod, maps) = set.split_last().unwrap();
        for reference in references(pod) {
            prop_assert!(maps.iter().any(|map| map.name() == reference.name), "{}", reference.name);
        }
        prop_assert_eq!(references(pod).len(), names.len());
        let second = version(&mut set, "shop", scheme);
        prop_assert!(once == set, "{:?} {:?}", once, set);
        prop_assert_eq!(first.renames, second.renames);
    }
}

/// A reference by where it leads: kind, namespace, name.
type Lead = (ConfigKind, String, String);

fn leads(set: &[Object]) -> Vec<Lead> {
    let mut found = Vec::new();
    for object in set {
        let home = object.namespace().unwrap_or("shop");
        found.extend(references(object).into_iter().map(|reference| {
            let place = reference.namespace.unwrap_or_else(|| home.to_owned());
            (reference.kind, place, reference.name)
        }));
    }
    found
}

fn there(set: &[Object]) -> Vec<Lead> {
    set.iter()
        .filter_map(|object| {
            let place = object.namespace().unwrap_or("shop").to_owned();
            Some((ConfigKind::of(object)?, place, object.name().to_owned()))
        })
        .collect()
}

proptest! {
    #[test]
    fn no_reference_is_left_dangling(
        configs in prop::collection::btree_map((any::<bool>(), 0..3_usize, "[ab](-[12])?"), ("[xy]?", prop::bool::weighted(0.2)), 1..8),
        pods in prop::collection::vec((0..14_usize, 0..3_usize, "[ab](-[12])?", "[ab](-[12])?"), 1..6),
        number in 1..3_u64,
        by_number: bool,
    ) {
        const PLACES: [Option<&str>; 3] = [None, Some("shop"), Some("other")];
        let kinds = workloads();
        let mut set: Vec<Object> = configs.iter().map(|((secret, place, name), (data, skip))| {
            let kind = if *secret { "Secret" } else { "ConfigMap" };
            object(&json!({
                "apiVersion": "v1", "kind": kind, "stringData": {"k": data},
                "metadata": {
                    "name": name, "namespace": PLACES[*place],
                    "annotations": {"sortie.dev/skip-versioning": skip.to_string()},
                },
            }))
        }).collect();
        // An object may be there once only; no namespace and the namespace of the deployment are the same.
        let mut seen = std::collections::HashSet::new();
        set.retain(|object| seen.insert(there(std::slice::from_ref(object))));
        for (kind, place, c, s) in &pods {
            let text = Value::Object(kinds[*kind].value().clone()).to_string();
            let text = text.replace("\"name\":\"c\"", &format!("\"name\":{c:?}"))
                .replace("\"name\":\"s\"", &format!("\"name\":{s:?}"))
                .replace("\"secretName\":\"s\"", &format!("\"secretName\":{s:?}"));
            let mut pod: Value = serde_json::from_str(&text).unwrap();
            pod["metadata"]["namespace"] = json!(PLACES[*place]);
            set.push(object(&pod));
        }
        let (leads_before, there_before) = (leads(&set), there(&set));
        let resolved = leads_before.iter().filter(|lead| there_before.contains(lead)).count();
        let scheme = if by_number { Scheme::ReleaseNumber(number) } else { Scheme::ContentHash };
        version(&mut set, "shop", scheme);
        let (leads_after, there_after) = (leads(&set), there(&set));
        prop_assert_eq!(leads_before.len(), leads_after.len());
        let resolved_after = leads_after.iter().filter(|lead| there_after.contains(lead)).count();
        prop_assert!(resolved_after >= resolved, "{resolved_after} < {resolved}");
        let once = set.clone();
        version(&mut set, "shop", scheme);
        prop_assert!(once == set);
    }
}
