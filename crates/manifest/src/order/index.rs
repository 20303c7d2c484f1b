use std::collections::{BTreeMap, HashMap};

use super::needs;
use super::stated::{Space, Wanted};
use super::written_name;
use crate::object::Object;

/// Objects of one kind and name by namespace and group. In the cluster several may have been made from one.
type Places<'a> = BTreeMap<(Option<&'a str>, &'a str), Vec<usize>>;

/// Objects by kind and name, then by namespace as stated and group.
type Names<'a> = HashMap<(&'a str, &'a str), Places<'a>>;

/// Objects by what names them.
pub(super) struct Index<'a> {
    default: &'a str,
    /// By the names that they are deployed under, which contents name.
    deployed: Names<'a>,
    /// By the names that the author gave, which annotations name.
    written: Names<'a>,
    /// Definitions by the group and kind that they define.
    pub(super) definitions: HashMap<(&'a str, &'a str), usize>,
    pub(super) namespaces: HashMap<&'a str, usize>,
}

impl<'a> Index<'a> {
    pub(super) fn of(objects: &[&'a Object], default: &'a str) -> Self {
        let mut index = Self {
            default,
            deployed: HashMap::new(),
            written: HashMap::new(),
            definitions: HashMap::new(),
            namespaces: HashMap::new(),
        };
        for (node, object) in objects.iter().enumerate() {
            for (names, name) in [
                (&mut index.deployed, object.name()),
                (&mut index.written, written_name(object)),
            ] {
                let places = names.entry((object.kind(), name)).or_default();
                let place = (object.namespace(), object.group());
                places.entry(place).or_default().push(node);
            }
            if let Some(defined) = needs::defines(object) {
                index.definitions.entry(defined).or_insert(node);
            }
            if (object.group(), object.kind()) == ("", "Namespace") {
                index.namespaces.entry(object.name()).or_insert(node);
            }
        }
        index
    }

    /// The object of a group and kind that is deployed under a name.
    pub(super) fn find(
        &self,
        key: (&str, &str),
        space: &Space,
        home: &str,
        name: &str,
    ) -> Option<usize> {
        let (group, kind) = key;
        let places = self.deployed.get(&(kind, name))?;
        let nodes = self.among(places, group, space, home)?;
        nodes.first().copied()
    }

    /// The objects that an annotation names: by the name that the author gave, else by the deployed one.
    ///
    /// # Errors
    /// It names a kind without a group, and there are several.
    pub(super) fn find_wanted<'s>(
        &'s self,
        wanted: &'s Wanted,
        home: &'s str,
    ) -> Result<&'s [usize], &'static str> {
        for names in [&self.written, &self.deployed] {
            let Some(places) = names.get(&(wanted.kind.as_str(), wanted.name.as_str())) else {
                continue;
            };
            let found = match &wanted.group {
                Some(group) => self.among(places, group, &wanted.namespace, home),
                None => self.of_any_group(places, &wanted.namespace, home)?,
            };
            if let Some(nodes) = found {
                return Ok(nodes);
            }
        }
        Ok(&[])
    }

    fn among<'s>(
        &self,
        places: &'s Places<'_>,
        group: &'s str,
        space: &'s Space,
        home: &'s str,
    ) -> Option<&'s [usize]> {
        let mut spaces = self.spaces(space, home).into_iter().flatten();
        spaces.find_map(|space| Some(places.get(&(space, group))?.as_slice()))
    }

    /// The objects of a kind, whatever its group, unless there are several groups.
    fn of_any_group<'s>(
        &self,
        places: &'s Places<'_>,
        space: &'s Space,
        home: &'s str,
    ) -> Result<Option<&'s [usize]>, &'static str> {
        for space in self.spaces(space, home).into_iter().flatten() {
            let mut found = places
                .range((space, "")..)
                .take_while(|((at, _), _)| *at == space);
            match (found.next(), found.next()) {
                (None, _) => {}
                (Some((_, nodes)), None) => return Ok(Some(nodes)),
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
