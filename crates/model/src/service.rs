//! Services: what is deployed.

pub mod artifact;
mod artifact_reading;
pub mod hook;
pub mod image;
pub mod manifest;
pub(crate) mod manifest_reading;
pub(crate) mod reading;

pub use artifact::{Artifact, ArtifactSpec, Artifacts, DockerImage, PrimaryArtifact};
pub use hook::{HookAction, HookTime, ServiceHook};
pub use manifest::{GitReference, GitStore, Manifest, ManifestSpec, Store};

use crate::variable::Variable;

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Absent: a shell of a service, which no stage can deploy.
    pub definition: Option<ServiceDefinition>,
}

/// How the service is made up.
#[derive(Clone, Debug)]
pub struct ServiceDefinition {
    /// `type`
    pub deployment_type: DeploymentType,
    /// Manifests in their order; later values files win.
    pub manifests: Vec<Manifest>,
    /// Artifacts.
    pub artifacts: Artifacts,
    /// Scripts around what is done with the manifests, in their order.
    pub hooks: Vec<ServiceHook>,
    /// `<+serviceVariables.…>`
    pub variables: Vec<Variable>,
}

/// What a service or a stage deploys to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeploymentType {
    /// `Kubernetes`
    Kubernetes,
    /// Another type, which cannot be run yet.
    Unsupported(String),
}
