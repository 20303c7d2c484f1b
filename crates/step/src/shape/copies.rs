//! Copies of the workloads of a set that run beside the originals, with configuration, autoscalers and budgets of their
//! own. Pure, but for [`look`].

use std::collections::BTreeSet;

use serde_json::Value;
use sortie_manifest::references::{ConfigKind, references};
use sortie_manifest::workload::{self, Workload};
use sortie_manifest::{Object, ObjectError, ObjectId, hash, versioning};
use sortie_strategy::copy::{self, Side};

use super::apart::Apart;
use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind, chain};
use crate::run::Run;

/// Annotation on the pods of copies: a hash of the configuration they read. That has the same names for every copy, and
/// pods read most of it only once.
const CONFIGURATION: &str = "sortie.dev/configuration";
/// Characters of that hash.
const HASH_LENGTH: usize = 10;

/// A workload to copy, and what is live of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// As the set has it.
    pub(super) original: Object,
    /// As it is live.
    pub(super) live: Option<Object>,
    /// The copy, where one is live.
    pub(super) copy: Option<Object>,
}

/// The side on which copies are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    /// Appended to names, and the value of the label.
    pub(super) word: &'a str,
    /// The label's key.
    pub(super) key: &'static str,
    /// The key that older copies have in its place; it stays where it is in a selector, which never changes.
    pub(super) older_key: &'static str,
    /// Whether the copies run beside their originals for a while and go again, even where those are not live yet. Those of
    /// a colour take the place of the originals, and are as lasting.
    pub(super) beside_originals: bool,
    /// What takes the pods of the copies out of the Service that reaches those of the originals.
    pub(super) apart: Option<&'a Apart>,
}

/// The copies of a set.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    /// Workloads, each with the place of its original in what was seen.
    pub(super) workloads: Vec<(usize, Object)>,
    /// Autoscalers, disruption budgets and configuration.
    pub(super) others: Vec<Object>,
    /// What is not written because the copies are.
    pub(super) originals: BTreeSet<ObjectId>,
    /// What is worth a line.
    pub(super) notes: Vec<String>,
}

/// The workloads of a set that are copied, with what is live of them.
///
/// # Errors
/// There is none, or the cluster cannot be asked.
pub(super) async fn look(
    run: &Run<'_>,
    objects: &[Object],
    word: Word<'_>,
) -> Result<Vec<Seen>, Failure> {
    let namespace = &run.task.release.namespace;
    let mut seen = Vec::new();
    for original in objects.iter().filter(|object| is_copied(object)) {
        let id = original.id().in_namespace(namespace);
        let mut copy = id.clone();
        copy.name = format!("{}-{}", id.name, word.word);
        let live = run.env.cluster.find(&id).await;
        let copy = run.env.cluster.find(&copy).await;
        let read = |found: Result<Option<(_, Value)>, _>| match found {
            Ok(found) => Ok(found.and_then(|(_, live)| object_of(live))),
            Err(error) => Err(Failure::cluster(&error)),
        };
        seen.push(Seen {
            original: original.clone(),
            live: read(live)?,
            copy: read(copy)?,
        });
    }
    if seen.is_empty() {
        return Err(no_workload(word));
    }
    Ok(seen)
}

/// Deployments, StatefulSets, DaemonSets and their like of OpenShift, unless an annotation takes them out.
pub(super) fn is_copied(object: &Object) -> bool {
    workload::is_managed(object) && workload::is_workload(object)
}

fn no_workload(word: Word<'_>) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T050",
        format!(
            "the set has no workload that could run as {:?} beside the present one",
            word.word
        ),
        "add a Deployment, StatefulSet or DaemonSet, or take the annotation direct-apply from it; a set without any is for a rolling deployment",
    )
}

/// Make the copies.
///
/// # Errors
/// A name becomes too long.
pub(super) fn make(
    objects: &[Object],
    seen: &[Seen],
    namespace: &str,
    word: Word<'_>,
) -> Result<Copies, Failure> {
    let mut copies = Copies::default();
    let original_id = |object: &Object| object.id().in_namespace(namespace);
    for object in objects {
        if workload::is_managed(object) {
            copies.originals.insert(original_id(object));
            if !is_copied(object) {
                let text = format!("{} stays as it is: its kind is not copied", object.id());
                copies.notes.push(text);
            }
        }
    }
    for (at, one) in seen.iter().enumerate() {
        let side = side_of(one, word);
        let mut copy = copy::workload(&one.original, &side)
            .map_err(|error| too_long(&one.original, &error))?;
        if word.beside_originals {
            keep_no_claims(&mut copy);
        }
        if let Some(apart) = word.apart {
            apart.take_out(&one.original.id(), &mut copy);
        }
        copies.workloads.push((at, copy));
    }
    let ids: Vec<ObjectId> = seen.iter().map(|one| one.original.id()).collect();
    for object in objects.iter().filter(|object| copy::scales(object, &ids)) {
        copies.originals.insert(original_id(object));
    }
    for companion in companions(objects, seen, &copies.workloads, word)? {
        match companion {
            Ok(copy) => copies.others.push(copy),
            Err(note) => copies.notes.push(note),
        }
    }
    configure(&mut copies, objects, namespace, word);
    Ok(copies)
}

pub(super) fn too_long(original: &Object, error: &ObjectError) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T051",
        format!("{} cannot be copied: {}", original.id(), chain(error)),
        "choose a shorter name: copies have longer ones",
    )
}

/// The label that tells a copy from its original. A selector that is live with the older key keeps it.
fn side_of(seen: &Seen, word: Word<'_>) -> Side {
    let selects = |key: &str| {
        let spec = seen.copy.as_ref()?.value().get("spec")?;
        let selector = spec.get("selector")?;
        let labels = selector.get("matchLabels").unwrap_or(selector);
        labels.get(key)
    };
    let is_older = selects(word.key).is_none() && selects(word.older_key).is_some();
    Side {
        suffix: word.word.to_owned(),
        key: if is_older { word.older_key } else { word.key }.to_owned(),
        value: word.word.to_owned(),
    }
}

/// What a StatefulSet claims that runs for a while goes with it.
fn keep_no_claims(copy: &mut Object) {
    if Workload::of(copy.group(), copy.kind()) != Some(Workload::StatefulSet) {
        return;
    }
    set_in_spec(
        copy,
        "persistentVolumeClaimRetentionPolicy",
        serde_json::json!({"whenDeleted": "Delete", "whenScaled": "Delete"}),
    );
}

/// Set a field of an object's `spec`.
pub(super) fn set_in_spec(object: &mut Object, field: &str, value: Value) {
    // Neither name nor kind change, so that it stays an object.
    drop(object.edit(|whole| {
        if let Some(spec) = whole.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert(field.to_owned(), value);
        }
    }));
}

/// Autoscalers and disruption budgets of what is copied: each with its copy, or why there is none. Two autoscalers or
/// budgets that see one pod stop each other, so that one is copied only where its own does not reach the copies. The budgets
/// of colours are another matter.
fn companions(
    objects: &[Object],
    seen: &[Seen],
    workloads: &[(usize, Object)],
    word: Word<'_>,
) -> Result<Vec<Result<Object, String>>, Failure> {
    let mut companions = Vec::new();
    for object in objects {
        let reaching = workloads.iter().find_map(|(at, copied)| {
            let one = seen.get(*at)?;
            let reaches = if copy::scales(object, &[one.original.id()]) {
                let to_come = word.beside_originals.then_some(&one.original);
                let runs = one.live.as_ref().or(to_come);
                runs.is_some_and(|runs| copy::is_overlapping(runs, copied))
            } else if word.beside_originals && copy::covers(object, &one.original) {
                copy::covers(object, copied)
            } else {
                return None;
            };
            Some((one, reaches))
        });
        let Some((one, reaches)) = reaching else {
            continue;
        };
        let copied = if reaches {
            Err(no_copy(object, word.word))
        } else {
            let side = side_of(one, word);
            let copied = copy::companion(object, &side);
            let mut copied = copied.map_err(|error| too_long(object, &error))?;
            if let Some(apart) = word.apart {
                apart.select(&mut copied);
            }
            Ok(copied)
        };
        companions.push(copied);
    }
    Ok(companions)
}

/// Why an autoscaler or disruption budget gets no copy, and what that means.
pub(super) fn no_copy(object: &Object, word: &str) -> String {
    let text = format!(
        "{} counts the pods of both sides together, so that it gets no copy for {word}",
        object.id()
    );
    if object.kind() != "PodDisruptionBudget" {
        return text;
    }
    format!("{text}: while both run, an eviction may take more of one side than the budget allows")
}

/// A copy has the same name every time, and other content: it cannot be immutable.
fn let_change(configuration: &mut Object) {
    // Neither name nor kind change, so that it stays an object.
    drop(configuration.edit(|whole| {
        if let Some(whole) = whole.as_object_mut() {
            whole.shift_remove("immutable");
        }
    }));
}

/// Give the copies configuration of their own: what of the set they name.
fn configure(copies: &mut Copies, objects: &[Object], namespace: &str, word: Word<'_>) {
    let is_configuration = |object: &&Object| ConfigKind::of(object).is_some();
    let configuration: Vec<Object> = objects.iter().filter(is_configuration).cloned().collect();
    let count = copies.workloads.len();
    let mut all: Vec<Object> = copies
        .workloads
        .iter()
        .map(|(_, copy)| copy.clone())
        .collect();
    all.extend(configuration);
    versioning::separate(&mut all, namespace, word.word);
    let mut configuration = all.split_off(count);
    configuration.iter_mut().for_each(let_change);
    let mut used: BTreeSet<usize> = BTreeSet::new();
    for ((_, copy), mut separated) in copies.workloads.iter_mut().zip(all) {
        let named = references(&separated);
        let of_copy = configuration.iter().enumerate().filter(|(_, object)| {
            object.annotation(versioning::ORIGINAL_NAME).is_some()
                && named.iter().any(|reference| {
                    Some(reference.kind) == ConfigKind::of(object)
                        && reference.name == object.name()
                })
        });
        let of_copy: Vec<(usize, &Object)> = of_copy.collect();
        if !of_copy.is_empty() {
            let contents: Vec<Object> = of_copy.iter().map(|(_, one)| (*one).clone()).collect();
            let mut hash = hash::manifest_in(&contents, namespace);
            hash.truncate(HASH_LENGTH);
            copy::annotate_pods(&mut separated, CONFIGURATION, &hash);
        }
        used.extend(of_copy.into_iter().map(|(at, _)| at));
        *copy = separated;
    }
    let used = configuration
        .into_iter()
        .enumerate()
        .filter(|(at, _)| used.contains(at))
        .map(|(_, object)| object);
    copies.others.extend(used);
}
