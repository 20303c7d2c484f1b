//! What a rollback beside a canary makes of its numbers: those of the release that it brings back hold from then on. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_cluster::record::{Head, History};
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::copy;

use super::progress::{Both, Progress, first, replicas, slack, standing};
use super::scaler::{Limits, Scaler};

/// Under this name a rollback notes them, when it has ended well.
pub(crate) const BESIDE: &str = "beside";

/// The numbers of pods and the limits that the record with this number goes by from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Beside {
    /// The canary's record, or that of its unfinished release.
    number: u64,
    /// Of the lease under which the rollback ran: a later one is higher.
    fence: u32,
    workloads: Vec<Both>,
}

/// What a rollback notes that brings these objects back, and deletes those; `None`: nothing has taken pods from the release.
pub(crate) fn beside(
    (history, fence): (&History, u32),
    (objects, namespace): (&[Object], &str),
    doomed: &[&ObjectId],
) -> Option<Beside> {
    let (head, at_first) = first(history)?;
    let (_, now) = standing(history)?;
    let progress = (at_first.workloads, now.workloads.as_slice());
    Some(Beside {
        number: head.number,
        fence,
        workloads: left(progress, (objects, namespace), doomed),
    })
}

/// The workloads that are there afterwards: those of the set as it and the first numbers say, whatever rollbacks before this
/// one have made of them; what else there is as it is now.
fn left(
    (at_first, now): (Vec<Both>, &[Both]),
    (objects, namespace): (&[Object], &str),
    doomed: &[&ObjectId],
) -> Vec<Both> {
    let left = at_first.into_iter();
    let left = left.filter(|both| !doomed.contains(&&both.object));
    let left = left.filter_map(|both| {
        let is_it = |object: &&Object| object.id().in_namespace(namespace) == both.object;
        match objects.iter().find(is_it) {
            Some(original) => Some(of_set(both, original, (objects, namespace))),
            None => now.iter().find(|one| one.object == both.object).cloned(),
        }
    });
    left.collect()
}

/// A workload as this set says it.
fn of_set(both: Both, original: &Object, (objects, namespace): (&[Object], &str)) -> Both {
    let own = [both.object.clone()];
    let scales = |object: &&Object| {
        let id = object.id().in_namespace(namespace);
        id.kind == "HorizontalPodAutoscaler"
            && id.namespace == both.object.namespace
            && copy::scales(object, &own)
    };
    let scaler = objects.iter().find(scales);
    let limits = scaler.and_then(|scaler| Limits::of(&Value::Object(scaler.value().clone())));
    let before = match limits {
        Some(limits) => limits.nearest(both.before),
        None => replicas(original).unwrap_or(both.before),
    };
    let scaler = scaler.map(|scaler| Scaler {
        object: scaler.id().in_namespace(namespace),
        limits,
    });
    Both {
        replicas: before,
        before,
        slack: slack(original, before),
        scaler: scaler.or(both.scaler),
        ..both
    }
}

/// The progress of the record with this number, as rollbacks have left it.
pub(super) fn after<'a>(
    heads: impl Iterator<Item = &'a Head>,
    number: u64,
    progress: Progress,
) -> Progress {
    let entries = heads.flat_map(|head| &head.journal);
    let notes = entries.filter_map(|entry| entry.data.field::<Beside>(BESIDE));
    let of_it = notes.filter(|beside| beside.number == number);
    match of_it.max_by_key(|beside| beside.fence) {
        Some(Beside { workloads, .. }) => Progress {
            workloads,
            ..progress
        },
        None => progress,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use sortie_cluster::record::Release;
    use sortie_strategy::replicas::Slack;

    use super::*;
    use crate::adoption::object_of;

    fn id(kind: &str, name: &str) -> ObjectId {
        let group = if kind == "Deployment" {
            "apps"
        } else {
            "autoscaling"
        };
        ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn known() -> Both {
        Both {
            object: id("Deployment", "web"),
            copy: id("Deployment", "web-canary"),
            replicas: 6,
            before: 4,
            slack: Slack::default_of(6),
            scaler: None,
        }
    }

    fn web(replicas: Option<u32>) -> Object {
        let mut whole = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {}});
        if let Some(replicas) = replicas {
            whole["spec"]["replicas"] = replicas.into();
        }
        object_of(whole).unwrap()
    }

    fn scaler(min: u64, max: u64) -> Object {
        let whole = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {
                "minReplicas": min, "maxReplicas": max,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            },
        });
        object_of(whole).unwrap()
    }

    #[test]
    fn the_release_that_comes_back_says_how_many_pods_there_are() {
        for (set, pods, limits) in [
            (vec![web(Some(3))], 3, None),
            (vec![web(None)], 4, None),
            // An autoscaler decides, as far as its limits let it.
            (vec![web(Some(3)), scaler(1, 9)], 4, Some((1, 9))),
            (vec![web(None), scaler(1, 2)], 2, Some((1, 2))),
            (vec![scaler(5, 9), web(None)], 5, Some((5, 9))),
        ] {
            let both = left((vec![known()], &[known()]), (&set, "shop"), &[]).remove(0);
            assert_eq!((both.replicas, both.before), (pods, pods));
            let found = both.scaler.and_then(|scaler| scaler.limits);
            let found = found.map(|limits| (limits.min.unwrap(), limits.max));
            assert_eq!(found, limits);
        }
    }

    #[test]
    fn each_rollback_begins_with_what_there_was_before_the_first_step() {
        let sized = |pods: u32| Both {
            replicas: pods,
            before: pods,
            ..known()
        };
        let deleted = id("Deployment", "web");
        // Another rollback had made three of four, or had deleted it.
        for (now, set, doomed, pods) in [
            (vec![sized(3)], vec![web(None)], vec![], Some(4)),
            (vec![], vec![web(None)], vec![], Some(4)),
            (vec![sized(3)], vec![scaler(1, 9)], vec![], Some(3)),
            (vec![], vec![scaler(1, 9)], vec![], None),
            (vec![sized(3)], vec![], vec![&deleted], None),
        ] {
            let left = left((vec![known()], &now), (&set, "shop"), &doomed);
            assert_eq!(
                left.first().map(|both| both.before),
                pods,
                "{now:?} {set:?}"
            );
        }
    }

    #[test]
    fn the_last_rollback_beside_the_same_record_counts() {
        let release = Release::new("shop", "web").unwrap();
        let noted = |fence: u32, number: u64, pods: u32| {
            let mut head = Head::new(&release, 9, Timestamp::UNIX_EPOCH);
            let both = Both {
                before: pods,
                ..known()
            };
            let beside = Beside {
                number,
                fence,
                workloads: vec![both],
            };
            let data = json!({BESIDE: beside});
            head.note_with("Rollback", "", "begun", data, Timestamp::UNIX_EPOCH);
            head
        };
        let progress = Progress {
            percent: 30,
            workloads: vec![known()],
        };
        let before = |heads: &[Head]| {
            let after = after(heads.iter(), 2, progress.clone());
            (after.percent, after.workloads[0].before)
        };
        assert_eq!(before(&[]), (30, 4));
        assert_eq!(before(&[noted(1, 3, 7)]), (30, 4));
        // A rollback may be noted in a record from before the canary.
        let heads = [noted(3, 2, 8), noted(1, 2, 7), noted(4, 3, 9)];
        assert_eq!(before(&heads), (30, 8));
    }
}
