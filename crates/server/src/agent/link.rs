//! The link service: checks who calls, and carries a session's stream between the wire and its driver.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::Stream;
use sortie_link::{FromDelegate, GoAwayReason, Hello};
use sortie_proto::v1;
use sortie_store::DelegateRecord;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::authority::Subject;
use super::error::Refusal;
use super::listener::Peer;
use super::session::{self, Message, Opening};
use super::{Runtime, blobs, logs, wire};
use crate::clock;

/// Longest time for a hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages of one stream that wait for the session.
const BACKLOG: usize = 64;

/// Longest time a stream may live, whatever its certificate.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A stream to a delegate.
pub(super) type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
pub(super) struct LinkService {
    runtime: Arc<Runtime>,
}

/// A caller that may use the link.
pub(super) struct Caller {
    /// Its record.
    pub delegate: DelegateRecord,
    /// What its certificate says.
    pub subject: Arc<Subject>,
    /// Cancelled when it is revoked.
    pub revoked: CancellationToken,
}

impl LinkService {
    pub(super) fn new(runtime: Arc<Runtime>) -> Self {
        Self { runtime }
    }

    /// Every stream is checked against the store when it opens. The revocation is taken first, so that none is missed.
    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let peer = request.extensions().get::<Peer>();
        let subject = peer
            .and_then(|peer| peer.subject.clone())
            .ok_or(Refusal::NoCertificate)?;
        if subject.not_after <= clock::now() {
            return Err(Refusal::EndedCertificate.into());
        }
        let core = &self.runtime.core;
        let revoked = core.registry.revocation(&subject.delegate.as_str().into());
        let delegate = core.live_delegate(&subject.delegate).await?;
        Ok(Caller {
            delegate,
            subject,
            revoked,
        })
    }
}

#[tonic::async_trait]
impl v1::link_server::Link for LinkService {
    type SessionStream = Outgoing<v1::ServerMessage>;
    type LogsStream = Outgoing<v1::LogsResponse>;
    type FetchBlobStream = Outgoing<v1::BlobChunk>;

    async fn session(
        &self,
        request: Request<Streaming<v1::DelegateMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = self.caller(&request).await?;
        let (outgoing, messages) = unbounded_channel();
        let runtime = Arc::clone(&self.runtime);
        self.runtime.core.tracker.spawn(async move {
            let ended = carry(&runtime, caller, request.into_inner(), &outgoing).await;
            if let Err(status) = ended {
                // The delegate may be gone already.
                let _gone = outgoing.send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(
            messages,
        ))))
    }

    async fn logs(
        &self,
        request: Request<Streaming<v1::LogsRequest>>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let caller = self.caller(&request).await?;
        Ok(Response::new(logs::receive(
            &self.runtime,
            caller,
            request.into_inner(),
        )))
    }

    async fn fetch_blob(
        &self,
        request: Request<v1::FetchBlobRequest>,
    ) -> Result<Response<Self::FetchBlobStream>, Status> {
        let caller = self.caller(&request).await?;
        blobs::fetch(&self.runtime.core, &caller, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn put_blob(
        &self,
        request: Request<Streaming<v1::PutBlobRequest>>,
    ) -> Result<Response<v1::PutBlobResponse>, Status> {
        let caller = self.caller(&request).await?;
        blobs::put(&self.runtime.core, &caller, request.into_inner())
            .await
            .map(Response::new)
    }
}

/// Carries a session's stream until either side ends it.
async fn carry(
    runtime: &Arc<Runtime>,
    caller: Caller,
    mut incoming: Streaming<v1::DelegateMessage>,
    outgoing: &UnboundedSender<Result<v1::ServerMessage, Status>>,
) -> Result<(), Status> {
    let core = &runtime.core;
    let hello = tokio::select! {
        hello = tokio::time::timeout(HELLO_TIMEOUT, incoming.message()) => hello,
        () = caller.revoked.cancelled() => return Err(Refusal::RevokedDelegate.into()),
        () = core.cut.cancelled() => return Err(Status::unavailable("the server stops")),
    };
    let hello = hello.map_err(|_| Status::from(Refusal::Protocol))??;
    let hello = hello.and_then(opening).ok_or(Refusal::Protocol)?;
    if hello.delegate.as_str() != caller.subject.delegate {
        return Err(Refusal::NoCertificate.into());
    }
    let stream = core.streams.fetch_add(1, Ordering::Relaxed);
    let holder = hello.holder();
    let session = core
        .registry
        .session(&holder, || session::start(runtime, holder.clone()));
    let opening = Opening {
        stream,
        hello,
        delegate: caller.delegate,
        certificate_not_after: caller.subject.not_after,
        outgoing: outgoing.clone(),
    };
    if session.send(Message::Hello(Box::new(opening))).is_err() {
        return Err(Refusal::Unavailable.into());
    }

    let life = remaining(&caller.subject).min(MAX_AGE);
    let go_away = tokio::time::sleep(life * 9 / 10);
    let end = tokio::time::sleep(life);
    tokio::pin!(go_away, end);
    let mut is_told = false;
    let backlog = Arc::new(Semaphore::new(BACKLOG));
    let result = loop {
        tokio::select! {
            biased;
            () = caller.revoked.cancelled() => break Err(Refusal::RevokedDelegate.into()),
            () = core.cut.cancelled() => break Err(Status::unavailable("the server stops")),
            () = outgoing.closed() => break Ok(()),
            () = &mut end => break Err(Refusal::EndedCertificate.into()),
            () = &mut go_away, if !is_told => {
                is_told = true;
                let _gone = session.send(Message::GoAway(GoAwayReason::Age, Some(stream)));
            }
            message = receive(&mut incoming, &backlog) => match message {
                Ok(Some((message, permit))) => {
                    if session.send(Message::Received(stream, Box::new(message), permit)).is_err() {
                        break Err(Refusal::Unavailable.into());
                    }
                }
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            },
        }
    };
    let _gone = session.send(Message::Closed(stream));
    result
}

async fn receive(
    incoming: &mut Streaming<v1::DelegateMessage>,
    backlog: &Arc<Semaphore>,
) -> Result<Option<(FromDelegate, tokio::sync::OwnedSemaphorePermit)>, Status> {
    let permit = Arc::clone(backlog)
        .acquire_owned()
        .await
        .map_err(|_| Status::from(Refusal::Unavailable))?;
    let Some(message) = incoming.message().await? else {
        return Ok(None);
    };
    let message = wire::from_delegate(message).ok_or(Refusal::Protocol)?;
    Ok(Some((message, permit)))
}

fn opening(message: v1::DelegateMessage) -> Option<Hello> {
    match wire::from_delegate(message)? {
        FromDelegate::Hello(hello) => Some(hello),
        _ => None,
    }
}

fn remaining(subject: &Subject) -> Duration {
    Duration::try_from(subject.not_after.duration_since(clock::now())).unwrap_or_default()
}
