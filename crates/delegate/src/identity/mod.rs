//! Who a delegate is: one private key and the certificate that the control plane gave for it.
//!
//! The identity belongs to the delegate, not to a pod: it lies in one place that all replicas share, and is read again
//! before each connection. Nobody keeps a copy that could grow old.

mod encoding;
mod file;
mod key;
mod secret;
mod token;

use async_trait::async_trait;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

pub use file::FileStore;
pub use key::PrivateKey;
pub use secret::SecretStore;
pub use token::{JoinToken, MalformedToken, TokenSource};

/// A key, and what the control plane said of it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The private key. Made once, never changed.
    pub key: PrivateKey,
    /// The certificate; `None` until the delegate has enrolled.
    pub enrolment: Option<Enrolment>,
}

/// A certificate with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// Id that the control plane gave the delegate.
    pub delegate: String,
    /// The certificate, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Certificates of the control plane's authority: what the delegate trusts.
    pub authorities: Vec<CertificateDer<'static>>,
    /// End of the certificate.
    pub not_after: Timestamp,
    /// When to renew it.
    pub renew_at: Timestamp,
    /// Id of the join token that was used (its public part).
    pub token: String,
}

/// An identity as it was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The identity.
    pub identity: Identity,
    /// Changes whenever the identity is written.
    pub version: String,
}

/// Where the identity lies.
#[async_trait]
pub trait IdentityStore: Send + Sync + std::fmt::Debug {
    /// What is there now.
    async fn load(&self) -> Result<Option<Stored>, Error>;

    /// Waits for the right to write, which one process has at a time.
    async fn lock(&self) -> Result<Lock, Error>;

    /// Writes the first identity; `None` when there is one already.
    async fn create(&self, identity: &Identity, lock: &Lock) -> Result<Option<Stored>, Error>;

    /// Replaces the identity, unless it changed since `version`: then `None`.
    async fn replace(
        &self,
        identity: &Identity,
        version: &str,
        lock: &Lock,
    ) -> Result<Option<Stored>, Error>;

    /// Returns when the identity is not the one of `version` any more.
    async fn changed(&self, version: &str) -> Result<(), Error>;
}

/// The right to write an identity.
#[derive(Debug)]
pub enum Lock {
    /// A Lease of the cluster.
    Lease(sortie_cluster::lease::Held),
    /// A lock on a file.
    File(std::fs::File),
}

impl Lock {
    /// Gives the right back.
    pub async fn release(self) {
        match self {
            Self::Lease(held) => held.release().await,
            Self::File(file) => drop(file),
        }
    }
}

/// The identity cannot be read, made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cluster's API refused, or is away.
    #[error("cannot {operation} the identity in Secret {secret}")]
    Secret {
        /// `read`, `lock`, `write` or `watch`.
        operation: &'static str,
        /// `namespace/name`.
        secret: String,
        /// Why.
        #[source]
        source: sortie_cluster::Error,
    },
    /// The file system refused.
    #[error("cannot {operation} the identity in {}", path.display())]
    File {
        /// `read`, `lock` or `write`.
        operation: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is stored is no identity.
    #[error(
        "the identity in {place} is damaged: {field} cannot be read; delete it and give a new join token"
    )]
    Damaged {
        /// Where it lies.
        place: String,
        /// What is wrong.
        field: &'static str,
    },
    /// No key could be made, or it cannot be used.
    #[error("cannot use the delegate's private key: {0}")]
    Key(&'static str),
    /// Another process writes it all the time.
    #[error("cannot write the identity: it keeps changing; check that no two delegates share it")]
    Contended,
}

impl Error {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "SRT-D010",
            Self::File { .. } => "SRT-D011",
            Self::Damaged { .. } => "SRT-D012",
            Self::Key(_) => "SRT-D013",
            Self::Contended => "SRT-D014",
        }
    }
}
