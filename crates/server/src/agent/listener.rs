//! The agent listener: TLS 1.3 with an optional client certificate.
//!
//! Without a certificate only enrolment and renewal answer. No session tickets: every connection proves its key.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::Error;
use super::authority::{Authority, Subject};

/// Longest time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections without a client certificate at a time.
const ANONYMOUS: usize = 256;

/// How long each of them may last: time to join or to renew.
const ANONYMOUS_LIFE: Duration = Duration::from_secs(60);

/// Handshakes at a time; more connections wait in the kernel's queue.
const HANDSHAKES: usize = 512;

/// The server's TLS settings.
pub(super) fn tls(
    authority: &Authority,
    now: jiff::Timestamp,
) -> Result<Arc<rustls::ServerConfig>, Error> {
    let (certificate, key) = authority.listener(now)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = client_verifier(authority)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate, authority.certificate().clone()],
            PrivateKeyDer::Pkcs8(key),
        )
        .map_err(tls_error)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Checks client certificates against the authority; none at all is allowed.
pub(super) fn client_verifier(
    authority: &Authority,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate().clone())
        .map_err(tls_error)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(tls_error)
}

fn tls_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Tls(Box::new(error))
}

/// Who is at the other end of a connection; an extension of every request on it.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// What its certificate says, if it showed one.
    pub subject: Option<Arc<Subject>>,
}

/// A connection after its handshake.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// Only of a connection without a certificate.
    limit: Option<Limit>,
}

/// Ends a connection after a while, and counts it until then.
struct Limit {
    end: Pin<Box<tokio::time::Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// Accepts connections until `stop`, and hands them over after their handshake.
pub(super) async fn accept(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    connections: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(config);
    let permits = Arc::new(Semaphore::new(HANDSHAKES));
    let anonymous = Arc::new(Semaphore::new(ANONYMOUS));
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(permit), Ok((stream, address))) => {
                let (acceptor, connections) = (acceptor.clone(), connections.clone());
                let anonymous = Arc::clone(&anonymous);
                handshakes.spawn(async move {
                    let _permit = permit;
                    let shaken = tokio::time::timeout(
                        HANDSHAKE_TIMEOUT,
                        handshake(&acceptor, stream, anonymous),
                    );
                    match shaken.await {
                        Ok(Ok(connection)) => drop(connections.send(Ok(connection)).await),
                        Ok(Err(error)) => {
                            tracing::debug!(%address, %error, "handshake with a delegate failed");
                        }
                        Err(_) => {
                            tracing::debug!(%address, "handshake with a delegate took too long")
                        }
                    }
                });
            }
            (_, Err(error)) => {
                // Out of file descriptors, most likely: give others time to end.
                tracing::warn!(%error, "could not accept a delegate's connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            (Err(_), _) => break,
        }
    }
    handshakes.abort_all();
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    anonymous: Arc<Semaphore>,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let leaf = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let subject = leaf.and_then(|leaf| Subject::parse(leaf)).map(Arc::new);
    let limit = match subject {
        Some(_) => None,
        None => {
            let permit = anonymous
                .try_acquire_owned()
                .map_err(|_| io::Error::other("too many connections without a certificate"))?;
            let end = Box::pin(tokio::time::sleep(ANONYMOUS_LIFE));
            Some(Limit {
                end,
                _permit: permit,
            })
        }
    };
    let peer = Peer { subject };
    Ok(Connection {
        stream,
        peer,
        limit,
    })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(limit) = &mut self.limit
            && limit.end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
