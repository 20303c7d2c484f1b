//! Values at rest: what the store keeps encrypted.

use zeroize::Zeroizing;

/// Encrypts and decrypts values at rest. Implemented by the master key.
pub trait AtRest: Send + Sync {
    /// Which key new values are encrypted under.
    fn key_id(&self) -> &str;

    /// Encrypts a value. `context` says what it is for and is needed, equal, to decrypt it: a
    /// ciphertext moved to another record does not open.
    fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError>;

    /// Decrypts a value.
    fn open(
        &self,
        key_id: &str,
        context: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError>;
}

/// A value could not be encrypted or decrypted. Says nothing about the value.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The value was encrypted under another key.
    #[error("the value was encrypted under the key {key_id}, which this server does not have")]
    OtherKey {
        /// Id of that key.
        key_id: String,
    },
    /// Wrong context, damaged bytes, or no random numbers.
    #[error("the value could not be {operation}")]
    Failed {
        /// `encrypted` or `decrypted`.
        operation: &'static str,
    },
}

/// The context under which the value of a secret is encrypted.
#[must_use]
pub fn secret_context(scope: &sortie_store::Scope, identifier: &str) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "secret\n{}\n{}\n{identifier}",
        part(&scope.org),
        part(&scope.project)
    )
}
