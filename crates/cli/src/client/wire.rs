//! What the control plane answers, as far as this program looks at it. Fields it does not know are left alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::Finding;

/// What became of a body of documents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Applied {
    /// In the order of the body.
    pub entities: Vec<AppliedEntity>,
    /// What is worth knowing and no error.
    #[serde(default)]
    pub warnings: Vec<Finding>,
}

/// What became of one document.
#[derive(Debug, Serialize, Deserialize)]
pub struct AppliedEntity {
    /// Kind, e.g. `service`.
    pub kind: String,
    /// Organisation, absent at account level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// Project, absent above a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Environment of an infrastructure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Identifier.
    pub identifier: String,
    /// Current version now.
    pub version: i64,
    /// `created`, `updated` or `unchanged`.
    pub outcome: String,
}

/// One entity.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entity {
    /// Environment of an infrastructure.
    pub environment: Option<String>,
    /// Identifier.
    pub identifier: String,
    /// Name for people.
    #[serde(default)]
    pub name: String,
    /// Counted from 1.
    pub version: i64,
    /// Who wrote this version.
    #[serde(default)]
    pub updated_by: String,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// The document as it was written.
    #[serde(default)]
    pub yaml: String,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// Its items.
    pub items: Vec<serde_json::Value>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A page of executions.
#[derive(Debug, Deserialize)]
pub struct ExecutionPage {
    /// Newest first.
    pub items: Vec<ExecutionSummary>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// An execution, without its nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSummary {
    /// Id.
    pub id: String,
    /// Identifier of the pipeline.
    pub pipeline: String,
    /// Run number of the pipeline.
    pub sequence: i64,
    /// Status, e.g. `RUNNING`.
    pub status: String,
    /// Whether the status can never change again.
    #[serde(default)]
    pub ended: bool,
    /// Why it failed or was aborted, in one line.
    pub message: Option<String>,
    /// Stable code of the error that `message` tells.
    pub code: Option<String>,
    /// Who asked.
    #[serde(default)]
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// An execution with its nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: ExecutionSummary,
    /// Who ended it early: a person, or a failure strategy.
    pub aborted_by: Option<String>,
    /// Why, if they said so.
    pub abort_reason: Option<String>,
    /// When.
    pub aborted_at: Option<Timestamp>,
    /// Stages, groups and steps; a parent comes before its children.
    #[serde(default)]
    pub nodes: Vec<Node>,
}

/// A stage, a group or a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Full name.
    pub path: String,
    /// 0 for stages, 1 for their steps and groups, and so on.
    pub depth: usize,
    /// Identifier.
    pub identifier: String,
    /// Name for people.
    pub name: String,
    /// `Deployment`, `StepGroup`, `K8sRollingDeploy`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is one of the rollback steps of its stage.
    pub rollback: bool,
    /// Status.
    pub status: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed or was skipped.
    pub message: Option<String>,
    /// Stable code of the error.
    pub code: Option<String>,
    /// The delegate that ran it.
    pub delegate: Option<String>,
    /// Command units of the step, in order.
    pub units: Vec<Unit>,
    /// Resources that the step watches.
    pub resources: Vec<Resource>,
}

/// A command unit of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unit {
    /// Name, e.g. `Apply`.
    pub name: String,
    /// Status.
    pub status: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// One line for people.
    pub message: String,
}

/// A resource that a step watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// Kind.
    pub kind: String,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    pub health: String,
    /// One line for people: why.
    pub message: String,
    /// `created`, `configured`, `unchanged`, `deleted` or empty.
    pub change: String,
    /// When it was first told of; known of what runs here.
    #[serde(skip)]
    pub since: Option<Timestamp>,
}

/// A line of an execution's log.
#[derive(Clone, Debug, Deserialize)]
pub struct LogLine {
    /// Path of the step.
    pub node: String,
    /// Command unit.
    #[serde(default)]
    pub unit: String,
    /// `debug`, `info`, `warn` or `error`.
    #[serde(default)]
    pub level: String,
    /// Number of the line within its step and holder.
    #[serde(default)]
    pub seq: i64,
    /// The text.
    pub text: String,
}

/// The user behind a token.
#[derive(Debug, Serialize, Deserialize)]
pub struct WhoAmI {
    /// Name of the user.
    pub user: String,
    /// Role of the user.
    pub role: String,
}

/// A join token that was made: the only time it is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinToken {
    /// Public part.
    pub id: String,
    /// The whole token.
    pub token: secrecy::SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How many delegates may join with it.
    pub max_uses: u32,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A delegate.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegate {
    /// Id, as in its certificate.
    pub id: String,
    /// Name.
    pub name: String,
    /// Organisation, absent at account level.
    pub org: Option<String>,
    /// Project, absent above a project.
    pub project: Option<String>,
    /// Whether an instance is connected.
    pub connected: bool,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Instances that are connected now.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

/// A connected instance of a delegate.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Version of the program.
    pub version: String,
    /// Tasks it may run at once.
    pub capacity: u32,
    /// Tasks it runs now.
    pub running: u32,
}
