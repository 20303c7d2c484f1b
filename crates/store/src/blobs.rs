//! Content-addressed bytes: context snapshots and files that tasks refer to.

use std::fmt;

use async_trait::async_trait;

use crate::Result;

/// Content-addressed bytes.
#[async_trait]
pub trait Blobs {
    /// Keeps the bytes and returns their hash; keeping the same bytes again makes them as young as new ones, see
    /// [`crate::Retention::delete_unused_blobs`].
    async fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash>;

    /// The bytes, `None` when nothing has this hash. Damaged content is an error.
    async fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>>;
}

/// SHA-256 of a blob, lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(String);

impl BlobHash {
    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use std::fmt::Write as _;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut text = String::with_capacity(64);
        for byte in digest.as_ref() {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// A hash from outside: exactly 64 lower-case hexadecimal digits, else `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        valid.then(|| Self(text.to_owned()))
    }

    /// The hexadecimal text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
