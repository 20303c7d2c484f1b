//! Users and their API tokens. Only hashes of tokens are kept.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Result;

/// Users and their API tokens.
#[async_trait]
pub trait Users {
    /// Stores a user with a first token, in one transaction, when there is no user at all yet.
    /// Returns whether it did.
    async fn create_first_user(&self, user: &User, token: &ApiToken) -> Result<bool>;

    /// A user by name.
    async fn user(&self, name: &str) -> Result<Option<User>>;

    /// Stores one more token of a user.
    async fn create_api_token(&self, token: &ApiToken) -> Result<()>;

    /// A token with its user, also when expired or revoked (the caller decides).
    async fn api_token(&self, id: &str) -> Result<Option<(ApiToken, User)>>;

    /// Tokens of all users, oldest first.
    async fn list_api_tokens(&self) -> Result<Vec<(ApiToken, User)>>;

    /// Marks a token as revoked. Returns whether it was valid until now.
    async fn revoke_api_token(&self, id: &str, now: Timestamp) -> Result<bool>;
}

/// Someone who may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Stable id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// Role, e.g. `admin`.
    pub role: String,
    /// When the user was made.
    pub created_at: Timestamp,
}

/// A token of a user. Its secret part is known only by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Public part of the token.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// SHA-256 of the secret part.
    pub hash: Vec<u8>,
    /// What it is for.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, `None` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}
