//! An identity provider that an API server trusts.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{clock, cluster::Settings, https};

/// Name of the file with the authority.
const AUTHORITY: &str = "ca.pem";

/// An OpenID Connect issuer with one client (`sortie`, secret `s+cret`), one person (`erin`, password `p&ss`) and one
/// refresh token, `first` to begin with, which it replaces at each use.
#[derive(Debug)]
pub struct IdentityProvider {
    /// `https://HOST:PORT`.
    pub address: String,
    /// Its authority, PEM.
    pub authority: String,
    folder: TempDir,
    desk: Arc<Desk>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Desk {
    address: String,
    key: EcdsaKeyPair,
    state: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    /// What was asked of the token endpoint.
    asked: Vec<String>,
    refresh: String,
    /// Seconds that a token is good for.
    life: i64,
}

impl Desk {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdentityProvider {
    /// Serves on this machine until dropped.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let address = listener.local_addr().context("read the address")?;
        let address = format!("https://{address}");
        let (config, authority) = https::tls(Ipv4Addr::LOCALHOST.into())?;
        let folder = tempfile::tempdir().context("make a folder")?;
        std::fs::write(folder.path().join(AUTHORITY), &authority).context("write a certificate")?;
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let desk = Arc::new(Desk {
            address: address.clone(),
            key: key.map_err(|_| anyhow!("no key was made"))?,
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
        serving.spawn(https::serve(listener, config, router));
        Ok(Self {
            address,
            authority,
            folder,
            desk,
            _serving: serving,
        })
    }

    /// File with its authority, PEM; there as long as the provider is.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY)
    }

    /// A cluster whose API server takes its tokens, with users named `oidc:SUBJECT`. It looks for the issuer some time
    /// after its start.
    pub fn trusted(&self) -> Settings {
        Settings {
            api_server: vec![
                format!("--oidc-issuer-url={}", self.address),
                format!("--oidc-ca-file={}", self.authority_file().display()),
                "--oidc-client-id=sortie".to_owned(),
                "--oidc-signing-algs=ES256".to_owned(),
                "--oidc-username-prefix=oidc:".to_owned(),
            ],
            ..Settings::default()
        }
    }

    /// How long the tokens are good for that it gives from now on.
    pub fn give_for(&self, seconds: i64) {
        self.desk.ledger().life = seconds;
    }

    /// The refresh token that is good for one use.
    pub fn refresh_token(&self) -> String {
        self.desk.ledger().refresh.clone()
    }

    /// The forms that came to the token endpoint.
    pub fn asked(&self) -> Vec<String> {
        self.desk.ledger().asked.clone()
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
    let point = desk.key.public_key().as_ref();
    // Uncompressed: a byte that says so, then both coordinates.
    let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
    axum::Json(json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }]}))
}

async fn token(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    form: String,
) -> (StatusCode, axum::Json<Value>) {
    let mut ledger = desk.ledger();
    ledger.asked.push(form.clone());
    // base64 of `sortie:s%2Bcret`: both are form-encoded first (RFC 6749, 2.3.1).
    let known = headers
        .get(AUTHORIZATION)
        .is_some_and(|header| header == "Basic c29ydGllOnMlMkJjcmV0");
    let granted = form == "grant_type=password&username=erin&password=p%26ss&scope=openid%20email"
        || form == format!("grant_type=refresh_token&refresh_token={}", ledger.refresh);
    if !known || !granted {
        let refusal = json!({"error": "invalid_grant", "error_description": "log in again"});
        return (StatusCode::BAD_REQUEST, axum::Json(refusal));
    }
    ledger.refresh = format!("next-{}", ledger.asked.len());
    let now = clock::now().as_second();
    let claims = json!({
        "iss": desk.address, "aud": "sortie", "sub": "erin", "iat": now, "exp": now + ledger.life,
        "jti": ledger.asked.len(),
    });
    let header = json!({"alg": "ES256", "kid": "one"});
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let Ok(signature) = desk.key.sign(&SystemRandom::new(), text.as_bytes()) else {
        let failure = json!({"error": "server_error"});
        return (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(failure));
    };
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
    let answer =
        json!({"id_token": token, "refresh_token": ledger.refresh, "token_type": "Bearer"});
    (StatusCode::OK, axum::Json(answer))
}
