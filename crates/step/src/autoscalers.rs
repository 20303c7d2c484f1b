//! Replicas that autoscalers decide about: of workloads whose autoscaler is deleted, and where it cannot be seen.

use std::collections::BTreeMap;

use sortie_cluster::apply::{Change, Planned, Scope};
use sortie_manifest::{Object, ObjectId};

use crate::apply::{Manner, Outcome, whole_set};
use crate::failure::{Failure, chain};
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;
use crate::sequence::Sequence;
use crate::units::Ended;
use sortie_cluster::record::Stored;

/// The objects whose replicas have to be written again once what is to be deleted is gone: those that name them, when an
/// autoscaler is among it.
pub(crate) fn scaled<'a>(
    doomed: impl IntoIterator<Item = &'a ObjectId>,
    objects: impl IntoIterator<Item = &'a Object>,
) -> Vec<Object> {
    if !doomed.into_iter().any(is_autoscaler) {
        return Vec::new();
    }
    let objects = objects.into_iter().filter(|object| {
        let spec = object.value().get("spec");
        spec.is_some_and(|spec| spec.get("replicas").is_some())
    });
    objects.cloned().collect()
}

/// Write replicas as the manifests say them, now that these objects are gone: the autoscalers among them decided until
/// then.
///
/// # Errors
/// The cluster could not be asked, the record could not be written, or it is time to stop.
pub(crate) async fn take_back(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    (scaled, gone): (Vec<Object>, Vec<ObjectId>),
    manner: Manner,
) -> Result<Outcome, Ended> {
    if scaled.is_empty() || !gone.iter().any(is_autoscaler) {
        return Ok(Outcome::default());
    }
    let (cluster, namespace) = (&run.env.cluster, &run.task.release.namespace);
    let sequence = Sequence::by_kind(&scaled, namespace);
    let located = cluster.locate_each(scaled, namespace).await;
    let (targets, mut errors) = located.map_err(|error| Failure::cluster(&error))?;
    let scope = Scope {
        release: run.release_id(),
        gone: gone.into(),
        ..Scope::default()
    };
    let mut planned = match cluster.plan(targets, &scope).await {
        Ok(planned) => planned,
        Err(refusals) => {
            errors.extend(refusals);
            Vec::new()
        }
    };
    planned.retain(|planned| planned.change() == Some(Change::Configured));
    let mut outcome = if planned.is_empty() {
        Outcome::default()
    } else {
        whole_set(run, locked, stored, (planned, &sequence), manner).await?
    };
    outcome.errors.extend(errors);
    Ok(outcome)
}

fn is_autoscaler(id: &ObjectId) -> bool {
    matches!(
        (id.group.as_str(), id.kind.as_str()),
        ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject")
    )
}

/// Say of which live workloads it is not known whether an autoscaler scales them, why, and what that means.
pub(crate) fn tell_unseen(run: &Run<'_>, unit: Unit, planned: &[Planned]) {
    let mut unseen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for planned in planned {
        if let Some((error, left)) = planned.unseen_autoscalers() {
            let fate = if left {
                "was scaled by somebody, and its replicas are left as they are"
            } else {
                "gets the replicas of its manifest"
            };
            let line = format!("{} {fate}", planned.target.id);
            unseen.entry(chain(error)).or_default().push(line);
        }
    }
    for (why, lines) in unseen {
        let text = format!("autoscalers are not known: {why}; {}", lines.join("; "));
        run.warn(unit, text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::Origin;

    use super::*;

    #[test]
    fn only_what_names_its_replicas_is_written_again_and_only_after_an_autoscaler() {
        let object = |name: &str, spec: serde_json::Value| {
            let value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec});
            Object::from_value(value, Origin::outside("test")).unwrap()
        };
        let objects = [object("a", json!({"replicas": 4})), object("b", json!({}))];
        let id = |group: &str, kind: &str| ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "a".into(),
        };
        let names = |doomed: &[ObjectId]| -> Vec<String> {
            let scaled = scaled(doomed, &objects);
            scaled.iter().map(|one| one.name().to_owned()).collect()
        };
        let map = id("", "ConfigMap");
        assert_eq!(names(std::slice::from_ref(&map)), [] as [&str; 0]);
        for autoscaler in [
            id("autoscaling", "HorizontalPodAutoscaler"),
            id("keda.sh", "ScaledObject"),
        ] {
            assert_eq!(names(&[map.clone(), autoscaler]), ["a"]);
        }
    }
}
