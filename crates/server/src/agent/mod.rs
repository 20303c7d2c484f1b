//! The agent side: everything between the engine and the delegates.
//!
//! ```text
//! engine ──Dispatcher──► book (tasks, stored first) ──► placing ──► registry ──► session ══► delegate
//! engine ◄─TaskEvents─── telling ◄──────────────────────────────────────────────┘
//! ```
//!
//! The rules of the link are in `sortie_link`; here are its clocks, sockets, certificates and tables.

mod authority;
mod blobs;
mod book;
mod enrolment;
mod error;
mod join;
mod link;
mod listener;
mod logs;
mod people;
mod placing;
mod registry;
mod seal;
mod selectors;
mod session;
mod telling;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sortie_link::task::{Event, Verdict};
use sortie_link::{GoAwayReason, TaskId};
use sortie_proto::v1::enrolment_server::EnrolmentServer;
use sortie_proto::v1::link_server::LinkServer;
use sortie_store::{DelegateRecord, Store};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use self::authority::Authority;
pub use self::authority::LISTENER_NAME;
use self::book::{Book, Effect};
pub use self::error::Error;
use self::error::{Refusal, chain, unavailable};
use self::registry::Registry;
use self::session::Message;
use crate::clock;
use crate::sealing::AtRest;
use crate::tasks::{DispatchError, Dispatcher, Handover, Resolver, TaskEvents, TaskRequest};

/// Largest message of a session; everything larger is a blob.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Largest task; the message around it stays below [`MAX_MESSAGE`].
const MAX_TASK: usize = 512 * 1024;

/// Largest message of an enrolment.
const MAX_ENROLMENT: usize = 64 * 1024;

/// Settings of the agent side.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub address: SocketAddr,
    /// Life of a delegate's certificate.
    pub certificate_lifetime: Duration,
    /// How long an instance may be away before its tasks are offered to others.
    pub task_lease: Duration,
    /// How long delegates may take to leave when the server stops.
    pub drain: Duration,
    /// Heartbeats and time-outs of sessions.
    pub link: sortie_link::Settings,
}

impl Options {
    /// The options that the server's settings ask for.
    #[must_use]
    pub fn new(config: &crate::config::Config) -> Self {
        Self {
            address: config.agent_address,
            certificate_lifetime: config.certificate_lifetime,
            task_lease: config.task_lease,
            drain: Duration::from_secs(3),
            link: sortie_link::Settings::default(),
        }
    }
}

/// The agent side. Cheap to clone. It queues tasks from the start and talks to delegates while it runs.
#[derive(Clone)]
pub struct Agent {
    core: Core,
    address: SocketAddr,
    listener: Arc<Mutex<Option<Listening>>>,
}

struct Listening {
    listener: TcpListener,
    untold: mpsc::UnboundedReceiver<TaskId>,
}

/// What all parts of the agent side share.
type Core = Arc<Shared>;

struct Shared {
    store: Arc<dyn Store>,
    authority: Authority,
    options: Options,
    book: Book,
    registry: Registry,
    /// Wakes the search for delegates.
    place: Notify,
    /// Ended tasks, to tell the engine.
    tell: mpsc::UnboundedSender<TaskId>,
    tracker: TaskTracker,
    /// Ends every stream.
    cut: CancellationToken,
    streams: AtomicU64,
}

/// The agent side while it runs.
struct Runtime {
    core: Core,
    events: Arc<dyn TaskEvents>,
    resolver: Arc<dyn Resolver>,
}

impl Agent {
    /// Opens the authority and the tasks, and binds the address.
    ///
    /// # Errors
    /// The store fails, the master key is not the one of the authority, or the address is taken.
    pub async fn open(
        options: Options,
        store: Arc<dyn Store>,
        keys: &dyn AtRest,
    ) -> Result<Self, Error> {
        let authority = Authority::open(store.as_ref(), keys, clock::now()).await?;
        let (book, ended) = Book::open(Arc::clone(&store))
            .await
            .map_err(Error::store("read the tasks"))?;
        let bind = |source| Error::Bind {
            address: options.address,
            source,
        };
        let listener = TcpListener::bind(options.address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (tell, untold) = mpsc::unbounded_channel();
        let core = Arc::new(Shared {
            store,
            authority,
            options,
            book,
            registry: Registry::default(),
            place: Notify::new(),
            tell,
            tracker: TaskTracker::new(),
            cut: CancellationToken::new(),
            streams: AtomicU64::new(1),
        });
        for task in ended {
            core.perform(vec![Effect::Tell(task)]);
        }
        let listener = Arc::new(Mutex::new(Some(Listening { listener, untold })));
        Ok(Self {
            core,
            address,
            listener,
        })
    }

    /// The address with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves delegates until `shutdown`, then asks them to leave. Runs once; a second call returns at once.
    ///
    /// # Errors
    /// TLS cannot be set up, or the listener fails.
    pub async fn run(
        &self,
        events: Arc<dyn TaskEvents>,
        resolver: Arc<dyn Resolver>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let listening = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(Listening { listener, untold }) = listening else {
            return Ok(());
        };
        let core = &self.core;
        let runtime = Arc::new(Runtime {
            core: Arc::clone(core),
            events,
            resolver,
        });
        let tls = listener::tls(&core.authority, clock::now())?;
        let enrolment = EnrolmentServer::new(enrolment::Enrolment::new(Arc::clone(core))?)
            .max_decoding_message_size(MAX_ENROLMENT);
        let link = LinkServer::new(link::LinkService::new(Arc::clone(&runtime)))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);

        for holder in core.book.loads().await.into_keys() {
            core.registry
                .expect(&holder, || session::start(&runtime, holder.clone()));
        }
        let background = CancellationToken::new();
        core.tracker
            .spawn(placing::run(Arc::clone(&runtime), background.clone()));
        core.tracker.spawn(telling::run(
            Arc::clone(&runtime),
            untold,
            background.clone(),
        ));
        let (sender, connections) = mpsc::channel(64);
        core.tracker
            .spawn(listener::accept(listener, tls, sender, shutdown.clone()));
        tracing::info!(address = %self.address, "listening for delegates");

        let drain = async {
            shutdown.cancelled().await;
            core.registry
                .broadcast(|| Message::GoAway(GoAwayReason::Shutdown, None));
            tokio::time::sleep(core.options.drain).await;
            core.cut.cancel();
        };
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .max_concurrent_streams(Some(64))
            .max_frame_size(Some(64 * 1024))
            .http2_max_header_list_size(Some(16 * 1024))
            .add_service(enrolment)
            .add_service(link)
            .serve_with_incoming_shutdown(
                ReceiverStream::new(connections),
                shutdown.clone().cancelled_owned(),
            );
        // Serving ends when all delegates have left, at the latest when they were cut off.
        let result = tokio::select! {
            result = serving => result.map_err(Error::Serve),
            () = async { drain.await; std::future::pending().await } => Ok(()),
        };
        core.cut.cancel();
        background.cancel();
        core.registry.clear();
        core.tracker.close();
        core.tracker.wait().await;
        result
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Agent")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Dispatcher for Agent {
    async fn enqueue(&self, request: TaskRequest) -> Result<(), DispatchError> {
        use prost::Message as _;
        let failed = |source| DispatchError {
            operation: "queue",
            task: request.id.clone(),
            source,
        };
        if request.task.encoded_len() > MAX_TASK {
            let detail = format!("it is larger than {} KiB", MAX_TASK / 1024);
            return Err(failed(sortie_store::Error::Unreadable {
                what: "task",
                detail,
            }));
        }
        let effects = self.core.book.insert(&request).await.map_err(failed)?;
        self.core.perform(effects);
        Ok(())
    }

    async fn cancel(&self, task: &str) -> Result<(), DispatchError> {
        let applied = self
            .core
            .book
            .apply(&task.into(), &Event::Cancel, None)
            .await;
        let applied = applied.map_err(|source| DispatchError {
            operation: "cancel",
            task: task.to_owned(),
            source,
        })?;
        self.core.perform(applied.effects);
        Ok(())
    }
}

impl Shared {
    /// Does what a change asks for.
    fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Command(holder, body) => self.registry.command(&holder, body),
                Effect::Place => self.place.notify_one(),
                // Nobody listens any more: told at the next start.
                Effect::Tell(task) => drop(self.tell.send(task)),
            }
        }
    }

    /// The record of a delegate that is neither deleted nor revoked.
    async fn live_delegate(&self, id: &str) -> Result<DelegateRecord, Status> {
        self.store
            .delegate(id)
            .await
            .map_err(|error| unavailable("read a delegate", &error))?
            .filter(|delegate| delegate.revoked_at.is_none())
            .ok_or_else(|| Refusal::RevokedDelegate.into())
    }
}

impl Runtime {
    /// Applies an event to a task and does what the change asks for.
    async fn apply(
        &self,
        id: &TaskId,
        event: &Event,
        result: Option<Vec<u8>>,
    ) -> Result<Verdict, sortie_store::Error> {
        let applied = self.core.book.apply(id, event, result).await?;
        if let Some((epoch, mut handover)) = applied.handover {
            if let Handover::Resumed { delegate, .. } = &mut handover
                && let Some(name) = self.core.registry.name(delegate)
            {
                *delegate = name;
            }
            let told = self.events.changed_hands(id.as_str(), epoch, &handover);
            if let Err(error) = told.await {
                // For people only: the task goes on all the same.
                tracing::warn!(task = %id, error = chain(&error), "could not show who runs a task");
            }
        }
        self.core.perform(applied.effects);
        Ok(applied.verdict)
    }
}
