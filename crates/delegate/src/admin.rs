//! The admin port: `/live`, `/ready` and `/metrics`.
//!
//! Everything in the pod's network reaches it, scripts of services too: it only reads. What changes the running process
//! goes over the [control socket](crate::control).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use sortie_cluster::Cluster;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::link::Standing;

/// How long the API server may take to answer a readiness check.
const REACHABLE_WITHIN: Duration = Duration::from_secs(2);

/// What the admin port shows.
#[derive(Debug)]
pub struct Admin {
    /// How the link to the control plane stands.
    pub standing: watch::Receiver<Standing>,
    /// The cluster it works on.
    pub cluster: Cluster,
    /// All metrics.
    pub registry: Registry,
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
        .layer(DefaultBodyLimit::max(1024))
        .with_state(Arc::new(admin));
    axum::serve(listener, router)
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
