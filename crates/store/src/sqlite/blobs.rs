//! Blobs are files `blobs/ab/abcd…`, written under a temporary name, flushed, then renamed: a name
//! that exists has whole content.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::SqliteStore;
use crate::{BlobHash, Blobs, Error, Result};

#[async_trait]
impl Blobs for SqliteStore {
    async fn put_blob(&self, bytes: &[u8]) -> Result<BlobHash> {
        let hash = BlobHash::of(bytes);
        let path = self.blob_path(&hash);
        let content = bytes.to_vec();
        let written = tokio::task::spawn_blocking(move || write_file(&path, &content)).await;
        match written.map_err(io::Error::other).and_then(|result| result) {
            Ok(()) => Ok(hash),
            Err(source) => Err(Error::Blob {
                operation: "write",
                hash: hash.to_string(),
                source,
            }),
        }
    }

    async fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        match tokio::fs::read(self.blob_path(hash)).await {
            Ok(bytes) if BlobHash::of(&bytes) == *hash => Ok(Some(bytes)),
            Ok(_) => Err(Error::BlobDamaged {
                hash: hash.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Blob {
                operation: "read",
                hash: hash.to_string(),
                source,
            }),
        }
    }
}

impl SqliteStore {
    fn blob_path(&self, hash: &BlobHash) -> PathBuf {
        let text = hash.as_str();
        let prefix = text.get(..2).unwrap_or(text);
        self.blob_folder.join(prefix).join(text)
    }
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    // Same name, same length: the content is there. A damaged file is written again.
    if std::fs::metadata(path).is_ok_and(|found| found.len() == content.len() as u64) {
        return Ok(());
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
