//! The tasks of this delegate: accepted, running, ended.

mod questions;
mod runner;
mod sink;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use prost::Message as _;
use sortie_link::delegate::Command;
use sortie_link::{CancelReason, End, Outcome, Payload, RefusalReason, TaskRef};
use sortie_proto::v1;
use sortie_step::HandedOver;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use questions::Asked;
pub use questions::Questions;
pub use runner::{TaskIo, TaskRunner};
pub(crate) use sink::Board;
pub use sink::TaskSink;

use crate::link::{Blobs, LogBuffer, SealingKey};
use crate::metrics::Metrics;

/// Longest text of a failure.
const MAX_TEXT: usize = 8 * 1024;

/// Most bytes of outputs.
const MAX_OUTPUTS: usize = 256 * 1024;

/// What running tasks share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub board: Arc<Board>,
    pub asked: Arc<Asked>,
    pub logs: Arc<LogBuffer>,
    pub key: Arc<SealingKey>,
    pub blobs: Blobs,
    pub commands: mpsc::Sender<Command>,
    pub metrics: Arc<Metrics>,
}

/// The tasks that are accepted or running.
pub(crate) struct Tasks {
    runner: Arc<dyn TaskRunner>,
    shared: Shared,
    capacity: usize,
    entries: BTreeMap<TaskRef, Entry>,
    running: JoinSet<(TaskRef, Result<v1::task_result::Outcome, HandedOver>)>,
    hand_over: CancellationToken,
}

/// How a started task ended here.
pub(crate) enum Ended {
    /// For good, with this result.
    Outcome(Outcome),
    /// At a safe place; another holder is to go on.
    HandedOver,
    /// Nobody wants to know.
    Unwanted,
}

struct Entry {
    /// Until it starts.
    task: Option<v1::Task>,
    cancel: CancellationToken,
    since: Instant,
    /// Nobody wants the result.
    is_superseded: bool,
}

impl Tasks {
    pub(crate) fn new(runner: Arc<dyn TaskRunner>, shared: Shared, capacity: u32) -> Self {
        Self {
            runner,
            shared,
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            entries: BTreeMap::new(),
            running: JoinSet::new(),
            hand_over: CancellationToken::new(),
        }
    }

    /// How many are accepted or running.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Decides on an offered task.
    pub(crate) fn offered(&mut self, task: TaskRef, payload: &Payload) -> Command {
        let checked = match v1::Task::decode(&payload[..]) {
            Err(_) => Err((
                RefusalReason::Malformed,
                "the task cannot be read".to_owned(),
            )),
            Ok(_) if self.entries.len() >= self.capacity => Err((
                RefusalReason::Capacity,
                format!("runs {} of {} tasks", self.entries.len(), self.capacity),
            )),
            Ok(decoded) => self.runner.check(&decoded).map(|()| decoded),
        };
        match checked {
            Ok(decoded) => {
                let (step, release) = about(&decoded);
                let asked = decoded.requested_by.as_ref();
                tracing::info!(
                    task = %task.id,
                    epoch = task.epoch,
                    step,
                    release,
                    execution = asked.map(|asked| asked.execution_id.as_str()),
                    user = asked.map(|asked| asked.user.as_str()),
                    "task accepted"
                );
                let entry = Entry {
                    task: Some(decoded),
                    cancel: CancellationToken::new(),
                    since: Instant::now(),
                    is_superseded: false,
                };
                self.entries.insert(task.clone(), entry);
                Command::Accept(task)
            }
            Err((reason, message)) => {
                tracing::info!(task = %task.id, epoch = task.epoch, ?reason, message, "task refused");
                Command::Refuse {
                    task,
                    reason,
                    message,
                }
            }
        }
    }

    /// Runs an accepted task.
    pub(crate) fn start(&mut self, task: &TaskRef) {
        let Some(entry) = self.entries.get_mut(task) else {
            return;
        };
        let Some(decoded) = entry.task.take() else {
            return;
        };
        entry.since = Instant::now();
        let shared = &self.shared;
        let questions = Questions::new(
            task.clone(),
            shared.commands.clone(),
            Arc::clone(&shared.asked),
            Arc::clone(&shared.key),
        );
        let io = TaskIo {
            task: task.clone(),
            sink: TaskSink::new(
                task.clone(),
                Arc::clone(&shared.board),
                Arc::clone(&shared.logs),
            ),
            questions: Arc::new(questions),
            blobs: shared.blobs.clone(),
            cancel: entry.cancel.clone(),
            hand_over: self.hand_over.clone(),
        };
        shared.metrics.running.inc();
        let (runner, task) = (Arc::clone(&self.runner), task.clone());
        self.running.spawn(async move {
            let running = AssertUnwindSafe(runner.run(decoded, io)).catch_unwind();
            let ended = running.await.unwrap_or_else(|_| Ok(panicked()));
            (task, ended)
        });
    }

    /// Asks a task to stop.
    pub(crate) fn cancel(&mut self, task: &TaskRef, reason: CancelReason) {
        let Some(entry) = self.entries.get_mut(task) else {
            return;
        };
        tracing::info!(task = %task.id, epoch = task.epoch, ?reason, "task is to stop");
        entry.is_superseded |= reason == CancelReason::Superseded;
        entry.cancel.cancel();
    }

    /// Forgets a task that will not start.
    pub(crate) fn withdrawn(&mut self, task: &TaskRef) {
        if self.entries.remove(task).is_some() {
            tracing::info!(task = %task.id, epoch = task.epoch, "task withdrawn before it started");
        }
    }

    /// Asks all tasks to stop: nobody wants their results.
    pub(crate) fn abandon(&mut self) {
        self.entries.retain(|_, entry| {
            entry.is_superseded = true;
            entry.cancel.cancel();
            entry.task.is_none()
        });
    }

    /// Asks all tasks to stop at a safe place and leave the rest to others. Returns those that never started.
    pub(crate) fn hand_over(&mut self) -> Vec<TaskRef> {
        self.hand_over.cancel();
        let unstarted = self
            .entries
            .extract_if(.., |_, entry| entry.task.is_some())
            .map(|(task, _)| task);
        unstarted.collect()
    }

    /// The next task that ends. Never returns while none runs.
    pub(crate) async fn ended(&mut self) -> (TaskRef, Ended) {
        let (task, ended) = loop {
            match self.running.join_next().await {
                Some(Ok(ended)) => break ended,
                // Nothing of ours is aborted or panics outside of what is caught.
                Some(Err(error)) => tracing::error!(%error, "task lost"),
                None => std::future::pending().await,
            }
        };
        self.shared.metrics.running.dec();
        let entry = self.entries.remove(&task);
        let seconds = entry
            .as_ref()
            .map_or(0.0, |entry| entry.since.elapsed().as_secs_f64());
        let is_wanted = entry.is_some_and(|entry| !entry.is_superseded);
        let ended = match ended {
            Ok(outcome) => {
                self.shared.metrics.ended(&outcome);
                log(&task, &outcome, seconds);
                Ended::Outcome(encoded(outcome))
            }
            Err(HandedOver) => {
                tracing::info!(task = %task.id, epoch = task.epoch, "task stopped at a safe place, to be carried on elsewhere");
                Ended::HandedOver
            }
        };
        (task, if is_wanted { ended } else { Ended::Unwanted })
    }
}

/// The step's type and the release it works on, for people.
fn about(task: &v1::Task) -> (&'static str, String) {
    let step = task.step.as_ref();
    let release = step.and_then(v1::task::Step::release);
    let name = release.map(|release| format!("{}/{}", release.namespace, release.name));
    let step = step.map_or("unknown", v1::task::Step::name);
    (step, name.unwrap_or_default())
}

fn log(task: &TaskRef, outcome: &v1::task_result::Outcome, seconds: f64) {
    use v1::task_result::Outcome;
    let (id, epoch) = (&task.id, task.epoch);
    let seconds = (seconds * 10.0).round() / 10.0;
    match outcome {
        Outcome::Succeeded(_) => {
            tracing::info!(task = %id, epoch, outcome = "succeeded", seconds, "task finished");
        }
        Outcome::Failed(failed) => {
            tracing::warn!(task = %id, epoch, outcome = "failed", seconds, code = failed.code, reason = failed.message, "task finished");
        }
        Outcome::Aborted(_) => {
            tracing::info!(task = %id, epoch, outcome = "aborted", seconds, "task finished");
        }
    }
}

fn panicked() -> v1::task_result::Outcome {
    v1::task_result::Outcome::Failed(v1::Failed {
        failure_type: v1::FailureType::Unknown.into(),
        code: "SRT-D043".to_owned(),
        message: "the step ended unexpectedly: this is a defect of the delegate".to_owned(),
        hint: "Run the step again; report what the delegate's log says about it.".to_owned(),
        outputs_json: String::new(),
    })
}

/// As the session keeps it until it is stored.
fn encoded(mut outcome: v1::task_result::Outcome) -> Outcome {
    use v1::task_result::Outcome as Wire;
    let end = match &mut outcome {
        Wire::Succeeded(succeeded) => {
            bound(&mut succeeded.outputs_json);
            End::Succeeded
        }
        Wire::Failed(failed) => {
            bound(&mut failed.outputs_json);
            for text in [&mut failed.message, &mut failed.hint] {
                text.truncate(text.floor_char_boundary(MAX_TEXT));
            }
            End::Failed
        }
        Wire::Aborted(aborted) => {
            bound(&mut aborted.outputs_json);
            End::Aborted
        }
    };
    let result = v1::TaskResult {
        task: None,
        outcome: Some(outcome),
    };
    Outcome {
        end,
        payload: Payload::from(result.encode_to_vec()),
    }
}

/// Outputs that are too large to send are none; half of a JSON document would be worse.
fn bound(outputs: &mut String) {
    if outputs.len() > MAX_OUTPUTS {
        tracing::warn!(
            bytes = outputs.len(),
            "outputs of a task are too large and were left out"
        );
        outputs.clear();
    }
}
