//! Hands steps out and takes them back.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use sortie_store::{NewStep, StepRecord};
use sortie_workflow::{Event, NodePath, Outcome};

use super::fault::Fault;
use super::handout::{Handout, Preparation};
use super::library::Library;
use super::{Engine, Loaded};
use crate::clock;
use crate::problem::chain;
use crate::tasks::{DispatchError, TaskRequest};

impl Engine {
    /// Starts to hand out a step; tried again until it is queued, has failed, or the server stops.
    pub(super) fn start_step(&self, id: &str, node: NodePath, attempt: u32, deadline: Timestamp) {
        let (engine, id) = (self.clone(), id.to_owned());
        self.0.tracker.spawn(async move {
            engine
                .0
                .until_done("hand out a step", || {
                    engine.hand_out(&id, &node, attempt, deadline)
                })
                .await;
        });
    }

    /// Starts to cancel a step.
    pub(super) fn cancel_step(&self, id: &str, node: &NodePath, attempt: u32) {
        let (engine, id, node) = (self.clone(), id.to_owned(), node.clone());
        self.0.tracker.spawn(async move {
            engine
                .0
                .until_done("cancel a step", || engine.call_back(&id, &node, attempt))
                .await;
        });
    }

    async fn hand_out(
        &self,
        id: &str,
        node: &NodePath,
        attempt: u32,
        deadline: Timestamp,
    ) -> sortie_store::Result<()> {
        let Some(loaded) = self.load(id).await? else {
            return Ok(());
        };
        let task = task_id(id, node, attempt);
        let record = match self.0.store.step_of_task(&task).await? {
            Some(record) => record,
            None if is_cancelled(&loaded, node, attempt) => {
                return self.finish(id, node, attempt, Outcome::Aborted).await;
            }
            None => match self.prepare(&loaded, node, &task, deadline).await {
                Ok(handout) => self.record(&loaded, node, attempt, task, &handout).await?,
                Err(fault) => {
                    let failure = fault.into_failure()?;
                    tracing::info!(execution = id, node = %node, error = failure.message, "step not handed out");
                    return self
                        .finish(id, node, attempt, Outcome::Failed(failure))
                        .await;
                }
            },
        };
        let Some(request) = request(&loaded, &record) else {
            let failure = Fault::not_runnable("the stored step cannot be read by this version")
                .into_failure()?;
            return self
                .finish(id, node, attempt, Outcome::Failed(failure))
                .await;
        };
        if let Err(error) = self.enqueue(request).await {
            if error.is_transient() {
                return Err(error);
            }
            let failure = Fault::Store(error).into_failure()?;
            return self
                .finish(id, node, attempt, Outcome::Failed(failure))
                .await;
        }
        // The order to cancel may have come while the step was on its way into the queue.
        match self.load(id).await? {
            Some(loaded) if is_cancelled(&loaded, node, attempt) => self.cancel(&record.task).await,
            _ => Ok(()),
        }
    }

    /// Cancels a step. One that is not handed out yet ends here; whoever is about to hand it out
    /// sees that afterwards, and cancels the task.
    async fn call_back(&self, id: &str, node: &NodePath, attempt: u32) -> sortie_store::Result<()> {
        let task = task_id(id, node, attempt);
        match self.0.store.step_of_task(&task).await? {
            Some(_) => self.cancel(&task).await,
            None => self.finish(id, node, attempt, Outcome::Aborted).await,
        }
    }

    async fn prepare(
        &self,
        loaded: &Loaded,
        node: &NodePath,
        task: &str,
        deadline: Timestamp,
    ) -> Result<Handout, Fault> {
        let (Some(stage), Some(step)) = (loaded.plan.stage(node), loaded.plan.step(node)) else {
            return Err(Fault::not_runnable(format!(
                "the plan of the execution has no step {node}"
            )));
        };
        let preparation = Preparation {
            library: Library {
                store: self.0.store.as_ref(),
                execution: &loaded.execution.id,
            },
            execution: &loaded.execution,
            plan: &loaded.plan,
            state: &loaded.state,
            stage,
            step,
            node,
            task,
            deadline,
        };
        preparation.prepare().await
    }

    async fn record(
        &self,
        loaded: &Loaded,
        node: &NodePath,
        attempt: u32,
        task: String,
        handout: &Handout,
    ) -> sortie_store::Result<StepRecord> {
        let request =
            serde_json::to_string(handout).map_err(|error| sortie_store::Error::Unreadable {
                what: "step",
                detail: error.to_string(),
            })?;
        let step = NewStep {
            task,
            execution: loaded.execution.id.clone(),
            node: node.to_string(),
            attempt: i64::from(attempt),
            request,
            blobs: handout.blobs(),
            created_at: clock::now(),
        };
        self.0.store.record_step(&step).await
    }

    async fn enqueue(&self, request: TaskRequest) -> sortie_store::Result<()> {
        match self.0.dispatcher.get() {
            Some(dispatcher) => dispatcher
                .enqueue(request)
                .await
                .map_err(|DispatchError { source, .. }| source),
            None => {
                tracing::error!("there is no dispatcher yet; the step waits for the next start");
                Ok(())
            }
        }
    }

    async fn cancel(&self, task: &str) -> sortie_store::Result<()> {
        match self.0.dispatcher.get() {
            Some(dispatcher) => dispatcher.cancel(task).await.map_err(|error| {
                tracing::debug!(task, error = %chain(&error), "cancel failed");
                error.source
            }),
            None => Ok(()),
        }
    }

    async fn finish(
        &self,
        id: &str,
        node: &NodePath,
        attempt: u32,
        outcome: Outcome,
    ) -> sortie_store::Result<()> {
        let event = Event::StepFinished {
            node: node.clone(),
            attempt,
            outcome,
        };
        self.post(id, event).await
    }
}

/// The id of the task of a step: the same for the same execution, node and attempt, so that handing
/// it out again after a crash finds the same task.
fn task_id(execution: &str, node: &NodePath, attempt: u32) -> String {
    let text = format!("{execution}\n{node}\n{attempt}");
    let hash = digest(&SHA256, text.as_bytes());
    let mut bytes = [0_u8; 16];
    for (byte, from) in bytes.iter_mut().zip(hash.as_ref()) {
        *byte = *from;
    }
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

fn is_cancelled(loaded: &Loaded, node: &NodePath, attempt: u32) -> bool {
    loaded.execution.ended_at.is_some()
        || loaded.state.node(node).is_some_and(|known| {
            known.attempt != attempt || known.cancelled.is_some() || known.status.is_final()
        })
}

fn request(loaded: &Loaded, record: &StepRecord) -> Option<TaskRequest> {
    let handout: Handout = serde_json::from_str(&record.request).ok()?;
    let task = handout.task()?;
    Some(TaskRequest {
        id: record.task.clone(),
        scope: loaded.execution.scope.clone(),
        selectors: handout.selectors,
        resumable: handout.resumable,
        deadline: handout.deadline,
        task,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_belongs_to_one_attempt() {
        let node = NodePath::stage("s").step("a");
        let id = task_id("e", &node, 1);
        assert_eq!(id, task_id("e", &node, 1));
        assert_ne!(id, task_id("e", &node, 2));
        assert_ne!(id, task_id("f", &node, 1));
        assert!(uuid::Uuid::parse_str(&id).is_ok());
    }
}
