//! What goes when it is old, and what must stay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sortie_store::{
    Advance, BlobHash, Blobs as _, EndedExecution, EntityKey, EntityWrite, NewExecution,
    NewLogLine, NewStep, NewTask, Retention as _, Scope, SqliteStore, Store, TaskChange,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

async fn run(store: &dyn Store, id: &str, pipeline: &str, ended_at: Option<i64>) {
    let new = NewExecution {
        id: id.to_owned(),
        scope: Scope::project("acme", "shop"),
        pipeline: pipeline.to_owned(),
        pipeline_version: 1,
        plan: "{}".to_owned(),
        inputs: "{}".to_owned(),
        state: "{}".to_owned(),
        status: "RUNNING".to_owned(),
        events: vec!["\"started\"".to_owned()],
        requested_by: "admin".to_owned(),
        created_at: at(0),
    };
    store.create_execution(&new).await.unwrap();
    let lines: Vec<_> = (0..10)
        .map(|seq| NewLogLine {
            execution: id.to_owned(),
            node: "p.a".to_owned(),
            task: format!("task of {id}"),
            epoch: 1,
            seq,
            unit: "Apply".to_owned(),
            level: "info".to_owned(),
            at: at(seq),
            text: "text".to_owned(),
        })
        .collect();
    store.append_log(&lines).await.unwrap();
    let step = NewStep {
        task: format!("task of {id}"),
        execution: id.to_owned(),
        node: "p.a".to_owned(),
        attempt: 1,
        request: "{}".to_owned(),
        blobs: vec![BlobHash::of(id.as_bytes())],
        created_at: at(0),
    };
    store.record_step(&step).await.unwrap();
    if let Some(ended_at) = ended_at {
        let advance = Advance {
            events: Vec::new(),
            state: "{}".to_owned(),
            status: "SUCCEEDED".to_owned(),
            message: None,
            code: None,
            ended: true,
        };
        let moved = store.advance_execution(id, 1, &advance, at(ended_at));
        moved.await.unwrap();
    }
}

#[tokio::test]
async fn ended_executions_are_listed_with_their_place_among_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    for (id, pipeline, ended_at) in [
        ("e1", "web", Some(10)),
        ("e2", "web", None),
        ("e3", "api", Some(20)),
        ("e4", "web", Some(30)),
        ("e5", "web", Some(40)),
    ] {
        run(&store, id, pipeline, ended_at).await;
    }
    let store: &dyn Store = &store;
    let old = |id: &str, ended_at: i64, later_runs: i64| EndedExecution {
        id: id.to_owned(),
        ended_at: at(ended_at),
        later_runs,
    };
    let found = store.ended_executions(at(40), "", 10).await.unwrap();
    assert_eq!(
        found,
        [old("e1", 10, 3), old("e3", 20, 0), old("e4", 30, 1)]
    );
    let page = store.ended_executions(at(40), "e1", 1).await.unwrap();
    assert_eq!(page, [old("e3", 20, 0)]);
}

#[tokio::test]
async fn an_execution_goes_with_its_log_in_pieces_and_a_running_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let web = EntityKey {
        kind: "service".to_owned(),
        scope: Scope::project("acme", "shop"),
        parent: String::new(),
        identifier: "web".to_owned(),
    };
    for (id, ended_at) in [("e1", Some(10)), ("e2", None), ("e3", Some(30))] {
        run(&store, id, "web", ended_at).await;
    }
    let store: &dyn Store = &store;
    let lines =
        |id: &'static str| async move { store.log_lines(id, None, 0, 100).await.unwrap().len() };
    let write = EntityWrite {
        key: web.clone(),
        name: "web".to_owned(),
        path: String::new(),
        text: "one".to_owned(),
    };
    let change = sortie_store::Change {
        entities: vec![write],
        secrets: Vec::new(),
        by: "admin".to_owned(),
    };
    store.put_entities(&change, at(0)).await.unwrap();
    store.pin_entity("e1", &web).await.unwrap().unwrap();

    assert!(!store.delete_execution("e1", 6).await.unwrap());
    assert_eq!(lines("e1").await, 4);
    assert!(store.execution("e1").await.unwrap().is_some());
    assert!(store.delete_execution("e1", 6).await.unwrap());
    assert_eq!(lines("e1").await, 0);
    assert_eq!(store.execution("e1").await.unwrap(), None);
    assert_eq!(store.steps_of_execution("e1").await.unwrap(), []);
    assert_eq!(store.execution_events("e1", 0, 10).await.unwrap(), []);
    assert!(store.entity(&web).await.unwrap().is_some(), "entities stay");

    assert!(store.delete_execution("e2", 100).await.unwrap());
    assert_eq!(lines("e2").await, 10, "it has not ended");
    assert!(store.execution("e2").await.unwrap().is_some());
    run(store, "e4", "web", None).await;
    let next = store.execution("e4").await.unwrap().unwrap();
    assert_eq!(next.sequence, 4, "numbers are not used again");
}

#[tokio::test]
async fn a_task_goes_a_while_after_its_end_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    for (id, ended, told_at) in [
        ("t1", true, Some(10)),
        ("t2", true, Some(20)),
        ("t3", true, None),
        ("t4", false, None),
    ] {
        let store: &dyn Store = &store;
        let new = NewTask {
            id: id.to_owned(),
            scope: Scope::project("acme", "shop"),
            selectors: Vec::new(),
            payload: b"task".to_vec(),
            record: "queued".to_owned(),
            deadline: at(100),
            created_at: at(0),
        };
        store.insert_task(&new).await.unwrap();
        let change = TaskChange {
            id: id.to_owned(),
            version: 1,
            record: "over".to_owned(),
            ended,
            delegate: None,
            outcome: None,
        };
        store.update_task(&change).await.unwrap();
        if let Some(told_at) = told_at {
            store.task_told(id, at(told_at)).await.unwrap();
            // Told again: its time is that of the first.
            store.task_told(id, at(1_000)).await.unwrap();
        }
    }
    let store: &dyn Store = &store;
    assert_eq!(store.delete_told_tasks(at(10), 10).await.unwrap(), 0);
    assert_eq!(store.delete_told_tasks(at(11), 10).await.unwrap(), 1);
    assert_eq!(store.task("t1").await.unwrap(), None);
    assert_eq!(store.delete_told_tasks(at(10_000), 1).await.unwrap(), 1);
    assert_eq!(store.delete_told_tasks(at(10_000), 1).await.unwrap(), 0);
    assert_eq!(store.untold_tasks().await.unwrap().len(), 2);
}

/// Makes a blob as old as one that was last kept at this second.
fn age(folder: &Path, hash: &BlobHash, second: u64) {
    let path = file(folder, hash);
    let kept = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(kept).unwrap();
}

fn file(folder: &Path, hash: &BlobHash) -> std::path::PathBuf {
    let text = hash.as_str();
    folder.join("blobs").join(&text[..2]).join(text)
}

#[tokio::test]
async fn a_blob_goes_when_it_is_old_and_nothing_refers_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let none = HashSet::new();
    let swept = store.delete_unused_blobs(at(100), &none).await;
    assert_eq!(swept.unwrap(), 0, "there is no folder yet");
    let mut hashes = Vec::new();
    for content in ["e1", "unused", "used", "young", "kept again"] {
        let hash = store.put_blob(content.as_bytes()).await.unwrap();
        age(
            folder.path(),
            &hash,
            if content == "young" { 100 } else { 99 },
        );
        hashes.push(hash);
    }
    run(&store, "e1", "web", Some(10)).await;
    store.put_blob(b"kept again").await.unwrap();
    let left_over = file(folder.path(), &hashes[1]).with_file_name(".7-ThreadId(1)");
    std::fs::write(&left_over, "half").unwrap();
    let foreign = folder.path().join("blobs/lost+found");
    std::fs::write(&foreign, "").unwrap();
    let used = HashSet::from([hashes[2].clone()]);
    let there = async || {
        let mut there = Vec::new();
        for hash in &hashes {
            there.push(store.blob(hash).await.unwrap().is_some());
        }
        there
    };
    assert_eq!(store.delete_unused_blobs(at(100), &used).await.unwrap(), 1);
    assert_eq!(there().await, [true, false, true, true, true]);
    assert!(left_over.exists(), "somebody may be writing it");

    // With its execution goes what only that referred to.
    assert!(store.delete_execution("e1", 100).await.unwrap());
    assert_eq!(store.delete_unused_blobs(at(100), &none).await.unwrap(), 2);
    assert_eq!(there().await, [false, false, false, true, true]);
    assert_eq!(
        store
            .delete_unused_blobs(Timestamp::MAX, &none)
            .await
            .unwrap(),
        2
    );
    assert!(!left_over.exists() && foreign.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_kept_while_old_ones_are_deleted_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let hash = store.put_blob(b"content").await.unwrap();
    for round in 0..300 {
        // Gone since the last round, or not.
        store.put_blob(b"content").await.unwrap();
        age(folder.path(), &hash, 1);
        let sweeper = store.clone();
        let mut sweeping = tokio::task::JoinSet::new();
        sweeping.spawn(async move { sweeper.delete_unused_blobs(at(100), &HashSet::new()).await });
        store.put_blob(b"content").await.unwrap();
        sweeping.join_next().await.unwrap().unwrap().unwrap();
        assert!(store.blob(&hash).await.unwrap().is_some(), "round {round}");
    }
}
