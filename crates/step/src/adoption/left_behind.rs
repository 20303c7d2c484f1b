//! Configuration that stays behind under its author's name, because the release deploys it under a versioned one.

use std::collections::{BTreeMap, BTreeSet};

use sortie_cluster::Error;
use sortie_cluster::apply::Planned;
use sortie_cluster::inventory::Found;
use sortie_manifest::references::{ConfigKind, references};
use sortie_manifest::versioning::{self, Mention};
use sortie_manifest::{ObjectId, labels};

use super::is_new_version;
use crate::failure::chain;
use crate::report::Unit;
use crate::run::Run;

/// Under this name it is noted what stayed behind.
pub(crate) const NOTED: &str = "leftBehind";

/// ConfigMaps and Secrets by kind, namespace and name, each with the name under which it is deployed.
type Copies = BTreeMap<(ConfigKind, String, String), String>;

/// Say which live ConfigMaps and Secrets have the names that the author gave, are nobody's release's, and are not what
/// this release deploys or reads. What cannot be looked at is not told.
pub(super) async fn tell(
    run: &Run<'_>,
    unit: Unit,
    planned: &[Planned],
    mentions: &[Mention],
) -> Vec<ObjectId> {
    let copies = copies(run, planned, mentions);
    let places: BTreeSet<(ConfigKind, &str)> = copies
        .keys()
        .map(|(kind, home, _)| (*kind, home.as_str()))
        .collect();
    let looks = places.into_iter().map(|(kind, home)| async move {
        let listed = run.env.cluster.configuration(kind, home, None).await;
        (kind, home, listed)
    });
    let mut left = Vec::new();
    for (kind, home, listed) in futures::future::join_all(looks).await {
        for id in bare(listed) {
            let key = (kind, home.to_owned(), id.name.clone());
            if let Some(copy) = copies.get(&key) {
                run.warn(unit, line(&id, copy));
                left.push(id);
            }
        }
    }
    left
}

/// What of the set is new under a versioned name, and read by nothing of the set under the author's.
fn copies(run: &Run<'_>, planned: &[Planned], mentions: &[Mention]) -> Copies {
    let mut copies = Copies::new();
    for planned in planned.iter().filter(|planned| is_new_version(planned)) {
        let object = &planned.target.object;
        let original = versioning::original_name(object);
        let home = planned.target.id.namespace.clone().unwrap_or_default();
        if let Some(kind) = ConfigKind::of(object).filter(|_| original != object.name()) {
            let copy = object.name().to_owned();
            copies.insert((kind, home, original.to_owned()), copy);
        }
    }
    if copies.is_empty() {
        return copies;
    }
    for planned in planned {
        let (object, id) = (&planned.target.object, &planned.target.id);
        let home = id.namespace.as_deref();
        let home = home.unwrap_or(&run.task.release.namespace);
        if let Some(kind) = ConfigKind::of(object) {
            copies.remove(&(kind, home.to_owned(), id.name.clone()));
        }
        for reference in references(object) {
            let place = reference.namespace.unwrap_or_else(|| home.to_owned());
            copies.remove(&(reference.kind, place, reference.name));
        }
    }
    copies.retain(|(kind, _, name), _| {
        let named = |mention: &Mention| mention.kind == *kind && mention.name == *name;
        !mentions.iter().any(named)
    });
    copies
}

/// Those of a namespace that are of no release.
fn bare(listed: Result<Vec<Found>, Error>) -> impl Iterator<Item = ObjectId> {
    let listed = listed.unwrap_or_else(|error| {
        tracing::debug!(error = chain(&error), "what stays behind is not known");
        Vec::new()
    });
    let bare = listed.into_iter().filter(|found| {
        let of = found.object.pointer("/metadata/labels");
        of.is_none_or(|of| of.get(labels::RELEASE).is_none())
    });
    bare.map(|found| found.id)
}

fn line(id: &ObjectId, copy: &str) -> String {
    let (kind, namespace) = (
        id.kind.to_lowercase(),
        id.namespace.as_deref().unwrap_or_default(),
    );
    format!(
        "{id} stays as it is, and nothing of this release uses it: the release has its own copy as {copy}. Once the release is good and nothing else reads it, delete it (kubectl delete {kind} {} --namespace {namespace})",
        id.name
    )
}
