//! What holds for the plan of any set.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_manifest::Object;
use sortie_manifest::order::{OrderError, Plan, plan};
use sortie_manifest::versioning::{Scheme, version};

use crate::{object, pods, shown};

/// An object of a random set: kind, name, namespace, wave, what it depends on, what it names.
type Random = (
    usize,
    usize,
    Option<bool>,
    Option<i32>,
    Vec<usize>,
    Vec<(usize, bool)>,
);

/// The last comes before or after versions of the first, as their hash wants it.
const NAMES: [&str; 3] = ["a", "b", "a-8"];

const KINDS: [&str; 9] = [
    "Namespace",
    "CustomResourceDefinition.apiextensions.k8s.io",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "Deployment.apps",
    "Job.batch",
    "Widget.example.com",
    "APIService.apiregistration.k8s.io",
];

fn random_set() -> impl Strategy<Value = Vec<Object>> {
    let one = (
        0..KINDS.len(),
        0..3_usize,
        prop::option::of(any::<bool>()),
        prop::option::weighted(0.4, -2..3_i32),
        prop::collection::vec(0..27_usize, 0..2),
        prop::collection::vec((0..3_usize, any::<bool>()), 0..3),
    );
    prop::collection::vec(one, 0..14).prop_map(|all: Vec<Random>| {
        let mut seen = std::collections::HashSet::new();
        all.into_iter()
            .filter(|random| seen.insert((random.0, random.1)))
            .map(|(kind, name, namespace, wave, depends, names)| {
                let mut annotations = json!({});
                if let Some(wave) = wave {
                    annotations["sortie.dev/wave"] = json!(wave.to_string());
                }
                if !depends.is_empty() {
                    let list: Vec<_> = depends
                        .iter()
                        .map(|to| format!("{}/{}", KINDS[to / 3], NAMES[to % 3]))
                        .collect();
                    annotations["sortie.dev/depends-on"] = json!(list.join(","));
                }
                let volumes: Vec<_> = names
                    .iter()
                    .map(|(name, secret)| {
                        let name = NAMES[*name];
                        if *secret {
                            json!({"secret": {"secretName": name}})
                        } else {
                            json!({"configMap": {"name": name}})
                        }
                    })
                    .collect();
                let rest = match kind {
                    1 => json!({"spec": {"group": "example.com", "names": {"kind": (["Widget", "Gadget", "Thing"][name])}}}),
                    5 | 6 => pods(&json!({"volumes": volumes, "serviceAccountName": "a"})),
                    _ => json!({}),
                };
                let mut made = object(
                    &format!("{}/{}", KINDS[kind], NAMES[name]),
                    &annotations,
                    &rest,
                );
                if let (true, Some(stated)) = (kind > 1, namespace) {
                    made.set_namespace(if stated { "shop" } else { "b" })
                        .unwrap();
                }
                made
            })
            .collect()
    })
}

/// What must come before what, said again without the planner's help: pairs of (after, before).
fn edges(set: &[Object]) -> Vec<(usize, usize)> {
    let home = |object: &Object| object.namespace().unwrap_or("shop").to_owned();
    let cluster = |object: &Object| {
        matches!(
            object.kind(),
            "Namespace" | "CustomResourceDefinition" | "APIService"
        )
    };
    let mut edges = Vec::new();
    for (a, after) in set.iter().enumerate() {
        let text = Value::Object(after.value().clone()).to_string();
        let depends = after
            .annotation("sortie.dev/depends-on")
            .unwrap_or_default();
        for (b, before) in set.iter().enumerate() {
            let same = home(before) == home(after);
            let named = |form: &str| same && text.contains(form);
            let name = before.name();
            let group = if before.group().is_empty() {
                String::new()
            } else {
                format!(".{}", before.group())
            };
            let by_name = depends
                .split(',')
                .any(|one| one == format!("{}{group}/{name}", before.kind()))
                && (same || before.namespace().is_none());
            let needed = match before.kind() {
                "ConfigMap" => named(&format!("{{\"configMap\":{{\"name\":\"{name}\"}}}}")),
                "Secret" => named(&format!("{{\"secret\":{{\"secretName\":\"{name}\"}}}}")),
                "ServiceAccount" => named(&format!("\"serviceAccountName\":\"{name}\"")),
                "Namespace" => !cluster(after) && home(after) == name,
                "CustomResourceDefinition" => after.kind() == "Widget" && name == "a",
                _ => false,
            };
            if by_name || needed {
                edges.push((a, b));
            }
        }
    }
    edges
}

/// Whether every object can be taken after all that it waits for.
fn has_order(count: usize, edges: &[(usize, usize)]) -> bool {
    let mut taken = vec![false; count];
    loop {
        let next = (0..count).find(|node| {
            !taken[*node]
                && edges
                    .iter()
                    .all(|(a, b)| a != node || (taken[*b] && a != b))
        });
        match next {
            Some(node) => taken[node] = true,
            None => return taken.iter().all(|taken| *taken),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn plans_hold_every_object_once_and_respect_every_edge(set in random_set(), seed in any::<u64>()) {
        let edges = edges(&set);
        let plan = match plan(&set, "shop") {
            Ok(plan) => plan,
            Err(errors) => {
                prop_assert!(matches!(errors[..], [OrderError::Cycle { .. }]), "{errors:?}");
                prop_assert!(!has_order(set.len(), &edges), "{errors:?}");
                return Ok(());
            }
        };
        let mut batch_of = HashMap::new();
        for (number, batch) in plan.batches.iter().enumerate() {
            prop_assert!(!batch.members.is_empty());
            for at in &batch.members {
                prop_assert_eq!(batch_of.insert(*at, number), None);
            }
        }
        prop_assert_eq!(batch_of.len(), set.len());
        for (after, before) in &edges {
            prop_assert!(batch_of[before] < batch_of[after], "{} before {}", set[*before].id(), set[*after].id());
        }
        let keys: Vec<_> = plan.batches.iter().map(|batch| (batch.wave, batch.stage, batch.layer)).collect();
        prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
        for object in &set {
            // Nothing comes later than it says.
            let at = set.iter().position(|other| other.id() == object.id()).unwrap();
            let stated = object.annotation("sortie.dev/wave").map_or(0, |wave| wave.parse().unwrap());
            prop_assert!(plan.batches[batch_of[&at]].wave <= stated);
        }
        // Deletion is the exact reverse.
        let mut reverse: Vec<usize> = plan.deletion().into_iter().flatten().collect();
        reverse.reverse();
        let order: Vec<usize> = plan.batches.iter().flat_map(|batch| batch.members.clone()).collect();
        prop_assert_eq!(&order, &reverse);
        // Another order of the same set has the same plan.
        let mut shuffled = set.clone();
        shuffled.sort_by_key(|object| {
            let text = object.id().to_string();
            text.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
        });
        let again = sortie_manifest::order::plan(&shuffled, "shop").unwrap();
        prop_assert_eq!(shown(&set, &plan), shown(&shuffled, &again));
    }

    #[test]
    fn another_name_is_no_other_order(mut set in random_set()) {
        // An object without a namespace may be in none for the planner; what is renamed never is.
        for object in set.iter_mut().filter(|object| ["ConfigMap", "Secret"].contains(&object.kind())) {
            let home = object.namespace().unwrap_or("shop").to_owned();
            object.set_namespace(&home).unwrap();
        }
        let Ok(written) = plan(&set, "shop") else {
            return Ok(());
        };
        for scheme in [Scheme::ContentHash, Scheme::ReleaseNumber(7)] {
            let mut versioned = set.clone();
            version(&mut versioned, "shop", scheme);
            let renamed = plan(&versioned, "shop").unwrap();
            prop_assert_eq!(&renamed.batches, &written.batches, "{:?}", scheme);
            let wanted = |plan: &Plan| -> Vec<String> {
                plan.external.iter().map(|external| external.dependency.to_string()).collect()
            };
            prop_assert_eq!(wanted(&renamed), wanted(&written), "{:?}", scheme);
        }
    }
}
