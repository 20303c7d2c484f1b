//! A TCP proxy that a test can cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Forwards connections until it is cut, and again after it is mended.
pub(crate) struct Proxy {
    pub address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    _listening: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(Some(target)));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut listening = JoinSet::new();
        let (to, tasks) = (Arc::clone(&target), Arc::clone(&connections));
        listening.spawn(async move {
            loop {
                let (mut down, _) = listener.accept().await.unwrap();
                let target = *to.lock().unwrap();
                let Some(target) = target else { continue };
                tasks.lock().unwrap().spawn(async move {
                    if let Ok(mut up) = TcpStream::connect(target).await {
                        let _either_end_went =
                            tokio::io::copy_bidirectional(&mut down, &mut up).await;
                    }
                });
            }
        });
        Self {
            address,
            target,
            connections,
            _listening: listening,
        }
    }

    /// Cuts every connection; new ones are closed at once.
    pub(crate) fn cut(&self) {
        *self.target.lock().unwrap() = None;
        *self.connections.lock().unwrap() = JoinSet::new();
    }

    pub(crate) fn mend(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = Some(target);
    }
}
