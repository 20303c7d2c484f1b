//! How many pods the copies of a colour get: no fewer than what has the traffic was brought to since it was deployed, by
//! hand, by a step or by an autoscaler. Pure, but for [`look`].

use std::collections::BTreeMap;

use sortie_cluster::record::{Head, History, PRIMARY};
use sortie_manifest::labels::{COLOR, OLDER_COLOR};
use sortie_manifest::workload::{self, Workload};
use sortie_manifest::{Object, ObjectId};

use super::copies::{Copies, Seen, set_in_spec};
use super::services::Colors;
use crate::adoption::object_of;
use crate::failure::Failure;
use crate::progressive::replicas;
use crate::rolling::opened;
use crate::run::Run;

/// Under this name it is noted how many pods the set states for each workload.
pub(super) const STATED: &str = "stated";

/// What has the traffic, for each workload that was seen.
///
/// # Errors
/// The cluster cannot be asked.
pub(super) async fn look(
    run: &Run<'_>,
    seen: &[Seen],
    colors: &Colors,
) -> Result<Vec<Option<Object>>, Failure> {
    let ids = seen.iter().map(|one| {
        let mut id = one.original.id().in_namespace(&run.task.release.namespace);
        id.name = format!("{}-{}", id.name, colors.primary);
        id
    });
    let lives = run.env.cluster.survey(ids.collect()).await;
    let both = lives.into_iter().zip(seen).map(|((_, live), one)| {
        let live = live.map_err(|error| Failure::cluster(&error))?;
        let bare = || one.live.clone().filter(|live| is_of(live, colors.primary));
        Ok(live.and_then(object_of).or_else(bare))
    });
    both.collect()
}

/// Whether the pods of a live workload have a colour, though its name says nothing of it.
pub(super) fn is_of(live: &Object, color: &str) -> bool {
    let template = workload::pod_template(live);
    let labels = template.and_then(|template| template.get("metadata")?.get("labels"));
    let own = |key: &str| labels?.get(key)?.as_str();
    own(COLOR).or_else(|| own(OLDER_COLOR)) == Some(color)
}

/// How many pods the set states for each workload.
pub(super) fn stated(seen: &[Seen], namespace: &str) -> Vec<(ObjectId, u32)> {
    let counted = seen.iter().filter(|one| !is_daemon(&one.original));
    let one = |one: &Seen| {
        let stated = replicas(&one.original).unwrap_or(1);
        (one.original.id().in_namespace(namespace), stated)
    };
    counted.map(one).collect()
}

/// Bring the copies to their size.
pub(super) fn fit(
    made: &mut Copies,
    (seen, primaries): (&[Seen], &[Option<Object>]),
    history: &History,
    namespace: &str,
) {
    let head = history.standing(PRIMARY).map(|stored| &stored.head);
    let earlier = |head: &Head| opened::<Vec<(ObjectId, u32)>>(head, STATED);
    let earlier: BTreeMap<ObjectId, u32> = head
        .and_then(earlier)
        .unwrap_or_default()
        .into_iter()
        .collect();
    for (at, copy) in &mut made.workloads {
        let (Some(one), Some(Some(primary))) = (seen.get(*at), primaries.get(*at)) else {
            continue;
        };
        let before = earlier.get(&one.original.id().in_namespace(namespace));
        if let Some(pods) = grown(&one.original, primary, before.copied()) {
            set_in_spec(copy, "replicas", pods.into());
            let text = format!("{}: {pods} pods, as {} has", copy.id(), primary.name());
            made.notes.push(text);
        }
    }
}

/// How many pods what has the traffic was brought to, where that is more than the set states. What its own set has stated
/// is no reason to keep it.
fn grown(original: &Object, primary: &Object, before: Option<u32>) -> Option<u32> {
    let pods = replicas(primary).filter(|_| !is_daemon(original))?;
    let is_grown = pods > replicas(original).unwrap_or(1) && before != Some(pods);
    is_grown.then_some(pods)
}

fn is_daemon(object: &Object) -> bool {
    Workload::of(object.group(), object.kind()) == Some(Workload::DaemonSet)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(kind: &str, replicas: Option<u32>) -> Object {
        let mut whole =
            json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": {}});
        if let Some(replicas) = replicas {
            whole["spec"]["replicas"] = replicas.into();
        }
        object_of(whole).unwrap()
    }

    #[test]
    fn a_colour_is_as_large_as_the_other_was_made() {
        let set = |kind, stated, live, before| {
            grown(&workload(kind, stated), &workload(kind, Some(live)), before)
        };
        for (stated, live, before, expected) in [
            (Some(3), 8, Some(3), Some(8)),
            (None, 8, Some(1), Some(8)),
            // Nothing is known of what it was deployed with.
            (Some(3), 8, None, Some(8)),
            // The new set wants fewer than the one before.
            (Some(3), 8, Some(8), None),
            (Some(3), 3, Some(3), None),
            (Some(3), 2, Some(3), None),
        ] {
            assert_eq!(
                set("Deployment", stated, live, before),
                expected,
                "{stated:?} {live}"
            );
        }
        assert_eq!(set("DaemonSet", None, 8, None), None);
    }
}
