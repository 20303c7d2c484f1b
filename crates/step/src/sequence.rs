//! In which batches the objects of a set are written. Pure.

use std::collections::{BTreeMap, HashSet};

use sortie_manifest::order::{self, External, Note, OrderError, Stage};
use sortie_manifest::{Object, ObjectId};

use crate::failure::{Failure, FailureKind};

/// The batches of a set, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    batches: Vec<Batch>,
    namespace: String,
    /// What must be in the cluster before the first write.
    pub(crate) external: Vec<External>,
    /// What is worth a warning.
    pub(crate) notes: Vec<Note>,
}

/// Objects that are written together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    label: String,
    members: Vec<ObjectId>,
    barrier: HashSet<ObjectId>,
}

/// One batch with what is written in it.
#[derive(Debug)]
pub(crate) struct Step<T> {
    /// For the journal: stage, and where there are several, wave and layer.
    pub(crate) label: String,
    /// What is written.
    pub(crate) members: Vec<T>,
    /// Objects of this batch or an earlier one that must be ready before the next.
    pub(crate) barrier: HashSet<ObjectId>,
    /// Whether nothing follows.
    pub(crate) is_last: bool,
}

impl Sequence {
    /// By the annotations and contents of the objects; those without a namespace count as being in `namespace`.
    ///
    /// # Errors
    /// The objects wait for each other, or an annotation about the order cannot be understood: everything that is wrong.
    pub(crate) fn of(objects: &[Object], namespace: &str) -> Result<Self, Vec<OrderError>> {
        let plan = order::plan(objects, namespace)?;
        let key = |at: &usize| objects.get(*at).map(|object| key(object.id(), namespace));
        let batch = |batch: &order::Batch| Batch {
            label: label(batch),
            members: batch.members.iter().filter_map(key).collect(),
            barrier: batch.awaited.iter().filter_map(key).collect(),
        };
        Ok(Self {
            batches: plan.batches.iter().map(batch).collect(),
            namespace: namespace.to_owned(),
            external: plan.external,
            notes: plan.notes,
        })
    }

    /// By the kinds of the objects alone.
    pub(crate) fn by_kind(objects: &[Object], namespace: &str) -> Self {
        let mut stages: BTreeMap<Stage, Vec<ObjectId>> = BTreeMap::new();
        for object in objects {
            let stage = order::stage(object.group(), object.kind());
            let id = key(object.id(), namespace);
            stages.entry(stage).or_default().push(id);
        }
        let batch = |(stage, members): (Stage, Vec<ObjectId>)| Batch {
            label: format!("{stage:?}"),
            barrier: match stage {
                Stage::Foundation => members.iter().cloned().collect(),
                _ => HashSet::new(),
            },
            members,
        };
        Self {
            batches: stages.into_iter().map(batch).collect(),
            namespace: namespace.to_owned(),
            ..Self::default()
        }
    }

    /// Puts what `id` identifies into the batches. What the sequence does not know comes last.
    pub(crate) fn arrange<T>(&self, items: Vec<T>, id: impl Fn(&T) -> ObjectId) -> Vec<Step<T>> {
        let mut items: BTreeMap<ObjectId, T> = items
            .into_iter()
            .map(|item| (key(id(&item), &self.namespace), item))
            .collect();
        let mut steps: Vec<Step<T>> = Vec::new();
        for batch in &self.batches {
            let members = batch.members.iter().filter_map(|id| items.remove(id));
            steps.push(Step {
                label: batch.label.clone(),
                members: members.collect(),
                barrier: batch.barrier.clone(),
                is_last: false,
            });
        }
        if !items.is_empty() {
            steps.push(Step {
                label: "Rest".to_owned(),
                members: items.into_values().collect(),
                barrier: HashSet::new(),
                is_last: false,
            });
        }
        steps.retain(|step| !step.members.is_empty());
        if let Some(last) = steps.last_mut() {
            last.is_last = true;
        }
        steps
    }

    /// Whether the next batch waits for the object `id`.
    pub(crate) fn is_barrier<T>(&self, step: &Step<T>, id: &ObjectId) -> bool {
        step.barrier.contains(&key(id.clone(), &self.namespace))
    }
}

/// A failure of the set's order: all of it in the lines, the first in the failure.
pub(crate) fn disordered(errors: &[OrderError]) -> (Vec<String>, Failure) {
    let lines = errors.iter().map(ToString::to_string).collect();
    let (code, message) = errors.first().map_or_else(
        || ("SRT-M014", "the objects have no order".to_owned()),
        |error| (error.code(), error.to_string()),
    );
    let hint = "correct the annotations about waves and dependencies, or take one of them out of the circle";
    let failure = Failure::new(FailureKind::Configuration, code, message, hint);
    (lines, failure)
}

/// Known before it is known which kinds have namespaces: the same for an object with and without its own.
fn key(id: ObjectId, namespace: &str) -> ObjectId {
    id.in_namespace(namespace)
}

fn label(batch: &order::Batch) -> String {
    let mut label = format!("{:?}", batch.stage);
    if batch.wave != 0 {
        label = format!("wave {} {label}", batch.wave);
    }
    if batch.layer != 0 {
        label.push_str(&format!(" {}", batch.layer));
    }
    label
}

#[cfg(test)]
mod tests {
    use sortie_manifest::Limits;

    use super::*;

    fn objects(yaml: &str) -> Vec<Object> {
        sortie_manifest::parse("set.yaml", yaml.as_bytes(), &Limits::default()).unwrap()
    }

    fn config(name: &str, annotation: &str) -> String {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotation}}}}}\n---\n"
        )
    }

    fn check(steps: &[Step<Object>], expected: &[(&str, &[&str])]) {
        let found: Vec<(&str, Vec<&str>)> = steps
            .iter()
            .map(|step| {
                let names = step.members.iter().map(Object::name).collect();
                (step.label.as_str(), names)
            })
            .collect();
        let expected: Vec<(&str, Vec<&str>)> = expected
            .iter()
            .map(|(label, names)| (*label, names.to_vec()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn waves_come_one_after_another_and_wait_for_each_other() {
        let set = [
            config("b", "sortie.dev/wave: \"1\""),
            config("a", ""),
            config("z", "sortie.dev/depends-on: ConfigMap/a"),
        ];
        let objects = objects(&set.concat());
        let sequence = Sequence::of(&objects, "shop").unwrap();
        // The API says meanwhile which objects have a namespace.
        let id = |object: &Object| object.id().in_namespace("shop");
        let steps = sequence.arrange(objects, id);
        check(
            &steps,
            &[
                ("Settings", &["a"]),
                ("Settings 1", &["z"]),
                ("wave 1 Settings", &["b"]),
            ],
        );
        let id = |at: usize| id(&steps[at].members[0]);
        assert!(sequence.is_barrier(&steps[0], &id(0)), "z asks for it");
        assert!(sequence.is_barrier(&steps[1], &id(1)), "the wave is over");
        let last: Vec<bool> = steps.iter().map(|step| step.is_last).collect();
        assert_eq!(last, [false, false, true]);
    }

    #[test]
    fn what_is_left_out_leaves_no_hole_and_what_is_new_comes_last() {
        let all = objects(&[config("a", ""), config("b", "sortie.dev/wave: \"1\"")].concat());
        let sequence = Sequence::of(&all[..1], "shop").unwrap();
        let steps = sequence.arrange(all.clone(), Object::id);
        check(&steps, &[("Settings", &["a"]), ("Rest", &["b"])]);
        let steps = sequence.arrange(all[1..].to_vec(), Object::id);
        check(&steps, &[("Rest", &["b"])]);
        assert!(steps[0].is_last);
    }

    #[test]
    fn kinds_alone_give_an_order_too() {
        let set = format!(
            "{}apiVersion: v1\nkind: Namespace\nmetadata: {{name: place}}\n",
            config("a", "sortie.dev/wave: nonsense")
        );
        let objects = objects(&set);
        let (lines, failure) = disordered(&Sequence::of(&objects, "shop").unwrap_err());
        assert_eq!((lines.len(), failure.code.as_str()), (1, "SRT-M012"));
        let steps = Sequence::by_kind(&objects, "shop").arrange(objects, Object::id);
        check(&steps, &[("Foundation", &["place"]), ("Settings", &["a"])]);
        assert_eq!(steps[0].barrier.len(), 1);
    }
}
