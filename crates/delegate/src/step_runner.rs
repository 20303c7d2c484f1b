//! Runs tasks as steps on the cluster.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sortie_cluster::Cluster;
use sortie_link::RefusalReason;
use sortie_proto::v1;
use sortie_step::policy::Policy;
use sortie_step::scripts::Scripts;
use sortie_step::{Environment, HandedOver, Limits, Renderer};
use tokio::time::Instant;

use crate::convert::{self, Malformed};
use crate::link::BlobError;
use crate::tasks::{TaskIo, TaskRunner};

/// Most bytes of blobs that one task may name.
const MAX_BLOBS: u64 = 64 * 1024 * 1024;

/// Runs Kubernetes steps.
#[derive(Clone, Debug)]
pub struct StepRunner {
    /// The cluster it works on.
    pub cluster: Cluster,
    /// How sources are fetched and rendered.
    pub renderer: Renderer,
    /// What the cluster's owner allows.
    pub policy: Policy,
    /// Runs the hooks of services, where the delegate has a runner.
    pub scripts: Option<Arc<dyn Scripts>>,
    /// What others see while they wait for this holder of a release.
    pub holder: String,
    /// The delegate's own namespace, where health rules for every release may be.
    pub namespace: String,
}

/// Why a task ended before its step began.
#[derive(Debug, thiserror::Error)]
enum Unready {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the files of the task have {bytes} bytes; {MAX_BLOBS} are allowed")]
    TooMuch { bytes: u64 },
    #[error("the files of the task could not be fetched within {} s: no session with the control plane", .after.as_secs())]
    TimedOut { after: Duration },
}

#[async_trait]
impl TaskRunner for StepRunner {
    fn task_types(&self) -> Vec<String> {
        let names = v1::task::Step::NAMES.iter();
        names.map(|name| (*name).to_owned()).collect()
    }

    fn check(&self, task: &v1::Task) -> Result<(), (RefusalReason, String)> {
        convert::check(task).map_err(|error| {
            let reason = match error {
                Malformed::UnknownStep | Malformed::Unknown(_) => RefusalReason::UnknownType,
                Malformed::Missing(_) | Malformed::Context => RefusalReason::Malformed,
            };
            (reason, error.to_string())
        })
    }

    async fn run(
        &self,
        task: v1::Task,
        io: TaskIo,
    ) -> Result<v1::task_result::Outcome, HandedOver> {
        let started = Instant::now();
        let limit = convert::timeout(&task);
        let preparing = tokio::time::timeout(limit, self.prepare(task, &io));
        let prepared = tokio::select! {
            prepared = preparing => {
                prepared.unwrap_or(Err(Unready::TimedOut { after: limit }))
            }
            () = io.cancel.cancelled() => {
                return Ok(v1::task_result::Outcome::Aborted(v1::Aborted::default()));
            }
            () = io.hand_over.cancelled() => return Err(HandedOver),
        };
        let mut task = match prepared {
            Ok(task) => task,
            Err(error) => return Ok(unready(&error)),
        };
        task.timeout = limit.saturating_sub(started.elapsed());
        let environment = Environment {
            cluster: self.cluster.clone(),
            renderer: self.renderer.clone(),
            policy: self.policy.clone(),
            resolver: io.questions,
            scripts: self.scripts.clone(),
            sink: io.sink,
            cancel: io.cancel,
            holder: self.holder.clone(),
            rules_namespace: self.namespace.clone(),
            limits: Limits::default(),
        };
        let step = sortie_step::run_until(&task, &environment, &io.hand_over);
        Box::pin(step).await.map(convert::outcome)
    }
}

impl StepRunner {
    /// A runner for a delegate that calls itself `holder`.
    #[must_use]
    pub fn shared(self) -> Arc<dyn TaskRunner> {
        Arc::new(self)
    }

    /// Fetches what the task names by hash, and reads it.
    async fn prepare(
        &self,
        task: v1::Task,
        io: &TaskIo,
    ) -> Result<sortie_step::task::Task, Unready> {
        let mut blobs = convert::Blobs::new();
        let wanted: Vec<v1::BlobRef> = task.blobs().cloned().collect();
        let bytes = wanted
            .iter()
            .fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        if bytes > MAX_BLOBS {
            return Err(Unready::TooMuch { bytes });
        }
        for blob in wanted {
            if let Entry::Vacant(vacant) = blobs.entry(blob.sha256.clone()) {
                vacant.insert(io.blobs.fetch(&io.task, &blob).await?);
            }
        }
        Ok(convert::task(task, &blobs)?)
    }
}

fn unready(error: &Unready) -> v1::task_result::Outcome {
    let (failure_type, code, hint) = match error {
        Unready::Blob(error) => (
            v1::FailureType::Connectivity,
            error.code(),
            "Run the step again; if it stays, check the control plane's storage.",
        ),
        Unready::TooMuch { .. } => (
            v1::FailureType::Application,
            "SRT-D042",
            "Keep large files in Git, or split the service.",
        ),
        Unready::TimedOut { .. } => (
            v1::FailureType::Timeout,
            "SRT-D045",
            "Check the connection between delegate and control plane.",
        ),
        Unready::Malformed(_) => (
            v1::FailureType::Application,
            "SRT-D044",
            "Update the delegate to the version of the control plane.",
        ),
    };
    v1::task_result::Outcome::Failed(v1::Failed {
        failure_type: failure_type.into(),
        code: code.to_owned(),
        message: crate::telemetry::chain(error),
        hint: hint.to_owned(),
        outputs_json: String::new(),
    })
}
