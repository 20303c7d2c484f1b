//! Who is calling: a bearer token, verified once per connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use sortie_store::{Store, User};

use super::Web;
use crate::problem::{Code, Problem};
use crate::{clock, tokens};

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user: User,
    /// Public part of the token.
    pub token_id: String,
}

/// One connection of the web listener.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Who is at the other end.
    pub peer: std::net::SocketAddr,
    /// The first token that was verified on this connection.
    pub login: Arc<OnceLock<Login>>,
}

/// A verified token.
#[derive(Debug, Clone)]
pub(super) struct Login {
    hash: Vec<u8>,
    principal: Principal,
    expires_at: Option<Timestamp>,
    generation: u64,
}

/// Verifies tokens.
#[derive(Debug, Default)]
pub struct Auth {
    /// Counts revocations: a login of an earlier generation is verified again.
    generation: AtomicU64,
}

impl Auth {
    /// Makes every connection verify its token again; to be called after a revocation.
    pub fn forget_logins(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    async fn principal(
        &self,
        store: &dyn Store,
        connection: Option<&Connection>,
        header: &str,
    ) -> Result<Principal, Problem> {
        let token = bearer(header).ok_or_else(not_logged_in)?;
        let (id, hash) = tokens::parse(token).ok_or_else(not_logged_in)?;
        let now = clock::now();
        let generation = self.generation.load(Ordering::Acquire);
        let known = connection.and_then(|connection| connection.login.get());
        if let Some(login) = known
            && login.generation == generation
            && login.principal.token_id == id
            && aws_lc_rs::constant_time::verify_slices_are_equal(&login.hash, &hash).is_ok()
            && login.expires_at.is_none_or(|end| now < end)
        {
            return Ok(login.principal.clone());
        }
        let found = store
            .api_token(id)
            .await
            .map_err(|error| Problem::store("verify the token", &error))?;
        let (stored, user) = found
            .filter(|(stored, _)| tokens::is_valid(stored, &hash, now))
            .ok_or_else(not_logged_in)?;
        let principal = Principal {
            user,
            token_id: stored.id,
        };
        if let Some(connection) = connection {
            // A connection with a second token works as well, only without this short cut.
            let _first_wins = connection.login.set(Login {
                hash,
                principal: principal.clone(),
                expires_at: stored.expires_at,
                generation,
            });
        }
        Ok(principal)
    }
}

/// Lets only requests with a valid token through; the handler finds the [`Principal`].
pub(super) async fn require(
    State(web): State<Web>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let connection = request
        .extensions()
        .get::<ConnectInfo<Connection>>()
        .map(|ConnectInfo(connection)| connection);
    let principal = web
        .auth
        .principal(web.store.as_ref(), connection, header)
        .await?;
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(not_logged_in)
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn not_logged_in() -> Problem {
    Problem::new(
        Code::Unauthorised,
        "the request carries no token, or one that is unknown, expired or revoked",
    )
    .hint("run `sortie login`, or send `Authorization: Bearer sortie_…`")
}
