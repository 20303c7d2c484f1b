//! What a step works with.

use std::sync::Arc;

use sortie_cluster::Cluster;
use tokio_util::sync::CancellationToken;

use crate::policy::Policy;
use crate::report::Sink;
use crate::resolve::Resolver;
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
    /// Hears what is going on.
    pub sink: Arc<dyn Sink>,
    /// Asks the step to stop at the next safe place.
    pub cancel: CancellationToken,
    /// What others see while they wait for this holder of a release, such as the pod's name.
    pub holder: String,
}
