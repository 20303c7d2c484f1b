//! Health, version, metrics, and who am I.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Connection;
use super::extract::Body;
use super::{Principal, Web};
use crate::problem::{Code, Problem, ProblemDocument};
use crate::telemetry;

/// Largest log filter.
const MAX_FILTER: usize = 1024;

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
    if web.readiness.check(web.store.as_ref()).await {
        return Ok("ok\n");
    }
    Err(
        Problem::new(Code::Unavailable, "the database takes no writes")
            .hint("look at the server's log, and at the free space of its data folder"),
    )
}

/// Changes the level of the server's log until its next start. Taken over the loopback address
/// alone: at `trace` the log tells more, and costs more, than the network should decide.
#[utoipa::path(put, path = "/log-level", operation_id = "setLogLevel", tag = "server",
    request_body(content = String, content_type = "text/plain",
        description = "A level or a filter, e.g. `debug` or `info,sortie_server=debug`"),
    responses((status = 204, description = "changed"), (status = 400, body = ProblemDocument),
        (status = 403, body = ProblemDocument)))]
pub(super) async fn log_level(
    State(web): State<Web>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    principal: Principal,
    Body(body): Body<MAX_FILTER>,
) -> Result<StatusCode, Problem> {
    if !is_loopback(connection.peer.ip()) {
        return Err(Problem::new(
            Code::NotFromHere,
            "the level of the log is changed from the server's own machine or pod only",
        )
        .hint("send it over `kubectl port-forward`, or to 127.0.0.1 on the server's machine"));
    }
    let Some(log_level) = &web.log_level else {
        return Err(Problem::new(
            Code::Conflict,
            "the log belongs to the program that the server runs in",
        )
        .hint("start `sortie-server` itself"));
    };
    let filter = String::from_utf8_lossy(&body);
    let filter = filter.trim();
    match log_level.set(filter) {
        Ok(()) => {
            tracing::info!(filter, by = principal.user.name, "log level changed");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(telemetry::Error::Filter(error)) => {
            Err(Problem::new(Code::Malformed, error.to_string()))
        }
        Err(error) => Err(Problem::internal("change the level of the log", &error)),
    }
}

/// Also of an IPv4 peer on an IPv6 socket.
fn is_loopback(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
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

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_the_own_machine_is_loopback() {
        for (peer, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_loopback(peer.parse().unwrap()), expected, "{peer}");
        }
    }
}
