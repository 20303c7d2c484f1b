//! Blobs are files `blobs/ab/abcd…`, written under a temporary name, flushed, then renamed: a name
//! that exists has whole content. The time of a file is when its blob was last kept.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use jiff::Timestamp;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::SqliteStore;
use crate::{BlobHash, Blobs, Error, Result};

/// The folder of the blobs. One process has it at a time.
#[derive(Debug, Clone)]
pub(super) struct BlobFolder {
    path: PathBuf,
    /// Shared by those who keep blobs, alone for who deletes one: it looks at a file's time and
    /// removes the file while nobody makes it young again.
    changing: Arc<RwLock<()>>,
}

#[async_trait]
impl Blobs for SqliteStore {
    async fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash> {
        let hash = BlobHash::of(bytes);
        let path = self.blobs.path_of(&hash);
        let (content, changing) = (bytes.to_vec(), Arc::clone(&self.blobs.changing));
        let written = blocking(move || {
            let _together = changing.read().unwrap_or_else(PoisonError::into_inner);
            keep(&path, &content)
        });
        match written.await {
            Ok(()) => Ok(hash),
            Err(source) => Err(failed("write", &hash, source)),
        }
    }

    async fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        match tokio::fs::read(self.blobs.path_of(hash)).await {
            Ok(bytes) if BlobHash::of(&bytes) == *hash => Ok(Some(bytes)),
            Ok(_) => Err(Error::BlobDamaged {
                hash: hash.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", hash, source)),
        }
    }
}

impl BlobFolder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            changing: Arc::default(),
        }
    }

    fn path_of(&self, hash: &BlobHash) -> PathBuf {
        let text = hash.as_str();
        let prefix = text.get(..2).unwrap_or(text);
        self.path.join(prefix).join(text)
    }

    /// The folders in it, each with the blobs of a prefix.
    pub(super) async fn folders(&self) -> Result<Vec<PathBuf>> {
        let path = self.path.clone();
        let found = blocking(move || match std::fs::read_dir(path) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.path()))
                .filter(|path| path.as_ref().is_ok_and(|path| path.is_dir()) || path.is_err())
                .collect(),
            // Nothing has been kept yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        });
        found.await.map_err(|source| Error::BlobFolder {
            path: self.path.clone(),
            source,
        })
    }

    /// The blobs in one of its folders that were last kept before a time. What a process that died left half written
    /// is removed.
    pub(super) async fn old(&self, folder: PathBuf, before: Timestamp) -> Result<Vec<BlobHash>> {
        let path = folder.clone();
        let found = blocking(move || old(&folder, before)).await;
        found.map_err(|source| Error::BlobFolder { path, source })
    }

    /// Deletes those of `blobs` that have not been kept again since a time. Returns how many.
    pub(super) async fn delete(&self, blobs: Vec<BlobHash>, before: Timestamp) -> Result<u64> {
        let mut deleted = 0;
        for hash in blobs {
            let (path, changing) = (self.path_of(&hash), Arc::clone(&self.changing));
            let removed = blocking(move || remove(&changing, &path, before)).await;
            let removed = removed.map_err(|source| failed("delete", &hash, source))?;
            deleted += u64::from(removed);
        }
        Ok(deleted)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .and_then(|result| result)
}

fn failed(operation: &'static str, hash: &BlobHash, source: io::Error) -> Error {
    Error::Blob {
        operation,
        hash: hash.to_string(),
        source,
    }
}

fn keep(path: &Path, content: &[u8]) -> io::Result<()> {
    // Same name, same length: the content is there. A damaged file is written again.
    if let Ok(file) = std::fs::File::open(path)
        && file.metadata()?.len() == content.len() as u64
    {
        return make_young(&file);
    }
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(
        ".{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut file = std::fs::File::create(&temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one that matters.
        let _left_over = std::fs::remove_file(&temporary);
    }
    written
}

/// Sets the time of a file to now, by the clock of the file system.
fn make_young(file: &std::fs::File) -> io::Result<()> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(UTIME_OMIT),
        last_modification: time(UTIME_NOW),
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Removes a file unless it has become young.
fn remove(changing: &RwLock<()>, path: &Path, before: Timestamp) -> io::Result<bool> {
    let _alone = changing.write().unwrap_or_else(PoisonError::into_inner);
    if !is_old(path, before)? {
        return Ok(false);
    }
    std::fs::remove_file(path).map(|()| true)
}

fn old(folder: &Path, before: Timestamp) -> io::Result<Vec<BlobHash>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !is_old(&entry.path(), before)? {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        match BlobHash::parse(name) {
            Some(hash) => found.push(hash),
            None if name.starts_with('.') => std::fs::remove_file(entry.path())?,
            // Not ours.
            None => {}
        }
    }
    Ok(found)
}

/// Whether there is a file, last changed before a time.
fn is_old(path: &Path, before: Timestamp) -> io::Result<bool> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let changed = Timestamp::try_from(metadata.modified()?).unwrap_or(Timestamp::MAX);
    Ok(metadata.is_file() && changed < before)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn who_deletes_waits_for_who_keeps_and_looks_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        let file = std::fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let before = Timestamp::from_second(100).unwrap();
        let changing = RwLock::new(());
        std::thread::scope(|threads| {
            let keeping = changing.read().unwrap();
            let (told, removed) = mpsc::channel();
            let removing = || remove(&changing, &path, before).unwrap();
            threads.spawn(move || told.send(removing()));
            let early = removed.recv_timeout(Duration::from_millis(100));
            assert!(early.is_err(), "it waits");
            make_young(&file).unwrap();
            drop(keeping);
            assert!(!removed.recv().unwrap());
        });
        assert!(path.exists());
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(remove(&changing, &path, before).unwrap());
        assert!(!remove(&changing, &path, before).unwrap(), "it is gone");
    }
}
