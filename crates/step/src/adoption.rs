//! Taking over what somebody else has deployed: its configuration keeps the names under which its pods read it, and the
//! report says whose it was. That pods keep the labels by which they are tracked is the plan's affair.

mod left_behind;
mod remaining;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_cluster::Resource;
use sortie_cluster::apply::{Change, Former, Outcome, Planned};
use sortie_cluster::record::{Head, Notes};
use sortie_cluster::watch::Selection;
use sortie_manifest::references::{ConfigKind, references};
use sortie_manifest::versioning::{self, KeptNames, Mention};
use sortie_manifest::{Object, ObjectId, Origin, labels, workload};

use crate::failure::{Failure, refused};
use crate::report::Unit;
use crate::rolling::noted;
use crate::run::Run;
use crate::task::{RollingDeploy, Versioning};

pub(crate) use remaining::lines as remaining;

/// Under this name it is noted what a release has taken over.
const NOTED: &str = "takenOver";
/// Objects named one by one; more are counted.
const NAMED: usize = 50;

/// What a deployment takes over of what was there, and what of it stays behind.
#[derive(Debug, Default)]
pub(crate) struct Adoption {
    taken: Vec<TakenOver>,
    left: Vec<ObjectId>,
}

/// An object that was somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TakenOver {
    object: ObjectId,
    /// Whose, in words.
    from: String,
    /// Whether its pods stay as they are.
    #[serde(default)]
    pods_stay: bool,
}

impl Adoption {
    /// Find out what the plan takes over, and say it; where it takes the place of what was there, also what stays behind.
    /// `first`: no release has succeeded before. `mentions` are places that may name what would stay behind.
    pub(crate) async fn of(
        run: &Run<'_>,
        unit: Unit,
        planned: &[Planned],
        whole: Option<(bool, &[Mention])>,
    ) -> Self {
        let taken = taken_over(run, planned).await;
        tell(run, unit, &taken);
        remaining::tell(run, unit, planned);
        let mut left = Vec::new();
        if let Some((_, mentions)) = whole.filter(|(first, _)| *first || !taken.is_empty()) {
            left = left_behind::tell(run, unit, planned, mentions).await;
        }
        Self { taken, left }
    }

    /// Whose the object with this identity was.
    pub(crate) fn former(&self, id: &ObjectId) -> Option<&str> {
        let one = self.taken.iter().find(|one| one.object == *id)?;
        Some(&one.from)
    }

    /// For the record.
    pub(crate) fn notes(&self) -> impl Iterator<Item = (&'static str, Notes)> {
        let taken = (!self.taken.is_empty()).then(|| (NOTED, Notes::of(&self.taken)));
        let left = (!self.left.is_empty()).then(|| (left_behind::NOTED, Notes::of(&self.left)));
        taken.into_iter().chain(left)
    }
}

/// What later steps and people read of a deployment with this record.
pub(crate) fn tell_outputs(head: &Head, outputs: &mut Value) {
    let taken: Vec<TakenOver> = noted(head, NOTED);
    if !taken.is_empty() {
        let one = |one: &TakenOver| json!({"object": one.object.to_string(), "from": one.from});
        outputs[NOTED] = taken.iter().map(one).collect();
    }
    let left: Vec<ObjectId> = noted(head, left_behind::NOTED);
    if !left.is_empty() {
        outputs[left_behind::NOTED] = left.iter().map(ObjectId::to_string).collect();
    }
}

/// What the plan takes over.
async fn taken_over(run: &Run<'_>, planned: &[Planned]) -> Vec<TakenOver> {
    let former = planned.iter().filter_map(|planned| {
        let former = planned.former()?;
        Some((&planned.target.object, &planned.target.id, former))
    });
    let former: Vec<_> = former.collect();
    let mut harness: BTreeMap<String, String> = BTreeMap::new();
    for (_, _, former) in &former {
        if let Former::Harness(name) = former
            && !harness.contains_key(name)
        {
            let number = harness_number(run, name).await;
            let words = match number.or_else(|| suffixed(planned)) {
                Some(number) => format!("{} number {number}", former),
                None => former.to_string(),
            };
            harness.insert(name.clone(), words);
        }
    }
    let ours = run.release_id();
    let taken = former.into_iter().map(|(object, id, former)| {
        let from = match &former {
            Former::Harness(name) => harness.get(name).cloned(),
            // Harness applies by kubectl, and marks nothing but pods.
            Former::Kubectl => harness.values().next().cloned(),
            _ => None,
        };
        TakenOver {
            object: id.clone(),
            from: from.unwrap_or_else(|| former.to_string()),
            pods_stay: !is_tracked(object, &ours),
        }
    });
    taken.collect()
}

/// Whether the pods of a workload carry the release's label; so it is where there are none.
fn is_tracked(object: &Object, release: &str) -> bool {
    let template = workload::pod_template(object);
    template.is_none_or(|template| {
        let label = template.get("metadata").and_then(|metadata| {
            let labels = metadata.get("labels")?;
            labels.get(labels::RELEASE)?.as_str()
        });
        label == Some(release)
    })
}

/// The number in the live names of configuration that is kept: older releases of Harness have no records of their own.
fn suffixed(planned: &[Planned]) -> Option<u64> {
    let numbers = planned.iter().filter_map(|planned| {
        let object = &planned.target.object;
        let original = object.annotation(versioning::ORIGINAL_NAME)?;
        let suffix = object.name().strip_prefix(original)?.strip_prefix('-')?;
        planned.former()?;
        suffix.parse().ok()
    });
    numbers.max()
}

/// The newest number in the records that Harness keeps of a release.
async fn harness_number(run: &Run<'_>, name: &str) -> Option<u64> {
    let namespace = &run.task.release.namespace;
    let records = Selection::of(Resource::secrets(), namespace)
        .labelled(format!("owner=harness,release={name}"))
        .where_fields("type=harness.io/release/v2");
    let listed = run.env.cluster.list(&records).await.ok()?;
    let numbers = listed.iter().filter_map(|record| {
        let labels = record.pointer("/metadata/labels")?;
        labels.get("release-number")?.as_str()?.parse().ok()
    });
    numbers.max()
}

/// Say what is taken over.
fn tell(run: &Run<'_>, unit: Unit, taken: &[TakenOver]) {
    for line in lines(taken) {
        run.info(unit, line);
    }
    let helm: BTreeSet<&str> = taken
        .iter()
        .filter_map(|one| one.from.strip_prefix("helm release "))
        .collect();
    for release in helm {
        let (namespace, name) = release.split_once('/').unwrap_or(("", release));
        let text = format!(
            "helm still knows release {release}, and `helm uninstall` would delete what is taken over: once this release is good, let helm forget it (kubectl delete secret --namespace {namespace} --selector owner=helm,name={name})"
        );
        run.warn(unit, text);
    }
}

fn lines(taken: &[TakenOver]) -> Vec<String> {
    let stay = |stays: bool| {
        if stays {
            "; its pods stay as they are"
        } else {
            ""
        }
    };
    if taken.len() <= NAMED {
        let line = |one: &TakenOver| {
            let pods = stay(one.pods_stay);
            format!("{}: taken over from {}{pods}", one.object, one.from)
        };
        return taken.iter().map(line).collect();
    }
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for one in taken {
        *counted.entry(&one.from).or_default() += 1;
    }
    let line = |(from, count): (&str, usize)| format!("{count} objects are taken over from {from}");
    counted.into_iter().map(line).collect()
}

/// Give ConfigMaps and Secrets that are new only by their versioned names the names under which live pods read the same
/// content, and judge again what that changes. `first`: no release has succeeded before. The versioned names that are
/// not used come back.
///
/// # Errors
/// The API server refuses what it had accepted, or cannot be asked.
pub(crate) async fn keep_names(
    run: &Run<'_>,
    mut planned: Vec<Planned>,
    options: &RollingDeploy,
    first: bool,
) -> Result<(Vec<Planned>, Vec<String>), Failure> {
    let wanted = match options.versioning {
        Versioning::ContentHash => true,
        // Each release has its own copy, once it is ours.
        Versioning::ReleaseNumber => first,
        Versioning::Off => false,
    };
    if !wanted || !planned.iter().any(is_new_version) {
        return Ok((planned, Vec::new()));
    }
    let names = kept_names(run, &planned, options.adopt).await?;
    if names.is_empty() {
        return Ok((planned, Vec::new()));
    }
    let mut targets = Vec::new();
    for (at, planned) in planned.iter().enumerate() {
        let mut target = planned.target.clone();
        let home = target.id.namespace.clone().unwrap_or_default();
        if versioning::keep(&mut target.object, &home, &names) {
            target.id.name = target.object.name().to_owned();
            targets.push((at, target));
        }
    }
    let (at, targets): (Vec<usize>, Vec<_>) = targets.into_iter().unzip();
    let Some(scope) = planned.first().map(|planned| planned.scope().clone()) else {
        return Ok((planned, Vec::new()));
    };
    let again = run.env.cluster.plan(targets, &scope).await;
    let again = again.map_err(|errors| refused(run.sink, Unit::Initialize, &errors))?;
    for (at, again) in at.into_iter().zip(again) {
        if let Some(planned) = planned.get_mut(at) {
            *planned = again;
        }
    }
    let unused = names.into_keys().map(|(_, _, name)| name).collect();
    Ok((planned, unused))
}

fn is_new_version(planned: &Planned) -> bool {
    planned.change() == Some(Change::Created)
        && ConfigKind::of(&planned.target.object).is_some()
        && planned
            .target
            .object
            .annotation(versioning::ORIGINAL_NAME)
            .is_some()
}

/// Live names of equal content.
async fn kept_names(run: &Run<'_>, planned: &[Planned], adopt: bool) -> Result<KeptNames, Failure> {
    let read: BTreeSet<(ConfigKind, String, String)> = planned.iter().flat_map(read_by).collect();
    let taken: BTreeSet<&ObjectId> = planned.iter().map(|planned| &planned.target.id).collect();
    let ours = run.release_id();
    let mut names = HashMap::new();
    for planned in planned.iter().filter(|planned| is_new_version(planned)) {
        let (object, id) = (&planned.target.object, &planned.target.id);
        let Some(kind) = ConfigKind::of(object) else {
            continue;
        };
        let home = id.namespace.clone().unwrap_or_default();
        let original = versioning::original_name(object);
        let candidates = read
            .iter()
            .filter(|(k, place, name)| *k == kind && *place == home && is_of(name, original));
        for (_, _, name) in candidates {
            let mut other = id.clone();
            other.name.clone_from(name);
            if taken.contains(&other) {
                continue;
            }
            let resource = &planned.target.resource;
            let live = run.env.cluster.get(resource, Some(&home), name).await;
            let live = live.map_err(|error| Failure::cluster(&error))?;
            let Some(live) = live.and_then(object_of) else {
                continue;
            };
            let release = live.label(labels::RELEASE);
            let foreign = release.is_some_and(|release| release != ours) && !adopt;
            if !foreign && versioning::content_hash(&live) == versioning::content_hash(object) {
                let versioned = (kind, home.clone(), id.name.clone());
                names.insert(versioned, name.clone());
                break;
            }
        }
    }
    Ok(names)
}

/// What the pods of a live workload read.
fn read_by(planned: &Planned) -> Vec<(ConfigKind, String, String)> {
    let Outcome::Accepted {
        change: Change::Configured,
        live: Some(live),
        ..
    } = &planned.outcome
    else {
        return Vec::new();
    };
    if workload::pod_template(&planned.target.object).is_none() {
        return Vec::new();
    }
    let Some(live) = object_of(live.value()) else {
        return Vec::new();
    };
    let home = live.namespace().unwrap_or_default();
    let place = |stated: Option<String>| stated.unwrap_or_else(|| home.to_owned());
    let references = references(&live).into_iter();
    references
        .map(|reference| (reference.kind, place(reference.namespace), reference.name))
        .collect()
}

/// Whether a live name is the author's, bare or with the number of a release.
fn is_of(name: &str, original: &str) -> bool {
    let Some(rest) = name.strip_prefix(original) else {
        return false;
    };
    let number = |suffix: &str| !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_digit());
    rest.is_empty() || rest.strip_prefix('-').is_some_and(number)
}

/// What is in the cluster, as an object.
pub(crate) fn object_of(live: Value) -> Option<Object> {
    let origin = Origin::outside("the cluster");
    Object::from_value(live, origin).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_name_is_the_authors_or_has_a_number() {
        for (name, expected) in [
            ("web", true),
            ("web-3", true),
            ("web-", false),
            ("web-a3", false),
            ("web-3f0c9a12de", false),
            ("website", false),
            ("we", false),
        ] {
            assert_eq!(is_of(name, "web"), expected, "{name}");
        }
    }

    #[test]
    fn many_objects_are_counted_by_whose_they_were() {
        let one = |number: usize, from: &str| TakenOver {
            object: ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: Some("shop".into()),
                name: format!("c{number}"),
            },
            from: from.into(),
            pods_stay: number == 1,
        };
        let few = [one(0, "kubectl"), one(1, "helm release a/b")];
        let told = lines(&few);
        assert!(told[0].ends_with("c0: taken over from kubectl"), "{told:?}");
        assert!(
            told[1].ends_with("c1: taken over from helm release a/b; its pods stay as they are")
        );
        let many: Vec<_> = (0..=NAMED).map(|number| one(number, "kubectl")).collect();
        assert_eq!(lines(&many), ["51 objects are taken over from kubectl"]);
    }
}
