//! The identity in one file that only its owner can read: for `sortie dev`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::encoding::Data;
use super::{Error, Identity, IdentityStore, Lock, Stored, encoding};

/// An identity in a file, mode 0600. A file beside it, with `.lock` at its end, serialises writers.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// The file `path`; its folder must exist.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn stored(&self, text: &[u8]) -> Result<Stored, Error> {
        let place = || self.path.display().to_string();
        let damaged = || Error::Damaged {
            place: place(),
            field: "JSON",
        };
        let encoded: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(text).map_err(|_| damaged())?;
        let mut data = Data::new();
        for (key, value) in encoded {
            let value = Zeroizing::new(value);
            let bytes = STANDARD.decode(value.as_bytes()).map_err(|_| damaged())?;
            data.insert(key, Zeroizing::new(bytes));
        }
        let version = STANDARD.encode(digest(&SHA256, text));
        Ok(Stored {
            identity: encoding::decode(&data, place)?,
            version,
        })
    }

    async fn write(&self, identity: &Identity) -> Result<Stored, Error> {
        let encoded: std::collections::BTreeMap<String, String> = encoding::encode(identity)
            .into_iter()
            .map(|(key, value)| (key, STANDARD.encode(&*value)))
            .collect();
        let text = serde_json::to_vec_pretty(&encoded).map(Zeroizing::new);
        let text = text.map_err(|error| self.failed("write")(error.into()))?;
        let (path, bytes) = (self.path.clone(), text.clone());
        blocking(move || replace_file(&path, &bytes))
            .await
            .map_err(self.failed("write"))?;
        self.stored(&text)
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::File {
            operation,
            path,
            source,
        }
    }
}

#[async_trait]
impl IdentityStore for FileStore {
    async fn load(&self) -> Result<Option<Stored>, Error> {
        match tokio::fs::read(&self.path).await {
            Ok(text) => self.stored(&Zeroizing::new(text)).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed("read")(source)),
        }
    }

    async fn lock(&self) -> Result<Lock, Error> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let lock = blocking(move || {
            let mut options = std::fs::OpenOptions::new();
            let file = options
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(path)?;
            file.lock()?;
            Ok(file)
        });
        lock.await.map(Lock::File).map_err(self.failed("lock"))
    }

    async fn create(&self, identity: &Identity, _: &Lock) -> Result<Option<Stored>, Error> {
        if self.load().await?.is_some() {
            return Ok(None);
        }
        self.write(identity).await.map(Some)
    }

    async fn replace(
        &self,
        identity: &Identity,
        version: &str,
        _: &Lock,
    ) -> Result<Option<Stored>, Error> {
        match self.load().await? {
            Some(stored) if stored.version == version => self.write(identity).await.map(Some),
            _ => Ok(None),
        }
    }

    /// One process uses the file; nobody else changes it.
    async fn changed(&self, _: &str) -> Result<(), Error> {
        std::future::pending().await
    }
}

/// Writes beside the file and renames, so that a reader never sees half of it.
fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::PrivateKey;
    use super::*;

    #[tokio::test]
    async fn the_first_one_wins_and_a_stale_one_loses() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(folder.path().join("identity"));
        assert!(store.load().await.unwrap().is_none());
        let fresh = Identity {
            key: PrivateKey::generate().unwrap(),
            enrolment: None,
        };
        let lock = store.lock().await.unwrap();
        let first = store.create(&fresh, &lock).await.unwrap().unwrap();
        assert!(store.create(&fresh, &lock).await.unwrap().is_none());

        let enrolled = encoding::tests::enrolled();
        let second = store
            .replace(&enrolled, &first.version, &lock)
            .await
            .unwrap()
            .unwrap();
        assert_ne!(first.version, second.version);
        assert!(
            store
                .replace(&fresh, &first.version, &lock)
                .await
                .unwrap()
                .is_none()
        );
        let read = store.load().await.unwrap().unwrap();
        assert_eq!(read.identity.enrolment, enrolled.enrolment);
        assert_eq!(read.version, second.version);
        let mode = std::fs::metadata(folder.path().join("identity"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
