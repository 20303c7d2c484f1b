//! What the colour without traffic had before it was scaled down, in the record of what it runs. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_cluster::clock;
use sortie_cluster::record::{Head, PartId};
use sortie_manifest::ObjectId;

use crate::task::Amount;

/// The unit under which it is journalled.
const JOURNAL: &str = "Stage Scale";

/// A scaling that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scaling {
    /// The task that began it.
    pub(super) task: String,
    /// Whether pods come back.
    #[serde(default)]
    pub(super) up: bool,
    /// What each workload had before it was scaled down, or gets back.
    pub(super) workloads: Vec<Size>,
    /// Autoscalers and disruption budgets that went, or come back.
    #[serde(default)]
    pub(super) kept: Vec<Kept>,
    /// What was told at its end; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) told: Option<Value>,
}

/// How many pods a workload has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Size {
    pub(super) object: ObjectId,
    pub(super) replicas: u32,
    /// Of one that gets pods back: how many it had until then.
    #[serde(default)]
    pub(super) before: u32,
}

/// An object that is kept in parts of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) object: ObjectId,
    pub(super) parts: Vec<PartId>,
}

impl Scaling {
    /// The last one in a record's journal.
    pub(super) fn last(head: &Head) -> Option<Self> {
        of(head).last()
    }

    /// What is remembered of the time before the colour was scaled down; `None`: it was not, or has everything back.
    pub(super) fn remembered(head: &Head) -> Option<Self> {
        let mut remembered: Option<Self> = None;
        for scaling in of(head) {
            if !scaling.up {
                remembered = Some(scaling);
            } else if let Some(known) = remembered.as_mut().filter(|_| scaling.told.is_some()) {
                known.workloads.clear();
                known.kept.retain(|kept| !scaling.kept.contains(kept));
            }
        }
        remembered.filter(|known| !(known.workloads.is_empty() && known.kept.is_empty()))
    }

    /// Note it.
    pub(super) fn note(&self, head: &mut Head) {
        let direction = if self.up { "up" } else { "down" };
        let how_far = if self.told.is_some() { "done" } else { "begun" };
        let what = format!("{direction}: {how_far}");
        head.note_with(JOURNAL, "", what, self, clock::now());
    }

    /// How many pods a workload had.
    pub(super) fn size(&self, id: &ObjectId) -> Option<u32> {
        let size = self.workloads.iter().find(|size| size.object == *id)?;
        Some(size.replicas)
    }
}

/// The oldest first.
fn of(head: &Head) -> impl Iterator<Item = Scaling> {
    let entries = head.journal.iter();
    entries
        .filter(|entry| entry.unit == JOURNAL)
        .filter_map(|entry| entry.data.read())
}

/// What is to be remembered of a workload that is scaled down: what it has, and where it has none what is remembered.
pub(super) fn former(live: u32, remembered: Option<u32>) -> u32 {
    match (live, remembered) {
        (0, Some(former)) => former,
        (live, _) => live,
    }
}

/// How many pods a workload gets back; `None`: it keeps what it has. What it had is what is remembered, else what the
/// manifest says.
pub(super) fn wanted(
    live: u32,
    remembered: Option<u32>,
    manifest: Option<u32>,
    amount: Option<Amount>,
) -> Option<u32> {
    let had = remembered
        .filter(|former| *former > 0)
        .or(manifest)
        .unwrap_or(1);
    let wanted = match amount {
        Some(amount) => amount.of(if live > 0 && remembered.is_none() {
            live
        } else {
            had
        }),
        None if live > 0 => return None,
        None => had,
    };
    (wanted != live).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sortie_cluster::record::Release;

    use super::*;

    fn scaling(task: &str, up: bool, kept: &[&str], over: bool) -> Scaling {
        let id = |name: &str| ObjectId {
            group: "autoscaling".to_owned(),
            kind: "HorizontalPodAutoscaler".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        };
        let size = Size {
            object: id("web"),
            replicas: 3,
            before: 0,
        };
        let kept = kept.iter().map(|name| Kept {
            object: id(name),
            parts: Vec::new(),
        });
        Scaling {
            task: task.to_owned(),
            up,
            workloads: vec![size],
            kept: kept.collect(),
            told: over.then(|| Value::Bool(true)),
        }
    }

    #[test]
    fn what_is_remembered_is_forgotten_once_it_is_back() {
        let down = |task, over| scaling(task, false, &["a", "b"], over);
        let up = |task, kept: &[&str], over| scaling(task, true, kept, over);
        for (journal, remembered) in [
            (vec![], None),
            (vec![down("a", false)], Some(("a", 1, 2))),
            (vec![down("a", true)], Some(("a", 1, 2))),
            (
                vec![down("a", true), up("b", &["a", "b"], false)],
                Some(("a", 1, 2)),
            ),
            (vec![down("a", true), up("b", &["a", "b"], true)], None),
            // An autoscaler that a number given by hand has kept away.
            (
                vec![down("a", true), up("b", &["b"], true)],
                Some(("a", 0, 1)),
            ),
            (
                vec![
                    down("a", true),
                    up("b", &[], true),
                    up("c", &["a", "b"], true),
                ],
                None,
            ),
            (
                vec![
                    down("a", true),
                    up("b", &["a", "b"], true),
                    down("c", false),
                ],
                Some(("c", 1, 2)),
            ),
        ] {
            let release = Release::new("shop", "web").unwrap();
            let mut head = Head::new(&release, 1, Timestamp::UNIX_EPOCH);
            for entry in &journal {
                entry.note(&mut head);
            }
            let found = Scaling::remembered(&head);
            let found = found
                .as_ref()
                .map(|one| (one.task.as_str(), one.workloads.len(), one.kept.len()));
            assert_eq!(found, remembered, "{journal:?}");
            assert_eq!(Scaling::last(&head).as_ref(), journal.last());
        }
    }

    #[test]
    fn pods_come_back_as_they_were() {
        for (live, remembered, manifest, amount, expected) in [
            (0, Some(3), Some(2), None, Some(3)),
            (0, None, Some(2), None, Some(2)),
            (0, None, None, None, Some(1)),
            (0, Some(0), Some(2), None, Some(2)),
            (2, Some(3), None, None, None),
            (0, Some(4), None, Some(Amount::Percent(50)), Some(2)),
            (0, Some(4), None, Some(Amount::Count(7)), Some(7)),
            (6, None, Some(2), Some(Amount::Percent(50)), Some(3)),
            (2, Some(4), None, Some(Amount::Percent(50)), None),
            (0, Some(4), None, Some(Amount::Count(0)), None),
        ] {
            let found = wanted(live, remembered, manifest, amount);
            assert_eq!(
                found, expected,
                "{live} {remembered:?} {manifest:?} {amount:?}"
            );
        }
        assert_eq!(
            (
                former(5, None),
                former(0, Some(3)),
                former(2, Some(3)),
                former(0, None)
            ),
            (5, 3, 2, 0)
        );
    }
}
