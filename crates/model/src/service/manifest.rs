//! Manifests of a service and the stores that hold them.

use crate::connector::GitProvider;
use crate::field::{FlagField, ListField, TextField};
use crate::position::Located;
use crate::reference::RefField;

/// One item of `manifests`.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// `identifier`
    pub identifier: Located<String>,
    /// `type` and `spec`
    pub spec: ManifestSpec,
}

/// The manifests that Sortie uses.
#[derive(Clone, Debug)]
pub enum ManifestSpec {
    /// Plain manifests, which may hold Go templates; the base of a deployment, exactly one.
    K8sManifest {
        /// Where the files are.
        store: Store,
        /// Values files in the same store, merged in order.
        values_paths: ListField,
        /// Do not rename ConfigMaps and Secrets by their content.
        skip_versioning: Option<FlagField>,
        /// `enableDeclarativeRollback`
        declarative_rollback: Option<FlagField>,
        /// A missing values file is a log line instead of an error.
        optional_values: Option<FlagField>,
    },
    /// Values files that are merged over those before.
    Values {
        /// Where the files are.
        store: Store,
        /// A missing values file is a log line instead of an error.
        optional_values: Option<FlagField>,
    },
    /// A type that exists in Harness and cannot be used yet.
    Unsupported {
        /// `type`
        manifest_type: String,
    },
}

/// Where files are.
#[derive(Clone, Debug)]
pub enum Store {
    /// In a git repository.
    Git(GitStore),
    /// In the control plane's file store; a folder names all files below it.
    Harness {
        /// Scoped paths: `/a/b`, `org:/a/b`, `account:/a/b`.
        files: Located<crate::field::Field<Vec<RefField>>>,
    },
    /// In the document itself.
    Inline {
        /// The content of one file.
        content: TextField,
    },
    /// A store that exists in Harness and cannot be used yet.
    Unsupported {
        /// `type`
        store_type: String,
    },
}

/// Files of a git repository.
#[derive(Clone, Debug)]
pub struct GitStore {
    /// `type` of the store; must fit the connector.
    pub provider: GitProvider,
    /// The connector.
    pub connector: RefField,
    /// Which commit.
    pub reference: GitReference,
    /// Files or folders, relative to the root of the repository.
    pub paths: ListField,
    /// Needed when the connector is for an account.
    pub repo_name: Option<TextField>,
}

/// What to fetch from a repository.
#[derive(Clone, Debug)]
pub enum GitReference {
    /// `gitFetchType: Branch`
    Branch(TextField),
    /// `gitFetchType: Commit`: a commit id or a tag.
    Commit(TextField),
}
