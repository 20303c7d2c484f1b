//! Which objects of a release go when it is uninstalled, and which stay. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sortie_cluster::record::Tracked;
use sortie_manifest::{Object, ObjectId, labels, order, versioning};

use crate::protection::{self, annotation, text};

/// Annotation values that protect an object from the end of its release, and not from pruning.
const STAYS: (&str, &str) = ("argocd.argoproj.io/sync-options", "Delete=false");

/// What an uninstallation deletes and what it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Objects to delete, each by the UID that is live.
    pub(super) doomed: Vec<Tracked>,
    /// Claims to delete that StatefulSets of the release have made.
    pub(super) claims: Vec<Tracked>,
    /// Versioned configuration: it goes last, unless something that stays names it.
    pub(super) versioned: Vec<Tracked>,
    /// The namespace that the release itself lives in: it goes after the release's records.
    pub(super) home: Option<Tracked>,
    /// Objects that stay, and why.
    pub(super) kept: Vec<(ObjectId, String)>,
}

/// Whose objects are looked at, and what may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// Value of the release's label.
    pub(super) release: &'a str,
    /// Namespace of the release.
    pub(super) namespace: &'a str,
    /// What becomes of storage.
    pub(super) storage: Storage,
}

/// Which objects go whose content cannot be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Those that their own annotation names.
    Stays,
    /// Namespaces as well, with everything in them.
    Namespaces,
    /// All of them.
    Goes,
}

impl Plan {
    /// Decide about one live object.
    pub(super) fn consider(&mut self, tracked: Tracked, live: &Value, wish: Wish<'_>) {
        let Tracked { id, uid } = tracked;
        let live_uid = text(live, "/metadata/uid");
        let label = live.pointer("/metadata/labels");
        let label = label.and_then(|all| all.get(labels::RELEASE)?.as_str());
        if uid.is_some_and(|uid| uid != live_uid) {
            return self.keep(id, "another object has its name now");
        }
        if label != Some(wish.release) {
            return self.keep(id, "it does not carry the label of this release any more");
        }
        if protection::is_controlled(live) {
            // It goes with its owner, or stays with it.
            return;
        }
        if let Some(why) = protection::annotated(live).or_else(|| stays(live)) {
            return self.keep(id, why);
        }
        let storage = protection::is_storage(&id);
        let is_namespace = id.group.is_empty() && id.kind == "Namespace";
        let asked = match wish.storage {
            Storage::Stays => false,
            Storage::Namespaces => is_namespace,
            Storage::Goes => true,
        };
        if storage && !asked && !protection::may_go(live) {
            return self.keep(id, "what it holds cannot be brought back");
        }
        let is_home = is_namespace && id.name == wish.namespace;
        let doomed = Tracked {
            id,
            uid: Some(live_uid.to_owned()),
        };
        if is_home {
            self.home = Some(doomed);
        } else if annotation(live, versioning::ORIGINAL_NAME).is_some() {
            self.versioned.push(doomed);
        } else {
            self.doomed.push(doomed);
        }
    }

    /// Decide about a claim that a StatefulSet of the release has made. It carries no label of ours. One that its set
    /// owns, which follows from how the set is written, goes with it, whatever we do.
    pub(super) fn consider_claim(&mut self, id: ObjectId, live: &Value, delete_storage: bool) {
        if self.doomed.iter().any(|doomed| owns(doomed, live)) {
            let uid = Some(text(live, "/metadata/uid").to_owned());
            return self.claims.push(Tracked { id, uid });
        }
        match protection::annotated(live) {
            Some(why) => self.keep(id, why),
            None if delete_storage || protection::may_go(live) => {
                let uid = Some(text(live, "/metadata/uid").to_owned());
                self.claims.push(Tracked { id, uid });
            }
            None => self.keep(id, "what it holds cannot be brought back"),
        }
    }

    /// The objects to delete, as far as their kinds tell in the order in which they go.
    pub(super) fn going(&self) -> Vec<ObjectId> {
        let ids = |list: &[Tracked]| {
            let mut ids: Vec<ObjectId> = list.iter().map(|tracked| tracked.id.clone()).collect();
            order::sort_for_deletion(&mut ids);
            ids
        };
        let objects = [self.doomed.as_slice(), &self.claims].concat();
        let mut going = ids(&objects);
        going.extend(ids(&self.versioned));
        going.extend(self.home.iter().map(|home| home.id.clone()));
        going
    }

    /// The namespaces that would go.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let is_namespace = |id: &&ObjectId| id.group.is_empty() && id.kind == "Namespace";
        let going = self.doomed.iter().chain(&self.home);
        let going = going.map(|tracked| &tracked.id).filter(is_namespace);
        going.map(|id| id.name.clone()).collect()
    }

    /// Leave a namespace alone.
    pub(super) fn spare(&mut self, namespace: &str, why: &str) {
        let is_it = |tracked: &mut Tracked| {
            let id = &tracked.id;
            id.group.is_empty() && id.kind == "Namespace" && id.name == namespace
        };
        let home = self.home.take_if(is_it);
        let doomed = self.doomed.extract_if(.., is_it).chain(home);
        for tracked in doomed.collect::<Vec<_>>() {
            self.keep(tracked.id, why);
        }
    }

    /// What is in a namespace that goes does not stay.
    pub(super) fn forget_within(&mut self, namespaces: &[String]) {
        let goes = |id: &ObjectId| {
            id.namespace
                .as_ref()
                .is_some_and(|own| namespaces.contains(own))
        };
        self.kept.retain(|(id, _)| !goes(id));
    }

    pub(super) fn keep(&mut self, id: ObjectId, why: impl Into<String>) {
        self.kept.push((id, why.into()));
    }
}

/// Whether a live object is owned by this one.
fn owns(owner: &Tracked, live: &Value) -> bool {
    let owners = live
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let mut owners = owners.into_iter().flatten();
    owners.any(|one| owner.uid.as_deref() == Some(text(one, "/uid")))
}

fn stays(live: &Value) -> Option<String> {
    let (name, value) = STAYS;
    let mut words = annotation(live, name)?.split(',');
    let found = words.any(|word| word.trim().eq_ignore_ascii_case(value));
    found.then(|| format!("its annotation {name} says so"))
}

/// What a release owns, as its records and the cluster's labels tell it together: a label finds what no kept record has.
pub(super) fn owned(tracked: Vec<Tracked>, labelled: Vec<Tracked>) -> Vec<Tracked> {
    let mut all: BTreeMap<ObjectId, Option<String>> = BTreeMap::new();
    for Tracked { id, uid } in labelled.into_iter().chain(tracked) {
        let known = all.entry(id).or_default();
        *known = uid.or_else(|| known.take());
    }
    let tracked = |(id, uid)| Tracked { id, uid };
    all.into_iter().map(tracked).collect()
}

/// How a StatefulSet names the claims that it makes: `TEMPLATE-SET-NUMBER`, in its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claims {
    /// Namespace; `None` where the manifest leaves it to the deployment.
    pub(super) namespace: Option<String>,
    /// What their names begin with, up to the number.
    prefix: String,
}

impl Claims {
    /// The claims of a set of objects, as recorded.
    pub(super) fn of(objects: &[Object]) -> BTreeSet<Self> {
        let sets = objects
            .iter()
            .filter(|object| (object.group(), object.kind()) == ("apps", "StatefulSet"));
        sets.flat_map(|set| {
            let templates = set.value().get("spec");
            let templates = templates.and_then(|spec| spec.get("volumeClaimTemplates")?.as_array());
            templates.into_iter().flatten().filter_map(|template| {
                let name = template.pointer("/metadata/name")?.as_str()?;
                Some(Self {
                    namespace: set.namespace().map(str::to_owned),
                    prefix: format!("{name}-{}-", set.name()),
                })
            })
        })
        .collect()
    }

    /// Whether a claim of this name is one of them.
    pub(super) fn has(&self, name: &str) -> bool {
        let number = name.strip_prefix(&self.prefix);
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::Limits;

    use super::*;

    fn id(kind: &str, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Fate {
        Goes,
        GoesLater,
        GoesLast,
        Stays,
        Untold,
    }

    fn fate_with(
        kind: &str,
        uid: Option<&str>,
        storage: Storage,
        change: impl FnOnce(&mut Value),
    ) -> Fate {
        let mut live = json!({"metadata": {
            "uid": "u", "labels": {"sortie.dev/release": "ours"}, "annotations": {},
        }});
        change(&mut live);
        let wish = Wish {
            release: "ours",
            namespace: "shop",
            storage,
        };
        let mut plan = Plan::default();
        let name = if kind == "Namespace" { "shop" } else { "a" };
        let tracked = Tracked {
            id: id(kind, name),
            uid: uid.map(str::to_owned),
        };
        plan.consider(tracked, &live, wish);
        let going = plan.going();
        let mut every = plan.doomed.iter().chain(&plan.versioned).chain(&plan.home);
        assert!(every.all(|doomed| doomed.uid.as_deref() == Some("u")));
        match (going.len(), plan.kept.len()) {
            (0, 0) => Fate::Untold,
            (0, 1) => Fate::Stays,
            (1, 0) if plan.home.is_some() => Fate::GoesLast,
            (1, 0) if plan.doomed.is_empty() => Fate::GoesLater,
            (1, 0) => Fate::Goes,
            other => panic!("{other:?}"),
        }
    }

    fn fate(kind: &str, uid: Option<&str>, change: impl FnOnce(&mut Value)) -> Fate {
        fate_with(kind, uid, Storage::Stays, change)
    }

    fn annotated(name: &'static str, value: &'static str) -> impl FnOnce(&mut Value) {
        move |live| live["metadata"]["annotations"][name] = value.into()
    }

    #[test]
    fn what_is_ours_goes_and_nothing_else() {
        assert_eq!(fate("Role", None, |_| {}), Fate::Goes);
        assert_eq!(fate("Role", Some("u"), |_| {}), Fate::Goes);
        assert_eq!(fate("Role", Some("other"), |_| {}), Fate::Stays);
        let theirs = |live: &mut Value| {
            live["metadata"]["labels"]["sortie.dev/release"] = "theirs".into();
        };
        assert_eq!(fate("Role", Some("u"), theirs), Fate::Stays);
        let unlabelled = |live: &mut Value| live["metadata"]["labels"] = json!({});
        assert_eq!(fate("Role", None, unlabelled), Fate::Stays);
        let owned = |live: &mut Value| {
            live["metadata"]["ownerReferences"] = json!([{"controller": true}]);
        };
        assert_eq!(fate("ReplicaSet", None, owned), Fate::Untold);
        // Already on its way: it is waited for.
        let going = |live: &mut Value| {
            live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        };
        assert_eq!(fate("Role", None, going), Fate::Goes);
        let versioned = annotated(versioning::ORIGINAL_NAME, "a");
        assert_eq!(fate("ConfigMap", None, versioned), Fate::GoesLater);
    }

    #[test]
    fn storage_goes_only_when_it_is_asked_for() {
        for kind in ["PersistentVolumeClaim", "PersistentVolume"] {
            assert_eq!(fate(kind, None, |_| {}), Fate::Stays, "{kind}");
            assert_eq!(
                fate_with(kind, None, Storage::Goes, |_| {}),
                Fate::Goes,
                "{kind}"
            );
            let wanted = annotated("sortie.dev/prune", "true");
            assert_eq!(fate(kind, None, wanted), Fate::Goes, "{kind}");
        }
        assert_eq!(fate("Namespace", None, |_| {}), Fate::Stays);
        assert_eq!(
            fate_with("Namespace", None, Storage::Goes, |_| {}),
            Fate::GoesLast
        );
    }

    #[test]
    fn namespaces_go_without_other_storage_and_take_along_what_is_in_them() {
        let fate = |kind| fate_with(kind, None, Storage::Namespaces, |_| {});
        assert_eq!(fate("Namespace"), Fate::GoesLast);
        for kind in ["PersistentVolumeClaim", "PersistentVolume"] {
            assert_eq!(fate(kind), Fate::Stays, "{kind}");
        }
        let mut plan = Plan::default();
        plan.keep(id("PersistentVolumeClaim", "inside"), "storage");
        let mut volume = id("PersistentVolume", "outside");
        volume.namespace = None;
        plan.keep(volume, "storage");
        plan.forget_within(&["shop".to_owned()]);
        assert_eq!(plan.kept.len(), 1);
        assert_eq!(plan.kept[0].0.name, "outside");
    }

    #[test]
    fn annotations_protect_even_from_being_asked_for() {
        for (name, value) in [
            ("sortie.dev/prune", "false"),
            ("harness.io/skipPruning", "true"),
            ("helm.sh/resource-policy", "keep"),
            (
                "argocd.argoproj.io/sync-options",
                "Replace=true,Delete=false",
            ),
        ] {
            for kind in ["Role", "PersistentVolumeClaim"] {
                let fate = fate_with(kind, None, Storage::Goes, annotated(name, value));
                assert_eq!(fate, Fate::Stays, "{name} on a {kind}");
            }
        }
    }

    #[test]
    fn a_namespace_can_be_spared() {
        let namespace = |name: &str| Tracked {
            id: ObjectId {
                namespace: None,
                ..id("Namespace", name)
            },
            uid: None,
        };
        let mut plan = Plan {
            doomed: vec![namespace("other")],
            home: Some(namespace("shop")),
            ..Plan::default()
        };
        assert_eq!(plan.namespaces(), ["other", "shop"]);
        plan.spare("shop", "shared");
        assert_eq!(plan.namespaces(), ["other"]);
        assert_eq!(plan.kept.len(), 1);
        plan.spare("other", "shared");
        assert!(plan.going().is_empty());
    }

    #[test]
    fn labels_find_what_records_have_forgotten() {
        let tracked = |name: &str, uid: Option<&str>| Tracked {
            id: id("Role", name),
            uid: uid.map(str::to_owned),
        };
        let all = owned(
            vec![tracked("a", Some("1")), tracked("b", None)],
            vec![tracked("a", None), tracked("old", None)],
        );
        assert_eq!(
            all,
            [
                tracked("a", Some("1")),
                tracked("b", None),
                tracked("old", None)
            ]
        );
    }

    #[test]
    fn claims_of_a_stateful_set_are_known_by_their_names() {
        let set = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  volumeClaimTemplates: [{metadata: {name: data}}, {metadata: {name: log}}]
";
        let objects = sortie_manifest::parse("set.yaml", set.as_bytes(), &Limits::default());
        let claims = Claims::of(&objects.unwrap());
        for (name, ours) in [
            ("data-db-0", true),
            ("log-db-12", true),
            ("data-db-", false),
            ("data-db-x", false),
            ("data-db2-0", false),
            ("other-db-0", false),
        ] {
            assert_eq!(claims.iter().any(|claims| claims.has(name)), ours, "{name}");
        }
    }

    #[test]
    fn a_claim_that_its_set_owns_goes_with_it() {
        let mut plan = Plan::default();
        plan.doomed.push(Tracked {
            id: id("StatefulSet", "db"),
            uid: Some("u1".to_owned()),
        });
        let claim = |owner: Value| json!({"metadata": {"uid": "c", "ownerReferences": owner}});
        for (name, owner) in [
            ("data-db-0", json!([{"kind": "StatefulSet", "uid": "u1"}])),
            ("data-db-1", json!([{"kind": "StatefulSet", "uid": "u2"}])),
            ("data-db-2", Value::Null),
        ] {
            plan.consider_claim(id("PersistentVolumeClaim", name), &claim(owner), false);
        }
        let going: Vec<&str> = plan.claims.iter().map(|of| of.id.name.as_str()).collect();
        assert_eq!(going, ["data-db-0"]);
        assert_eq!(plan.kept.len(), 2);
    }
}
