//! Replicas that autoscalers decide about: of workloads whose autoscaler is deleted, and where it cannot be seen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sortie_cluster::apply::{Change, Outcome, Planned, Scope};
use sortie_cluster::record::{Stored, Tracked};
use sortie_manifest::{Object, ObjectId};

use crate::apply::{Manner, Outcome as Written, whole_set};
use crate::failure::{Failure, chain};
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;
use crate::sequence::Sequence;
use crate::units::Ended;

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
) -> Result<Written, Ended> {
    if scaled.is_empty() || !gone.iter().any(is_autoscaler) {
        return Ok(Written::default());
    }
    write_again(run, locked, stored, (scaled, gone), manner).await
}

/// Write objects of the release again, where they are not as their manifests say, now that these are gone.
///
/// # Errors
/// As [`take_back`].
pub(crate) async fn write_again(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    (scaled, gone): (Vec<Object>, Vec<ObjectId>),
    manner: Manner,
) -> Result<Written, Ended> {
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
    planned.retain(|planned| planned.change() != Some(Change::Unchanged));
    let mut outcome = if planned.is_empty() {
        Written::default()
    } else {
        whole_set(run, locked, stored, (planned, &sequence), manner).await?
    };
    outcome.errors.extend(errors);
    Ok(outcome)
}

/// An object whose replicas return to its manifest's number when its autoscaler is deleted.
#[derive(Debug)]
pub(crate) struct Returning {
    /// How it would be written then.
    pub(crate) planned: Planned,
    /// Its replicas if the autoscaler stayed, as the API server shows them.
    pub(crate) from: Value,
    /// What the manifest says.
    pub(crate) to: Value,
}

/// Which replicas [`take_back`] would write after `doomed` are gone, found out while they are there. What cannot be found
/// out is left out.
pub(crate) async fn returning(
    run: &Run<'_>,
    planned: &[Planned],
    doomed: &[Tracked],
) -> Vec<Returning> {
    let gone = doomed.iter().map(|tracked| &tracked.id);
    let objects = planned.iter().map(|planned| &planned.target.object);
    let scaled = scaled(gone.clone(), objects);
    let names: BTreeSet<ObjectId> = scaled.iter().map(Object::id).collect();
    let live: Vec<&Planned> = planned
        .iter()
        .filter(|one| names.contains(&one.target.object.id()) && replicas(one).is_some())
        .collect();
    let Some(first) = live.first() else {
        return Vec::new();
    };
    let scope = Scope {
        gone: gone.cloned().collect(),
        ..first.scope().clone()
    };
    let targets = live.iter().map(|one| one.target.clone()).collect();
    let again = run.env.cluster.plan(targets, &scope).await;
    let again = again.unwrap_or_else(|errors| {
        let error = errors.first().map(|error| chain(error));
        tracing::debug!(error, "which replicas return is not known");
        Vec::new()
    });
    let pairs = live.into_iter().zip(again);
    let returning = pairs.filter_map(|(before, planned)| {
        let (from, to) = (replicas(before)?, replicas(&planned)?);
        (from != to).then_some(Returning { planned, from, to })
    });
    returning.collect()
}

/// The replicas of a live object after it is written as planned.
fn replicas(planned: &Planned) -> Option<Value> {
    match &planned.outcome {
        Outcome::Accepted {
            live: Some(_),
            result,
            ..
        } => result.value().pointer("/spec/replicas").cloned(),
        _ => None,
    }
}

impl Returning {
    /// What happens, for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "replicas go back from {} to {} once the autoscaler is deleted",
            self.from, self.to
        )
    }
}

/// Whether an object decides how many pods a workload has.
pub(crate) fn is_autoscaler(id: &ObjectId) -> bool {
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
                "may have been scaled by somebody: its replicas stay as they are, whatever the manifest says, until autoscalers may be listed"
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
