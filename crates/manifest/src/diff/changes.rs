//! The changed fields of a document, found and put back.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::lists;
use crate::path::{self, Step};

/// One changed field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Path such as `spec.template.spec.containers[name=web].image`; empty for the whole object.
    ///
    /// An item of a list is named by its position, or by the fields that identify it among its
    /// neighbours: `[name=web]`, `[containerPort=53,protocol=UDP]`. Keys and texts that are not plain
    /// words are JSON texts.
    pub path: String,
    /// Value before; absent when the field is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Value after; absent when the field is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Where an added item stands in a list whose items are named by their fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// The items of a list are the same but stand in another order: `before` and `after` are lists
    /// of what identifies them, such as `name=web`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reordered: bool,
}

/// Lists every field that differs.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut finder = Finder {
        trail: Vec::new(),
        found: Vec::new(),
    };
    finder.compare(before, after);
    finder.found
}

/// Makes `after` from `before` and the changes between them, as [`super::diff`] lists them; `None` when
/// they do not fit. A whole object that is added or removed is the one change with an empty path.
///
/// This is what the list of changes means: fields first, then removed items and keys, then added
/// items at their positions, then the order of items.
pub fn apply(before: Option<&Value>, changes: &[Change]) -> Option<Option<Value>> {
    if let [change] = changes
        && change.path.is_empty()
        && !change.reordered
    {
        return Some(change.after.clone());
    }
    let Some(before) = before else {
        return changes.is_empty().then_some(None);
    };
    let mut value = before.clone();
    let is_removal = |change: &&Change| change.after.is_none();
    let is_insertion = |change: &&Change| change.index.is_some();
    let is_order = |change: &&Change| change.reordered;
    let plain =
        |change: &&Change| !is_removal(change) && !is_insertion(change) && !is_order(change);
    for change in changes.iter().filter(plain) {
        put(&mut value, change)?;
    }
    // From the last one, so that positions stay what they were.
    for change in changes.iter().rev().filter(is_removal) {
        remove(&mut value, &change.path)?;
    }
    for change in changes.iter().filter(is_insertion) {
        insert(&mut value, change)?;
    }
    for change in changes.iter().filter(is_order) {
        reorder(&mut value, change)?;
    }
    Some(Some(value))
}

struct Finder<'a> {
    trail: Vec<Step<'a>>,
    found: Vec<Change>,
}

impl<'a> Finder<'a> {
    fn compare(&mut self, before: &'a Value, after: &'a Value) {
        match (before, after) {
            (Value::Object(old), Value::Object(new)) => {
                for (key, value) in old {
                    self.both(Step::key(key), Some(value), new.get(key));
                }
                for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                    self.both(Step::key(key), None, Some(value));
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                let list = list_name(&self.trail);
                match lists::identities(list, old, new) {
                    Some((old_ids, new_ids)) => self.items((old, &old_ids), (new, &new_ids)),
                    None => {
                        for index in 0..old.len().max(new.len()) {
                            self.both(Step::Index(index), old.get(index), new.get(index));
                        }
                    }
                }
            }
            _ if before == after => {}
            _ => self.push(Some(before), Some(after)),
        }
    }

    fn both(&mut self, step: Step<'a>, before: Option<&'a Value>, after: Option<&'a Value>) {
        self.trail.push(step);
        match (before, after) {
            (Some(before), Some(after)) => self.compare(before, after),
            (before, after) => self.push(before, after),
        }
        self.trail.pop();
    }

    /// Compares items that have an identity. Only the order of those that stay can count as changed:
    /// init containers run in theirs.
    fn items(&mut self, old: (&'a [Value], &[String]), new: (&'a [Value], &[String])) {
        let places =
            |ids: &[String]| -> HashMap<String, usize> { ids.iter().cloned().zip(0..).collect() };
        let (in_old, in_new) = (places(old.1), places(new.1));
        for (id, before) in old.1.iter().zip(old.0) {
            let after = in_new.get(id).map(|at| &new.0[*at]);
            self.both(Step::Item(id.clone()), Some(before), after);
        }
        for (at, (id, after)) in new.1.iter().zip(new.0).enumerate() {
            if !in_old.contains_key(id) {
                self.both(Step::Item(id.clone()), None, Some(after));
                if let Some(change) = self.found.last_mut() {
                    change.index = Some(at);
                }
            }
        }
        let stayed_old = old.1.iter().filter(|id| in_new.contains_key(*id));
        let stayed_new = new.1.iter().filter(|id| in_old.contains_key(*id));
        if !stayed_old.eq(stayed_new) {
            self.found.push(Change {
                path: path::write(&self.trail),
                before: Some(Value::from(old.1.to_vec())),
                after: Some(Value::from(new.1.to_vec())),
                index: None,
                reordered: true,
            });
        }
    }

    fn push(&mut self, before: Option<&Value>, after: Option<&Value>) {
        self.found.push(Change {
            path: path::write(&self.trail),
            before: before.cloned(),
            after: after.cloned(),
            index: None,
            reordered: false,
        });
    }
}

/// The key under which a list stands.
fn list_name<'s>(steps: &'s [Step<'_>]) -> &'s str {
    match steps.last() {
        Some(Step::Key(key)) => key,
        _ => "",
    }
}

/// Follows a path.
fn walk<'v>(value: &'v mut Value, steps: &[Step<'_>]) -> Option<&'v mut Value> {
    let mut at = value;
    for (number, step) in steps.iter().enumerate() {
        at = match step {
            Step::Key(key) => at.get_mut(key.as_ref())?,
            Step::Index(index) => at.get_mut(*index)?,
            Step::Item(id) => {
                let index = lists::position(list_name(&steps[..number]), at.as_array()?, id)?;
                at.get_mut(index)?
            }
        };
    }
    Some(at)
}

fn put(value: &mut Value, change: &Change) -> Option<()> {
    let after = change.after.clone()?;
    let steps = path::read(&change.path)?;
    if change.before.is_some() {
        *walk(value, &steps)? = after;
        return Some(());
    }
    let (last, parents) = steps.split_last()?;
    match (walk(value, parents)?, last) {
        (Value::Object(map), Step::Key(key)) => drop(map.insert(key.to_string(), after)),
        (Value::Array(items), Step::Index(index)) if *index == items.len() => items.push(after),
        _ => return None,
    }
    Some(())
}

fn remove(value: &mut Value, path: &str) -> Option<()> {
    let steps = path::read(path)?;
    let (last, parents) = steps.split_last()?;
    match (walk(value, parents)?, last) {
        (Value::Object(map), Step::Key(key)) => drop(map.remove(key.as_ref())?),
        (Value::Array(items), Step::Index(index)) if *index < items.len() => {
            items.remove(*index);
        }
        (Value::Array(items), Step::Item(id)) => {
            let at = lists::position(list_name(parents), items, id)?;
            items.remove(at);
        }
        _ => return None,
    }
    Some(())
}

fn insert(value: &mut Value, change: &Change) -> Option<()> {
    let steps = path::read(&change.path)?;
    let (_, parents) = steps.split_last()?;
    let items = walk(value, parents)?.as_array_mut()?;
    let at = change.index?.min(items.len());
    items.insert(at, change.after.clone()?);
    Some(())
}

fn reorder(value: &mut Value, change: &Change) -> Option<()> {
    let steps = path::read(&change.path)?;
    let items = walk(value, &steps)?.as_array_mut()?;
    let wanted = change.after.as_ref()?.as_array()?;
    let positions: Vec<usize> = wanted
        .iter()
        .map(|id| lists::position(list_name(&steps), items, id.as_str()?))
        .collect::<Option<_>>()?;
    let distinct: HashSet<usize> = positions.iter().copied().collect();
    if distinct.len() != items.len() || positions.len() != items.len() {
        return None;
    }
    *items = positions.into_iter().map(|at| items[at].clone()).collect();
    Some(())
}
