//! The nodes of a plan as a list, each with its surroundings.

use crate::{FailureStrategy, Group, Node, NodePath, Plan, Stage, Step};

/// A node and where it stands.
#[derive(Debug)]
pub(crate) struct Place<'p> {
    pub(crate) path: NodePath,
    pub(crate) parent: NodePath,
    pub(crate) item: Item<'p>,
    /// Whether it is among a stage's rollback steps.
    pub(crate) rollback: bool,
    /// The number of its parallel block among those of its parent.
    pub(crate) block: Option<usize>,
    /// Failure strategies that apply to it, the innermost level first.
    pub(crate) levels: Vec<&'p [FailureStrategy]>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'p> {
    Stage(&'p Stage),
    Group(&'p Group),
    Step(&'p Step),
}

impl Item<'_> {
    pub(crate) fn info(&self) -> &crate::NodeInfo {
        match self {
            Self::Stage(stage) => &stage.info,
            Self::Group(group) => &group.info,
            Self::Step(step) => &step.info,
        }
    }
}

/// All nodes but the pipeline itself, parents before children, in the order in which they run.
pub(crate) fn places(plan: &Plan) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for stage in &plan.stages {
        let path = NodePath::stage(&stage.info.id);
        let outer = Outer {
            parent: &path,
            rollback: false,
            depth: 0,
            levels: &[],
        };
        places.push(outer.place(path.clone(), NodePath::pipeline(), Item::Stage(stage), None));
        let levels = [stage.failure_strategies.as_slice()];
        Outer {
            levels: &levels,
            ..outer
        }
        .walk(&stage.steps, &mut places);
        Outer {
            rollback: true,
            ..outer
        }
        .walk(&stage.rollback_steps, &mut places);
    }
    places
}

/// The path of the child `id`: of a stage's section, or of a group.
pub(crate) fn child_path(parent: &NodePath, id: &str, depth: usize, rollback: bool) -> NodePath {
    match (depth, rollback) {
        (0, false) => parent.step(id),
        (0, true) => parent.rollback_step(id),
        _ => parent.child(id),
    }
}

#[derive(Clone, Copy)]
struct Outer<'o, 'p> {
    parent: &'o NodePath,
    rollback: bool,
    depth: usize,
    levels: &'o [&'p [FailureStrategy]],
}

impl<'p> Outer<'_, 'p> {
    fn walk(self, nodes: &'p [Node], places: &mut Vec<Place<'p>>) {
        let mut blocks = 0;
        for node in nodes {
            match node {
                Node::Parallel { members } => {
                    for member in members {
                        self.node(member, Some(blocks), places);
                    }
                    blocks += 1;
                }
                node => self.node(node, None, places),
            }
        }
    }

    fn node(self, node: &'p Node, block: Option<usize>, places: &mut Vec<Place<'p>>) {
        let (item, strategies) = match node {
            Node::Step(step) => (Item::Step(step), &step.failure_strategies),
            Node::Group(group) => (Item::Group(group), &group.failure_strategies),
            // Refused by the check of the plan; its members are found there as if they stood outside.
            Node::Parallel { members } => {
                for member in members {
                    self.node(member, block, places);
                }
                return;
            }
        };
        let path = child_path(self.parent, &item.info().id, self.depth, self.rollback);
        let mut levels = vec![strategies.as_slice()];
        levels.extend_from_slice(self.levels);
        let mut place = self.place(path.clone(), self.parent.clone(), item, block);
        place.levels.clone_from(&levels);
        places.push(place);
        if let Node::Group(group) = node {
            let inner = Outer {
                parent: &path,
                depth: self.depth + 1,
                levels: &levels,
                ..self
            };
            inner.walk(&group.steps, places);
        }
    }

    fn place(
        self,
        path: NodePath,
        parent: NodePath,
        item: Item<'p>,
        block: Option<usize>,
    ) -> Place<'p> {
        Place {
            path,
            parent,
            item,
            rollback: self.rollback,
            block,
            levels: Vec::new(),
        }
    }
}
