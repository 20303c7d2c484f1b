//! Infrastructure definitions: cluster, namespace and release name.

use crate::field::{ListField, TextField};
use crate::reference::RefField;
use crate::service::DeploymentType;

/// An infrastructure definition.
#[derive(Clone, Debug)]
pub struct Infrastructure {
    /// The environment that owns it.
    pub environment: RefField,
    /// `deploymentType`; must equal the service's.
    pub deployment_type: DeploymentType,
    /// `type` and `spec`
    pub spec: InfrastructureSpec,
    /// Several executions may deploy here at the same time.
    pub allow_simultaneous_deployments: bool,
    /// When not empty: only these services may be deployed here.
    pub scoped_services: ListField,
}

/// The infrastructures that Sortie uses.
#[derive(Clone, Debug)]
pub enum InfrastructureSpec {
    /// A namespace of a cluster that a connector reaches.
    KubernetesDirect {
        /// A K8sCluster connector.
        connector: RefField,
        /// Namespace: a DNS label, or text with an expression.
        namespace: TextField,
        /// Name of the release.
        release_name: TextField,
    },
    /// A type that exists in Harness and cannot be used yet.
    Unsupported {
        /// `type`
        infrastructure_type: String,
    },
}

impl Infrastructure {
    pub(crate) fn environment_identifier(&self) -> Option<String> {
        self.environment
            .value
            .value()
            .map(|target| target.identifier.clone())
    }
}
