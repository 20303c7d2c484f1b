//! What a story leaves behind, told alike for each namespace and each run of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sortie_cluster::record::{Head, PART_TYPE, Release};

use crate::world::{RELEASE, World};

/// Keys that differ from run to run.
const OWN: [&str; 18] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "namespace",
    "clusterIP",
    "clusterIPs",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "pod-template-hash",
    "nodeName",
    "conditions",
    "podIP",
    "podIPs",
    "podIps",
    "hostIP",
    "hostIPs",
    "topology.kubernetes.io/zone",
    // A hash of the object, and with it of the namespace.
    "sortie.dev/applied",
];

/// What of a status is the same in each run once everything is at rest.
const SETTLED: [&str; 9] = [
    "observedGeneration",
    "replicas",
    "readyReplicas",
    "availableReplicas",
    "updatedReplicas",
    "unavailableReplicas",
    "succeeded",
    "failed",
    "phase",
];

/// The end of a story.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    /// What the last process told.
    pub(crate) told: Value,
    /// The records, the oldest first.
    pub(crate) records: Vec<Value>,
    /// Parts that no record names.
    pub(crate) orphans: Vec<String>,
    /// Who holds the Lease.
    pub(crate) holder: Option<Value>,
    /// Everything else, by what names it.
    pub(crate) objects: BTreeMap<String, Vec<Value>>,
}

impl End {
    pub(crate) async fn of(world: &World, namespace: &str, task: &str, told: Value) -> Self {
        let names = Names {
            namespace: namespace.to_owned(),
            release: Release::new(namespace, RELEASE).unwrap().hash(),
        };
        let heads = world.heads_in(namespace).await;
        let named: BTreeSet<String> = heads
            .iter()
            .flat_map(|head| head.parts.iter().chain(&head.kept))
            .map(|part| part.secret_name())
            .collect();
        let mut end = Self {
            told: names.plain(&told),
            records: Vec::new(),
            orphans: Vec::new(),
            holder: None,
            objects: BTreeMap::new(),
        };
        for head in &heads {
            end.records
                .push(names.plain(&record(world, head, task).await));
        }
        for object in world.cluster.objects(namespace).await.unwrap() {
            end.take(&names, &named, object);
        }
        for objects in end.objects.values_mut() {
            objects.sort_by_key(Value::to_string);
        }
        end
    }

    fn take(&mut self, names: &Names, named: &BTreeSet<String>, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let kind = object["kind"].as_str().unwrap();
        let made = object["type"].as_str().unwrap_or_default();
        match kind {
            "Lease" => self.holder = object.pointer("/spec/holderIdentity").cloned(),
            "EndpointSlice" | "Endpoints" => {}
            "ServiceAccount" if name == "default" => {}
            "ConfigMap" if name == "kube-root-ca.crt" => {}
            "Pod" if !object["metadata"]["deletionTimestamp"].is_null() => {}
            "Secret" if made == PART_TYPE => {
                if !named.contains(&name) {
                    self.orphans.push(name);
                }
            }
            "Secret" if made.starts_with("sortie.dev/") => {}
            _ => {
                let key = key(kind, &object);
                let object = names.plain(&settled(object));
                self.objects.entry(key).or_default().push(object);
            }
        }
    }

    /// How another end differs from this one; empty when it does not.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, a: &Value, b: &Value| unlike(what, a, b, &mut differences);
        compare("told", &self.told, &other.told);
        compare("records", &json!(self.records), &json!(other.records));
        compare("orphans", &json!(self.orphans), &json!(other.orphans));
        compare("holder", &json!(self.holder), &json!(other.holder));
        let keys: BTreeSet<&String> = self.objects.keys().chain(other.objects.keys()).collect();
        for key in keys {
            let of = |end: &Self| json!(end.objects.get(key));
            compare(key, &of(self), &of(other));
        }
        differences
    }
}

/// Names every place at which `b` is not as `a`.
fn unlike(place: &str, a: &Value, b: &Value, differences: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                unlike(&format!("{place}.{key}"), &of(a), &of(b), differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                unlike(&format!("{place}[{at}]"), a, b, differences);
            }
        }
        (a, b) if a != b => differences.push(format!("{place}: {b}, not {a}")),
        _ => {}
    }
}

/// What there is to say of a record: above all, whether it knows what is there.
async fn record(world: &World, head: &Head, task: &str) -> Value {
    let ids = head.inventory.iter().map(|tracked| tracked.id.clone());
    let mut inventory = Vec::new();
    for (id, live) in world.api.survey(ids.collect()).await {
        let live = live.unwrap();
        let uid = live
            .as_ref()
            .and_then(|live| live["metadata"]["uid"].as_str());
        let tracked = match (head.uid(&id), uid) {
            (_, None) => "is gone",
            (None, Some(_)) => "has no UID",
            (Some(tracked), Some(uid)) if tracked == uid => "is known",
            (Some(_), Some(_)) => "is another",
        };
        inventory.push(format!("{id} {tracked}"));
    }
    inventory.sort();
    json!({
        "number": head.number,
        "status": head.status.name(),
        "color": head.side.color,
        "role": head.side.role,
        "message": head.message,
        "ours": head.asked_by.task == task,
        "parts": head.parts.len(),
        "kept": head.kept.len(),
        "inventory": inventory,
    })
}

/// What names an object alike in each run.
fn key(kind: &str, object: &Value) -> String {
    let metadata = &object["metadata"];
    let owner = metadata.pointer("/ownerReferences/0");
    match owner {
        Some(owner) => format!("{kind} of {}", owner["kind"].as_str().unwrap()),
        None => format!("{kind} {}", metadata["name"].as_str().unwrap()),
    }
}

/// An object without what comes and goes by itself.
fn settled(mut object: Value) -> Value {
    let kind = object["kind"].as_str().unwrap().to_owned();
    if let Some(Value::Object(status)) = object.get_mut("status") {
        status.retain(|key, _| SETTLED.contains(&key.as_str()));
    }
    if kind == "HorizontalPodAutoscaler" {
        // Its controller looks at it every some seconds: whether it has by now is no matter of ours.
        object.as_object_mut().unwrap().remove("status");
    }
    let owned = !object["metadata"]["ownerReferences"].is_null();
    if owned {
        // Its name ends at random or in a hash, and its state follows its owner's after a while.
        let metadata = object["metadata"].as_object_mut().unwrap();
        let name = metadata.remove("name").unwrap();
        let name = name.as_str().unwrap();
        let generated = name.rsplit_once('-').map_or(name, |(name, _)| name);
        metadata.insert("name".into(), generated.split('-').next().unwrap().into());
        for owner in metadata["ownerReferences"].as_array_mut().unwrap() {
            owner.as_object_mut().unwrap().remove("name");
        }
        metadata.remove("generateName");
        if kind == "ReplicaSet" || kind == "Pod" {
            object.as_object_mut().unwrap().remove("status");
        }
    }
    if kind == "ReplicaSet" {
        let spec = object["spec"].as_object_mut().unwrap();
        spec["selector"]["matchLabels"] = Value::Null;
    }
    if kind == "Pod" {
        // Its token is mounted under a random name.
        let spec = object["spec"].as_object_mut().unwrap();
        spec.remove("volumes");
        for container in spec["containers"].as_array_mut().unwrap() {
            container.as_object_mut().unwrap().remove("volumeMounts");
        }
    }
    // Who owns which field, but not since when.
    let managers = object["metadata"]["managedFields"].take();
    let ours = managers.as_array().into_iter().flatten().filter(|entry| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        manager.starts_with("sortie") || manager.starts_with("kubectl")
    });
    let ours: Vec<Value> = ours
        .map(|entry| json!([entry["manager"], entry["operation"], entry["fieldsV1"]]))
        .collect();
    object["metadata"]["managedFields"] = json!(ours);
    object
}

/// Names that are another in each run.
struct Names {
    namespace: String,
    release: String,
}

impl Names {
    fn plain(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
                let plain = kept.map(|(key, value)| (self.text(key), self.plain(value)));
                Value::Object(plain.collect::<Map<_, _>>())
            }
            Value::Array(values) => values.iter().map(|value| self.plain(value)).collect(),
            Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => "TIME".into(),
            Value::String(text) => self.text(text).into(),
            value => value.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        text.replace(&self.namespace, "NAMESPACE")
            .replace(&self.release, "RELEASE")
    }
}

#[test]
fn what_is_lost_left_or_made_twice_makes_another_end() {
    let names = Names {
        namespace: "ns-x".to_owned(),
        release: "0123".to_owned(),
    };
    let good = || {
        let mut end = End {
            told: json!({"releaseNumber": 1}),
            records: vec![json!({"number": 1, "inventory": ["ConfigMap a is known"]})],
            orphans: Vec::new(),
            holder: None,
            objects: BTreeMap::new(),
        };
        let map = json!({"kind": "ConfigMap", "metadata": {"name": "a", "uid": "1", "labels": {"r": "0123"}, "creationTimestamp": "2026-01-01T00:00:00Z"}, "data": {"a": "1"}});
        end.take(&names, &BTreeSet::new(), map);
        let owner = json!([{"kind": "Job", "name": "before", "uid": "7"}]);
        let pod = json!({"kind": "Pod", "metadata": {"name": "before-x7", "ownerReferences": owner}, "spec": {"containers": [{"name": "it"}]}});
        end.take(&names, &BTreeSet::new(), pod);
        end
    };
    let plant = |object: Value| {
        let mut end = good();
        end.take(&names, &BTreeSet::new(), object);
        end
    };
    assert!(good().differences(&good()).is_empty());
    let owner = json!([{"kind": "Job", "name": "before", "uid": "8"}]);
    let mut lost = good();
    lost.records.clear();
    let mut forgotten = good();
    forgotten.records[0]["inventory"] = json!(["ConfigMap a is gone"]);
    let mut changed = good();
    changed.objects.get_mut("ConfigMap a").unwrap()[0]["data"]["a"] = json!("2");
    let mut unlabelled = good();
    unlabelled.objects.get_mut("ConfigMap a").unwrap()[0]["metadata"]["labels"] = json!({});
    let mut held = good();
    held.holder = Some(json!("first"));
    for (what, end, expected) in [
        (
            "an object too many",
            plant(json!({"kind": "ConfigMap", "metadata": {"name": "b"}})),
            "ConfigMap b",
        ),
        (
            "a part that nobody names",
            plant(
                json!({"kind": "Secret", "type": PART_TYPE, "metadata": {"name": "sortie.part.1"}}),
            ),
            "orphans",
        ),
        (
            "a second run",
            plant(
                json!({"kind": "Pod", "metadata": {"name": "before-y8", "ownerReferences": owner}, "spec": {"containers": []}}),
            ),
            "Pod of Job",
        ),
        ("a lost record", lost, "records"),
        ("an inventory that is wrong", forgotten, "records"),
        ("another value", changed, "ConfigMap a"),
        ("a lost label", unlabelled, "ConfigMap a"),
        ("a lease that is held", held, "holder"),
    ] {
        let found = good().differences(&end);
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        assert!(found[0].starts_with(expected), "{what}: {found:?}");
    }
}
