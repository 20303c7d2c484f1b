//! The web side: REST for people and programs, server-sent events, health and metrics.

mod api_tokens;
mod auth;
mod delegates;
mod entities;
mod entity_views;
mod events;
mod executions;
mod extract;
mod listener;
mod meta;
mod readiness;
mod scope;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use sortie_store::Store;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use auth::{Auth, Principal};
pub use listener::{BindError, Listener, serve};
pub use readiness::Readiness;
pub use scope::describe as describe_scope;

use crate::delegates::DelegateAdmin;
use crate::engine::Engine;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::sealing::AtRest;
use crate::telemetry::LogLevel;

/// Longest time for a request that is not a stream.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest body except for documents.
const BODY_LIMIT: usize = 1024 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub struct Web {
    /// Everything that is kept.
    pub store: Arc<dyn Store>,
    /// Starts and aborts executions.
    pub engine: Engine,
    /// Join tokens and delegates.
    pub delegates: Arc<dyn DelegateAdmin>,
    /// Encrypts secrets.
    pub keys: Arc<dyn AtRest>,
    /// Wakes followers.
    pub hub: Arc<Hub>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Who may come in.
    pub auth: Arc<Auth>,
    /// Whether the store takes writes.
    pub readiness: Arc<Readiness>,
    /// Changes the level of the log; `None` when the log belongs to another program.
    pub log_level: Option<LogLevel>,
    /// Ends streams when the server stops.
    pub stopping: CancellationToken,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Web").finish_non_exhaustive()
    }
}

/// The application with all its routes and limits.
pub fn router(web: Web) -> Router {
    let (api, document) = documented(&web).split_for_parts();
    let document = Arc::new(document);
    let api = api
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || {
                let document = Arc::clone(&document);
                async move { axum::Json(document.as_ref().clone()) }
            }),
        )
        .fallback(async || Problem::not_found("such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "this path does not know that method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(web.clone(), observe));
    api.with_state(web)
}

/// The OpenAPI document of this build, as checked in at `docs/openapi.json`.
#[must_use]
pub fn openapi_json() -> String {
    let (_, document) = all_routes().split_for_parts();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sortie",
        description = "The control plane of Sortie. Every error is a problem document (RFC 9457) with a stable code.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemDocument, events::EndEvent)),
    security(("token" = []))
)]
struct Document;

fn all_routes() -> OpenApiRouter<Web> {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("An API token, `sortie_…`"))
                .build(),
        ),
    );
    OpenApiRouter::with_openapi(document)
        .merge(open_routes())
        .merge(protected_routes())
        .merge(stream_routes())
}

fn documented(web: &Web) -> OpenApiRouter<Web> {
    let timeout = || middleware::from_fn(time_out);
    let token = || middleware::from_fn_with_state(web.clone(), auth::require);
    let mut document = OpenApiRouter::with_openapi(all_routes().into_openapi());
    document = document.merge(open_routes().layer(timeout()));
    document = document.merge(protected_routes().layer(timeout()).route_layer(token()));
    document.merge(stream_routes().route_layer(token()))
}

fn open_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(meta::healthz))
        .routes(routes!(meta::readyz))
        .routes(routes!(meta::metrics))
        .routes(routes!(meta::version))
}

fn protected_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(meta::whoami))
        .routes(routes!(meta::log_level))
        .routes(routes!(entities::put))
        .routes(routes!(api_tokens::create, api_tokens::list))
        .routes(routes!(api_tokens::revoke))
        .routes(routes!(delegates::create_token))
        .routes(routes!(delegates::revoke_token))
        .routes(routes!(delegates::list))
        .routes(routes!(delegates::revoke))
        .routes(routes!(entities::list))
        .routes(routes!(entities::get, entities::delete))
        .routes(routes!(executions::start, executions::list))
        .routes(routes!(executions::get))
        .routes(routes!(executions::abort))
}

fn stream_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(events::states))
        .routes(routes!(events::logs))
}

/// Ends a request that takes too long.
async fn time_out(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Code::Timeout,
            format!(
                "the request was given up after {} s",
                REQUEST_TIMEOUT.as_secs()
            ),
        )
        .into_response(),
    }
}

/// Counts requests and names them in the log at debug level; never with their query or headers.
async fn observe(State(web): State<Web>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let started = tokio::time::Instant::now();
    let response = next.run(request).await;
    let elapsed = started.elapsed();
    web.metrics
        .request(method.as_str(), response.status().as_u16(), elapsed);
    tracing::debug!(%method, path, status = response.status().as_u16(), ?elapsed, "request");
    response
}
