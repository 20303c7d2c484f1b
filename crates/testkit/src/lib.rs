//! For tests and the demo only: a real Kubernetes on this machine, namespaces of single tests, images, a git server.
//! See `docs/testing.md`.

pub use self::{
    chronicle::{Chronicle, History, Objects, SERVING, Version, Watched},
    cluster::{Audit, Audited, Cluster, Crds, Gateway, Kind, Part, SHARED_NAME, Settings, Summary},
    git_server::GitServer,
    identity_provider::IdentityProvider,
    images::Image,
    metrics_api::MetricsApi,
    namespace::{NamespaceOptions, TestNamespace},
    registry::Registry,
    traffic::{Reply, TrafficProbe, TrafficReport},
    traffic_pod::TrafficPod,
    wait::wait_for,
};

mod audit_event;
mod chronicle;
mod clock;
mod cluster;
mod diagnostics;
pub mod effects;
pub mod environment;
mod git_server;
pub mod grpc;
pub mod https;
mod identity_provider;
pub mod images;
mod metrics_api;
mod namespace;
mod registry;
mod sample;
pub mod traffic;
mod traffic_pod;
mod wait;

/// A line for the person who runs the tests.
#[expect(
    clippy::print_stderr,
    reason = "the test harness shows it with the failed test"
)]
pub(crate) fn report(line: &str) {
    eprintln!("testkit: {line}");
}
