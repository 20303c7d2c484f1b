//! What a record says of a progressive canary: its share, how many pods its workloads have in all, and how far it is. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_cluster::apply::Planned;
use sortie_cluster::clock;
use sortie_cluster::record::{Head, History, Status};
use sortie_manifest::workload::Workload;
use sortie_manifest::{Object, ObjectId};
use sortie_strategy::progressive::{Phase, State};
use sortie_strategy::replicas::{Amount, Slack};

use super::beside::after;
use super::scaler::Scaler;
use crate::failure::{Failure, FailureKind};
use crate::rolling::opened;

/// Under this name it is noted when a record is opened.
pub(crate) const NOTED: &str = "progressive";
/// The unit under which it is journalled how far it is.
const JOURNAL: &str = "Progressive";
/// What is journalled when the numbers of pods are the manifest's affair again.
const OVER: &str = "over";

/// What was asked of a progressive canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// The canary's percentage.
    pub(crate) percent: u32,
    /// Each workload that has a stable side.
    pub(crate) workloads: Vec<Both>,
}

/// A workload and its copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Both {
    /// The stable side.
    pub(crate) object: ObjectId,
    /// The canary.
    pub(crate) copy: ObjectId,
    /// Pods of both sides together.
    pub(crate) replicas: u32,
    /// Pods that the stable side had before there was a canary.
    pub(crate) before: u32,
    /// How far the number of pods may leave `replicas`.
    pub(crate) slack: Slack,
    /// The autoscaler that decides about the stable side otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scaler: Option<Scaler>,
}

impl Progress {
    /// What a record was opened for.
    pub(crate) fn of(head: &Head) -> Option<Self> {
        opened(head, NOTED)
    }

    /// As it is on the way back to what there was before.
    pub(crate) fn backwards(mut self) -> Self {
        self.percent = 0;
        for both in &mut self.workloads {
            both.replicas = both.before;
        }
        self
    }

    /// The workloads whose numbers of pods the planner decides about while this record is written: the copies of a canary,
    /// the originals of the release that follows it.
    pub(crate) fn steered(&self, is_canary: bool) -> Arc<[ObjectId]> {
        let ids = self.workloads.iter().map(|both| match is_canary {
            true => both.copy.clone(),
            false => both.object.clone(),
        });
        ids.collect()
    }
}

/// The workloads whose numbers of pods a planner decides about, as long as it does.
pub(crate) fn steered(head: &Head) -> Arc<[ObjectId]> {
    match Progress::of(head).filter(|_| !is_over(head)) {
        Some(progress) => progress.steered(head.side.is_canary()),
        None => Arc::default(),
    }
}

/// The promotion that this record is about, while its numbers of pods are not the manifest's again.
pub(crate) fn unfinished_promotion(head: &Head) -> Option<Progress> {
    let is_open = head.side.is_whole() && !head.is_good() && !is_over(head);
    Progress::of(head).filter(|_| is_open)
}

/// The record that says how many pods the two sides of a release have, where its canary is not gone.
pub(crate) fn standing(history: &History) -> Option<(&Head, Progress)> {
    let (head, progress) = first(history)?;
    Some((head, after(history.heads(), head.number, progress)))
}

/// The same as it was noted first, before any rollback beside the canary.
pub(super) fn first(history: &History) -> Option<(&Head, Progress)> {
    of_heads(history.heads().rev())
}

/// The same of heads, the newest first.
fn of_heads<'a>(heads: impl Iterator<Item = &'a Head>) -> Option<(&'a Head, Progress)> {
    for head in heads {
        match (head.side.is_canary(), Progress::of(head)) {
            // A canary of another kind has no stable side to be cared for.
            (true, None) => {}
            (true, Some(progress)) => {
                let stands = head.status != Status::Superseded && head.is_canary_left();
                return stands.then_some((head, progress));
            }
            // Whatever else came after a canary is a rollback: what it makes of these numbers is looked for afterwards.
            (false, None) => {}
            // Once it is over, its numbers of pods are those of its manifests.
            (false, Some(_)) => return unfinished_promotion(head).map(|progress| (head, progress)),
        }
    }
    None
}

/// What of a set is written while pods change sides: its autoscalers wait until they have.
pub(crate) fn written(head: &Head, mut planned: Vec<Planned>) -> Vec<Planned> {
    let Some(progress) = unfinished_promotion(head) else {
        return planned;
    };
    let scalers = progress
        .workloads
        .iter()
        .filter_map(|both| both.scaler.as_ref());
    let scalers: Vec<&ObjectId> = scalers.map(|scaler| &scaler.object).collect();
    planned.retain(|one| !scalers.contains(&&one.target.id));
    planned
}

/// Note that the numbers of pods are the manifest's affair again.
pub(super) fn note_over(head: &mut Head) {
    head.note(JOURNAL, "", OVER, clock::now());
}

/// Whether they are.
pub(super) fn is_over(head: &Head) -> bool {
    let mut entries = head.journal.iter();
    entries.any(|entry| entry.unit == JOURNAL && entry.what == OVER)
}

/// Note where the planner is, on its way to this percentage.
pub(super) fn note(head: &mut Head, (to, state): (u32, &State)) {
    let phase = match &state.phase {
        Phase::Shifting => "shifting",
        Phase::Done => "done",
        Phase::Failed(_) => "failed",
    };
    let what = format!("to {to} %: {phase}");
    head.note_with(JOURNAL, "", what, (to, state), clock::now());
}

/// Where the planner is on its way to this percentage; `None`: it has not begun.
pub(super) fn state(head: &Head, to: u32) -> Option<State> {
    let mut entries = head.journal.iter().rev();
    let last = entries.find(|entry| entry.unit == JOURNAL)?;
    let (noted, state): (u32, State) = last.data.read()?;
    (noted == to).then_some(state)
}

/// Whether the two versions of a workload can share its pods.
///
/// # Errors
/// They cannot.
pub(crate) fn check(original: &Object) -> Result<(), Failure> {
    match unfit(original) {
        Some(why) => Err(refused(&original.id(), why)),
        None => Ok(()),
    }
}

/// How many pods a workload has in all, and how far it may leave that; `earlier`: what an earlier step has said.
pub(crate) fn both(
    original: &Object,
    live: &Object,
    (object, copy, scaler): (ObjectId, ObjectId, Option<Scaler>),
    earlier: Option<&Both>,
) -> Both {
    let now = replicas(live).unwrap_or(1);
    // An autoscaler's number is what it had decided before there was a canary.
    let stated = replicas(original).filter(|_| scaler.is_none());
    let replicas = stated
        .or_else(|| earlier.map(|earlier| earlier.replicas))
        .unwrap_or(now);
    Both {
        scaler,
        object,
        copy,
        replicas,
        before: earlier.map_or(now, |earlier| earlier.before),
        slack: slack(original, replicas),
    }
}

/// How many pods a workload wants by its `spec`.
pub(crate) fn replicas(object: &Object) -> Option<u32> {
    let replicas = object.value().get("spec")?.get("replicas")?.as_u64()?;
    u32::try_from(replicas).ok()
}

/// Why the two versions of a workload cannot share its pods.
fn unfit(original: &Object) -> Option<&'static str> {
    let spec = original.value().get("spec");
    match Workload::of(original.group(), original.kind()) {
        Some(Workload::DaemonSet) => Some("its number of pods is that of the nodes"),
        Some(Workload::StatefulSet) => {
            let claims = spec.and_then(|spec| spec.get("volumeClaimTemplates")?.as_array());
            let has_claims = claims.is_some_and(|claims| !claims.is_empty());
            has_claims.then_some("what pods of the canary write to their volumes would go with it")
        }
        Some(_) => {
            let kind = spec.and_then(|spec| spec.get("strategy")?.get("type")?.as_str());
            (kind == Some("Recreate"))
                .then_some("its strategy Recreate says that two versions never run at once")
        }
        None => Some("its number of pods is nothing that Kubernetes knows"),
    }
}

fn refused(object: &ObjectId, why: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T110",
        format!("{object} cannot be brought in by a progressive canary: {why}"),
        "use a canary of type Standard, or let the rolling deployment alone bring it in (annotation sortie.dev/direct-apply)",
    )
}

/// What the manifest allows, as the Deployment controller reads it.
pub(super) fn slack(original: &Object, replicas: u32) -> Slack {
    let spec = original.value().get("spec");
    let strategy = spec.and_then(|spec| spec.get("strategy"));
    let rolling = strategy.and_then(|strategy| {
        let params = ["rollingUpdate", "rollingParams"];
        params.iter().find_map(|key| strategy.get(*key))
    });
    let amount = |key: &str| {
        let stated: Option<&Value> = rolling.and_then(|rolling| rolling.get(key));
        stated
            .and_then(Amount::parse)
            .unwrap_or(Amount::Percent(25))
    };
    Slack::of(amount("maxSurge"), amount("maxUnavailable"), replicas).beside(replicas)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use sortie_cluster::record::{CANARY_DELETED, Release, Side};
    use sortie_manifest::Origin;

    use super::*;

    fn object(kind: &str, spec: &Value) -> Object {
        let value = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
        Object::from_value(value, Origin::outside("test")).unwrap()
    }

    #[test]
    fn only_what_may_run_twice_shares_its_pods() {
        for (kind, spec, is_fit) in [
            ("Deployment", json!({}), true),
            (
                "Deployment",
                json!({"strategy": {"type": "RollingUpdate"}}),
                true,
            ),
            (
                "Deployment",
                json!({"strategy": {"type": "Recreate"}}),
                false,
            ),
            ("StatefulSet", json!({}), true),
            ("StatefulSet", json!({"volumeClaimTemplates": []}), true),
            ("StatefulSet", json!({"volumeClaimTemplates": [{}]}), false),
            ("DaemonSet", json!({}), false),
        ] {
            let checked = check(&object(kind, &spec));
            assert_eq!(checked.is_ok(), is_fit, "{kind} {spec}");
        }
    }

    #[test]
    fn pods_are_those_of_the_manifest_and_else_those_that_there_were() {
        let slack = |surge, unavailable| Slack { surge, unavailable };
        let id = |name: &str| ObjectId {
            name: name.to_owned(),
            ..object("Deployment", &json!({})).id()
        };
        let scaler = Scaler {
            object: id("scaler"),
            limits: None,
        };
        let made = |spec: Value, live: u32, scaler: Option<&Scaler>, earlier: Option<&Both>| {
            let live = object("Deployment", &json!({"replicas": live}));
            let named = (id("web"), id("web-canary"), scaler.cloned());
            both(&object("Deployment", &spec), &live, named, earlier)
        };
        let rolling = json!({"replicas": 10, "strategy": {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": "10%"}}});
        let first = made(rolling, 8, None, None);
        assert_eq!((first.replicas, first.before), (10, 8));
        assert_eq!(first.slack, slack(3, 1));
        // The stable side has fewer by now.
        let next = made(json!({}), 3, None, Some(&first));
        assert_eq!((next.replicas, next.before), (10, 8));
        assert_eq!(next.slack, slack(3, 2));
        let scaled = made(json!({"replicas": 10}), 6, Some(&scaler), None);
        assert_eq!((scaled.replicas, scaled.before), (6, 6));
    }

    fn head(number: u64, is_canary: bool, status: Status, is_progressive: bool) -> Head {
        let release = Release::new("shop", "web").unwrap();
        let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
        head.status = status;
        if is_canary {
            head.side = Side::canary();
        }
        let data = match is_progressive {
            true => json!({NOTED: Progress { percent: 30, workloads: Vec::new() }}),
            false => json!({}),
        };
        head.note_with("Prepare", "", "opened", data, Timestamp::UNIX_EPOCH);
        head
    }

    #[test]
    fn the_newest_record_says_who_has_the_pods() {
        use Status::{Failed, InProgress, Succeeded, Superseded};
        let good = || head(1, false, Succeeded, false);
        let over = |mut head: Head| {
            note_over(&mut head);
            head
        };
        let deleted = |mut head: Head| {
            let (unit, what) = CANARY_DELETED;
            head.note(unit, "", what, Timestamp::UNIX_EPOCH);
            head
        };
        for (heads, expected) in [
            (vec![good()], None),
            (vec![good(), head(2, true, Succeeded, true)], Some(2)),
            (vec![good(), head(2, true, Failed, true)], Some(2)),
            (vec![good(), head(2, true, Superseded, true)], None),
            (vec![good(), head(2, true, Succeeded, false)], None),
            (
                vec![
                    good(),
                    head(2, true, Succeeded, true),
                    head(3, false, Failed, false),
                ],
                Some(2),
            ),
            (
                vec![
                    good(),
                    head(2, true, Succeeded, true),
                    head(3, false, Succeeded, false),
                    head(4, true, Failed, false),
                    head(5, false, Succeeded, false),
                ],
                Some(2),
            ),
            (
                vec![
                    good(),
                    deleted(head(2, true, Succeeded, true)),
                    head(3, false, Succeeded, true),
                ],
                None,
            ),
            (
                vec![
                    good(),
                    head(2, true, Succeeded, true),
                    head(3, false, InProgress, true),
                ],
                Some(3),
            ),
            (vec![good(), head(3, false, Succeeded, true)], None),
            (vec![good(), over(head(3, false, Failed, true))], None),
        ] {
            let numbers: Vec<u64> = heads.iter().map(|head| head.number).collect();
            let found = of_heads(heads.iter().rev()).map(|(head, _)| head.number);
            assert_eq!(found, expected, "{numbers:?}");
        }
    }

    #[test]
    fn where_the_planner_is_counts_for_its_goal_alone() {
        let mut head = head(1, true, Status::InProgress, true);
        assert_eq!(state(&head, 30), None);
        let done = State {
            phase: Phase::Done,
            asked: None,
        };
        note(&mut head, (30, &done));
        assert_eq!(state(&head, 30), Some(done));
        assert_eq!(state(&head, 0), None);
    }
}
