//! Delegates and the tokens they join with.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{Result, Scope};

/// Delegates and the tokens they join with.
#[async_trait]
pub trait Delegates {
    /// Stores a new token.
    async fn create_join_token(&self, token: &JoinToken) -> Result<()>;

    /// A token, whatever its state.
    async fn join_token(&self, id: &str) -> Result<Option<JoinToken>>;

    /// All tokens, newest first.
    async fn join_tokens(&self) -> Result<Vec<JoinToken>>;

    /// Ends a token. Returns whether it was there and not revoked before.
    async fn revoke_join_token(&self, id: &str, now: Timestamp) -> Result<bool>;

    /// Uses a token for a key: makes a delegate and counts a use, or returns the delegate that the
    /// same token and key made before. All or nothing.
    ///
    /// A name belongs to one delegate among all that are not revoked and whose scopes overlap: it
    /// decides whose tasks, and so whose secrets, a delegate gets. A further token for the key of
    /// that delegate counts a use and returns it, if it is of the same scope.
    async fn enrol(&self, enrolment: &Enrolment) -> Result<Enrolled>;

    /// A delegate, whether revoked or not.
    async fn delegate(&self, id: &str) -> Result<Option<DelegateRecord>>;

    /// All delegates by name.
    async fn delegates(&self) -> Result<Vec<DelegateRecord>>;

    /// Notes that a delegate was connected at this time.
    async fn delegate_seen(&self, id: &str, now: Timestamp) -> Result<()>;

    /// Notes that a certificate was issued to a delegate, and when it ends.
    async fn certificate_issued(&self, id: &str, ends_at: Timestamp) -> Result<()>;

    /// Revokes a delegate. Returns whether it was there and not revoked before.
    async fn revoke_delegate(&self, id: &str, now: Timestamp) -> Result<bool>;
}

/// A token that delegates join with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Its public part.
    pub id: String,
    /// SHA-256 of its secret part.
    pub hash: Vec<u8>,
    /// What it is for, shown to people.
    pub label: String,
    /// What delegates that join with it may serve.
    pub scope: Scope,
    /// The only name that a delegate may join under; `None` for any.
    pub delegate_name: Option<String>,
    /// How many delegates may join with it.
    pub max_uses: i64,
    /// How many have.
    pub uses: i64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Since when it cannot.
    pub revoked_at: Option<Timestamp>,
}

/// A use of a token. The secret part was checked before.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Id of the token.
    pub token: String,
    /// SHA-256 of the public key.
    pub public_key: Vec<u8>,
    /// Id for the delegate, if a new one is made.
    pub delegate: String,
    /// Its name.
    pub name: String,
    /// When.
    pub now: Timestamp,
}

/// How a use of a token ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolled {
    /// With this delegate, new or known.
    Delegate(DelegateRecord),
    /// No such token.
    Unknown,
    /// The token is revoked.
    Revoked,
    /// The token's time is over.
    Expired,
    /// The token has been used as often as it may.
    UsedUp,
    /// The token is for a delegate of another name.
    OtherName,
    /// Another delegate that is not revoked has the name, in a scope that overlaps.
    NameTaken,
}

/// A delegate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegateRecord {
    /// UUID.
    pub id: String,
    /// Its name, for people and as a tag.
    pub name: String,
    /// What it may serve.
    pub scope: Scope,
    /// When it joined.
    pub created_at: Timestamp,
    /// When it was last known to be connected.
    pub seen_at: Option<Timestamp>,
    /// End of its newest certificate.
    pub certificate_ends_at: Option<Timestamp>,
    /// Since when it is revoked.
    pub revoked_at: Option<Timestamp>,
}
