//! The admin port: `/live`, `/ready`, `/metrics`, and `PUT /log-level`.
//!
//! Probes and scrapers come over the pod's address and only read; the log level is changed from inside the pod.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, put};
use prometheus_client::registry::Registry;
use sortie_cluster::Cluster;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::link::Standing;
use crate::telemetry::LogLevel;

/// How long the API server may take to answer a readiness check.
const REACHABLE_WITHIN: Duration = Duration::from_secs(2);

/// What the admin port shows and changes.
#[derive(Debug)]
pub struct Admin {
    /// How the link to the control plane stands.
    pub standing: watch::Receiver<Standing>,
    /// The cluster it works on.
    pub cluster: Cluster,
    /// All metrics.
    pub registry: Registry,
    /// The log's level, where it is this program's.
    pub log_level: Option<LogLevel>,
}

/// Serve until `stop`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/live", get(|| async { "ok" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/log-level", put(log_level))
        .layer(DefaultBodyLimit::max(1024))
        .with_state(Arc::new(admin));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Ready: session established and API server reachable.
async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, String) {
    let standing = admin.standing.borrow().clone();
    if !standing.is_up {
        let why = standing
            .trouble
            .map(|(code, reason)| format!(": {code}: {reason}"));
        let text = format!(
            "no session with the control plane{}\n",
            why.unwrap_or_default()
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    match tokio::time::timeout(REACHABLE_WITHIN, admin.cluster.reachable()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n".to_owned()),
        _ => {
            let text = "the Kubernetes API server does not answer\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A log at `trace` may tell more than its readers should know, and slows the delegate down: not for everyone in the cluster.
async fn log_level(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    filter: String,
) -> (StatusCode, String) {
    if !is_inside(peer.ip()) {
        return (
            StatusCode::FORBIDDEN,
            "the log level is changed from inside the pod only; use `kubectl port-forward`\n"
                .to_owned(),
        );
    }
    let Some(log_level) = &admin.log_level else {
        return (
            StatusCode::NOT_FOUND,
            "the log belongs to another program\n".to_owned(),
        );
    };
    match log_level.set(filter.trim()) {
        Ok(()) => {
            tracing::info!(filter = filter.trim(), "log level changed");
            (StatusCode::OK, "ok\n".to_owned())
        }
        Err(error) => (
            StatusCode::BAD_REQUEST,
            format!("{}: {}\n", error.code(), crate::telemetry::chain(&error)),
        ),
    }
}

fn is_inside(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_is_loopback() {
        for (peer, want) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.7", false),
            ("::ffff:10.0.0.7", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_inside(peer.parse().unwrap()), want, "{peer}");
        }
    }
}
