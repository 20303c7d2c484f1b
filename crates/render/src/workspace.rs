use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thiserror::Error;

/// A private folder for one job, readable by this user only and removed when dropped.
#[derive(Debug)]
pub struct Workspace {
    folder: TempDir,
}

/// Why a private folder could not be used.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The folder could not be made.
    #[error("cannot make a private folder in {}", parent.display())]
    Create {
        /// Where it was to be.
        parent: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file in it could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Workspace {
    /// Makes a folder of mode 0700 with a name of its own inside `parent`, which must exist.
    pub fn create_in(parent: &Path) -> Result<Self, WorkspaceError> {
        let folder = tempfile::Builder::new()
            .prefix("sortie-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(|source| WorkspaceError::Create {
                parent: parent.to_owned(),
                source,
            })?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a folder inside, private as well, with a name of its own.
    pub(crate) fn folder(&self, prefix: &str) -> Result<TempDir, WorkspaceError> {
        tempfile::Builder::new()
            .prefix(prefix)
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(self.path())
            .map_err(|source| WorkspaceError::Create {
                parent: self.path().to_owned(),
                source,
            })
    }
}

impl WorkspaceError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        "SRT-R007"
    }
}

/// Writes a new file of mode 0600. It must not exist: nothing is followed or overwritten.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), WorkspaceError> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|source| WorkspaceError::Write {
            path: path.to_owned(),
            source,
        })
}
