//! Small named values of the server itself.

use async_trait::async_trait;

use crate::Result;

/// Small named values of the server itself, e.g. a check value of the master key.
#[async_trait]
pub trait Settings {
    /// The value.
    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Stores the value if there is none, and returns the one that is there now.
    async fn setting_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>>;

    /// Whether the store takes a write down to the disk: makes one, of a few bytes.
    async fn check_writable(&self) -> Result<()>;
}
