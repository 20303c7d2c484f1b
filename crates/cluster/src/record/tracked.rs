//! The objects that belong to a release.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sortie_manifest::ObjectId;

/// One object of the release, as it is tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// What identifies it.
    #[serde(flatten)]
    pub id: ObjectId,
    /// UID that the API server gave it; absent until it has been applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// Objects in the order in which they were tracked first. Read it as a slice. Copies share the list until one of them
/// changes: of a large set it is large, and many records have the same.
#[derive(Debug, Default)]
pub struct Inventory {
    list: Arc<Vec<Tracked>>,
    /// Where each object is in the list; made by the first change, as most records are read only.
    places: Option<HashMap<ObjectId, usize>>,
}

impl Inventory {
    /// Tracks an object, or notes its UID when it is tracked already.
    pub fn track(&mut self, id: ObjectId, uid: Option<String>) {
        let list = Arc::make_mut(&mut self.list);
        let indexed = || {
            let place = |(place, tracked): (usize, &Tracked)| (tracked.id.clone(), place);
            // Of one that is there twice, the first counts.
            list.iter().enumerate().rev().map(place).collect()
        };
        let places = self.places.get_or_insert_with(indexed);
        match places.get(&id).and_then(|place| list.get_mut(*place)) {
            Some(tracked) => tracked.uid = uid.or_else(|| tracked.uid.take()),
            None => {
                places.insert(id.clone(), list.len());
                list.push(Tracked { id, uid });
            }
        }
    }

    /// Keeps only what `keep` says.
    pub fn retain(&mut self, keep: impl FnMut(&Tracked) -> bool) {
        Arc::make_mut(&mut self.list).retain(keep);
        self.places = None;
    }
}

impl Clone for Inventory {
    fn clone(&self) -> Self {
        Self {
            list: Arc::clone(&self.list),
            places: None,
        }
    }
}

impl Serialize for Inventory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Inventory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from_iter)
    }
}

impl Deref for Inventory {
    type Target = [Tracked];

    fn deref(&self) -> &[Tracked] {
        &self.list
    }
}

impl PartialEq for Inventory {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl<'a> IntoIterator for &'a Inventory {
    type Item = &'a Tracked;
    type IntoIter = std::slice::Iter<'a, Tracked>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl FromIterator<Tracked> for Inventory {
    fn from_iter<I: IntoIterator<Item = Tracked>>(tracked: I) -> Self {
        Self {
            list: Arc::new(tracked.into_iter().collect()),
            places: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    fn shown(inventory: &Inventory) -> Vec<(&str, Option<&str>)> {
        inventory
            .iter()
            .map(|tracked| (tracked.id.name.as_str(), tracked.uid.as_deref()))
            .collect()
    }

    #[test]
    fn an_object_is_tracked_once_wherever_it_came_from() {
        let read: Inventory = ["a", "b"]
            .map(|name| Tracked {
                id: id(name),
                uid: Some(format!("u-{name}")),
            })
            .into_iter()
            .collect();
        let mut inventory = read.clone();
        inventory.track(id("c"), None);
        inventory.track(id("b"), None);
        inventory.track(id("a"), Some("u-new".into()));
        let expected = [("a", Some("u-new")), ("b", Some("u-b")), ("c", None)];
        assert_eq!(shown(&inventory), expected);
        inventory.retain(|tracked| tracked.id.name != "a");
        inventory.track(id("c"), Some("u-c".into()));
        inventory.track(id("a"), None);
        let expected = [("b", Some("u-b")), ("c", Some("u-c")), ("a", None)];
        assert_eq!(shown(&inventory), expected);
        assert_ne!(inventory, read);
        // Whoever has a copy has the list as it was.
        let copy = inventory.clone();
        inventory.track(id("d"), None);
        assert_eq!(shown(&copy), expected);
        assert_eq!(inventory.len(), copy.len() + 1);
    }
}
