//! What a rollback removes: what the releases that it undoes have added. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sortie_cluster::record::{Head, Tracked};
use sortie_manifest::ObjectId;

use super::earlier::noted;
use crate::protection::is_storage;

/// What is removed, and what stays although the restored release lacks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Removals {
    /// Objects to delete, by the UID under which they were tracked.
    pub(super) doomed: Vec<Tracked>,
    /// Storage that was added.
    pub(super) kept: Vec<ObjectId>,
    /// Objects that were there before the release that took them over.
    pub(super) older: Vec<ObjectId>,
}

/// A release that is undone.
#[derive(Clone, Debug)]
pub(super) struct Undone<'a> {
    /// Its head.
    pub(super) head: &'a Head,
    /// Its ConfigMaps and Secrets under versioned names: they stay for pods that may still name them.
    pub(super) versioned: BTreeSet<ObjectId>,
}

/// What `undone`, the oldest first, have added to `good`.
pub(super) fn removals(good: &Head, undone: &[Undone<'_>], delete_storage: bool) -> Removals {
    let restored: BTreeSet<&ObjectId> = good.inventory.iter().map(|tracked| &tracked.id).collect();
    let mut removals = Removals::default();
    let mut added: BTreeMap<&ObjectId, Option<String>> = BTreeMap::new();
    let mut older = BTreeSet::new();
    for Undone { head, versioned } in undone {
        let present: BTreeSet<ObjectId> = noted(head, "present").into_iter().collect();
        for Tracked { id, uid } in &head.inventory {
            if restored.contains(id) || versioned.contains(id) || older.contains(id) {
                continue;
            }
            // Whether it was there before is what the first of them says.
            if present.contains(id) && !added.contains_key(id) {
                older.insert(id);
                removals.older.push(id.clone());
                continue;
            }
            let known = added.entry(id).or_default();
            if uid.is_some() {
                known.clone_from(uid);
            }
        }
    }
    for (id, uid) in added {
        if is_storage(id) && !delete_storage {
            removals.kept.push(id.clone());
        } else {
            let id = id.clone();
            removals.doomed.push(Tracked { id, uid });
        }
    }
    removals
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use sortie_cluster::record::Release;

    use super::*;

    fn id(kind: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    fn head(number: u64, kinds: &[(&str, Option<&str>)], present: &[&str]) -> Head {
        let release = Release::new("shop", "web").unwrap();
        let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
        for (kind, uid) in kinds {
            head.track(id(kind), uid.map(str::to_owned));
        }
        let present: Vec<ObjectId> = present.iter().map(|kind| id(kind)).collect();
        let data = json!({"present": present});
        head.note_with("Prepare", "", "opened", data, Timestamp::UNIX_EPOCH);
        head
    }

    fn undone(head: &Head) -> Undone<'_> {
        Undone {
            head,
            versioned: BTreeSet::new(),
        }
    }

    fn doomed(removals: &Removals) -> Vec<(&str, Option<&str>)> {
        removals
            .doomed
            .iter()
            .map(|tracked| (tracked.id.kind.as_str(), tracked.uid.as_deref()))
            .collect()
    }

    #[test]
    fn only_what_was_added_goes() {
        let good = head(1, &[("Service", None)], &[]);
        let failed = head(2, &[("Service", None), ("Role", Some("u"))], &["Service"]);
        let removals = removals(&good, &[undone(&failed)], false);
        assert_eq!(doomed(&removals), [("Role", Some("u"))]);
        assert!(removals.older.is_empty() && removals.kept.is_empty());
    }

    #[test]
    fn storage_stays_unless_asked_for() {
        let good = head(1, &[], &[]);
        let failed = head(2, &[("PersistentVolumeClaim", Some("u"))], &[]);
        let kept = removals(&good, &[undone(&failed)], false);
        assert_eq!(kept.kept, [id("PersistentVolumeClaim")]);
        assert!(kept.doomed.is_empty());
        let removed = removals(&good, &[undone(&failed)], true);
        assert_eq!(doomed(&removed), [("PersistentVolumeClaim", Some("u"))]);
        assert!(removed.kept.is_empty());
    }

    #[test]
    fn versioned_configuration_stays() {
        let good = head(1, &[], &[]);
        let failed = head(2, &[("ConfigMap", Some("u"))], &[]);
        let undone = Undone {
            head: &failed,
            versioned: BTreeSet::from([id("ConfigMap")]),
        };
        assert_eq!(removals(&good, &[undone], true), Removals::default());
    }

    #[test]
    fn what_somebody_else_had_made_before_stays() {
        let good = head(1, &[], &[]);
        let failed = head(2, &[("Role", Some("u"))], &["Role"]);
        let once = removals(&good, &[undone(&failed)], true);
        assert_eq!(once.older, [id("Role")]);
        assert!(once.doomed.is_empty());
        let again = head(3, &[("Role", Some("u"))], &["Role"]);
        let twice = removals(&good, &[undone(&failed), undone(&again)], true);
        assert_eq!(twice, once);
    }

    #[test]
    fn several_failed_releases_are_undone_together() {
        let good = head(1, &[], &[]);
        let first = head(2, &[("Role", Some("u2"))], &[]);
        let second = head(3, &[("Role", None), ("Service", None)], &["Role"]);
        let removals = removals(&good, &[undone(&first), undone(&second)], false);
        assert_eq!(doomed(&removals), [("Role", Some("u2")), ("Service", None)]);
    }
}
