//! Others that a connection may deal with: an identity provider, a proxy, a server that says what a
//! test wants it to say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A certificate for an address and the authority that made it, PEM.
fn tls(address: IpAddr) -> (rustls::ServerConfig, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![address.to_string()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (config, authority.pem())
}

/// An OpenID Connect issuer for one client and one refresh token, which it replaces at each use.
pub struct IdentityProvider {
    pub address: String,
    /// Its authority, PEM.
    pub authority: String,
    desk: Arc<Desk>,
    _serving: JoinSet<()>,
}

struct Desk {
    address: String,
    key: aws_lc_rs::signature::EcdsaKeyPair,
    state: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// What was asked of the token endpoint.
    asked: Vec<String>,
    refresh: String,
    /// Seconds that a token is good for.
    life: i64,
}

impl IdentityProvider {
    pub async fn start() -> Self {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let (config, authority) = tls(Ipv4Addr::LOCALHOST.into());
        let desk = Arc::new(Desk {
            address: address.clone(),
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            state: Mutex::new(Ledger {
                refresh: "first".to_owned(),
                life: 3600,
                ..Ledger::default()
            }),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&desk));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, config, router));
        Self {
            address,
            authority,
            desk,
            _serving: serving,
        }
    }

    /// How long the tokens are good for that it gives from now on.
    pub fn give_for(&self, seconds: i64) {
        self.desk.state.lock().unwrap().life = seconds;
    }

    /// The forms that came to the token endpoint.
    pub fn asked(&self) -> Vec<String> {
        self.desk.state.lock().unwrap().asked.clone()
    }
}

async fn serve(listener: TcpListener, config: rustls::ServerConfig, router: Router) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        connections.spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let service = TowerToHyperService::new(router);
                let server = auto::Builder::new(TokioExecutor::new());
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            }
        });
    }
}

async fn discovery(State(desk): State<Arc<Desk>>) -> axum::Json<Value> {
    let at = &desk.address;
    axum::Json(json!({
        "issuer": at, "jwks_uri": format!("{at}/keys"), "token_endpoint": format!("{at}/token"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(desk): State<Arc<Desk>>) -> axum::Json<Value> {
    use aws_lc_rs::signature::KeyPair as _;
    let point = desk.key.public_key().as_ref();
    let (x, y) = (&point[1..33], &point[33..65]);
    axum::Json(json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }]}))
}

async fn token(
    State(desk): State<Arc<Desk>>,
    headers: http::HeaderMap,
    form: String,
) -> (http::StatusCode, axum::Json<Value>) {
    let mut ledger = desk.state.lock().unwrap();
    ledger.asked.push(form.clone());
    // base64 of `sortie:s%2Bcret`: both are form-encoded first (RFC 6749, 2.3.1).
    let known = headers
        .get(http::header::AUTHORIZATION)
        .is_some_and(|header| header == "Basic c29ydGllOnMlMkJjcmV0");
    let granted = form == "grant_type=password&username=erin&password=p%26ss&scope=openid%20email"
        || form == format!("grant_type=refresh_token&refresh_token={}", ledger.refresh);
    if !known || !granted {
        let refusal = json!({"error": "invalid_grant", "error_description": "log in again"});
        return (http::StatusCode::BAD_REQUEST, axum::Json(refusal));
    }
    ledger.refresh = format!("next-{}", ledger.asked.len());
    let now = sortie_cluster::clock::now().as_second();
    let claims = json!({
        "iss": desk.address, "aud": "sortie", "sub": "erin", "iat": now, "exp": now + ledger.life,
        "jti": ledger.asked.len(),
    });
    let header = json!({"alg": "ES256", "kid": "one"});
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let random = aws_lc_rs::rand::SystemRandom::new();
    let signature = desk.key.sign(&random, text.as_bytes()).unwrap();
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
    let answer =
        json!({"id_token": token, "refresh_token": ledger.refresh, "token_type": "Bearer"});
    (http::StatusCode::OK, axum::Json(answer))
}

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
        let (config, authority) = tls(address.into());
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
        serving.spawn(serve(listener, self.config, router));
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
