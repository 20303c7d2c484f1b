//! From objects to the batches in which they are applied.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::graph::{Because, Graph, Node, Place};
use super::index::Index;
use super::plan::{Batch, External, Note, OrderError, Plan, Waiting, WaitsBy};
use super::stated::{self, Malformed, Space, Wanted};
use super::{Stage, needs, rank_written, stage};
use crate::object::{Object, ObjectId};

/// Plans the application of a set: waves one after another, in each the stages, in each layers of
/// what depends on each other, in each layer the fixed order of kinds and names.
///
/// Read are the annotations `sortie.dev/wave` and `sortie.dev/depends-on`, and with the same meaning
/// `argocd.argoproj.io/sync-wave`, `config.kubernetes.io/depends-on` and the `change-group` and
/// `change-rule` of `kapp.k14s.io` as far as they are about applying. What an object names in its
/// content and what defines it come before it too: configuration, accounts and their rights,
/// claims, classes, namespaces, definitions, gateways, services. An object that something of an
/// earlier wave needs comes in that wave.
///
/// Annotations mean objects by the names that their author gave, whatever versioning has appended to them.
/// Objects without a namespace count as being in `namespace`. The plan does not depend on the order
/// of the objects; an object that is there twice is a matter of the caller. Everything that is wrong
/// is reported at once, but for cycles, of which the first is.
pub fn plan(objects: &[Object], namespace: &str) -> Result<Plan, Vec<OrderError>> {
    let mut planner = Planner::new(objects, namespace);
    planner.read_annotations();
    if !planner.errors.is_empty() {
        return Err(planner.errors);
    }
    planner.read_contents();
    match planner.places() {
        Ok(places) => Ok(planner.finish(&places)),
        Err(cycle) => Err(vec![planner.cycle(&cycle)]),
    }
}

struct Planner<'a> {
    objects: Vec<&'a Object>,
    /// Position in the caller's set of each object; ours are sorted, and are nodes of the graph.
    positions: Vec<usize>,
    ids: Vec<ObjectId>,
    namespace: &'a str,
    index: Index<'a>,
    graph: Graph,
    /// Edges that count only where nothing contradicts them.
    lenient: Vec<(usize, usize)>,
    stated: Vec<Option<i32>>,
    awaited: HashSet<usize>,
    external: Vec<External>,
    notes: Vec<Note>,
    errors: Vec<OrderError>,
}

impl<'a> Planner<'a> {
    fn new(objects: &'a [Object], namespace: &'a str) -> Self {
        let ids: Vec<ObjectId> = objects.iter().map(Object::id).collect();
        let mut positions: Vec<usize> = (0..objects.len()).collect();
        positions.sort_by_cached_key(|at| rank_written(&objects[*at]));
        let objects: Vec<&Object> = positions.iter().map(|at| &objects[*at]).collect();
        let ids: Vec<ObjectId> = positions.iter().map(|at| ids[*at].clone()).collect();
        Self {
            index: Index::of(&objects, namespace),
            graph: Graph::default(),
            lenient: Vec::new(),
            stated: vec![None; objects.len()],
            awaited: HashSet::new(),
            external: Vec::new(),
            notes: Vec::new(),
            errors: Vec::new(),
            objects,
            positions,
            ids,
            namespace,
        }
    }

    fn read_annotations(&mut self) {
        let mut wanted = Vec::new();
        let mut rules = Vec::new();
        for (node, object) in self.objects.clone().into_iter().enumerate() {
            let wave = stated::wave(object).unwrap_or_else(|error| self.malformed(node, error));
            self.stated[node] = wave;
            let stage = stage(object.group(), object.kind());
            let own = Some((wave.unwrap_or(0), stage));
            self.graph.add(Node { own });
            match stated::depends_on(object) {
                Ok(found) => wanted.extend(found.into_iter().map(|found| (node, found))),
                Err(error) => self.malformed(node, error),
            }
            match stated::change_rules(object) {
                Ok(found) => rules.extend(found.into_iter().map(|found| (node, found))),
                Err(error) => self.malformed(node, error),
            }
        }
        for (node, wanted) in wanted {
            self.depend_on(node, &wanted);
        }
        self.change_groups(rules);
    }

    fn malformed<T: Default>(&mut self, node: usize, error: Malformed) -> T {
        const LONGEST: usize = 100;
        let mut value = error.value;
        if let Some((end, _)) = value.char_indices().nth(LONGEST) {
            value.truncate(end);
            value.push('…');
        }
        self.errors.push(OrderError::Malformed {
            origin: self.objects[node].origin().clone(),
            object: self.ids[node].clone(),
            annotation: error.annotation,
            value,
            reason: error.reason,
        });
        T::default()
    }

    fn depend_on(&mut self, node: usize, wanted: &Wanted) {
        let home = self.home(node);
        match self.index.find_wanted(wanted, home) {
            Ok([]) => self.not_in_set(node, wanted),
            Ok(dependencies) => {
                for &dependency in dependencies {
                    self.graph.depend(node, dependency, Because::DependsOn);
                    self.awaited.insert(dependency);
                }
            }
            Err(problem) => self.unclear(node, wanted, problem),
        }
    }

    fn not_in_set(&mut self, node: usize, wanted: &Wanted) {
        let known = super::group_of(&wanted.kind).map(str::to_owned);
        let Some(group) = wanted.group.clone().or(known) else {
            return self.unclear(node, wanted, "no object of the set has that kind and name");
        };
        let namespace = match &wanted.namespace {
            Space::Of(namespace) => Some(namespace.clone()),
            Space::Same | Space::Cluster => None,
        };
        self.external.push(External {
            object: self.ids[node].clone(),
            dependency: ObjectId {
                group,
                kind: wanted.kind.clone(),
                namespace,
                name: wanted.name.clone(),
            },
        });
    }

    fn unclear(&mut self, node: usize, wanted: &Wanted, problem: &'static str) {
        self.errors.push(OrderError::Unclear {
            origin: self.objects[node].origin().clone(),
            object: self.ids[node].clone(),
            wanted: wanted.to_string(),
            problem,
        });
    }

    /// Every group is a point after its members, and another before them, so that edges do not
    /// multiply.
    fn change_groups(&mut self, rules: Vec<(usize, stated::Rule)>) {
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        for (node, object) in self.objects.iter().enumerate() {
            for group in stated::change_groups(object) {
                groups.entry(group).or_default().push(node);
            }
        }
        let mut points: HashMap<(String, bool), usize> = HashMap::new();
        for (node, rule) in rules {
            let Some(members) = groups.get(rule.group.as_str()) else {
                self.notes.push(Note::EmptyGroup {
                    object: self.ids[node].clone(),
                    group: rule.group,
                });
                continue;
            };
            let graph = &mut self.graph;
            let point = *points.entry((rule.group, rule.after)).or_insert_with(|| {
                let point = graph.add(Node { own: None });
                for &member in members {
                    if rule.after {
                        graph.depend(point, member, Because::ChangeRule);
                    } else {
                        graph.depend(member, point, Because::ChangeRule);
                    }
                }
                point
            });
            if rule.after {
                graph.depend(node, point, Because::ChangeRule);
                self.awaited.extend(members);
            } else {
                graph.depend(point, node, Because::ChangeRule);
                self.awaited.insert(node);
            }
        }
    }

    fn read_contents(&mut self) {
        let bindings = self.bindings();
        let mut accounts: HashMap<(&str, &str), usize> = HashMap::new();
        for (node, object) in self.objects.clone().into_iter().enumerate() {
            let home = self.home(node);
            for need in needs::needs(object) {
                let key = (need.group, need.kind);
                let found = self.index.find(key, &need.namespace, home, &need.name);
                match found.filter(|found| *found != node) {
                    Some(found) if need.strict => {
                        self.graph.depend(node, found, Because::Reference);
                    }
                    Some(found) => self.lenient.push((node, found)),
                    None => {}
                }
            }
            if let Some(&definition) = self.index.definitions.get(&(object.group(), object.kind()))
            {
                self.graph.depend(node, definition, Because::Reference);
            }
            let own_stage = stage(object.group(), object.kind());
            let named = object.namespace();
            // Without a namespace a foundation is cluster-scoped; the rest may be in the default one.
            if let (Some(&namespace), true) = (
                self.index.namespaces.get(home),
                named.is_some() || own_stage > Stage::Foundation,
            ) {
                self.graph.depend(node, namespace, Because::Reference);
            }
            let account = needs::account(object).map(|account| (home, account));
            let Some((account, members)) =
                account.and_then(|account| Some((account, bindings.get(&account)?)))
            else {
                continue;
            };
            let graph = &mut self.graph;
            let point = *accounts.entry(account).or_insert_with(|| {
                let point = graph.add(Node { own: None });
                for &binding in members {
                    graph.depend(point, binding, Because::Reference);
                }
                point
            });
            graph.depend(node, point, Because::Reference);
        }
    }

    /// The bindings of each account: namespace and name.
    fn bindings(&self) -> HashMap<(&'a str, &'a str), Vec<usize>> {
        let mut bindings: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (node, object) in self.objects.iter().enumerate() {
            for (namespace, name) in needs::subjects(object) {
                let namespace = namespace.unwrap_or_else(|| self.home(node));
                bindings.entry((namespace, name)).or_default().push(node);
            }
        }
        bindings
    }

    /// Places by what is strict, then again with the lenient edges that agree with them.
    fn places(&mut self) -> Result<Vec<Place>, Vec<usize>> {
        let places = self.graph.places()?;
        for (node, dependency) in std::mem::take(&mut self.lenient) {
            if (places[dependency], dependency) < (places[node], node) {
                self.graph.depend(node, dependency, Because::Reference);
            }
        }
        self.graph.places()
    }

    fn finish(mut self, places: &[Place]) -> Plan {
        let mut grouped: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (node, place) in places.iter().enumerate().take(self.objects.len()) {
            grouped.entry(*place).or_default().push(node);
            if let Some(stated) = self.stated[node].filter(|stated| *stated != place.wave) {
                self.notes.push(Note::Earlier {
                    object: self.ids[node].clone(),
                    stated,
                    wave: place.wave,
                });
            }
        }
        let mut batches = Vec::with_capacity(grouped.len());
        let mut open = Vec::new();
        let mut groups = grouped.into_iter().peekable();
        while let Some((place, nodes)) = groups.next() {
            let kind_is_awaited = |node: usize| {
                let object = self.objects[node];
                stage(object.group(), object.kind()) == Stage::Foundation
            };
            let (mut awaited, rest): (Vec<usize>, Vec<usize>) = nodes
                .iter()
                .partition(|node| self.awaited.contains(node) || kind_is_awaited(**node));
            open.extend(rest);
            match groups.peek() {
                Some((next, _)) if next.wave != place.wave => awaited.append(&mut open),
                _ => {}
            }
            let ours = |nodes: Vec<usize>| nodes.into_iter().map(|n| self.positions[n]).collect();
            batches.push(Batch {
                wave: place.wave,
                stage: place.stage,
                layer: place.layer,
                members: ours(nodes),
                awaited: ours(awaited),
            });
        }
        Plan {
            batches,
            external: self.external,
            notes: self.notes,
        }
    }

    fn cycle(&self, nodes: &[usize]) -> OrderError {
        let mut members = Vec::new();
        for (at, &node) in nodes.iter().enumerate() {
            let next = nodes[(at + 1) % nodes.len()];
            let edges = self.graph.dependencies(node);
            let because = edges.iter().filter(|(to, _)| *to == next).map(|(_, b)| *b);
            let by = match because.min() {
                Some(Because::DependsOn) => WaitsBy::DependsOn,
                Some(Because::ChangeRule) => WaitsBy::ChangeRule,
                _ => WaitsBy::Reference,
            };
            // Points between objects have no name; the object before them says why.
            if let Some(object) = self.objects.get(node) {
                members.push(Waiting {
                    object: self.ids[node].clone(),
                    origin: object.origin().clone(),
                    by,
                });
            }
        }
        OrderError::Cycle { members }
    }

    fn home(&self, node: usize) -> &'a str {
        self.objects[node].namespace().unwrap_or(self.namespace)
    }
}
