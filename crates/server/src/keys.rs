//! The master key: encrypts the CA's key and the values of secrets.
//!
//! It comes from a file (`masterKeyFile`), or is made once in the data folder. The store remembers
//! the id of the key its values were encrypted under, so that a missing or another key stops the
//! start instead of making everything unreadable.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sortie_store::Store;
use zeroize::Zeroizing;

use crate::sealing::{AtRest, SealError};

/// Bytes of the key.
const LENGTH: usize = 32;

/// Largest key file: base64 of the key with generous white space.
const MAX_FILE: u64 = 4096;

/// Name of the file in the data folder.
const FILE: &str = "master.key";

/// Name of the store's setting with the id of the key.
const SETTING: &str = "master-key-id";

/// The master key.
pub struct MasterKey {
    id: String,
    key: RandomizedNonceKey,
}

/// The master key cannot be used; the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or made.
    #[error("could not {operation} the master key file {}", path.display())]
    File {
        /// `read` or `make`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("the master key file {} must hold {LENGTH} random bytes as base64", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The store was encrypted under a key whose file is gone.
    #[error(
        "the master key file {} is missing, and the data folder holds values encrypted under the key {key_id}; restore the file",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Id of the key.
        key_id: String,
    },
    /// The file holds another key than the store was encrypted under.
    #[error(
        "the master key in {} is {found}, and the data folder was encrypted under {expected}; use the file that belongs to it",
        path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// Id of the key in the file.
        found: String,
        /// Id of the key that is needed.
        expected: String,
    },
    /// The system has no random numbers.
    #[error("could not get random bytes from the system")]
    Random,
    /// The store does not answer.
    #[error("could not read which master key belongs to the store")]
    Store(#[source] sortie_store::Error),
}

impl Error {
    /// Stable code of the error, explained in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Random => "SRT-S120",
            Self::Malformed { .. } => "SRT-S121",
            Self::Missing { .. } => "SRT-S122",
            Self::Other { .. } => "SRT-S123",
            Self::Store(error) => error.code(),
        }
    }
}

impl MasterKey {
    /// Reads the key from `file`, or from the data folder, where it is made at the first start.
    pub async fn load(
        folder: &Path,
        file: Option<&Path>,
        store: &dyn Store,
    ) -> Result<Self, Error> {
        let path = file.map_or_else(|| folder.join(FILE), Path::to_owned);
        let expected = store.setting(SETTING).await.map_err(Error::Store)?;
        let expected = expected.map(|id| String::from_utf8_lossy(&id).into_owned());
        let key = match (read(&path)?, &expected) {
            (Some(key), _) => key,
            (None, Some(key_id)) => {
                return Err(Error::Missing {
                    path,
                    key_id: key_id.clone(),
                });
            }
            (None, None) if file.is_some() => return Err(missing(&path)),
            (None, None) => make(&path)?,
        };
        let key = Self::new(&key, &path)?;
        let stored = store
            .setting_or_insert(SETTING, key.id.as_bytes())
            .await
            .map_err(Error::Store)?;
        if stored != key.id.as_bytes() {
            return Err(Error::Other {
                path,
                found: key.id,
                expected: String::from_utf8_lossy(&stored).into_owned(),
            });
        }
        Ok(key)
    }

    fn new(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let malformed = || Error::Malformed {
            path: path.to_owned(),
        };
        if bytes.len() != LENGTH {
            return Err(malformed());
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| malformed())?;
        // One-way, of a random key: tells keys apart and nothing else.
        let mut id = Context::new(&SHA256);
        id.update(b"sortie master key id\0");
        id.update(bytes);
        let id = id.finish();
        let id = id.as_ref().iter().take(8).map(|byte| format!("{byte:02x}"));
        Ok(Self {
            id: id.collect(),
            key,
        })
    }
}

impl AtRest for MasterKey {
    fn key_id(&self) -> &str {
        &self.id
    }

    fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let failed = |_| SealError::Failed {
            operation: "encrypted",
        };
        let mut sealed = Zeroizing::new(plain.to_vec());
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut *sealed)
            .map_err(failed)?;
        Ok([nonce.as_ref().as_slice(), sealed.as_slice()].concat())
    }

    fn open(
        &self,
        key_id: &str,
        context: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if key_id != self.id {
            return Err(SealError::OtherKey {
                key_id: key_id.to_owned(),
            });
        }
        let failed = || SealError::Failed {
            operation: "decrypted",
        };
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut bytes)
            .map_err(|_| failed())?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MasterKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Whether a file that somebody named is there and holds a key.
pub(crate) fn check_file(path: &Path) -> Result<(), Error> {
    let key = read(path)?.ok_or_else(|| missing(path))?;
    MasterKey::new(&key, path).map(drop)
}

/// A file that somebody named is not there.
fn missing(path: &Path) -> Error {
    Error::File {
        operation: "read",
        path: path.to_owned(),
        source: ErrorKind::NotFound.into(),
    }
}

/// The key in a file, `None` when there is no file.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let failed = |source| Error::File {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > MAX_FILE => {
            return Err(Error::Malformed {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    let text = Zeroizing::new(std::fs::read(path).map_err(failed)?);
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(
        text.iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect(),
    );
    let key = STANDARD.decode(&*text).map_err(|_| Error::Malformed {
        path: path.to_owned(),
    })?;
    Ok(Some(Zeroizing::new(key)))
}

/// Makes a key and its file, readable by nobody else from its first moment.
fn make(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut key = Zeroizing::new(vec![0_u8; LENGTH]);
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| Error::Random)?;
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(&*key)));
    let written = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // The name as well has to survive a power cut.
        path.parent()
            .map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
    };
    written().map_err(|source| Error::File {
        operation: "make",
        path: path.to_owned(),
        source,
    })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use sortie_store::SqliteStore;

    use super::*;

    async fn load(folder: &Path, file: Option<&Path>) -> Result<MasterKey, Error> {
        let store = SqliteStore::open(folder).await.unwrap();
        let key = MasterKey::load(folder, file, &store).await;
        store.close().await;
        key
    }

    #[tokio::test]
    async fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = load(folder.path(), None).await.unwrap();
        let sealed = first.seal("a", b"plain").unwrap();
        let again = load(folder.path(), None).await.unwrap();
        assert_eq!(first.key_id(), again.key_id());
        let opened = again.open(first.key_id(), "a", &sealed).unwrap();
        assert_eq!(opened.as_slice(), b"plain");
        let mode = std::fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_was_sealed_opens_only_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let key = load(folder.path(), None).await.unwrap();
        let sealed = key.seal("a", b"plain").unwrap();
        assert_ne!(sealed, key.seal("a", b"plain").unwrap(), "nonces differ");
        assert!(!sealed.windows(5).any(|window| window == b"plain"));
        assert!(key.open(key.key_id(), "b", &sealed).is_err());
        assert!(matches!(
            key.open("other", "a", &sealed),
            Err(SealError::OtherKey { .. })
        ));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(key.key_id(), "a", &damaged).is_err(), "byte {at}");
            assert!(
                key.open(key.key_id(), "a", &sealed[..at]).is_err(),
                "cut at {at}"
            );
        }
        assert_eq!(
            key.open(key.key_id(), "a", &key.seal("a", b"").unwrap())
                .unwrap()
                .len(),
            0
        );
    }

    #[tokio::test]
    async fn a_missing_or_wrong_key_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), None).await.unwrap();
        let path = folder.path().join(FILE);
        std::fs::remove_file(&path).unwrap();
        let error = load(folder.path(), None).await.unwrap_err();
        assert_eq!(error.code(), "SRT-S122");
        assert!(!path.exists(), "no new key is made");
        std::fs::write(&path, STANDARD.encode([1_u8; LENGTH])).unwrap();
        assert_eq!(
            load(folder.path(), None).await.unwrap_err().code(),
            "SRT-S123"
        );
        for text in ["", "short", "AAAA", "not base64 !!"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(
                load(folder.path(), None).await.unwrap_err().code(),
                "SRT-S121",
                "{text}"
            );
        }
        let elsewhere = folder.path().join("nowhere.key");
        let fresh = tempfile::tempdir().unwrap();
        let error = load(fresh.path(), Some(&elsewhere)).await.unwrap_err();
        assert_eq!(error.code(), "SRT-S120", "a named file is never made");
    }

    #[tokio::test]
    async fn a_named_file_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mounted.key");
        std::fs::write(&path, format!("  {}\n", STANDARD.encode([9_u8; LENGTH]))).unwrap();
        let key = load(folder.path(), Some(&path)).await.unwrap();
        assert!(!folder.path().join(FILE).exists());
        assert!(!format!("{key:?}").contains("CQkJ"));
    }
}
