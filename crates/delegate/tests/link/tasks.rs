//! Tasks over the link: run, asked about, cut off, cancelled, drained.

use serde_json::json;
use sortie_proto::v1;
use sortie_server::tasks::{Dispatcher as _, Resolution, TaskOutcome};
use zeroize::Zeroizing;

use super::control::{Control, PATIENCE, options};
use super::delegate::{Delegate, Setup};
use super::network::Proxy;
use super::runner::task;

async fn pair(folder: &tempfile::TempDir) -> (Control, Delegate) {
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let mut delegate = Setup::new(control.address(), folder.path())
        .token(&token)
        .start();
    delegate.up().await;
    (control, delegate)
}

async fn running(control: &Control, id: &str) {
    let shows = |heard: &super::control::Heard| {
        let of_task = |p: &&v1::Progress| p.task.as_ref().is_some_and(|t| t.task_id == id);
        heard.progress.iter().find(of_task).map(|_| ())
    };
    control
        .recorder
        .wait(&format!("progress of {id}"), shows)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_shows_units_objects_and_lines_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (control, delegate) = pair(&folder).await;
    control.enqueue(task("t1", "talk")).await;
    assert_eq!(control.recorder.outputs("t1").await, json!({"number": 1}));
    let progress = |heard: &super::control::Heard| {
        let last = heard.progress.last()?;
        (last.units[0].status() == v1::UnitStatus::Succeeded).then(|| last.clone())
    };
    let progress = control.recorder.wait("progress", progress).await;
    assert_eq!(
        (progress.units.len(), progress.units[0].name.as_str()),
        (1, "Apply")
    );
    let rows = control
        .recorder
        .wait("rows", |heard| heard.resources.last().cloned())
        .await
        .rows;
    assert_eq!(
        (rows[0].name.as_str(), rows[0].health()),
        ("web", v1::Health::Healthy)
    );
    let lines = control
        .recorder
        .wait("lines", |heard| {
            (heard.lines.len() == 2).then(|| heard.lines.clone())
        })
        .await;
    let lines: Vec<_> = lines
        .iter()
        .map(|line| (line.seq, line.text.as_str()))
        .collect();
    assert_eq!(lines, [(1, "first"), (2, "second")]);
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_come_in_the_open_and_secrets_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let (control, delegate) = pair(&folder).await;
    {
        let mut values = control.recorder.values.lock().unwrap();
        values.insert("a.value".into(), Resolution::Value(json!({"x": [1]})));
        let secret = Zeroizing::new(b"hunter22".to_vec());
        values.insert("a.secret".into(), Resolution::Secret(secret));
        values.insert("a.denied".into(), Resolution::Denied("not yours".into()));
    }
    control.enqueue(task("t1", "ask")).await;
    let want = json!({"value": {"x": [1]}, "secret": 8, "reason": "not yours"});
    assert_eq!(control.recorder.outputs("t1").await, want);
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_are_read_in_chunks_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (control, delegate) = pair(&folder).await;
    let blob = control.blob(&vec![7; 1_000_000]).await;
    let with = |id: &str, blob: &v1::BlobRef| {
        let mut task = task(id, "read");
        task.context = Some(blob.clone());
        task
    };
    control.enqueue(with("whole", &blob)).await;
    assert_eq!(
        control.recorder.outputs("whole").await,
        json!({"bytes": 1_000_000})
    );
    let failure = async |id: &str, blob: v1::BlobRef| {
        control.enqueue(with(id, &blob)).await;
        match control.recorder.outcome(id).await {
            TaskOutcome::Failed(failed) => failed.code,
            other => panic!("{other:?}"),
        }
    };
    let shorter = v1::BlobRef {
        size: 999_999,
        ..blob.clone()
    };
    assert_eq!(failure("longer than it says", shorter).await, "SRT-D041");
    let missing = v1::BlobRef {
        sha256: "0".repeat(64),
        size: 3,
    };
    assert_eq!(failure("missing", missing).await, "SRT-D040");
    let huge = v1::BlobRef {
        size: 1 << 40,
        ..blob
    };
    assert_eq!(failure("huge", huge).await, "SRT-D042");
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_its_task_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (control, delegate) = pair(&folder).await;
    control.enqueue(task("bad", "panic")).await;
    let TaskOutcome::Failed(failed) = control.recorder.outcome("bad").await else {
        panic!("it failed")
    };
    assert_eq!(failed.code, "SRT-D043");
    assert!(!failed.message.contains("hunter22"));
    control.enqueue(task("good", "talk")).await;
    control.recorder.outputs("good").await;
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_task_ends_as_aborted() {
    let folder = tempfile::tempdir().unwrap();
    let (control, delegate) = pair(&folder).await;
    control.enqueue(task("t1", "wait")).await;
    running(&control, "t1").await;
    control.agent.cancel("t1").await.unwrap();
    assert!(matches!(
        control.recorder.outcome("t1").await,
        TaskOutcome::Aborted(_)
    ));
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_tasks_run_than_the_capacity_allows() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let setup = Setup::new(control.address(), folder.path())
        .token(&token)
        .capacity(2);
    let mut delegate = setup.start();
    delegate.up().await;
    for id in ["a", "b", "c"] {
        control.enqueue(task(id, "wait")).await;
    }
    control
        .recorder
        .wait("two acceptances", |heard| {
            (heard.accepted.len() == 2).then_some(())
        })
        .await;
    delegate.gate.add_permits(1);
    control
        .recorder
        .wait("the third acceptance", |heard| {
            (heard.accepted.len() == 3).then_some(())
        })
        .await;
    assert!(control.recorder.heard.borrow().ended.len() <= 1);
    delegate.gate.add_permits(2);
    for id in ["a", "b", "c"] {
        control.recorder.outputs(id).await;
    }
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_survives_a_cut_link() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let proxy = Proxy::start(control.address()).await;
    let mut delegate = Setup::new(proxy.address, folder.path())
        .token(&token)
        .start();
    delegate.up().await;
    control.enqueue(task("t1", "wait")).await;
    running(&control, "t1").await;
    proxy.cut();
    delegate.down().await;
    delegate.gate.add_permits(1);
    // The task has ended before the link is there again.
    let ended = async {
        while delegate.metrics.running.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    proxy.mend(control.address());
    assert_eq!(control.recorder.outputs("t1").await, json!({"epoch": 1}));
    assert_eq!(control.recorder.ends("t1"), 1);
    delegate.up().await;
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_survives_a_restarted_server() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let proxy = Proxy::start(control.address()).await;
    let mut delegate = Setup::new(proxy.address, folder.path())
        .token(&token)
        .start();
    delegate.up().await;
    for id in ["during", "after"] {
        control.enqueue(task(id, "wait")).await;
        running(&control, id).await;
    }
    let recorder = std::sync::Arc::clone(&control.recorder);
    proxy.cut();
    control.stop().await;
    delegate.down().await;
    delegate.gate.add_permits(1);
    let control = Control::start_with(folder.path(), options(), recorder).await;
    proxy.mend(control.address());
    delegate.up().await;
    delegate.gate.add_permits(1);
    for id in ["during", "after"] {
        assert_eq!(control.recorder.outputs(id).await, json!({"epoch": 1}));
        assert_eq!(control.recorder.ends(id), 1);
    }
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_written_while_the_link_is_cut_arrive_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let proxy = Proxy::start(control.address()).await;
    let mut delegate = Setup::new(proxy.address, folder.path())
        .token(&token)
        .start();
    delegate.up().await;
    control.enqueue(task("t1", "flood")).await;
    running(&control, "t1").await;
    proxy.cut();
    delegate.down().await;
    delegate.gate.add_permits(1);
    proxy.mend(control.address());
    control.recorder.outcome("t1").await;
    let all = |heard: &super::control::Heard| {
        let mut seqs: Vec<u64> = heard.lines.iter().map(|line| line.seq).collect();
        // Batches that were not acknowledged come again; the store drops them by number.
        seqs.dedup();
        (seqs.last() == Some(&5_000)).then_some(seqs)
    };
    let mut seqs = control.recorder.wait("the last line", all).await;
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs, (1..=5_000).collect::<Vec<_>>());
    assert_eq!(delegate.metrics.log_lines_dropped.get(), 0);
    delegate.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_delegate_finishes_what_it_holds_and_takes_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let (control, mut delegate) = pair(&folder).await;
    control.enqueue(task("held", "wait")).await;
    running(&control, "held").await;
    delegate.stop.cancel();
    control.enqueue(task("new", "talk")).await;
    delegate.gate.add_permits(1);
    control.recorder.outputs("held").await;
    tokio::time::timeout(PATIENCE, delegate.ended())
        .await
        .unwrap();
    assert_eq!(control.recorder.ends("new"), 0);
    // The next process takes it.
    let mut next = Setup::new(control.address(), folder.path()).start();
    next.up().await;
    control.recorder.outputs("new").await;
    next.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_delegates_task_is_run_again_by_its_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let (control, delegate) = pair(&folder).await;
    control.enqueue(task("t1", "wait")).await;
    running(&control, "t1").await;
    delegate.kill().await;
    let mut next = Setup::new(control.address(), folder.path()).start();
    next.up().await;
    next.gate.add_permits(1);
    assert_eq!(control.recorder.outputs("t1").await, json!({"epoch": 2}));
    next.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_drain_tasks_are_handed_back_to_another_replica() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let mut setup = Setup::new(control.address(), folder.path()).token(&token);
    setup.drain = std::time::Duration::from_millis(300);
    let mut leaving = setup.start();
    leaving.up().await;
    for id in ["a", "b"] {
        control.enqueue(task(id, "wait")).await;
        running(&control, id).await;
    }
    let mut other = setup.instance("pod-2").start();
    other.up().await;
    leaving.stop.cancel();
    // It ends by itself, well before a lease is over.
    leaving.ended().await;
    other.gate.add_permits(2);
    for id in ["a", "b"] {
        assert_eq!(control.recorder.outputs(id).await, json!({"epoch": 2}));
        assert_eq!(control.recorder.ends(id), 1);
    }
    other.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_finds_no_safe_place_does_not_keep_the_delegate() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let token = control.token(1).await;
    let mut setup = Setup::new(control.address(), folder.path()).token(&token);
    setup.drain = std::time::Duration::ZERO;
    let mut delegate = setup.start();
    delegate.up().await;
    control.enqueue(task("t1", "deaf")).await;
    control
        .recorder
        .wait("the acceptance", |heard| {
            (!heard.accepted.is_empty()).then_some(())
        })
        .await;
    delegate.stop.cancel();
    delegate.ended().await;
    assert_eq!(control.recorder.ends("t1"), 0);
    // The next process takes it: this one is known to be gone.
    let mut next = Setup::new(control.address(), folder.path()).start();
    next.up().await;
    let second = |heard: &super::control::Heard| (heard.accepted.len() == 2).then_some(());
    control.recorder.wait("the next acceptance", second).await;
    next.kill().await;
    control.stop().await;
}
