//! Others that a connection may deal with: a proxy, a webhook, a server that says what a test wants it
//! to say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use sortie_testkit::https;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// An admission webhook that is not there yet.
pub struct Webhook {
    pub address: SocketAddr,
    /// Its authority, PEM.
    pub authority: String,
    config: rustls::ServerConfig,
}

/// One that answers.
pub struct Answering {
    allows: Arc<AtomicBool>,
    _serving: JoinSet<()>,
}

impl Webhook {
    /// An address of this machine where nobody listens.
    pub async fn at(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let (config, authority) = https::tls(address.into()).unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            authority,
            config,
        }
    }

    /// Begins to answer, and allows everything.
    pub async fn start(self) -> Answering {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let allows = Arc::new(AtomicBool::new(true));
        let router = Router::new()
            .route("/", post(review))
            .with_state(Arc::clone(&allows));
        let mut serving = JoinSet::new();
        serving.spawn(https::serve(listener, self.config, router));
        Answering {
            allows,
            _serving: serving,
        }
    }
}

impl Answering {
    pub fn deny(&self) {
        self.allows.store(false, Ordering::SeqCst);
    }
}

async fn review(
    State(allows): State<Arc<AtomicBool>>,
    axum::Json(review): axum::Json<Value>,
) -> axum::Json<Value> {
    let allowed = allows.load(Ordering::SeqCst);
    axum::Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": allowed,
                     "status": {"code": 403, "message": "not on a Friday"}},
    }))
}

/// A proxy that opens tunnels for `Basic` user `ann`, password `hunter22`.
pub struct Tunnels {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Tunnels {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                tunnels.spawn(tunnel(near, Arc::clone(&seen)));
            }
        });
        Self {
            port,
            asked,
            _serving: serving,
        }
    }

    /// What it was asked to connect to.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A SOCKS 5 proxy that asks for nothing, for one connection.
pub async fn socks() -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut hello = [0; 2];
        near.read_exact(&mut hello).await.unwrap();
        let mut methods = vec![0; hello[1].into()];
        near.read_exact(&mut methods).await.unwrap();
        near.write_all(&[5, 0]).await.unwrap();
        let mut request = [0; 4];
        near.read_exact(&mut request).await.unwrap();
        let host = if request[3] == 1 {
            Ipv4Addr::from(near.read_u32().await.unwrap()).to_string()
        } else {
            let mut name = vec![0; near.read_u8().await.unwrap().into()];
            near.read_exact(&mut name).await.unwrap();
            String::from_utf8(name).unwrap()
        };
        let port = near.read_u16().await.unwrap();
        let mut far = TcpStream::connect((host, port)).await.unwrap();
        near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        copy_bidirectional(&mut near, &mut far).await.ok();
    });
    (port, serving)
}

async fn tunnel(mut near: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = near.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(target.clone());
    // base64 of `ann:hunter22`
    if !head
        .to_lowercase()
        .contains("proxy-authorization: basic yw5uomh1bnrlcjiy")
    {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        near.write_all(refusal).await.ok();
        return;
    }
    let mut far = TcpStream::connect(target).await.unwrap();
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    copy_bidirectional(&mut near, &mut far).await.ok();
}

/// A server that reads one request per connection and answers with the next of the given bytes;
/// the last is repeated. What it closes is closed for good.
pub struct Scripted {
    pub address: String,
    heard: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Scripted {
    pub async fn saying(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut answers = answers.into_iter().peekable();
            let mut last = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                last = answers.next().unwrap_or(last);
                let mut request = vec![0; 64 * 1024];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                ears.lock().unwrap().push(text);
                stream.write_all(&last).await.ok();
                stream.shutdown().await.ok();
            }
        });
        Self {
            address,
            heard,
            _serving: serving,
        }
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// An HTTP/1.1 answer with its length.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
