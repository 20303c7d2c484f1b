//! What people do with delegates: the seam between the web side and the agent side.

use async_trait::async_trait;
use jiff::Timestamp;
use sortie_store::Scope;
use zeroize::Zeroizing;

/// Join tokens and delegates. Implemented by the agent side.
#[async_trait]
pub trait DelegateAdmin: Send + Sync {
    /// Makes a join token. Its secret part is known only by its hash afterwards.
    async fn create_join_token(&self, request: NewJoinToken) -> Result<JoinToken, AdminError>;

    /// Ends a join token before its time. Returns whether it was there and not revoked before.
    async fn revoke_join_token(&self, id: &str) -> Result<bool, AdminError>;

    /// All delegates by name, also those revoked lately, with their sessions.
    async fn delegates(&self) -> Result<Vec<DelegateView>, AdminError>;

    /// Revokes a delegate at once: its streams end, and it can neither come back nor renew. Returns
    /// whether there is such a delegate; revoking again is harmless.
    async fn revoke_delegate(&self, id: &str, by: &str) -> Result<bool, AdminError>;
}

/// A join token to make.
#[derive(Debug, Clone)]
pub struct NewJoinToken {
    /// Scope of the delegates that join with it.
    pub scope: Scope,
    /// The only name that a delegate may join under; `None` for any.
    pub delegate_name: Option<String>,
    /// What it is for, shown to people.
    pub label: String,
    /// How many delegates may join with it.
    pub max_uses: u32,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Who makes it.
    pub by: String,
}

/// A join token that was made. The only time it is known.
pub struct JoinToken {
    /// Public part of the token.
    pub id: String,
    /// The whole token.
    pub token: Zeroizing<String>,
}

/// A delegate as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegateView {
    /// Id, as in its certificate.
    pub id: String,
    /// Name, as in its Helm release.
    pub name: String,
    /// Whose tasks it runs.
    pub scope: Scope,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// End of its newest certificate.
    pub certificate_ends_at: Option<Timestamp>,
    /// Instances that are connected now.
    pub sessions: Vec<SessionView>,
}

/// A connected instance of a delegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Which instance (the pod's UID).
    pub instance: String,
    /// Version of the program.
    pub version: String,
    /// Selectors it answers to.
    pub tags: Vec<String>,
    /// Tasks it may run at once.
    pub capacity: u32,
    /// Tasks it runs now.
    pub running: u32,
    /// Since when.
    pub connected_at: Timestamp,
}

/// The agent side could not do it.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation}")]
pub struct AdminError {
    /// What was being done, e.g. `revoke the delegate`.
    pub operation: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JoinToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
