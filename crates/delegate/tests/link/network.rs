//! The way to the control plane: a link that breaks, and an HTTP proxy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::control::{Control, options};
use super::delegate::Setup;
use super::runner::task;

/// A TCP proxy that a test can cut.
pub struct Proxy {
    pub address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    _listening: JoinSet<()>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(Some(target)));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut listening = JoinSet::new();
        let (to, tasks) = (Arc::clone(&target), Arc::clone(&connections));
        listening.spawn(async move {
            loop {
                let (mut down, _) = listener.accept().await.unwrap();
                let Some(target) = *to.lock().unwrap() else {
                    continue;
                };
                tasks.lock().unwrap().spawn(async move {
                    if let Ok(mut up) = TcpStream::connect(target).await {
                        drop(copy_bidirectional(&mut down, &mut up).await);
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

    /// Ends every connection; new ones are closed at once.
    pub fn cut(&self) {
        *self.target.lock().unwrap() = None;
        *self.connections.lock().unwrap() = JoinSet::new();
    }

    pub fn mend(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = Some(target);
    }
}

/// An HTTP proxy that knows CONNECT and wants a password.
struct HttpProxy {
    address: SocketAddr,
    tunnels: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl HttpProxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&tunnels);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(tunnel(stream, Arc::clone(&counter)));
            }
        });
        Self {
            address,
            tunnels,
            _listening: listening,
        }
    }
}

async fn tunnel(mut down: TcpStream, tunnels: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(down.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    // user:hunter22
    if !head
        .to_lowercase()
        .contains("proxy-authorization: basic dxnlcjpodw50zxiymg==")
    {
        down.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            .await
            .unwrap();
        return;
    }
    let target = head
        .strip_prefix("CONNECT ")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let mut up = TcpStream::connect(target).await.unwrap();
    tunnels.fetch_add(1, Ordering::SeqCst);
    down.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(copy_bidirectional(&mut down, &mut up).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_through_the_proxy_that_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let proxy = HttpProxy::start().await;
    let token = control.token(1).await;
    let mut setup = Setup::new(control.address(), folder.path()).token(&token);

    setup.proxy = Some(format!("http://user:wrong@{}", proxy.address));
    let mut delegate = setup.start();
    let text = delegate.trouble("SRT-D023").await;
    assert!(text.contains(&proxy.address.to_string()), "{text}");
    assert!(!text.contains("wrong"), "no password in {text}");
    delegate.stop().await;

    setup.proxy = Some(format!("http://user:hunter22@{}", proxy.address));
    let mut delegate = setup.start();
    delegate.up().await;
    // Once to enrol, once for the session.
    assert_eq!(proxy.tunnels.load(Ordering::SeqCst), 2);
    control.enqueue(task("t1", "talk")).await;
    control.recorder.outputs("t1").await;
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_tried_again_until_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let address = control.address();
    control.stop().await;
    let mut delegate = Setup::new(address, folder.path()).token(&token).start();
    delegate.trouble("SRT-D022").await;
    let again = sortie_server::agent::Options {
        address,
        ..options()
    };
    let control = Control::start(folder.path(), again).await;
    delegate.up().await;
    delegate.stop().await;
    control.stop().await;
}
