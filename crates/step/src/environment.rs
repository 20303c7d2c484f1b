//! What a step works with.

use std::sync::Arc;
use std::time::Duration;

use sortie_cluster::Cluster;
use tokio_util::sync::CancellationToken;

use crate::policy::Policy;
use crate::report::Sink;
use crate::resolve::Resolver;
use crate::scripts::Scripts;
use crate::sources::Renderer;

/// Everything a step needs from the program it runs in.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The cluster it works on.
    pub cluster: Cluster,
    /// How sources are fetched and rendered.
    pub renderer: Renderer,
    /// What the cluster's owner allows.
    pub policy: Policy,
    /// Answers names that the task's context lacks, and secrets.
    pub resolver: Arc<dyn Resolver>,
    /// Runs the hooks of services; `None`: a step of a service that has hooks fails before it does anything.
    pub scripts: Option<Arc<dyn Scripts>>,
    /// Hears what is going on.
    pub sink: Arc<dyn Sink>,
    /// Asks the step to stop at the next safe place.
    pub cancel: CancellationToken,
    /// What others see while they wait for this holder of a release, such as the pod's name.
    pub holder: String,
    /// Namespace of the ConfigMap with [health rules](crate::health_rules) that hold for every release; those of the
    /// release's own namespace go before.
    pub rules_namespace: String,
    /// How long and how much; the default suits every cluster.
    pub limits: Limits,
}

/// How long a step is patient and how much it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a release's lease lasts without renewal; a killed holder blocks the release for this long. Default 15 s.
    pub lease: Duration,
    /// Records of a release that are kept. Default 5.
    pub history: usize,
    /// How long a Service of type `LoadBalancer` is waited for without an address; then the step goes on and says so.
    /// Default 60 s.
    pub load_balancer: Duration,
    /// How long requests may still be on their way to a side that a router sends none to any more. Default 30 s.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            history: 5,
            load_balancer: Duration::from_secs(60),
            settle: Duration::from_secs(30),
        }
    }
}
