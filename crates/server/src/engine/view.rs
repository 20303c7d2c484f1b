//! An execution as people and programs see it.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_store::{Execution, ExecutionHead, StepRecord};
use sortie_workflow::{NodeKind, NodePath, Plan, State, Status};
use utoipa::ToSchema;

/// An execution, without its nodes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSummary {
    /// Id.
    pub id: String,
    /// Organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// Project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Identifier of the pipeline.
    pub pipeline: String,
    /// Run number of the pipeline, from 1.
    pub sequence: i64,
    /// Status, e.g. `RUNNING`, `SUCCEEDED`, `FAILED`, `ABORTED`.
    pub status: String,
    /// Whether the status can never change again.
    pub ended: bool,
    /// Why it failed or was aborted, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Stable code of the error that `message` tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Who asked.
    pub requested_by: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// An execution with its nodes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionView {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: ExecutionSummary,
    /// Grows with every change of state.
    pub version: i64,
    /// Who ended it early: a person, or a failure strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted_by: Option<String>,
    /// Why, if they said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_reason: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub aborted_at: Option<Timestamp>,
    /// Stages, groups and steps in the order of the pipeline; a parent comes before its children.
    pub nodes: Vec<NodeView>,
}

/// A stage, a group or a step.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Full name, e.g. `pipeline.stages.deploy.spec.execution.steps.rolling`.
    pub path: String,
    /// 0 for stages, 1 for their steps and groups, and so on.
    pub depth: u32,
    /// Identifier.
    pub identifier: String,
    /// Name for people.
    pub name: String,
    /// `Deployment`, `StepGroup`, `K8sRollingDeploy`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is one of the rollback steps of its stage.
    pub rollback: bool,
    /// Status, e.g. `NOT_STARTED`, `QUEUED`, `RUNNING`, `SUCCEEDED`, `SKIPPED`, `FAILED`.
    #[schema(value_type = String)]
    pub status: Status,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed or was skipped, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Stable code of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The delegate that ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate: Option<String>,
    /// What the step published.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub outputs: Value,
    /// Command units of the step, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitView>,
    /// Resources that the step watches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceView>,
}

/// Progress of a step as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepProgress {
    /// Why no delegate takes the step, while it is queued.
    pub waiting: String,
    /// Epoch and revision of `units`.
    pub units_at: (u64, u64),
    /// Command units in order.
    pub units: Vec<UnitView>,
    /// Epoch and revision of `resources`.
    pub resources_at: (u64, u64),
    /// Resources that the step watches.
    pub resources: Vec<ResourceView>,
}

/// A command unit of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitView {
    /// Name, e.g. `Apply`.
    pub name: String,
    /// `QUEUED`, `RUNNING`, `SUCCEEDED`, `FAILED` or `SKIPPED`.
    pub status: String,
    /// When it began, by the delegate's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended, by the delegate's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A resource that a step watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceView {
    /// API group, such as `apps`; empty for the core group. An object is the same in every version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    pub health: String,
    /// One line for people: why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// `created`, `configured`, `unchanged`, `deleted` or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub change: String,
}

impl From<&ExecutionHead> for ExecutionSummary {
    fn from(execution: &ExecutionHead) -> Self {
        Self {
            id: execution.id.clone(),
            org: execution.scope.org.clone(),
            project: execution.scope.project.clone(),
            pipeline: execution.pipeline.clone(),
            sequence: execution.sequence,
            status: execution.status.clone(),
            ended: execution.ended_at.is_some(),
            message: execution.message.clone(),
            code: execution.code.clone(),
            requested_by: execution.requested_by.clone(),
            created_at: execution.created_at,
            ended_at: execution.ended_at,
        }
    }
}

/// The whole view of an execution.
pub(super) fn view(
    execution: &Execution,
    plan: &Plan,
    state: &State,
    steps: &[StepRecord],
) -> ExecutionView {
    let mut progress: HashMap<(String, i64), StepProgress> = steps
        .iter()
        .filter_map(|step| {
            let progress = serde_json::from_str(step.progress.as_deref()?).ok()?;
            Some(((step.node.clone(), step.attempt), progress))
        })
        .collect();
    let mut depths: HashMap<NodePath, u32> = HashMap::new();
    let nodes = sortie_workflow::tree(plan, state)
        .into_iter()
        .filter(|node| node.kind != NodeKind::Pipeline)
        .map(|node| {
            let above = node.parent.as_ref().and_then(|parent| depths.get(parent));
            let depth = above.map_or(0, |depth| depth + 1);
            depths.insert(node.path.clone(), depth);
            let attempt = i64::from(node.attempt);
            let progress = progress.remove(&(node.path.to_string(), attempt));
            node_view(node, depth, state, progress.unwrap_or_default())
        })
        .collect();
    ExecutionView {
        summary: (&execution.head).into(),
        version: execution.version,
        aborted_by: state.abort().map(|abort| abort.by.clone()),
        abort_reason: state.abort().and_then(|abort| abort.reason.clone()),
        aborted_at: state.abort().map(|abort| abort.at),
        nodes,
    }
}

fn node_view(
    node: sortie_workflow::NodeView,
    depth: u32,
    state: &State,
    progress: StepProgress,
) -> NodeView {
    let waits = node.status == Status::Queued && !progress.waiting.is_empty();
    let waiting = waits.then(|| format!("waiting: {}", progress.waiting));
    let outputs = state.node(&node.path).map(|known| known.outputs.clone());
    NodeView {
        path: node.path.to_string(),
        depth,
        identifier: node.id,
        name: node.name,
        kind: node.node_type,
        rollback: node.rollback,
        status: node.status,
        started_at: node.started,
        ended_at: node.ended,
        message: node.message.or(waiting),
        code: node.code,
        delegate: node.by,
        outputs: outputs.unwrap_or_default(),
        units: progress.units,
        resources: progress.resources,
    }
}
