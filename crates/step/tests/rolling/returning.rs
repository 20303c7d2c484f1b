//! Whatever two releases have in them: a rollback from the second leaves the objects of the first as they were.
//!
//! Sets are random; a failure names its seed, and `SORTIE_SEED` tries it again.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::{StreamExt as _, stream};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use sortie_step::task::{Prune, RollingDeploy, Target, Versioning};

use crate::crashing::end::End;
use crate::crashing::ground::Ground;
use crate::crashing::{at_once, none_of, variable, whole};
use crate::world::{World, documents, plain};

/// Some of these keys with one of few values.
fn pairs(keys: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = prop::option::of(0..3_u8);
    prop::collection::vec(value, keys.len()).prop_map(|values| {
        let mut text = String::new();
        for (key, value) in keys.iter().zip(values) {
            if let Some(value) = value {
                write!(text, "{key}: \"v{value}\", ").unwrap();
            }
        }
        format!("{{{text}}}")
    })
}

/// Metadata with labels and annotations of its own.
fn metadata(name: &'static str) -> impl Strategy<Value = String> {
    (
        pairs(&["team", "tier"]),
        pairs(&["note", "example.com/link"]),
    )
        .prop_map(move |(labels, annotations)| {
            format!("metadata: {{name: {name}, labels: {labels}, annotations: {annotations}}}")
        })
}

/// A ConfigMap or Secret; one of them under a name that follows its content.
fn configuration() -> impl Strategy<Value = Vec<String>> {
    let settings = (metadata("settings"), pairs(&["a", "b", "c"])).prop_map(|(metadata, data)| {
        format!("apiVersion: v1\nkind: ConfigMap\n{metadata}\ndata: {data}\n")
    });
    let secret = (metadata("token"), pairs(&["password", "user"])).prop_map(|(metadata, data)| {
        format!("apiVersion: v1\nkind: Secret\n{metadata}\nstringData: {data}\n")
    });
    let fixed = pairs(&["x", "y"]).prop_map(|data| {
        let annotation = "annotations: {sortie.dev/skip-versioning: \"true\"}";
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: fixed, {annotation}}}\ndata: {data}\n")
    });
    (settings, prop::option::of(secret), prop::option::of(fixed)).prop_map(
        |(settings, secret, fixed)| {
            [Some(settings), secret, fixed]
                .into_iter()
                .flatten()
                .collect()
        },
    )
}

fn workload() -> impl Strategy<Value = String> {
    let replicas = prop::option::of(1..3_u8);
    let more = any::<(bool, bool)>();
    (metadata("web"), replicas, 0..3_u8, pairs(&["A", "B", "C"]), pairs(&["note"]), more).prop_map(
        |(metadata, replicas, image, env, notes, (sidecar, grace))| {
            let replicas = replicas.map_or(String::new(), |count| format!("  replicas: {count}\n"));
            let grace = if grace { "      terminationGracePeriodSeconds: 0\n" } else { "" };
            let sidecar = if sidecar { "        - {name: side, image: 'example.com/side:1'}\n" } else { "" };
            let env: Vec<String> = env
                .trim_matches(['{', '}'])
                .split(", ")
                .filter_map(|pair| pair.split_once(": "))
                .map(|(name, value)| format!("{{name: {name}, value: {value}}}"))
                .collect();
            let env = env.join(", ");
            format!(
                "apiVersion: apps/v1\nkind: Deployment\n{metadata}\nspec:\n{replicas}  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}, annotations: {notes}}}\n    spec:\n{grace}      containers:\n        - name: web\n          image: example.com/web:{image}\n          env: [{env}]\n          envFrom: [{{configMapRef: {{name: settings}}}}]\n{sidecar}"
            )
        },
    )
}

fn others() -> impl Strategy<Value = Vec<String>> {
    let service = (metadata("web"), any::<(bool, bool)>()).prop_map(|(metadata, (second, sticky))| {
        let second = if second { ", {name: admin, port: 81, targetPort: 8081}" } else { "" };
        let sticky = if sticky { ", sessionAffinity: ClientIP" } else { "" };
        format!("apiVersion: v1\nkind: Service\n{metadata}\nspec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}{second}]{sticky}}}\n")
    });
    let account = (metadata("runner"), any::<bool>()).prop_map(|(metadata, mount)| {
        format!("apiVersion: v1\nkind: ServiceAccount\n{metadata}\nautomountServiceAccountToken: {mount}\n")
    });
    let role = (metadata("reader"), 0..3_u8).prop_map(|(metadata, count)| {
        let rules: Vec<String> = (0..count)
            .map(|number| format!("{{apiGroups: [\"\"], resources: [pods], verbs: [get], resourceNames: [p{number}]}}"))
            .collect();
        format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n{metadata}\nrules: [{}]\n", rules.join(", "))
    });
    let budget = (metadata("web"), any::<bool>()).prop_map(|(metadata, most)| {
        let bound = if most { "maxUnavailable: 1" } else { "minAvailable: 0" };
        format!("apiVersion: policy/v1\nkind: PodDisruptionBudget\n{metadata}\nspec: {{selector: {{matchLabels: {{app: web}}}}, {bound}}}\n")
    });
    let nightly = (metadata("nightly"), 0..3_u8, any::<bool>()).prop_map(|(metadata, hour, suspended)| {
        let suspended = if suspended { "  suspend: true\n" } else { "" };
        format!("apiVersion: batch/v1\nkind: CronJob\n{metadata}\nspec:\n  schedule: \"0 {hour} 1 1 *\"\n{suspended}  jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: it, image: 'example.com/job:1'}}]}}}}}}}}\n")
    });
    let policy = (metadata("web"), any::<bool>()).prop_map(|(metadata, egress)| {
        let egress = if egress { ", egress: [{}], policyTypes: [Egress]" } else { "" };
        format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n{metadata}\nspec: {{podSelector: {{matchLabels: {{app: web}}}}{egress}}}\n")
    });
    let maybe = prop::option::of::<BoxedStrategy<String>>;
    (
        maybe(service.boxed()),
        maybe(account.boxed()),
        maybe(role.boxed()),
        maybe(budget.boxed()),
        maybe(nightly.boxed()),
        maybe(policy.boxed()),
    )
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].into_iter().flatten().collect())
}

/// A set of documents.
fn set() -> impl Strategy<Value = String> {
    (
        configuration(),
        prop::option::weighted(0.7, workload()),
        others(),
    )
        .prop_map(|(configuration, workload, others)| {
            let all: Vec<&str> = configuration
                .iter()
                .chain(&workload)
                .chain(&others)
                .map(String::as_str)
                .collect();
            documents(&all)
        })
}

#[derive(Clone, Debug)]
struct Case {
    first: String,
    second: String,
    versioned: bool,
    pruned: bool,
    /// The second release is undone, or the first one is chosen.
    undone: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (set(), set(), any::<(bool, bool, bool)>()).prop_map(
        |(first, second, (versioned, pruned, undone))| Case {
            first,
            second,
            versioned,
            pruned,
            undone,
        },
    )
}

impl Case {
    fn of(seed: u128) -> Self {
        let seed = [seed.to_le_bytes(), seed.to_le_bytes()].concat();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        case().new_tree(&mut runner).unwrap().current()
    }

    fn options(&self, yaml: &str) -> RollingDeploy {
        RollingDeploy {
            versioning: if self.versioned {
                Versioning::ContentHash
            } else {
                Versioning::Off
            },
            prune: self.pruned.then_some(Prune { limit: Some(100) }),
            ..plain(yaml)
        }
    }

    /// Applies both, rolls back, and says what is another than before.
    async fn tell(&self, world: &World) -> Vec<String> {
        world.deploy(self.options(&self.first)).await.outputs();
        let before = state(world).await;
        world.deploy(self.options(&self.second)).await.outputs();
        let target = if self.undone {
            Target::Below(2)
        } else {
            Target::Number(1)
        };
        world.rollback(target).await.outputs();
        let after = state(world).await;
        before.differences(&after)
    }
}

/// The objects of releases, without what their controllers make of them and what only counts changes.
async fn state(world: &World) -> End {
    let mut end = End::of(world, world.namespace.name(), "", Value::Null).await;
    end.records.clear();
    end.orphans.clear();
    let objects = std::mem::take(&mut end.objects);
    end.objects = objects
        .into_iter()
        .filter(|(key, _)| !key.contains(" of "))
        .map(|(key, objects)| (key, objects.into_iter().map(uncounted).collect()))
        .collect();
    end
}

fn uncounted(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("generation");
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    object
}

/// Leaves out versioned configuration that only the undone release has named: it stays while a record names it.
fn without_leftovers(differences: Vec<String>) -> Vec<String> {
    let leftover = |text: &String| {
        let versioned =
            text.starts_with("ConfigMap settings-") || text.starts_with("Secret token-");
        versioned && text.ends_with(", not null")
    };
    differences
        .into_iter()
        .filter(|text| !leftover(text))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_back_the_objects_of_any_release() {
    let ground = Ground::shared().await;
    let count = if whole() { 200 } else { 12 };
    let seeds: Vec<u128> = match variable("SORTIE_SEED") {
        Some(seed) => vec![seed.parse().unwrap()],
        None => (0..count).map(|_| uuid::Uuid::new_v4().as_u128()).collect(),
    };
    let ground = &ground;
    let cases = seeds.into_iter().map(|seed| async move {
        let case = Case::of(seed);
        println!("SORTIE_SEED={seed}: {case:?}");
        let world = World::on(ground.cluster.clone(), "returning").await;
        let found = without_leftovers(case.tell(&world).await);
        world.finish().await;
        let named = found
            .into_iter()
            .map(|text| format!("SORTIE_SEED={seed}: {text}"));
        named.collect::<Vec<_>>()
    });
    let failures: Vec<Vec<String>> = stream::iter(cases)
        .buffer_unordered(at_once())
        .collect()
        .await;
    none_of(&failures.concat());
}

#[test]
fn random_sets_differ() {
    let mut seen = BTreeMap::new();
    for seed in 0..64 {
        let case = Case::of(seed);
        assert_eq!(format!("{case:?}"), format!("{:?}", Case::of(seed)));
        *seen.entry(case.first == case.second).or_insert(0) += 1;
    }
    assert!(seen[&false] > 50, "{seen:?}");
}
