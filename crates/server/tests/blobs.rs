//! What the folder of blobs keeps, and what goes from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use support::{PATIENCE, Server};

fn blobs(folder: &Path) -> Vec<PathBuf> {
    let prefixes = std::fs::read_dir(folder.join("blobs")).unwrap();
    let files = prefixes.flat_map(|prefix| std::fs::read_dir(prefix.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

fn age(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    let kept = file.metadata().unwrap().modified().unwrap() - week;
    file.set_modified(kept.max(SystemTime::UNIX_EPOCH)).unwrap();
}

#[tokio::test]
async fn an_old_snapshot_stays_with_its_execution_and_what_nothing_refers_to_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    let (id, task) = server.begin_hello().await;
    server.succeed(&task, "{}").await;
    server.ended(&id).await;
    let token = server.stop().await;
    let kept = blobs(folder.path());
    let snapshot = task.task.context.unwrap().sha256;
    assert!(kept.len() == 1 && kept[0].ends_with(&snapshot), "{kept:?}");
    let unused = folder.path().join("blobs/ff").join("f".repeat(64));
    std::fs::create_dir_all(unused.parent().unwrap()).unwrap();
    std::fs::write(&unused, "nobody's").unwrap();
    age(&unused);
    age(&kept[0]);

    // The sweeper looks when the server starts, in the order of the folders.
    let server = Server::restart(folder.path(), Some(token)).await;
    let swept = async {
        while unused.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, swept)
        .await
        .expect("the sweeper looks");
    server.stop().await;
    assert_eq!(blobs(folder.path()), kept);
}
