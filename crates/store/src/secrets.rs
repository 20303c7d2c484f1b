//! Values of secrets, encrypted by the caller. They are written with their entity
//! ([`crate::Change::secrets`]) and go with it.

use async_trait::async_trait;

use crate::{Result, Scope};

/// Encrypted values of secrets.
#[async_trait]
pub trait Secrets {
    /// The encrypted value, `None` when the secret has none.
    async fn secret(&self, scope: &Scope, identifier: &str) -> Result<Option<SecretCiphertext>>;

    /// Ids of the keys that stored values were encrypted under.
    async fn secret_key_ids(&self) -> Result<Vec<String>>;
}

/// A value to store.
#[derive(Debug, Clone)]
pub struct SecretWrite {
    /// Where the secret lives.
    pub scope: Scope,
    /// Identifier of the secret.
    pub identifier: String,
    /// The encrypted value.
    pub value: SecretCiphertext,
}

/// An encrypted value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretCiphertext {
    /// Which key it was encrypted under.
    pub key_id: String,
    /// Nonce, ciphertext and tag in the caller's format.
    pub ciphertext: Vec<u8>,
}
