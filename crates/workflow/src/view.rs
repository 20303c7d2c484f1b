//! An execution as people see it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::place::{Item, places};
use crate::{NodePath, Plan, State, Status};

/// A node with its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its full name.
    pub path: NodePath,
    /// The node that holds it; none for the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<NodePath>,
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// The type written in YAML: `Deployment`, `K8sRollingDeploy`; for others the kind.
    #[serde(rename = "type")]
    pub node_type: String,
    /// Whether it is among the rollback steps of its stage.
    pub rollback: bool,
    /// The parallel block among its siblings that it is a member of, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_block: Option<usize>,
    /// What it is doing or how it ended.
    pub status: Status,
    /// The number of its current or last attempt; 0 before the first and for nodes that are not steps.
    pub attempt: u32,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it failed, was skipped or aborted, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The stable code of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The delegate that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeKind {
    /// The whole.
    Pipeline,
    /// A stage.
    Stage,
    /// A step group.
    Group,
    /// A step.
    Step,
}

/// All nodes, the pipeline first, parents before children, in the order in which they run.
pub fn tree(plan: &Plan, state: &State) -> Vec<NodeView> {
    let root = NodeView {
        parent: None,
        id: plan.pipeline.id.clone(),
        name: plan.pipeline.name.clone(),
        ..view(state, NodePath::pipeline(), NodeKind::Pipeline, "Pipeline")
    };
    let mut skipped = BTreeSet::new();
    let mut views = vec![root];
    for place in places(plan) {
        let (kind, node_type) = match place.item {
            Item::Stage(stage) => (NodeKind::Stage, stage.stage_type.as_str()),
            Item::Group(_) => (NodeKind::Group, "StepGroup"),
            Item::Step(step) => (NodeKind::Step, step.step_type.as_str()),
        };
        let mut view = view(state, place.path, kind, node_type);
        if skipped.contains(&place.parent) && view.status == Status::NotStarted {
            view.status = Status::Skipped;
        }
        if view.status == Status::Skipped {
            skipped.insert(view.path.clone());
        }
        views.push(NodeView {
            parent: Some(place.parent),
            id: place.item.info().id.clone(),
            name: place.item.info().name.clone(),
            rollback: place.rollback,
            parallel_block: place.block,
            ..view
        });
    }
    views
}

fn view(state: &State, path: NodePath, kind: NodeKind, node_type: &str) -> NodeView {
    let node = state.node(&path);
    let status = state.node_status(&path);
    let aborted = || {
        let abort = state.abort().filter(|_| status == Status::Aborted);
        abort.map(ToString::to_string)
    };
    NodeView {
        parent: None,
        id: String::new(),
        name: String::new(),
        kind,
        node_type: node_type.to_owned(),
        rollback: false,
        parallel_block: None,
        status,
        attempt: node.map_or(0, |node| node.attempt),
        started: node.map(|node| node.started),
        ended: node.and_then(|node| node.ended),
        message: node.and_then(|node| node.message.clone()).or_else(aborted),
        code: node.and_then(|node| node.code.clone()),
        by: node.and_then(|node| node.by.clone()),
        path,
    }
}
