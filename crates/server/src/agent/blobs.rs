//! Context snapshots and files that are too large for a message, by their hash.

use bytes::Bytes;
use sortie_link::TaskRef;
use sortie_proto::v1;
use sortie_store::BlobHash;
use tonic::{Status, Streaming};

use super::Core;
use super::error::{Refusal, unavailable};
use super::link::{Caller, Outgoing};

/// Largest chunk.
const CHUNK: usize = 256 * 1024;

/// Largest blob from a delegate.
const MAX_BLOB: usize = 16 * 1024 * 1024;

/// Sends a blob that a task held by the caller names.
pub(super) async fn fetch(
    core: &Core,
    caller: &Caller,
    request: v1::FetchBlobRequest,
) -> Result<Outgoing<v1::BlobChunk>, Status> {
    let task = TaskRef::new(request.task_id.as_str(), request.epoch);
    let held = core.book.held_task(&task, &caller.delegate.id).await;
    let hash = BlobHash::parse(&request.sha256).ok_or(Refusal::Protocol)?;
    let is_named = |task: &v1::Task| task.blobs().any(|blob| blob.sha256 == hash.as_str());
    if !held.as_ref().is_some_and(is_named) {
        return Err(Refusal::NotYourTask.into());
    }
    let bytes = core
        .store
        .blob(&hash)
        .await
        .map_err(|error| unavailable("read a blob", &error))?
        .ok_or_else(|| Status::not_found("SRT-S223 there is no such blob"))?;
    let bytes = Bytes::from(bytes);
    let chunks = (0..bytes.len()).step_by(CHUNK).map(move |start| {
        let end = (start + CHUNK).min(bytes.len());
        Ok(v1::BlobChunk {
            data: bytes.slice(start..end),
        })
    });
    Ok(Box::pin(tokio_stream::iter(chunks)))
}

/// Stores a blob for a task held by the caller.
pub(super) async fn put(
    core: &Core,
    caller: &Caller,
    mut incoming: Streaming<v1::PutBlobRequest>,
) -> Result<v1::PutBlobResponse, Status> {
    use v1::put_blob_request::Message;
    let first = incoming
        .message()
        .await?
        .and_then(|request| request.message);
    let Some(Message::Header(header)) = first else {
        return Err(Refusal::Protocol.into());
    };
    let task = TaskRef::new(header.task_id.as_str(), header.epoch);
    if core
        .book
        .held_task(&task, &caller.delegate.id)
        .await
        .is_none()
    {
        return Err(Refusal::NotYourTask.into());
    }
    let blob = header.blob.ok_or(Refusal::Protocol)?;
    let hash = BlobHash::parse(&blob.sha256).ok_or(Refusal::Protocol)?;
    let size = usize::try_from(blob.size)
        .ok()
        .filter(|size| *size <= MAX_BLOB)
        .ok_or(Refusal::Protocol)?;
    let mut bytes = Vec::new();
    while let Some(request) = incoming.message().await? {
        let Some(Message::Chunk(chunk)) = request.message else {
            return Err(Refusal::Protocol.into());
        };
        if chunk.data.len() > CHUNK || bytes.len() + chunk.data.len() > size {
            return Err(Refusal::Protocol.into());
        }
        bytes.extend_from_slice(&chunk.data);
    }
    if bytes.len() != size || BlobHash::of(&bytes) != hash {
        return Err(Refusal::Protocol.into());
    }
    let known = core
        .store
        .blob(&hash)
        .await
        .map_err(|error| unavailable("read a blob", &error))?
        .is_some();
    core.store
        .put_blob(&bytes)
        .await
        .map_err(|error| unavailable("store a blob", &error))?;
    Ok(v1::PutBlobResponse { stored: !known })
}
