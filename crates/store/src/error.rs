//! What can go wrong in the store.

use std::path::PathBuf;

/// An operation of the store that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data folder or the database in it could not be opened.
    #[error("could not open the database {path}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought to this version of the program.
    #[error("could not migrate the database")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    /// A statement failed.
    #[error("could not {operation} in the database")]
    Query {
        /// What was being done, e.g. `read an entity`.
        operation: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds something this program cannot read.
    #[error("the database holds an unreadable {what}: {detail}")]
    Unreadable {
        /// What was being read, e.g. `execution`.
        what: &'static str,
        /// Which one and why; never a secret.
        detail: String,
    },
    /// A compare-and-set lost against another writer, or a name is taken.
    #[error("{what} was changed by someone else in the meantime, or exists twice")]
    Conflict {
        /// What was being changed, e.g. `execution 0190…`.
        what: String,
    },
    /// The thing that was to be changed does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for, e.g. `execution 0190…`.
        what: String,
    },
    /// A blob could not be written or read.
    #[error("could not {operation} the blob {hash}")]
    Blob {
        /// `write`, `read` or `delete`.
        operation: &'static str,
        /// Hex SHA-256 of the blob.
        hash: String,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder of the blobs could not be read.
    #[error("could not read the folder of blobs {path}")]
    BlobFolder {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A blob on disk is not what its name says.
    #[error("the blob {hash} is damaged: its content has another hash")]
    BlobDamaged {
        /// Hex SHA-256 that was asked for.
        hash: String,
    },
}

impl Error {
    /// Stable code of the error, explained in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "SRT-S901",
            Self::Migrate(_) => "SRT-S902",
            Self::Query { .. } => "SRT-S903",
            Self::Unreadable { .. } => "SRT-S904",
            Self::Conflict { .. } => "SRT-S905",
            Self::NotFound { .. } => "SRT-S906",
            Self::Blob { .. } | Self::BlobFolder { .. } | Self::BlobDamaged { .. } => "SRT-S907",
        }
    }

    /// Whether the same call may succeed when it is made again later: everything but data that
    /// breaks a constraint or cannot be read. A full disk is emptied, a failing one replaced, and
    /// what was to be written must not be lost for it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Query { source, .. } => !is_about_data(source),
            Self::Open { .. } | Self::Blob { .. } | Self::BlobFolder { .. } => true,
            Self::Migrate(_)
            | Self::Unreadable { .. }
            | Self::Conflict { .. }
            | Self::NotFound { .. }
            | Self::BlobDamaged { .. } => false,
        }
    }

    pub(crate) fn query(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Query { operation, source }
    }
}

/// Whether the cause lies in what is written or stored, not in the state of the database or of the
/// connection to it.
fn is_about_data(error: &sqlx::Error) -> bool {
    match error {
        // SQLITE_CORRUPT, TOOBIG, CONSTRAINT, MISMATCH and NOTADB, with their extended forms.
        sqlx::Error::Database(error) => error
            .code()
            .and_then(|code| code.parse::<u32>().ok())
            .is_some_and(|code| matches!(code & 0xff, 11 | 18 | 19 | 20 | 26)),
        sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn only_data_makes_an_error_final() {
        for transient in [
            sqlx::Error::InvalidSavePointStatement,
            sqlx::Error::BeginFailed,
            sqlx::Error::WorkerCrashed,
            sqlx::Error::PoolTimedOut,
            sqlx::Error::Io(std::io::ErrorKind::StorageFull.into()),
        ] {
            let error = Error::query("do something")(transient);
            assert!(error.is_transient(), "{error:?}");
        }
        for lasting in [
            sqlx::Error::RowNotFound,
            sqlx::Error::Decode("not a number".into()),
        ] {
            let error = Error::query("do something")(lasting);
            assert!(!error.is_transient(), "{error:?}");
        }
    }
}
