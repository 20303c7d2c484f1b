use std::collections::{BTreeMap, HashMap};

use super::needs;
use super::stated::{Space, Wanted};
use crate::object::Object;

/// Objects of one kind and name by namespace and group.
type Places<'a> = BTreeMap<(Option<&'a str>, &'a str), usize>;

/// Objects by what names them.
pub(super) struct Index<'a> {
    default: &'a str,
    /// By kind and name, then by namespace as stated and group.
    objects: HashMap<(&'a str, &'a str), Places<'a>>,
    /// Definitions by the group and kind that they define.
    pub(super) definitions: HashMap<(&'a str, &'a str), usize>,
    pub(super) namespaces: HashMap<&'a str, usize>,
}

impl<'a> Index<'a> {
    pub(super) fn of(objects: &[&'a Object], default: &'a str) -> Self {
        let mut index = Self {
            default,
            objects: HashMap::new(),
            definitions: HashMap::new(),
            namespaces: HashMap::new(),
        };
        for (node, object) in objects.iter().enumerate() {
            let places = index
                .objects
                .entry((object.kind(), object.name()))
                .or_default();
            places
                .entry((object.namespace(), object.group()))
                .or_insert(node);
            if let Some(defined) = needs::defines(object) {
                index.definitions.entry(defined).or_insert(node);
            }
            if (object.group(), object.kind()) == ("", "Namespace") {
                index.namespaces.entry(object.name()).or_insert(node);
            }
        }
        index
    }

    /// The object of a group and kind.
    pub(super) fn find(
        &self,
        key: (&str, &str),
        space: &Space,
        home: &str,
        name: &str,
    ) -> Option<usize> {
        let (group, kind) = key;
        let places = self.objects.get(&(kind, name))?;
        self.spaces(space, home)
            .into_iter()
            .flatten()
            .find_map(|space| places.get(&(space, group)).copied())
    }

    /// The object of a kind, whatever its group, unless there are several.
    pub(super) fn find_kind(
        &self,
        wanted: &Wanted,
        home: &str,
    ) -> Result<Option<usize>, &'static str> {
        let Some(places) = self
            .objects
            .get(&(wanted.kind.as_str(), wanted.name.as_str()))
        else {
            return Ok(None);
        };
        for space in self.spaces(&wanted.namespace, home).into_iter().flatten() {
            let mut found = places
                .range((space, "")..)
                .take_while(|((at, _), _)| *at == space);
            match (found.next(), found.next()) {
                (None, _) => {}
                (Some((_, node)), None) => return Ok(Some(*node)),
                _ => return Err("objects of several groups have that kind and name"),
            }
        }
        Ok(None)
    }

    /// Namespaces as a manifest may state them, best first. An object without one is in the default
    /// one or in none.
    fn spaces<'s>(&self, space: &'s Space, home: &'s str) -> [Option<Option<&'s str>>; 2] {
        match space {
            Space::Cluster => [Some(None), None],
            Space::Same => [Some(Some(home)), Some(None)],
            Space::Of(namespace) => [
                Some(Some(namespace)),
                (namespace == self.default).then_some(None),
            ],
        }
    }
}
