//! The store of a single server: one SQLite file in WAL mode and a folder for blobs.
//!
//! All writes go through one connection (SQLite has one writer anyway; a queue in the pool is fairer
//! than its busy handler), reads through a few others.

mod blobs;
mod delegates;
mod entities;
mod executions;
mod logs;
mod retention;
mod secrets;
mod settings;
mod steps;
mod tasks;
mod users;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _};
use sqlx::{Sqlite, Transaction};

use self::blobs::BlobFolder;
use crate::{Error, Result};

/// How long a statement waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a caller waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that only read.
const READERS: u32 = 4;

/// The migrations in order: number, name, statements. A released one is never edited.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "control plane",
        include_str!("../../migrations/0001_control_plane.sql"),
    ),
    (
        2,
        "delegates and tasks",
        include_str!("../../migrations/0002_delegates.sql"),
    ),
    (
        3,
        "causes of executions",
        include_str!("../../migrations/0003_execution_causes.sql"),
    ),
    (
        4,
        "retention",
        include_str!("../../migrations/0004_retention.sql"),
    ),
    (
        5,
        "blobs of steps",
        include_str!("../../migrations/0005_step_blobs.sql"),
    ),
    (
        6,
        "names of delegates",
        include_str!("../../migrations/0006_delegate_names.sql"),
    ),
];

/// The store of a single server.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    reader: SqlitePool,
    blobs: BlobFolder,
}

impl SqliteStore {
    /// Name of the database in the data folder.
    pub const FILE: &'static str = "sortie.db";

    /// Opens the store in a data folder that exists, making the database on first use and bringing
    /// its schema up to date.
    ///
    /// # Errors
    /// [`Error::Open`] when the file cannot be opened, [`Error::Migrate`] when a migration fails or
    /// the database was made by a newer version of the program.
    pub async fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: a result that was acknowledged to a delegate survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(64)
            // What is done is logged by who does it.
            .disable_statement_logging();
        let opened = |source| Error::Open {
            path: path.clone(),
            source,
        };
        let writer = pool(1)
            .after_release(|connection, _| Box::pin(is_at_rest(connection)))
            .connect_with(options.clone())
            .await
            .map_err(&opened)?;
        migrator()
            .run(&writer)
            .await
            .map_err(|error| Error::Migrate(Box::new(error)))?;
        let reader = pool(READERS)
            .connect_with(options.pragma("query_only", "on"))
            .await
            .map_err(&opened)?;
        Ok(Self {
            writer,
            reader,
            blobs: BlobFolder::new(folder.join("blobs")),
        })
    }

    /// Closes all connections; statements under way end first.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Starts a transaction that may write. `IMMEDIATE`, so that it never fails half-way for the
    /// lock.
    async fn write(&self, operation: &'static str) -> Result<Transaction<'static, Sqlite>> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(Error::query(operation))
    }
}

/// Whether a connection that comes back to the pool is outside any transaction; otherwise the pool
/// closes it and the next writer opens another.
///
/// After some errors (a full disk, a failing one, no memory) SQLite rolls back by itself. The
/// driver's own rollback then fails, and it would count the connection as inside a transaction, and
/// refuse to begin another, for as long as the connection lives.
async fn is_at_rest(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    // The rollback of a dropped transaction is queued in front of this.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_secs(300))
        .max_lifetime(None)
}

fn migrator() -> Migrator {
    Migrator::with_migrations(
        MIGRATIONS
            .iter()
            .map(|&(version, name, statements)| {
                Migration::new(
                    version,
                    name.into(),
                    MigrationType::Simple,
                    statements.into_sql_str(),
                    false,
                )
            })
            .collect(),
    )
}

/// A time as the tables hold it.
fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// A time from a table.
fn timestamp(what: &'static str, millis: i64) -> Result<Timestamp> {
    Timestamp::from_millisecond(millis).map_err(|error| Error::Unreadable {
        what,
        detail: error.to_string(),
    })
}

/// A time from a table that may be absent.
fn optional_timestamp(what: &'static str, millis: Option<i64>) -> Result<Option<Timestamp>> {
    millis.map(|millis| timestamp(what, millis)).transpose()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::SqliteStore;
    use crate::Settings as _;

    #[tokio::test]
    async fn a_full_database_takes_writes_again_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        // SQLite does not go below the pages in use, so this leaves no room.
        sqlx::query("PRAGMA max_page_count = 1")
            .execute(&store.writer)
            .await
            .unwrap();
        let large = vec![7; 1 << 20];
        let error = store.setting_or_insert("large", &large).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let sqlx::Error::Database(cause) = (match error {
            crate::Error::Query { source, .. } => source,
            other => panic!("{other:?}"),
        }) else {
            panic!("not an error of the database");
        };
        assert_eq!(cause.code().as_deref(), Some("13"), "SQLITE_FULL");
        sqlx::query("PRAGMA max_page_count = 1000000")
            .execute(&store.writer)
            .await
            .unwrap();
        store.check_writable().await.unwrap();
        store.check_writable().await.unwrap();
        let stored = store.setting_or_insert("large", &large).await.unwrap();
        assert_eq!(stored, large);
    }

    #[tokio::test]
    async fn a_check_needs_the_lock_that_another_process_holds() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let other = SqliteStore::open(folder.path()).await.unwrap();
        let held = other.write("hold the lock").await.unwrap();
        let check = tokio::time::timeout(Duration::from_millis(200), store.check_writable());
        assert!(check.await.is_err(), "it waits");
        held.rollback().await.unwrap();
        store.check_writable().await.unwrap();
    }
}
