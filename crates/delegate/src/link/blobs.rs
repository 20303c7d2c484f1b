//! Fetches blobs that a task names, and believes none that does not have its hash.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use sortie_link::TaskRef;
use sortie_proto::v1;
use sortie_proto::v1::link_client::LinkClient;
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::Channel;

/// Largest blob.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// Between two tries on the same connection.
const PAUSE: Duration = Duration::from_secs(1);

/// The connection of the present session, if there is one.
pub(crate) type Present = watch::Receiver<Option<Channel>>;

/// Reads blobs over whichever session there is.
#[derive(Clone, Debug)]
pub struct Blobs {
    present: Present,
}

/// A blob cannot be had, now or later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The control plane does not give it.
    #[error("the control plane does not have file {hash} of the task: {reason}")]
    Refused {
        /// Its hash.
        hash: String,
        /// Words of the control plane.
        reason: String,
    },
    /// What came is something else.
    #[error("what the control plane sent as file {hash} of the task is something else")]
    Mismatch {
        /// The hash that was asked for.
        hash: String,
    },
    /// More than is allowed.
    #[error("file {hash} of the task has {size} bytes; {MAX_SIZE} are allowed")]
    TooLarge {
        /// Its hash.
        hash: String,
        /// Its size.
        size: u64,
    },
}

impl BlobError {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "SRT-D040",
            Self::Mismatch { .. } => "SRT-D041",
            Self::TooLarge { .. } => "SRT-D042",
        }
    }
}

impl Blobs {
    pub(crate) const fn new(present: Present) -> Self {
        Self { present }
    }

    /// The bytes of a blob. Waits for a session as long as there is none; the caller sets the limit.
    ///
    /// # Errors
    /// It is refused, too large, or does not have its hash.
    pub async fn fetch(&self, task: &TaskRef, blob: &v1::BlobRef) -> Result<Vec<u8>, BlobError> {
        if blob.size > MAX_SIZE {
            return Err(BlobError::TooLarge {
                hash: blob.sha256.clone(),
                size: blob.size,
            });
        }
        let mut present = self.present.clone();
        loop {
            let channel = match present.wait_for(Option::is_some).await {
                Ok(channel) => channel.clone(),
                Err(_) => None,
            };
            let Some(channel) = channel else {
                // The link is gone, and with it whoever waits for this task.
                return std::future::pending().await;
            };
            match self.read(channel, task, blob).await {
                Ok(result) => return result,
                Err(status) => {
                    let reason = status.message().to_owned();
                    tracing::debug!(hash = blob.sha256, reason, "blob not read, trying again");
                    tokio::select! {
                        _ = present.changed() => {}
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    /// One try; the outer error is one that another try may mend.
    async fn read(
        &self,
        channel: Channel,
        task: &TaskRef,
        blob: &v1::BlobRef,
    ) -> Result<Result<Vec<u8>, BlobError>, tonic::Status> {
        let refused = |reason: &str| BlobError::Refused {
            hash: blob.sha256.clone(),
            reason: reason.chars().take(300).collect(),
        };
        let mismatch = || BlobError::Mismatch {
            hash: blob.sha256.clone(),
        };
        let request = v1::FetchBlobRequest {
            task_id: task.id.as_str().to_owned(),
            epoch: task.epoch,
            sha256: blob.sha256.clone(),
        };
        let mut chunks = match LinkClient::new(channel).fetch_blob(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return lasting(status).map(|status| Err(refused(status.message()))),
        };
        let size = usize::try_from(blob.size).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        let mut hash = Context::new(&SHA256);
        loop {
            match chunks.message().await {
                Ok(Some(chunk)) => {
                    if bytes.len() + chunk.data.len() > size {
                        return Ok(Err(mismatch()));
                    }
                    hash.update(&chunk.data);
                    bytes.extend_from_slice(&chunk.data);
                }
                Ok(None) => break,
                Err(status) => return lasting(status).map(|status| Err(refused(status.message()))),
            }
        }
        let hash = hash.finish();
        let hex: String = hash
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(if hex == blob.sha256 {
            Ok(bytes)
        } else {
            Err(mismatch())
        })
    }
}

/// The status, if another try will not mend it.
fn lasting(status: tonic::Status) -> Result<tonic::Status, tonic::Status> {
    match status.code() {
        Code::NotFound
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition => Ok(status),
        _ => Err(status),
    }
}
