//! In which order objects are applied and deleted.
//!
//! [`plan()`] is the whole answer: waves, in them stages, in them layers of what depends on each other.
//! A [`Stage`] is a barrier that a kind has by itself: everything in it is written, and what later
//! stages stand on is usable, before the next begins. [`compare`] gives objects that may be written
//! together one fixed order, so that output and tests are stable.

mod graph;
mod index;
mod needs;
mod plan;
mod planner;
mod stated;

pub use plan::{Batch, External, Note, OrderError, Plan, Waiting, WaitsBy};
pub use planner::plan;

use std::cmp::Ordering;

use crate::annotations::HOOK_NAME;
use crate::object::{Object, ObjectId};
use crate::versioning;

/// Whether the object names `other` as something that it cannot do without. Of the two, who states no namespace has none.
pub fn stands_on(object: &Object, other: &ObjectId) -> bool {
    let home = object.id().namespace;
    needs::needs(object).into_iter().any(|need| {
        let there = match &need.namespace {
            stated::Space::Same => other.namespace.is_none() || other.namespace == home,
            stated::Space::Of(namespace) => other.namespace.as_ref() == Some(namespace),
            stated::Space::Cluster => other.namespace.is_none(),
        };
        there && need.group == other.group && need.kind == other.kind && need.name == other.name
    })
}

/// A group of objects that may be written together once all earlier stages are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Namespaces and custom resource definitions: nothing can be created in or of them before they
    /// are active and established.
    Foundation,
    /// What pods need when they start: quota, access rights, accounts, configuration, classes,
    /// storage and network policy.
    Settings,
    /// Services, workloads, autoscalers, routes, and every custom resource.
    Running,
    /// Webhooks, admission policies and aggregated APIs: they intercept requests to the API server
    /// and are served by pods of the stages before, so that they come last.
    Admission,
}

/// Kinds in the order in which they are applied within a stage; kinds that are not listed follow in
/// alphabetical order.
const ORDER: &[(&str, &[&str])] = &[
    ("Namespace", &[""]),
    ("ResourceQuota", &[""]),
    ("LimitRange", &[""]),
    ("PodSecurityPolicy", &["policy"]),
    ("Secret", &[""]),
    ("ConfigMap", &[""]),
    ("StorageClass", &["storage.k8s.io"]),
    ("PersistentVolume", &[""]),
    ("PersistentVolumeClaim", &[""]),
    ("ServiceAccount", &[""]),
    ("CustomResourceDefinition", &["apiextensions.k8s.io"]),
    (
        "ClusterRole",
        &["rbac.authorization.k8s.io", "authorization.openshift.io"],
    ),
    (
        "ClusterRoleBinding",
        &["rbac.authorization.k8s.io", "authorization.openshift.io"],
    ),
    (
        "Role",
        &["rbac.authorization.k8s.io", "authorization.openshift.io"],
    ),
    (
        "RoleBinding",
        &["rbac.authorization.k8s.io", "authorization.openshift.io"],
    ),
    ("Service", &[""]),
    ("DaemonSet", &["apps", "extensions"]),
    ("Pod", &[""]),
    ("ReplicationController", &[""]),
    ("ReplicaSet", &["apps", "extensions"]),
    ("Deployment", &["apps", "extensions"]),
    ("DeploymentConfig", &["apps.openshift.io"]),
    ("StatefulSet", &["apps"]),
    ("Job", &["batch"]),
    ("CronJob", &["batch"]),
    ("Ingress", &["networking.k8s.io", "extensions"]),
    ("APIService", &["apiregistration.k8s.io"]),
];

/// Kinds of [`Stage::Settings`] beside those that end in `Class`.
const SETTINGS: &[&str] = &[
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "NetworkPolicy",
    "PodDisruptionBudget",
];

/// The stage of a kind.
pub fn stage(group: &str, kind: &str) -> Stage {
    let built_in = is_built_in(group);
    match kind {
        "Namespace" if group.is_empty() => Stage::Foundation,
        "CustomResourceDefinition" if built_in => Stage::Foundation,
        "APIService" if built_in => Stage::Admission,
        _ if group == "admissionregistration.k8s.io" => Stage::Admission,
        _ if built_in && (SETTINGS.contains(&kind) || kind.ends_with("Class")) => Stage::Settings,
        _ => Stage::Running,
    }
}

/// The order in which two objects are applied: stage, kind, then name without regard to case. The
/// rest of the identity breaks ties, so that the order is total. Deletion is the exact reverse.
pub fn compare(a: &ObjectId, b: &ObjectId) -> Ordering {
    let rank = |id: &ObjectId| Rank::of(id.clone());
    rank(a).cmp(&rank(b))
}

/// What decides when an object is applied, the weightiest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    stage: Stage,
    listed: usize,
    /// A kind that is not listed.
    kind: String,
    name: String,
    id: ObjectId,
}

impl Rank {
    fn of(id: ObjectId) -> Self {
        let listed = position(&id.group, &id.kind);
        let kind = match listed == ORDER.len() {
            true => id.kind.to_lowercase(),
            false => String::new(),
        };
        Self {
            stage: stage(&id.group, &id.kind),
            listed,
            kind,
            name: id.name.to_lowercase(),
            id,
        }
    }
}

/// Puts objects in the order in which they are applied. What versioning and hooks append to a name changes nothing.
pub fn sort(objects: &mut [Object]) {
    objects.sort_by_cached_key(rank_written);
}

/// The rank by the name that the author gave; the deployed one breaks ties. To find it takes many times longer than to
/// compare two: a set is sorted by ranks found once.
fn rank_written(object: &Object) -> impl Ord + use<> {
    let written = ObjectId {
        name: written_name(object).to_owned(),
        ..object.id()
    };
    (Rank::of(written), object.name().to_owned())
}

/// The name that the author gave, by which annotations mean an object.
fn written_name(object: &Object) -> &str {
    let original = versioning::original_name(object);
    object.annotation(HOOK_NAME).unwrap_or(original)
}

/// Puts identities in the order in which they are deleted.
pub fn sort_for_deletion(ids: &mut [ObjectId]) {
    ids.sort_by(|a, b| compare(b, a));
}

/// Splits objects into their stages, in order, without empty ones; each stage is sorted.
pub fn stages(mut objects: Vec<Object>) -> Vec<(Stage, Vec<Object>)> {
    sort(&mut objects);
    let mut stages: Vec<(Stage, Vec<Object>)> = Vec::new();
    for object in objects {
        let stage = stage(object.group(), object.kind());
        match stages.last_mut() {
            Some((last, members)) if *last == stage => members.push(object),
            _ => stages.push((stage, vec![object])),
        }
    }
    stages
}

/// The group of a kind of Kubernetes itself, where the kind alone says it.
fn group_of(kind: &str) -> Option<&'static str> {
    ORDER
        .iter()
        .find_map(|(listed, groups)| (*listed == kind).then(|| groups.first().copied()).flatten())
}

fn position(group: &str, kind: &str) -> usize {
    ORDER
        .iter()
        .position(|(listed, groups)| *listed == kind && groups.contains(&group))
        .unwrap_or(ORDER.len())
}

/// Groups that Kubernetes and OpenShift define themselves: the core group, the old groups without a
/// dot, and those under `k8s.io` and `openshift.io`. A kind of any other group is a custom resource,
/// whatever its name.
fn is_built_in(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io") || group.ends_with(".openshift.io")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> ObjectId {
        let (kind, name) = text.split_once('/').unwrap();
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: None,
            name: name.into(),
        }
    }

    #[test]
    fn an_object_stands_on_what_it_names() {
        let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"serviceAccountName": "web", "priorityClassName": "high", "containers": [{"name": "a", "envFrom": [
                {"configMapRef": {"name": "settings"}}, {"configMapRef": {"name": "more", "optional": true}}]}]}}"#;
        let pod = serde_json::from_str(pod).unwrap();
        let pod = Object::from_value(pod, crate::Origin::outside("test")).unwrap();
        let id = |group: &str, kind: &str, namespace: Option<&str>, name: &str| ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.map(str::to_owned),
            name: name.into(),
        };
        for (other, expected) in [
            (id("", "ConfigMap", Some("shop"), "settings"), true),
            (id("", "ConfigMap", Some("bank"), "settings"), false),
            (id("", "ConfigMap", Some("shop"), "more"), false),
            (id("", "Secret", Some("shop"), "settings"), false),
            (id("", "ServiceAccount", Some("shop"), "web"), true),
            (id("scheduling.k8s.io", "PriorityClass", None, "high"), true),
            (id("example.com", "PriorityClass", None, "high"), false),
        ] {
            assert_eq!(stands_on(&pod, &other), expected, "{other}");
        }
    }

    #[test]
    fn kinds_are_applied_in_stages_and_in_the_fixed_order() {
        let expected = [
            "Namespace/a",
            "CustomResourceDefinition.apiextensions.k8s.io/widgets.example.com",
            "ResourceQuota/a",
            "LimitRange/a",
            "Secret/A",
            "Secret/b",
            "ConfigMap/a",
            "ConfigMap/B",
            "StorageClass.storage.k8s.io/a",
            "PersistentVolume/a",
            "PersistentVolumeClaim/a",
            "ServiceAccount/a",
            "ClusterRole.rbac.authorization.k8s.io/a",
            "ClusterRoleBinding.rbac.authorization.k8s.io/a",
            "Role.rbac.authorization.k8s.io/a",
            "RoleBinding.rbac.authorization.k8s.io/a",
            "GatewayClass.gateway.networking.k8s.io/a",
            "NetworkPolicy.networking.k8s.io/a",
            "PodDisruptionBudget.policy/a",
            "PriorityClass.scheduling.k8s.io/a",
            "Service/a",
            "DaemonSet.apps/a",
            "Pod/a",
            "ReplicaSet.apps/a",
            "Deployment.apps/a",
            "DeploymentConfig.apps.openshift.io/a",
            "StatefulSet.apps/a",
            "Job.batch/a",
            "CronJob.batch/a",
            "Ingress.networking.k8s.io/a",
            "HorizontalPodAutoscaler.autoscaling/a",
            "HTTPRoute.gateway.networking.k8s.io/a",
            "Secret.example.com/a",
            "Service.serving.knative.dev/a",
            "StorageClass.example.com/a",
            "Widget.example.com/a",
            "APIService.apiregistration.k8s.io/a",
            "MutatingWebhookConfiguration.admissionregistration.k8s.io/a",
            "ValidatingAdmissionPolicy.admissionregistration.k8s.io/a",
            "ValidatingWebhookConfiguration.admissionregistration.k8s.io/a",
        ]
        .map(id);
        let mut applied = expected.to_vec();
        applied.reverse();
        applied.sort_by(compare);
        assert_eq!(applied, expected);
        let mut deleted = expected.to_vec();
        sort_for_deletion(&mut deleted);
        deleted.reverse();
        assert_eq!(deleted, expected);
    }

    fn any_id() -> impl Strategy<Value = ObjectId> {
        let kind = proptest::sample::select(
            ORDER
                .iter()
                .map(|(kind, _)| *kind)
                .chain(["Widget", "PriorityClass"])
                .collect::<Vec<_>>(),
        );
        let group = proptest::sample::select(vec![
            "",
            "apps",
            "batch",
            "example.com",
            "apiextensions.k8s.io",
        ]);
        (kind, group, proptest::option::of("[ab]"), "[aAbB]{1,2}").prop_map(
            |(kind, group, namespace, name)| ObjectId {
                group: group.into(),
                kind: kind.into(),
                namespace,
                name,
            },
        )
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_deletion_is_its_reverse(ids in proptest::collection::vec(any_id(), 0..12)) {
            let mut applied = ids.clone();
            applied.sort_by(compare);
            let mut shuffled = ids.clone();
            shuffled.reverse();
            shuffled.sort_by(compare);
            prop_assert_eq!(&applied, &shuffled);
            let mut deleted = ids;
            sort_for_deletion(&mut deleted);
            deleted.reverse();
            prop_assert_eq!(&applied, &deleted);
            for pair in applied.windows(2) {
                prop_assert!(stage(&pair[0].group, &pair[0].kind) <= stage(&pair[1].group, &pair[1].kind));
            }
        }
    }
}
