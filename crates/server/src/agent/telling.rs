//! Tells the engine how tasks ended, until it has stored that.

use std::sync::Arc;
use std::time::Duration;

use sortie_link::TaskId;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::Runtime;
use super::error::chain;
use super::wire;
use crate::clock;

/// Before the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells until `stop`. What is left is told after the next start.
pub(super) async fn run(
    runtime: Arc<Runtime>,
    mut ended: UnboundedReceiver<TaskId>,
    stop: CancellationToken,
) {
    loop {
        let task = tokio::select! {
            () = stop.cancelled() => return,
            task = ended.recv() => task,
        };
        let Some(task) = task else { return };
        if let Err(error) = tell(&runtime, &task).await {
            tracing::error!(%task, error = chain(&error), "could not tell how a task ended; trying again");
            let (again, stop) = (Arc::clone(&runtime), stop.clone());
            runtime.core.tracker.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(PAUSE) => drop(again.core.tell.send(task)),
                }
            });
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("could not read or close the task")]
    Store(#[from] sortie_store::Error),
    #[error("the engine could not store it")]
    Engine(#[from] crate::tasks::TaskEventError),
}

async fn tell(runtime: &Runtime, task: &TaskId) -> Result<(), Error> {
    let store = &runtime.core.store;
    let Some(record) = store
        .task(task.as_str())
        .await?
        .filter(|record| record.ended)
    else {
        return Ok(());
    };
    let outcome = wire::outcome(&record.outcome.unwrap_or_default());
    runtime.events.finished(task.as_str(), outcome).await?;
    store.task_told(task.as_str(), clock::now()).await?;
    Ok(())
}
