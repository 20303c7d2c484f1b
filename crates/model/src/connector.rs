//! Connectors: how to reach clusters, repositories and registries.

mod reading;

use crate::field::{Field, ListField, TextField};
use crate::position::Located;
use crate::reference::RefField;

/// A connector.
#[derive(Clone, Debug)]
pub struct Connector {
    /// What it reaches and with which credentials.
    pub spec: ConnectorSpec,
    /// Delegates that may use it, by tag; all must match.
    pub delegate_selectors: ListField,
}

/// The connectors that Sortie uses.
#[derive(Clone, Debug)]
pub enum ConnectorSpec {
    /// A Kubernetes cluster.
    K8sCluster(ClusterCredential),
    /// A git repository, or an account with many.
    Git(GitConnector),
    /// A container image registry.
    DockerRegistry(DockerRegistry),
    /// A type that exists in Harness and cannot be used yet.
    Unsupported {
        /// `type`
        connector_type: String,
    },
}

/// How a delegate gets into the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterCredential {
    /// With the service account of the delegate's own pod.
    InheritFromDelegate,
    /// Other credentials (`ManualConfig`), which cannot be used yet.
    Unsupported {
        /// `credential.type`
        credential_type: String,
    },
}

/// A git connector of any provider.
#[derive(Clone, Debug)]
pub struct GitConnector {
    /// `type` of the connector.
    pub provider: GitProvider,
    /// URL of the repository or, for accounts, the part before its name.
    pub url: TextField,
    /// Whether `url` is one repository.
    pub connection: GitConnection,
    /// How to authenticate.
    pub credential: GitCredential,
}

/// Git providers; over HTTP they are reached in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GitProvider {
    /// `Git`: any server.
    Git,
    /// `Github`
    Github,
    /// `Gitlab`
    Gitlab,
    /// `Bitbucket`
    Bitbucket,
}

/// What the URL of a git connector names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GitConnection {
    /// Everything below the URL; a manifest store adds `repoName` after a slash.
    Account,
    /// One repository.
    Repo,
}

/// How git authenticates.
#[derive(Clone, Debug)]
pub enum GitCredential {
    /// Over HTTP(S), with nothing.
    Anonymous,
    /// Over HTTP(S), with a user and a password or token.
    UserSecret {
        /// The user.
        username: Username,
        /// Password or token.
        secret: RefField,
    },
    /// SSH, OAuth, GitHub App, Kerberos: cannot be used yet.
    Unsupported {
        /// `authentication.type` or the `type` below it.
        credential_type: String,
    },
}

/// A user name, written down or kept as a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Username {
    /// `username`
    Plain(TextField),
    /// `usernameRef`
    Secret(RefField),
}

/// A container image registry.
#[derive(Clone, Debug)]
pub struct DockerRegistry {
    /// `dockerRegistryUrl`
    pub url: TextField,
    /// `providerType`: `DockerHub`, `Harbor`, `Quay` or `Other`.
    pub provider: Located<Field<String>>,
    /// User and password; `None` is anonymous.
    pub credential: Option<(Username, RefField)>,
}
