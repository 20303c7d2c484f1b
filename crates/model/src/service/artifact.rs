//! Artifacts of a service.

use crate::field::TextField;
use crate::position::Located;
use crate::reference::RefField;

/// `artifacts` of a service.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    /// `<+artifacts.primary.…>`
    pub primary: Option<PrimaryArtifact>,
    /// `<+artifacts.sidecars.<identifier>.…>`
    pub sidecars: Vec<Artifact>,
}

/// The main artifact: one of several sources.
#[derive(Clone, Debug)]
pub struct PrimaryArtifact {
    /// `primaryArtifactRef`: the identifier of the source to use.
    pub chosen: TextField,
    /// The sources. The older form without `sources` is read as one source named `primary`.
    pub sources: Vec<Artifact>,
}

/// One source of an artifact, or a sidecar.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// `identifier`
    pub identifier: Located<String>,
    /// `type` and `spec`
    pub spec: ArtifactSpec,
}

/// The artifacts that Sortie uses.
#[derive(Clone, Debug)]
pub enum ArtifactSpec {
    /// An image in a container registry.
    DockerRegistry(DockerImage),
    /// A type that exists in Harness and cannot be used yet.
    Unsupported {
        /// `type`
        artifact_type: String,
    },
}

/// An image.
#[derive(Clone, Debug)]
pub struct DockerImage {
    /// The registry.
    pub connector: RefField,
    /// Path below the registry.
    pub image_path: TextField,
    /// Tag; absent only when the artifact cannot be run yet (`tagRegex`).
    pub tag: Option<TextField>,
    /// `sha256:…`, checked against what the tag yields; absent when not written or empty.
    pub digest: Option<TextField>,
}
