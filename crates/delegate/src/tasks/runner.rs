//! What carries tasks out: the seam between the link and the steps.

use std::sync::Arc;

use async_trait::async_trait;
use sortie_link::{RefusalReason, TaskRef};
use sortie_proto::v1;
use sortie_step::HandedOver;
use tokio_util::sync::CancellationToken;

use super::{Questions, TaskSink};
use crate::link::Blobs;

/// Carries tasks out.
#[async_trait]
pub trait TaskRunner: Send + Sync + 'static {
    /// The task types it runs, by the name of the field in `Task.step`.
    fn task_types(&self) -> Vec<String>;

    /// Whether it can run a task, as far as that can be told before it starts.
    ///
    /// # Errors
    /// Why not, for the control plane and for people.
    fn check(&self, task: &v1::Task) -> Result<(), (RefusalReason, String)>;

    /// Runs a task to its end. Dropped, it stops between any two instructions.
    ///
    /// # Errors
    /// It was asked to hand over, and stopped at a safe place before the end.
    async fn run(&self, task: v1::Task, io: TaskIo)
    -> Result<v1::task_result::Outcome, HandedOver>;
}

/// What a running task has of the link.
#[derive(Clone, Debug)]
pub struct TaskIo {
    /// The task.
    pub task: TaskRef,
    /// Units, log lines and object rows.
    pub sink: Arc<TaskSink>,
    /// Asks the control plane for values and secrets.
    pub questions: Arc<Questions>,
    /// Reads what the task names by hash.
    pub blobs: Blobs,
    /// Asks to stop at the next safe place: the task is over then.
    pub cancel: CancellationToken,
    /// Asks to stop at the next safe place: another holder goes on from there.
    pub hand_over: CancellationToken,
}
