//! Which objects of earlier releases a deployment deletes, and which it keeps though the set lacks them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sortie_cluster::record::{Head, Tracked};
use sortie_manifest::{ObjectId, labels, versioning};

use crate::failure::{Failure, FailureKind};
use crate::hooks;
use crate::protection::{self, annotation, text};
use crate::task::Prune;

/// As many objects are deleted without a limit of one's own, whatever part of the release they are.
const ALWAYS: usize = 3;
/// No more than these are deleted without a limit of one's own.
const AT_MOST: usize = 20;

/// What a deployment deletes after it has succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Objects to delete, each by the UID that is live.
    pub(super) doomed: Vec<Tracked>,
    /// Objects that stay though the set lacks them, and why.
    pub(super) kept: Vec<(ObjectId, String)>,
    /// Those of them that are the release's own.
    pub(super) protected: Vec<Tracked>,
    /// Objects that are not there any more.
    pub(super) absent: Vec<ObjectId>,
}

/// What is known of a release that deploys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present<'a> {
    /// Value of the release's label.
    pub(super) release: &'a str,
    /// UIDs of the objects in the set, as far as they are known: one object may be served under two groups.
    pub(super) applied: &'a BTreeSet<String>,
}

/// Everything that earlier releases had, the oldest release first, with the UID under which each object was last tracked.
pub(crate) fn tracked<'a>(earlier: impl Iterator<Item = &'a Head>) -> Vec<Tracked> {
    let mut last: BTreeMap<&ObjectId, Option<&String>> = BTreeMap::new();
    for Tracked { id, uid } in earlier.flat_map(|head| &head.inventory) {
        let known = last.entry(id).or_default();
        *known = uid.as_ref().or(*known);
    }
    let tracked = |(id, uid): (&ObjectId, Option<&String>)| Tracked {
        id: id.clone(),
        uid: uid.cloned(),
    };
    last.into_iter().map(tracked).collect()
}

impl Plan {
    /// Decide about one candidate that is live.
    pub(super) fn consider(&mut self, tracked: Tracked, live: &Value, present: Present<'_>) {
        let Tracked { id, uid } = tracked;
        let live_uid = text(live, "/metadata/uid");
        let is_going = live.pointer("/metadata/deletionTimestamp").is_some();
        let is_hook = annotation(live, hooks::HOOK).is_some();
        let is_versioned = annotation(live, versioning::ORIGINAL_NAME).is_some();
        if is_going || is_hook || is_versioned || present.applied.contains(live_uid) {
            return;
        }
        let label = live.pointer("/metadata/labels");
        let label = label.and_then(|all| all.get(labels::RELEASE)?.as_str());
        let keep = if uid.is_some_and(|uid| uid != live_uid) {
            Some("another object has its name now".to_owned())
        } else if label != Some(present.release) {
            Some("it does not carry the label of this release any more".to_owned())
        } else {
            let tracked = Tracked {
                id: id.clone(),
                uid: Some(live_uid.to_owned()),
            };
            let why = protection(&id, live);
            if why.is_some() {
                self.protected.push(tracked);
            } else {
                self.doomed.push(tracked);
            }
            why
        };
        self.kept.extend(keep.map(|why| (id, why)));
    }

    /// Whether so many may go. `before` is the number of objects that the release had.
    ///
    /// # Errors
    /// More than the limit, or without one: more than [`AT_MOST`], or more than half of the release.
    pub(super) fn check(&self, options: Prune, before: usize) -> Result<(), Failure> {
        let count = self.doomed.len();
        let (allowed, rule) = match options.limit {
            Some(limit) => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                (limit, format!("the limit is {limit}"))
            }
            None => (
                AT_MOST.min(before / 2).max(ALWAYS),
                format!("unasked, at most {AT_MOST} and at most half of a release are"),
            ),
        };
        if count <= allowed {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::Configuration,
            "SRT-T022",
            format!(
                "pruning would delete {count} of the {before} objects that the release had, and {rule}"
            ),
            format!(
                "look at the list in the log; if all of them shall go, allow it: pruneLimit: {count} in the step, or --prune-limit {count}"
            ),
        ))
    }
}

/// Why a live object of the release must stay.
fn protection(id: &ObjectId, live: &Value) -> Option<String> {
    if let Some(why) = protection::annotated(live) {
        Some(why)
    } else if protection::is_controlled(live) {
        Some("a controller owns it now".to_owned())
    } else if protection::is_storage(id) && !protection::may_go(live) {
        let (name, value) = protection::WANTED;
        Some(format!(
            "what it holds cannot be brought back; the annotation {name}: \"{value}\" lets it go"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use sortie_cluster::record::Release;

    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    fn head(number: u64, objects: &[(&str, Option<&str>)]) -> Head {
        let release = Release::new("shop", "web").unwrap();
        let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
        for (name, uid) in objects {
            head.track(id("Role", name), uid.map(str::to_owned));
        }
        head
    }

    #[test]
    fn what_any_kept_record_had_is_known_by_its_newest_uid() {
        let heads = [
            head(1, &[("a", Some("a1")), ("b", Some("b1")), ("c", None)]),
            head(2, &[("a", Some("a2")), ("b", None)]),
        ];
        let found = tracked(heads.iter());
        let found: Vec<_> = found
            .iter()
            .map(|tracked| (tracked.id.name.as_str(), tracked.uid.as_deref()))
            .collect();
        assert_eq!(found, [("a", Some("a2")), ("b", Some("b1")), ("c", None)]);
    }

    /// What becomes of one live object: `None` when nothing is said of it.
    fn fate(kind: &str, uid: Option<&str>, change: impl FnOnce(&mut Value)) -> Option<bool> {
        let mut live = json!({"metadata": {
            "uid": "u", "labels": {"sortie.dev/release": "ours"}, "annotations": {},
        }});
        change(&mut live);
        let applied = BTreeSet::from(["applied".to_owned()]);
        let present = Present {
            release: "ours",
            applied: &applied,
        };
        let mut plan = Plan::default();
        let tracked = Tracked {
            id: id(kind, "a"),
            uid: uid.map(str::to_owned),
        };
        plan.consider(tracked, &live, present);
        match (plan.doomed.as_slice(), plan.kept.as_slice()) {
            ([doomed], []) => {
                assert_eq!(doomed.uid.as_deref(), Some("u"));
                Some(true)
            }
            ([], [_]) => Some(false),
            ([], []) => None,
            other => panic!("{other:?}"),
        }
    }

    fn annotated(name: &'static str, value: &'static str) -> impl FnOnce(&mut Value) {
        move |live| live["metadata"]["annotations"][name] = value.into()
    }

    #[test]
    fn only_what_is_ours_and_unprotected_goes() {
        let (goes, stays, untold) = (Some(true), Some(false), None);
        assert_eq!(fate("Role", None, |_| {}), goes);
        assert_eq!(fate("Role", Some("u"), |_| {}), goes);
        assert_eq!(fate("Role", Some("other"), |_| {}), stays);
        let labelled = |label: Value| {
            move |live: &mut Value| live["metadata"]["labels"]["sortie.dev/release"] = label
        };
        assert_eq!(fate("Role", None, labelled("theirs".into())), stays);
        assert_eq!(fate("Role", None, labelled(Value::Null)), stays);
        let owned = |live: &mut Value| {
            live["metadata"]["ownerReferences"] = json!([{"controller": true}]);
        };
        assert_eq!(fate("Role", None, owned), stays);
        let going = |live: &mut Value| {
            live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        };
        assert_eq!(fate("Role", None, going), untold);
        let applied = |live: &mut Value| live["metadata"]["uid"] = "applied".into();
        assert_eq!(fate("Role", None, applied), untold);
        let versioned = annotated(versioning::ORIGINAL_NAME, "a");
        assert_eq!(fate("ConfigMap", None, versioned), untold);
    }

    #[test]
    fn annotations_protect_and_storage_needs_one_to_go() {
        for (name, value, goes) in [
            ("sortie.dev/prune", "false", false),
            ("sortie.dev/prune", "true", true),
            ("harness.io/skipPruning", "true", false),
            ("harness.io/skipPruning", "false", true),
            ("helm.sh/resource-policy", "keep", false),
            (
                "argocd.argoproj.io/sync-options",
                "Replace=true, Prune=false",
                false,
            ),
            ("kustomize.toolkit.fluxcd.io/prune", "disabled", false),
        ] {
            let fate = fate("Role", None, annotated(name, value));
            assert_eq!(fate, Some(goes), "{name}: {value}");
        }
        let claim = "PersistentVolumeClaim";
        assert_eq!(fate(claim, None, |_| {}), Some(false));
        let wanted = annotated("sortie.dev/prune", "true");
        assert_eq!(fate(claim, None, wanted), Some(true));
    }

    #[test]
    fn many_deletions_need_to_be_allowed() {
        for (count, before, limit, allowed) in [
            (0, 0, None, true),
            (3, 3, None, true),
            (4, 7, None, false),
            (4, 8, None, true),
            (20, 100, None, true),
            (21, 100, None, false),
            (21, 100, Some(21), true),
            (22, 100, Some(21), false),
            (1, 100, Some(0), false),
        ] {
            let doomed = (0..count).map(|number| Tracked {
                id: id("Role", &number.to_string()),
                uid: None,
            });
            let plan = Plan {
                doomed: doomed.collect(),
                ..Plan::default()
            };
            let checked = plan.check(Prune { limit }, before);
            assert_eq!(checked.is_ok(), allowed, "{count} of {before}, {limit:?}");
            if let Err(failure) = checked {
                assert_eq!(failure.code, "SRT-T022");
                let option = format!("--prune-limit {count}");
                assert!(failure.hint.contains(&option), "{}", failure.hint);
            }
        }
    }
}
