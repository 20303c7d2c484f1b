//! What must come before what, and the places that follow from it.

use super::Stage;

/// Where a node comes: wave, stage, layer inside the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) wave: i32,
    pub(super) stage: Stage,
    pub(super) layer: usize,
}

/// Why one node comes after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Because {
    /// An annotation names the other.
    DependsOn,
    /// A rule names a group of the other.
    ChangeRule,
    /// The content names the other, or stands in it.
    Reference,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The object's own wave and stage; `None` for a mere point between objects, which takes the
    /// place of what it depends on and adds no layer.
    pub(super) own: Option<(i32, Stage)>,
}

/// Nodes and their dependencies. Numbers of nodes are their order among equals.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Vec<(usize, Because)>>,
}

impl Graph {
    pub(super) fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.edges.push(Vec::new());
        self.nodes.len() - 1
    }

    /// `node` comes after `dependency`.
    pub(super) fn depend(&mut self, node: usize, dependency: usize, because: Because) {
        self.edges[node].push((dependency, because));
    }

    pub(super) fn dependencies(&self, node: usize) -> &[(usize, Because)] {
        &self.edges[node]
    }

    /// The place of every node, or the nodes of a cycle, each a dependency of the one before it and
    /// the first one of the last.
    ///
    /// A node comes at the latest in the wave of what depends on it; inside a wave, at the earliest
    /// in the stage of what it depends on. Takes time in proportion to nodes and edges.
    pub(super) fn places(&self) -> Result<Vec<Place>, Vec<usize>> {
        let order = self.dependencies_first()?;
        let mut waves: Vec<i32> = self
            .nodes
            .iter()
            .map(|node| node.own.map_or(i32::MAX, |(wave, _)| wave))
            .collect();
        for &node in order.iter().rev() {
            for &(dependency, _) in &self.edges[node] {
                waves[dependency] = waves[dependency].min(waves[node]);
            }
        }
        let nowhere = Place {
            wave: i32::MIN,
            stage: Stage::Foundation,
            layer: 0,
        };
        let mut places = vec![nowhere; self.nodes.len()];
        for &node in &order {
            let before = self.edges[node].iter().map(|(to, _)| places[*to]).max();
            let before = before.unwrap_or(nowhere);
            places[node] = match self.nodes[node].own {
                None => before,
                Some((_, stage)) => {
                    let wave = waves[node];
                    if before.wave == wave && before.stage >= stage {
                        Place {
                            layer: before.layer + 1,
                            ..before
                        }
                    } else {
                        Place {
                            wave,
                            stage,
                            layer: 0,
                        }
                    }
                }
            };
        }
        Ok(places)
    }

    fn dependencies_first(&self) -> Result<Vec<usize>, Vec<usize>> {
        let mut open: Vec<usize> = self.edges.iter().map(Vec::len).collect();
        let mut dependants: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (node, edges) in self.edges.iter().enumerate() {
            for &(dependency, _) in edges {
                dependants[dependency].push(node);
            }
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).filter(|n| open[*n] == 0).collect();
        let mut next = 0;
        while let Some(&done) = order.get(next) {
            next += 1;
            for &node in &dependants[done] {
                open[node] -= 1;
                if open[node] == 0 {
                    order.push(node);
                }
            }
        }
        if order.len() == self.nodes.len() {
            Ok(order)
        } else {
            Err(self.cycle(&open))
        }
    }

    /// A cycle among the nodes with open dependencies: each of them depends on another of them.
    fn cycle(&self, open: &[usize]) -> Vec<usize> {
        let mut path = Vec::new();
        let mut seen = vec![usize::MAX; self.nodes.len()];
        let mut at = open.iter().position(|count| *count > 0);
        while let Some(node) = at {
            if seen[node] != usize::MAX {
                return path.split_off(seen[node]);
            }
            seen[node] = path.len();
            path.push(node);
            at = self.edges[node]
                .iter()
                .map(|(dependency, _)| *dependency)
                .filter(|dependency| open[*dependency] > 0)
                .min();
        }
        path
    }
}
