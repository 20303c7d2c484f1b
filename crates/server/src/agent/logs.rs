//! Receives log lines, on a stream of their own with credits.

use std::collections::HashMap;
use std::sync::Arc;

use sortie_proto::v1;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Runtime;
use super::error::{Refusal, unavailable};
use super::link::{Caller, Outgoing};

/// Batches a delegate may have under way.
const CREDITS: u32 = 64;

/// Most lines in a batch.
const MAX_LINES: usize = 4096;

/// Tasks remembered per stream.
const MAX_TASKS: usize = 256;

type Answers = Sender<Result<v1::LogsResponse, Status>>;

/// Receives on this stream until either side ends it.
pub(super) fn receive(
    runtime: &Arc<Runtime>,
    caller: Caller,
    incoming: Streaming<v1::LogsRequest>,
) -> Outgoing<v1::LogsResponse> {
    let (answers, outgoing) = channel(16);
    let runtime = Arc::clone(runtime);
    runtime.core.clone().tracker.spawn(async move {
        let receiving = store(&runtime, &caller, incoming, &answers);
        let status = tokio::select! {
            result = receiving => match result {
                Ok(()) => return,
                Err(status) => status,
            },
            () = caller.revoked.cancelled() => Refusal::RevokedDelegate.into(),
            () = runtime.core.cut.cancelled() => Status::unavailable("the server stops"),
            () = answers.closed() => return,
        };
        // The delegate may be gone already.
        let _gone = answers.send(Err(status)).await;
    });
    Box::pin(ReceiverStream::new(outgoing))
}

async fn store(
    runtime: &Runtime,
    caller: &Caller,
    mut incoming: Streaming<v1::LogsRequest>,
    answers: &Answers,
) -> Result<(), Status> {
    use v1::logs_request::Message;
    match incoming
        .message()
        .await?
        .and_then(|request| request.message)
    {
        Some(Message::Open(_)) => {}
        _ => return Err(Refusal::Protocol.into()),
    }
    acknowledge(answers, 0).await?;
    let mut owned: HashMap<String, bool> = HashMap::new();
    while let Some(request) = incoming.message().await? {
        let Some(Message::Batch(batch)) = request.message else {
            return Err(Refusal::Protocol.into());
        };
        if batch.lines.len() > MAX_LINES {
            return Err(Refusal::Protocol.into());
        }
        let is_owned = match owned.get(&batch.task_id) {
            Some(is_owned) => *is_owned,
            None => {
                let is_owned = is_owned(runtime, caller, &batch.task_id).await?;
                if owned.len() >= MAX_TASKS {
                    owned.clear();
                }
                owned.insert(batch.task_id.clone(), is_owned);
                is_owned
            }
        };
        // Lines of a task that went to another delegate are of no interest; they are acknowledged, not kept.
        if is_owned {
            runtime
                .events
                .log(&batch.task_id, batch.epoch, batch.lines)
                .await
                .map_err(|error| unavailable("store log lines", &error))?;
        } else {
            owned.remove(&batch.task_id);
        }
        acknowledge(answers, batch.number).await?;
    }
    Ok(())
}

async fn acknowledge(answers: &Answers, stored: u64) -> Result<(), Status> {
    answers
        .send(Ok(v1::LogsResponse {
            stored,
            credits: CREDITS,
        }))
        .await
        .map_err(|_| Status::cancelled("the delegate is gone"))
}

/// Whether the task was offered to this delegate last; also after its end, because logs may come later than results.
async fn is_owned(runtime: &Runtime, caller: &Caller, task: &str) -> Result<bool, Status> {
    let record = runtime
        .core
        .store
        .task(task)
        .await
        .map_err(|error| unavailable("read a task", &error))?;
    Ok(record.is_some_and(|record| record.delegate.as_deref() == Some(&caller.delegate.id)))
}
