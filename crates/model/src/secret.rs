//! Secrets.

use secrecy::SecretString;

use crate::position::Located;

/// A secret.
#[derive(Clone, Debug)]
pub enum Secret {
    /// `SecretText`
    Text(SecretText),
    /// `SecretFile`, `SSHKey`, `WinRmCredentials`: cannot be used yet.
    Unsupported {
        /// `type`
        secret_type: String,
    },
}

/// A secret text.
#[derive(Clone, Debug)]
pub struct SecretText {
    /// `secretManagerIdentifier`; `harnessSecretManager` is the built-in store.
    pub manager: Located<String>,
    /// `valueType`
    pub source: SecretSource,
}

/// Where the text of a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// `Inline`: from the document, or, when it has no value there, given separately. The store
    /// keeps the document without it: see [`crate::take_secret_value`].
    Inline(Option<SecretString>),
    /// `Reference`, `CustomSecretManagerValues`: a path in another manager, cannot be used yet.
    Unsupported {
        /// `valueType`
        value_type: String,
    },
}
