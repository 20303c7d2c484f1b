//! Health, version, metrics, and who am I.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Principal, Web};
use crate::problem::{Code, Problem, ProblemDocument};

/// The program that answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    /// `sortie-server`.
    pub name: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Versions of this API that it serves.
    pub api: Vec<&'static str>,
}

/// The user behind a token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WhoAmI {
    /// Name of the user.
    pub user: String,
    /// Role of the user.
    pub role: String,
    /// Public part of the token.
    pub token: String,
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()),
    responses((status = 200, description = "alive", body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The server can do its work: its store answers and it is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "server", security(()),
    responses((status = 200, description = "ready", body = String), (status = 503, body = ProblemDocument)))]
pub(super) async fn readyz(State(web): State<Web>) -> Result<&'static str, Problem> {
    if web.stopping.is_cancelled() {
        return Err(Problem::new(Code::Unavailable, "the server is stopping"));
    }
    let answers = async {
        web.store.setting("ready").await?;
        web.store.check_writable().await
    };
    match answers.await {
        Ok(()) => Ok("ok\n"),
        Err(error) => {
            tracing::error!(error = %crate::problem::chain(&error), "the store does not answer");
            Err(Problem::new(Code::Unavailable, "the store does not answer"))
        }
    }
}

/// Metrics in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "server", security(()),
    responses((status = 200, description = "OpenMetrics text", body = String)))]
pub(super) async fn metrics(State(web): State<Web>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], web.metrics.encode()).into_response()
}

/// Name and version of the server.
#[utoipa::path(get, path = "/version", tag = "server", security(()),
    responses((status = 200, body = Version)))]
pub(super) async fn version() -> Json<Version> {
    Json(Version {
        name: "sortie-server",
        version: env!("CARGO_PKG_VERSION"),
        api: vec!["v1"],
    })
}

/// The user behind the token.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "server",
    responses((status = 200, body = WhoAmI), (status = 401, body = ProblemDocument)))]
pub(super) async fn whoami(principal: Principal) -> Json<WhoAmI> {
    Json(WhoAmI {
        user: principal.user.name,
        role: principal.user.role,
        token: principal.token_id,
    })
}
