//! What a plan must fulfil before it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use crate::place::{Item, Place, places};
use crate::{Errors, FORMAT, FailureAction, FailureStrategy, FailureType, Node, NodePath, Plan};

/// Step groups inside each other.
const DEPTH: usize = 25;
/// Nodes of one plan.
const NODES: usize = 10_000;
/// Members of one parallel block.
const MEMBERS: usize = 256;
/// The longest timeout: 53 weeks, as in Harness.
const TIMEOUT: Duration = Duration::from_secs(53 * 7 * 24 * 3600);

/// Why a plan cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// It was compiled by a build with another format.
    #[error(
        "the plan has format {found}, and this build runs format {FORMAT}; start the pipeline again"
    )]
    Format {
        /// The plan's format.
        found: u32,
    },
    /// An identifier is empty, longer than 128 characters, or has characters other than letters, digits, `_`, `$`.
    #[error("`{id}` in {parent} cannot be an identifier; use letters, digits, `_` and `$`")]
    Identifier {
        /// The node that holds it.
        parent: NodePath,
        /// The identifier.
        id: String,
    },
    /// Two nodes have the same path.
    #[error("there are two nodes at {node}; give each its own identifier")]
    Duplicate {
        /// The path.
        node: NodePath,
    },
    /// A failure strategy of one level says two things about one failure type, or has `AllErrors` twice.
    #[error("the failure strategies of {node} name two actions for {errors}; keep one")]
    Strategies {
        /// The node that has the strategies.
        node: NodePath,
        /// The failure type, or `AllErrors`.
        errors: String,
    },
    /// A rollback step asks for the rollback that it is part of.
    #[error(
        "{node} is a rollback step and cannot ask for StageRollback; use Ignore or MarkAsFailure"
    )]
    RollbackInRollback {
        /// The rollback step or group.
        node: NodePath,
    },
    /// The plan is larger than the engine runs.
    #[error("{what} in {node} is over the limit of {limit}; split the pipeline")]
    TooLarge {
        /// Where.
        node: NodePath,
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// There is no stage, or a timeout is zero or longer than 53 weeks.
    #[error("{what} of {node} is missing or out of range")]
    Value {
        /// Where.
        node: NodePath,
        /// Which value.
        what: &'static str,
    },
    /// A parallel block directly inside a parallel block.
    #[error("a parallel block in {node} directly holds another one; put a step group between them")]
    NestedParallel {
        /// The stage or group.
        node: NodePath,
    },
    /// `only_if_reached` names a step that does not exist.
    #[error("{node} depends on {missing}, and there is no such step")]
    MissingStep {
        /// The step that depends.
        node: NodePath,
        /// What it depends on.
        missing: NodePath,
    },
}

impl PlanError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format { .. } => "SRT-W001",
            Self::Identifier { .. } => "SRT-W002",
            Self::Duplicate { .. } => "SRT-W003",
            Self::Strategies { .. } => "SRT-W004",
            Self::RollbackInRollback { .. } => "SRT-W005",
            Self::TooLarge { .. } => "SRT-W006",
            Self::Value { .. } => "SRT-W007",
            Self::NestedParallel { .. } => "SRT-W008",
            Self::MissingStep { .. } => "SRT-W009",
        }
    }
}

impl Plan {
    /// Whether the engine can run this plan.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.format != FORMAT {
            return Err(PlanError::Format { found: self.format });
        }
        let root = NodePath::pipeline();
        if self.stages.is_empty() {
            return Err(PlanError::Value {
                node: root,
                what: "the list of stages",
            });
        }
        for stage in &self.stages {
            let path = NodePath::stage(&stage.info.id);
            for list in [&stage.steps, &stage.rollback_steps] {
                shape(list, &path, 0)?;
            }
        }
        let places = places(self);
        if places.len() > NODES {
            return Err(PlanError::TooLarge {
                node: root,
                what: "the number of nodes",
                limit: NODES,
            });
        }
        let mut known = BTreeMap::new();
        for place in &places {
            check_place(place)?;
            if known.insert(&place.path, place.item).is_some() {
                return Err(PlanError::Duplicate {
                    node: place.path.clone(),
                });
            }
        }
        for place in &places {
            let Item::Step(step) = place.item else {
                continue;
            };
            for wanted in &step.only_if_reached {
                if !matches!(known.get(wanted), Some(Item::Step(_))) {
                    return Err(PlanError::MissingStep {
                        node: place.path.clone(),
                        missing: wanted.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Depth and parallel blocks, before anything recurses into the plan.
fn shape(nodes: &[Node], parent: &NodePath, depth: usize) -> Result<(), PlanError> {
    if depth > DEPTH {
        let what = "the depth of step groups";
        return Err(PlanError::TooLarge {
            node: parent.clone(),
            what,
            limit: DEPTH,
        });
    }
    for node in nodes {
        match node {
            Node::Step(_) => {}
            Node::Group(group) => shape(&group.steps, &parent.child(&group.info.id), depth + 1)?,
            Node::Parallel { members } => {
                if members.len() > MEMBERS {
                    let what = "the number of members of a parallel block";
                    return Err(PlanError::TooLarge {
                        node: parent.clone(),
                        what,
                        limit: MEMBERS,
                    });
                }
                if members
                    .iter()
                    .any(|member| matches!(member, Node::Parallel { .. }))
                {
                    return Err(PlanError::NestedParallel {
                        node: parent.clone(),
                    });
                }
                shape(members, parent, depth)?;
            }
        }
    }
    Ok(())
}

fn check_place(place: &Place<'_>) -> Result<(), PlanError> {
    let id = &place.item.info().id;
    let valid = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if id.is_empty() || id.chars().count() > 128 || !id.chars().all(valid) {
        let shown = id.chars().take(128).collect();
        return Err(PlanError::Identifier {
            parent: place.parent.clone(),
            id: shown,
        });
    }
    let strategies = match place.item {
        Item::Stage(stage) => &stage.failure_strategies,
        Item::Group(group) => &group.failure_strategies,
        Item::Step(step) => {
            if step.timeout.is_zero() || step.timeout > TIMEOUT {
                return Err(PlanError::Value {
                    node: place.path.clone(),
                    what: "the timeout",
                });
            }
            &step.failure_strategies
        }
    };
    let rolls_back = |s: &FailureStrategy| s.action == FailureAction::StageRollback;
    if place.rollback && strategies.iter().any(rolls_back) {
        return Err(PlanError::RollbackInRollback {
            node: place.path.clone(),
        });
    }
    one_action_each(&place.path, strategies)
}

fn one_action_each(node: &NodePath, strategies: &[FailureStrategy]) -> Result<(), PlanError> {
    let mut actions: BTreeMap<Option<FailureType>, FailureAction> = BTreeMap::new();
    for strategy in strategies {
        let types = match &strategy.errors {
            Errors::All => vec![None],
            Errors::Of(types) => types.iter().copied().map(Some).collect(),
        };
        for errors in types {
            let other = actions.insert(errors, strategy.action);
            let clash = match errors {
                None => other.is_some(),
                Some(_) => other.is_some_and(|other| other != strategy.action),
            };
            if clash {
                let errors = errors.map_or_else(|| "AllErrors".to_owned(), |t| format!("{t:?}"));
                return Err(PlanError::Strategies {
                    node: node.clone(),
                    errors,
                });
            }
        }
    }
    Ok(())
}
