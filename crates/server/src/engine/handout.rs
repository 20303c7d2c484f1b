//! From a step of a plan to the task that a delegate gets. Protobuf types are made here and nowhere
//! else in the engine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use sortie_model::pipeline::{StepSpec, StepType};
use sortie_model::{Field, FlagField};
use sortie_proto::v1;
use sortie_store::{BlobHash, Execution, Scope};
use sortie_workflow::{NodePath, Plan, Stage, State, Step};

use self::action::Builder;
use super::fault::Fault;
use super::library::Library;
use super::parameters::{StageParameters, StepParameters};
use super::roots::{Roots, parameters};
use super::surroundings;

mod action;
mod hooks;
mod sources;
mod traffic;

/// Largest context snapshot.
const MAX_CONTEXT: usize = 4 * 1024 * 1024;

/// A step ready to be handed out; stored before it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Handout {
    /// The task without its epoch, protobuf, base64.
    task: String,
    /// Selectors that a delegate must have.
    pub selectors: Vec<String>,
    /// Whether another holder can go on where a lost one stopped.
    pub resumable: bool,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// Hash of the context snapshot.
    pub context: String,
}

impl Handout {
    /// The task; `None` when the record is damaged.
    pub(super) fn task(&self) -> Option<v1::Task> {
        let bytes = STANDARD.decode(&self.task).ok()?;
        v1::Task::decode(bytes.as_slice()).ok()
    }

    /// The blobs that it refers to.
    pub(super) fn blobs(&self) -> Vec<BlobHash> {
        let task = self.task();
        let named = task.iter().flat_map(v1::Task::blobs);
        named
            .filter_map(|blob| BlobHash::parse(&blob.sha256))
            .collect()
    }
}

/// A step to prepare.
pub(super) struct Preparation<'a> {
    /// The entities of the execution.
    pub library: Library<'a>,
    /// The execution.
    pub execution: &'a Execution,
    /// Its plan.
    pub plan: &'a Plan,
    /// Its state.
    pub state: &'a State,
    /// The stage of the step.
    pub stage: &'a Stage,
    /// The step.
    pub step: &'a Step,
    /// Where it stands.
    pub node: &'a NodePath,
    /// Id of the task.
    pub task: &'a str,
    /// When it must have ended.
    pub deadline: Timestamp,
}

impl Preparation<'_> {
    /// Resolves everything the step needs.
    pub(super) async fn prepare(&self) -> Result<Handout, Fault> {
        let stage: StageParameters = parameters(&self.stage.parameters);
        let step: StepParameters = parameters(&self.step.parameters);
        let mut roots = Roots::of_execution(self.execution, self.plan, self.state);
        roots.enter(self.stage, self.step, self.node, self.state);
        let surroundings =
            surroundings::read(&self.library, &self.execution.scope, &stage, &mut roots).await?;
        let step_type = self.step_type()?;
        let spec = StepSpec::of_json(step_type, &step.spec).ok_or_else(|| {
            Fault::not_runnable("the stored step cannot be read by this version; store the pipeline again and run it")
        })?;
        let builder = Builder {
            preparation: self,
            surroundings: &surroundings,
            roots: &roots,
        };
        let action = builder.step(&spec).await?;
        let mut selectors = roots.list("delegateSelectors", &step.selectors)?;
        selectors.extend(surroundings.selectors.iter().cloned());
        selectors.sort();
        selectors.dedup();
        let snapshot = roots.snapshot();
        if snapshot.len() > MAX_CONTEXT {
            return Err(Fault::too_large(format!(
                "the values that expressions can use come to {} bytes, more than the {MAX_CONTEXT} that a task may carry; make variables and outputs smaller",
                snapshot.len()
            )));
        }
        let context = self.library.store.put_blob(&snapshot).await?;
        let task = v1::Task {
            id: self.task.to_owned(),
            epoch: 0,
            timeout_ms: u64::try_from(self.step.timeout.as_millis()).unwrap_or(u64::MAX),
            requested_by: Some(self.requested_by()),
            context: Some(v1::BlobRef {
                sha256: context.to_string(),
                size: snapshot.len() as u64,
            }),
            undo_changes: self.node.is_rollback(),
            hooks: hooks::of_step(&spec, &surroundings.hooks),
            step: Some(action),
        };
        Ok(Handout {
            task: STANDARD.encode(task.encode_to_vec()),
            selectors,
            resumable: step_type.is_resumable(),
            deadline: self.deadline,
            context: context.to_string(),
        })
    }

    fn requested_by(&self) -> v1::RequestedBy {
        let Scope { org, project } = self.execution.scope.clone();
        v1::RequestedBy {
            organisation: org.unwrap_or_default(),
            project: project.unwrap_or_default(),
            user: self.execution.requested_by.clone(),
            execution_id: self.execution.id.clone(),
            pipeline_id: self.execution.pipeline.clone(),
            stage_id: self.stage.info.id.clone(),
            step_id: self.step.info.id.clone(),
        }
    }

    fn step_type(&self) -> Result<StepType, Fault> {
        let name = &self.step.step_type;
        StepType::from_name(name).ok_or_else(|| unknown(name))
    }
}

fn unknown(step_type: &str) -> Fault {
    Fault::Refused {
        code: "SRT-S107",
        message: format!("steps of type {step_type} cannot be run yet; remove the step"),
    }
}

fn flag(roots: &Roots, name: &str, field: Option<&FlagField>) -> Result<bool, Fault> {
    let value = field.map(|field| match &field.value {
        Field::Value(flag) => serde_json::Value::Bool(*flag),
        Field::Expression(text) => serde_json::Value::String(text.clone()),
    });
    roots.flag(name, value.as_ref())
}
