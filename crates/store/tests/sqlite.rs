//! What only the SQLite store promises: files on disk, one writer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use sortie_store::{
    Advance, BlobHash, Error, Executions as _, NewExecution, Scope, Settings as _, SqliteStore,
    Store,
};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn execution(id: &str) -> NewExecution {
    NewExecution {
        id: id.to_owned(),
        scope: Scope::project("default", "shop"),
        pipeline: "p".to_owned(),
        pipeline_version: 1,
        plan: "{}".to_owned(),
        inputs: "{}".to_owned(),
        state: "{}".to_owned(),
        status: "RUNNING".to_owned(),
        events: vec!["\"started\"".to_owned()],
        requested_by: "admin".to_owned(),
        created_at: at(0),
    }
}

#[tokio::test]
async fn a_reopened_store_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    store.create_execution(&execution("e1")).await.unwrap();
    store.close().await;
    let again = SqliteStore::open(folder.path()).await.unwrap();
    assert_eq!(again.unfinished_executions().await.unwrap(), ["e1"]);
}

#[tokio::test]
async fn concurrent_advances_have_one_winner() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    store.create_execution(&execution("e1")).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            let advance = Advance {
                events: vec![n.to_string()],
                state: "{}".to_owned(),
                status: "RUNNING".to_owned(),
                message: None,
                code: None,
                ended: false,
            };
            sortie_store::Executions::advance_execution(&store, "e1", 1, &advance, at(1)).await
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let store: &dyn Store = &store;
    assert_eq!(store.execution_events("e1", 0, 100).await.unwrap().len(), 2);
}

/// A trigger that makes SQLite end the transaction by itself, as it does when the disk is full.
#[tokio::test]
async fn a_write_that_sqlite_rolls_back_by_itself_does_not_block_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("sortie.db"));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON settings WHEN NEW.name = 'name'
         BEGIN SELECT RAISE(ROLLBACK, 'refused'); END",
    )
    .execute(&mut other)
    .await
    .unwrap();
    for _ in 0..2 {
        let error = store.setting_or_insert("name", b"v").await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("refused"), "{cause}");
        assert!(!error.is_transient(), "a constraint stays broken");
        store.check_writable().await.unwrap();
    }
    sqlx::raw_sql("DROP TRIGGER refuse")
        .execute(&mut other)
        .await
        .unwrap();
    assert_eq!(store.setting_or_insert("name", b"v").await.unwrap(), b"v");
}

#[tokio::test]
async fn a_damaged_blob_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let store: &dyn Store = &store;
    let hash = store.put_blob(b"hello").await.unwrap();
    let path = folder
        .path()
        .join("blobs")
        .join(&hash.as_str()[..2])
        .join(hash.as_str());
    std::fs::write(path, b"jello").unwrap();
    assert!(matches!(
        store.blob(&hash).await,
        Err(Error::BlobDamaged { .. })
    ));
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let error = SqliteStore::open(&missing).await.unwrap_err();
    assert_eq!(error.code(), "SRT-S901");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn hashes_from_outside_are_checked() {
    for bad in [
        "",
        "abc",
        "../../etc/passwd",
        &"A".repeat(64),
        &"g".repeat(64),
        &"a".repeat(65),
    ] {
        assert_eq!(BlobHash::parse(bad), None, "{bad}");
    }
    assert!(BlobHash::parse(&"a0".repeat(32)).is_some());
}
