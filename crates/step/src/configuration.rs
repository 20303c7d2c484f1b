//! Collecting versioned ConfigMaps and Secrets that nothing needs any more: no record that is kept, and nothing live that
//! runs pods or may do so again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::inventory::Found;
use sortie_cluster::record::Survey;
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cause, Error};
use sortie_manifest::references::{self, ConfigKind};
use sortie_manifest::{Object, ObjectId, Origin, versioning};

use crate::failure::chain;
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;

/// Whatever may start a pod, now or when somebody undoes a rollout. What custom resources start is a ReplicaSet, a
/// ReplicationController, a StatefulSet or a pod.
const USERS: [(&str, &str); 9] = [
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("apps", "ControllerRevision"),
    ("batch", "Job"),
    ("batch", "CronJob"),
];

/// How long a deletion may take.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// A ConfigMap or Secret by kind and name.
type Name = (ConfigKind, String);

/// What nothing needs. Leftovers harm nobody, so that failing to find them is told and no failure.
pub(crate) async fn superfluous(run: &Run<'_>, survey: &Survey) -> Vec<Doomed> {
    // What a record needs that cannot be read is not known.
    let Some(heads) = survey.kept() else {
        return Vec::new();
    };
    let tracked = heads.flat_map(|head| &head.inventory);
    let kept: BTreeSet<&ObjectId> = tracked.map(|tracked| &tracked.id).collect();
    let namespaces = namespaces(run, kept.iter().copied());
    match versioned(run, &kept, &namespaces).await {
        Ok(Versioned { unused, .. }) => unused.into_iter().map(|found| doom(run, found)).collect(),
        Err(error) => {
            let text = format!(
                "versioned configuration that nothing needs stays for now: {}",
                chain(&error)
            );
            run.warn(Unit::WrapUp, text);
            Vec::new()
        }
    }
}

/// Remove it; failing to is told as well.
pub(crate) async fn remove(run: &Run<'_>, locked: &Locked, doomed: Vec<Doomed>) {
    if doomed.is_empty() {
        return;
    }
    let deletion = run
        .env
        .cluster
        .delete_all(doomed, GONE_WITHIN, locked.guard());
    for (id, result) in deletion.await {
        match result {
            Ok(Gone::Deleted) => run.info(
                Unit::WrapUp,
                format!("{id} deleted: nothing names it any more"),
            ),
            Ok(Gone::Absent | Gone::NotOurs) => {}
            Err(error) => run.warn(
                Unit::WrapUp,
                format!("{id} stays for now: {}", chain(&error)),
            ),
        }
    }
}

/// The namespaces in which a release has or may have versioned configuration.
pub(crate) fn namespaces<'a>(
    run: &Run<'_>,
    objects: impl Iterator<Item = &'a ObjectId>,
) -> BTreeSet<String> {
    let mut namespaces: BTreeSet<String> = objects
        .filter(|id| id.group.is_empty() && matches!(id.kind.as_str(), "ConfigMap" | "Secret"))
        .filter_map(|id| id.namespace.clone())
        .collect();
    namespaces.insert(run.task.release.namespace.clone());
    namespaces
}

/// Versioned configuration of a release that is in the cluster and in no list of what to keep.
#[derive(Debug, Default)]
pub(crate) struct Versioned {
    /// What nothing names that may start a pod.
    pub(crate) unused: Vec<Found>,
    /// What something names.
    pub(crate) used: Vec<Found>,
}

/// Look for versioned ConfigMaps and Secrets of the release, and for whatever names them.
pub(crate) async fn versioned(
    run: &Run<'_>,
    kept: &BTreeSet<&ObjectId>,
    namespaces: &BTreeSet<String>,
) -> Result<Versioned, Error> {
    let release = run.release_id();
    let mut versioned = Versioned::default();
    for namespace in namespaces {
        let of_kind = |kind| {
            let release = Some(release.as_str());
            run.env.cluster.configuration(kind, namespace, release)
        };
        let (config_maps, secrets) =
            futures::try_join!(of_kind(ConfigKind::ConfigMap), of_kind(ConfigKind::Secret))?;
        let candidates: Vec<Found> = config_maps
            .into_iter()
            .chain(secrets)
            .filter(|found| is_versioned(&found.object) && !kept.contains(&found.id))
            .collect();
        if candidates.is_empty() {
            continue;
        }
        let named = named(run, namespace).await?;
        let (used, unused): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|found| is_named(&named, &found.id));
        versioned.used.extend(used);
        versioned.unused.extend(unused);
    }
    Ok(versioned)
}

/// What anything that may start a pod in the namespace names.
async fn named(run: &Run<'_>, namespace: &str) -> Result<BTreeSet<Name>, Error> {
    let cluster = &run.env.cluster;
    let mut named = BTreeSet::new();
    for (group, kind) in USERS {
        let resource = match cluster.resolve_preferred(group, kind).await {
            Ok(resource) => resource,
            Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => continue,
            Err(error) => return Err(error),
        };
        let listed = cluster.list(&Selection::of(resource, namespace)).await?;
        named.extend(listed.into_iter().flat_map(names_in));
    }
    Ok(named)
}

/// What a live object names.
fn names_in(live: Value) -> Vec<Name> {
    let origin = Origin::outside("the cluster");
    let Ok(object) = Object::from_value(as_workload(live), origin) else {
        return Vec::new();
    };
    let references = references::references(&object).into_iter();
    references
        .map(|reference| (reference.kind, reference.name))
        .collect()
}

/// A revision holds the template of its StatefulSet or DaemonSet as a patch: it counts as one of these.
fn as_workload(mut live: Value) -> Value {
    if live.get("kind").and_then(Value::as_str) != Some("ControllerRevision") {
        return live;
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": live["metadata"].take(),
        "spec": live.pointer_mut("/data/spec").map(Value::take),
    })
}

fn is_named(named: &BTreeSet<Name>, id: &ObjectId) -> bool {
    let kind = match id.kind.as_str() {
        "Secret" => ConfigKind::Secret,
        _ => ConfigKind::ConfigMap,
    };
    named.contains(&(kind, id.name.clone()))
}

fn is_versioned(object: &Value) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    annotations.is_some_and(|all| all.get(versioning::ORIGINAL_NAME).is_some())
}

/// A deletion of the very object that was found.
pub(crate) fn doom(run: &Run<'_>, found: Found) -> Doomed {
    let uid = found
        .object
        .pointer("/metadata/uid")
        .and_then(Value::as_str);
    Doomed {
        uid: uid.map(str::to_owned),
        id: found.id,
        release: Some(run.release_id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_start_a_pod_keeps_its_configuration() {
        let template = json!({"spec": {
            "containers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "c-1"}}]}],
            "volumes": [{"name": "v", "secret": {"secretName": "s-1", "optional": true}}],
        }});
        let metadata = json!({"name": "a", "namespace": "shop"});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": {"template": template}});
        let revision = json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata,
            "data": {"spec": {"template": {"$patch": "replace", "spec": template["spec"]}}},
        });
        let cron = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata,
            "spec": {"jobTemplate": {"spec": {"template": template}}},
        });
        for live in [pod, set, revision, cron] {
            let kind = live["kind"].clone();
            let named: BTreeSet<Name> = names_in(live).into_iter().collect();
            let id = |kind: &str, name: &str| ObjectId {
                group: String::new(),
                kind: kind.into(),
                namespace: Some("shop".into()),
                name: name.into(),
            };
            assert!(is_named(&named, &id("ConfigMap", "c-1")), "{kind}");
            assert!(is_named(&named, &id("Secret", "s-1")), "{kind}");
            assert!(!is_named(&named, &id("Secret", "c-1")), "{kind}");
        }
        let odd =
            json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata});
        assert!(names_in(odd).is_empty());
    }
}
