//! Tasks: offered, run, lost, fenced, delivered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sortie_link::delegate::Command;
use sortie_link::{CancelReason, RefusalReason, TaskRef};
use sortie_proto::v1;
use sortie_server::delegates::DelegateAdmin as _;
use sortie_server::tasks::{Dispatcher as _, Resolution, TaskOutcome, TaskRequest};
use tokio_stream::StreamExt as _;

use super::client::{self, enrol};
use super::control::{Control, Heard, PATIENCE, now, options, secret, shop, task};
use super::delegate::{Setup, Told};
use super::proxy::Proxy;

pub(crate) async fn joined(control: &Control) -> Setup {
    let token = control.token(shop(), 1).await;
    Setup::new(enrol(control.address(), &token).await, control.address())
}

pub(crate) fn succeeded(outputs: &str) -> TaskOutcome {
    TaskOutcome::Succeeded(v1::Succeeded {
        outputs_json: outputs.to_owned(),
    })
}

#[tokio::test]
async fn a_task_runs_from_the_queue_to_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    // Queued before anybody is there.
    control.enqueue(task("t1")).await;
    control.enqueue(task("t1")).await;
    let mut delegate = joined(&control).await.start_up().await;
    let started = delegate.started().await;
    assert_eq!(started, TaskRef::new("t1", 1));
    control
        .recorder
        .wait(|h| (*h == Heard::Accepted("t1".into(), "edge".into())).then_some(()))
        .await;
    delegate.progress(&started, 1);
    control
        .recorder
        .wait(|h| (*h == Heard::Progress(1)).then_some(()))
        .await;
    let view = control.agent.delegates().await.unwrap();
    assert_eq!(
        (view[0].sessions.len(), view[0].sessions[0].running),
        (1, 1)
    );
    delegate.succeed(&started, "{\"number\":1}");
    assert_eq!(
        control.recorder.outcome("t1").await,
        succeeded("{\"number\":1}")
    );
    delegate
        .wait(|told| *told == Told::Stored(started.clone()))
        .await;
    assert_eq!(control.recorder.ends("t1"), 1);
    // Asked again, the end is told again; nothing runs.
    control.enqueue(task("t1")).await;
    let two_ends = async {
        while control.recorder.ends("t1") < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, two_ends).await.unwrap();
    control.stop().await;
}

#[tokio::test]
async fn a_result_survives_a_cut_link_and_a_restarted_server() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let proxy = Proxy::start(control.address()).await;
    let setup = joined(&control).await;
    *setup.address.lock().unwrap() = proxy.address;
    let mut delegate = setup.start_up().await;
    control.enqueue(task("t1")).await;
    control.enqueue(task("t2")).await;
    let (first, second) = (delegate.started().await, delegate.started().await);

    proxy.cut();
    delegate.wait(|told| matches!(told, Told::Down(_))).await;
    delegate.succeed(&first, "{}");
    proxy.mend(control.address());
    assert_eq!(
        control.recorder.outcome(first.id.as_str()).await,
        succeeded("{}")
    );

    control.stop().await;
    delegate.succeed(&second, "{\"x\":2}");
    let control = Control::start(folder.path(), options()).await;
    proxy.mend(control.address());
    assert_eq!(
        control.recorder.outcome(second.id.as_str()).await,
        succeeded("{\"x\":2}")
    );
    delegate
        .wait(|told| *told == Told::Stored(second.clone()))
        .await;
    assert_eq!(
        control.recorder.all().len(),
        1,
        "the first task is not told again"
    );
    control.stop().await;
}

#[tokio::test]
async fn an_end_is_told_until_the_engine_has_stored_it() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let mut delegate = joined(&control).await.start_up().await;
    control.recorder.fails.store(true, Ordering::SeqCst);
    control.enqueue(task("t1")).await;
    let started = delegate.started().await;
    delegate.succeed(&started, "{}");
    assert_eq!(control.recorder.outcome("t1").await, succeeded("{}"));
    control.stop().await;
}

#[tokio::test]
async fn a_new_boot_without_the_task_has_lost_it() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let mut setup = joined(&control).await;
    let mut delegate = setup.start_up().await;
    control.enqueue(task("resumable")).await;
    delegate.started().await;
    control
        .enqueue(TaskRequest {
            resumable: false,
            ..task("once")
        })
        .await;
    delegate.started().await;
    drop(delegate);

    setup.boot = "boot-2".to_owned();
    let mut delegate = setup.start_up().await;
    assert_eq!(delegate.started().await, TaskRef::new("resumable", 2));
    let TaskOutcome::Failed(failed) = control.recorder.outcome("once").await else {
        panic!()
    };
    assert_eq!(failed.failure_type(), v1::FailureType::DelegateRestart);
    assert_eq!(failed.code, "SRT-S230");
    delegate.succeed(&TaskRef::new("resumable", 2), "{}");
    assert_eq!(control.recorder.outcome("resumable").await, succeeded("{}"));
    control.stop().await;
}

#[tokio::test]
async fn another_instance_takes_over_after_the_lease_and_the_old_one_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let mut quick = options();
    quick.task_lease = Duration::from_millis(300);
    let control = Control::start(folder.path(), quick).await;
    let proxy = Proxy::start(control.address()).await;
    let setup = joined(&control).await;
    let mut first = setup.clone();
    first.address = std::sync::Arc::new(std::sync::Mutex::new(proxy.address));
    let mut first = first.start_up().await;
    control.enqueue(task("t1")).await;
    let old = first.started().await;
    let second = Setup {
        instance: "pod-2".to_owned(),
        ..setup
    };
    let mut second = second.start_up().await;

    proxy.cut();
    let new = second.started().await;
    assert_eq!(new, TaskRef::new("t1", 2));
    // The old holder goes on for a while, and comes back with a result that no longer counts.
    proxy.mend(control.address());
    let superseded = Told::Cancelled(old.clone(), CancelReason::Superseded);
    first.wait(|told| *told == superseded).await;
    first.succeed(&old, "{\"stale\":true}");
    second.succeed(&new, "{\"fresh\":true}");
    assert_eq!(
        control.recorder.outcome("t1").await,
        succeeded("{\"fresh\":true}")
    );
    assert_eq!(control.recorder.ends("t1"), 1);
    control.stop().await;
}

#[tokio::test]
async fn cancelling_ends_tasks_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    control.enqueue(task("queued")).await;
    control.agent.cancel("queued").await.unwrap();
    let aborted = TaskOutcome::Aborted(v1::Aborted::default());
    assert_eq!(control.recorder.outcome("queued").await, aborted);

    let mut delegate = joined(&control).await.start_up().await;
    control.enqueue(task("running")).await;
    let started = delegate.started().await;
    control.agent.cancel("running").await.unwrap();
    let requested = Told::Cancelled(started.clone(), CancelReason::Requested);
    delegate.wait(|told| *told == requested).await;
    delegate.abort(&started);
    assert_eq!(control.recorder.outcome("running").await, aborted);
    control.agent.cancel("running").await.unwrap();
    control.agent.cancel("unknown").await.unwrap();
    control.stop().await;
}

#[tokio::test]
async fn nobody_fits_until_the_deadline_and_the_reasons_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let _delegate = joined(&control).await.start_up().await;
    let soon = now()
        .checked_add(jiff::SignedDuration::from_millis(400))
        .unwrap();
    let selectors = vec!["gpu".to_owned()];
    control
        .enqueue(TaskRequest {
            selectors,
            deadline: soon,
            ..task("tags")
        })
        .await;
    let scope = sortie_store::Scope::project("acme", "bank");
    control
        .enqueue(TaskRequest {
            scope,
            deadline: soon,
            ..task("scope")
        })
        .await;
    for (id, reason) in [
        ("tags", "edge lacks the tags gpu"),
        ("scope", "edge serves project shop"),
    ] {
        let TaskOutcome::Failed(failed) = control.recorder.outcome(id).await else {
            panic!()
        };
        assert_eq!(failed.failure_type(), v1::FailureType::DelegateProvisioning);
        assert!(failed.message.contains(reason), "{}", failed.message);
    }
    control.stop().await;
}

#[tokio::test]
async fn a_refused_task_goes_elsewhere_and_a_forbidden_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let setup = joined(&control).await;
    let full = Setup {
        instance: "pod-0".to_owned(),
        refuses: Some(RefusalReason::Capacity),
        ..setup.clone()
    };
    let _full = full.start_up().await;
    control.enqueue(task("t1")).await;
    let mut free = setup.start_up().await;
    assert_eq!(free.started().await, TaskRef::new("t1", 2));
    free.succeed(&TaskRef::new("t1", 2), "{}");
    control.recorder.outcome("t1").await;
    drop(free);

    let strict = Setup {
        boot: "boot-2".to_owned(),
        refuses: Some(RefusalReason::Policy),
        ..setup
    };
    let strict = Setup {
        tags: vec!["strict".to_owned()],
        ..strict
    };
    let _strict = strict.start_up().await;
    control
        .enqueue(TaskRequest {
            selectors: vec!["strict".to_owned()],
            ..task("t2")
        })
        .await;
    let TaskOutcome::Failed(failed) = control.recorder.outcome("t2").await else {
        panic!()
    };
    assert_eq!(failed.failure_type(), v1::FailureType::PolicyEvaluation);
    assert!(failed.message.contains("not today"), "{}", failed.message);
    control.stop().await;
}

#[tokio::test]
async fn secrets_are_sealed_to_the_boot_that_asks() {
    use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
    use rustls::crypto::hpke::{EncapsulatedSecret, Hpke};
    let suite: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
    let (public, private) = suite.generate_key_pair().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    {
        let mut values = control.recorder.values.lock().unwrap();
        values.insert("secrets.db".to_owned(), secret("hunter22"));
        values.insert("env.name".to_owned(), Resolution::Value("prod".into()));
        values.insert(
            "secrets.no".to_owned(),
            Resolution::Denied("not yours".to_owned()),
        );
    }
    let mut setup = joined(&control).await;
    setup.sealing_key = public.0;
    let mut delegate = setup.start_up().await;
    control.enqueue(task("t1")).await;
    let started = delegate.started().await;
    let names = ["secrets.db", "env.name", "secrets.no", "nothing"]
        .map(str::to_owned)
        .to_vec();
    delegate.order(Command::Resolve {
        task: started.clone(),
        request: "r1".to_owned(),
        names,
    });
    let told = delegate
        .wait(|told| matches!(told, Told::Resolved(_)))
        .await;
    let Told::Resolved(values) = told else {
        panic!()
    };
    use v1::resolved::Answer;
    let answers: Vec<Answer> = values
        .into_iter()
        .map(|value| value.answer.unwrap())
        .collect();
    let [
        Answer::Sealed(sealed),
        Answer::ValueJson(value),
        Answer::Denied(_),
        Answer::Undefined(_),
    ] = answers.as_slice()
    else {
        panic!("{answers:?}")
    };
    assert_eq!(value, "\"prod\"");
    let encapsulated = EncapsulatedSecret(sealed.encapsulated_key.clone());
    let open = |aad: &[u8]| {
        suite.open(
            &encapsulated,
            b"sortie-resolve-v1",
            aad,
            &sealed.ciphertext,
            &private,
        )
    };
    assert_eq!(open(b"t1\x001\0secrets.db").unwrap(), b"hunter22");
    assert!(open(b"t1\x002\0secrets.db").is_err(), "bound to the epoch");
    control.stop().await;
}

#[tokio::test]
async fn logs_are_stored_with_credits_and_only_for_own_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let setup = joined(&control).await;
    let mut delegate = setup.start_up().await;
    control.enqueue(task("t1")).await;
    let started = delegate.started().await;
    let mut link = client::link(control.address(), &setup.identity)
        .await
        .unwrap();
    let batch = |number, id: &str, text: &str| v1::LogsRequest {
        message: Some(v1::logs_request::Message::Batch(v1::LogBatch {
            number,
            task_id: id.to_owned(),
            epoch: 1,
            lines: vec![v1::LogLine {
                seq: number,
                text: text.to_owned(),
                ..Default::default()
            }],
        })),
    };
    let open = v1::LogsRequest {
        message: Some(v1::logs_request::Message::Open(v1::LogsOpen::default())),
    };
    delegate.succeed(&started, "{}");
    control.recorder.outcome("t1").await;
    // Also after the end: results never wait for logs.
    let requests = [
        open,
        batch(1, "t1", "hello"),
        batch(2, "stolen", "x"),
        batch(3, "t1", "bye"),
    ];
    let answers = link
        .logs(tokio_stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap()).collect().await;
    assert!(answers[0].credits > 0);
    assert_eq!(
        answers
            .iter()
            .map(|answer| answer.stored)
            .collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    let lines: Vec<_> = control
        .recorder
        .all()
        .into_iter()
        .filter_map(|heard| match heard {
            Heard::Log(task, lines) => Some((task, lines)),
            _ => None,
        })
        .collect();
    let line = |text: &str| ("t1".to_owned(), vec![text.to_owned()]);
    assert_eq!(lines, [line("hello"), line("bye")]);
    control.stop().await;
}

#[tokio::test]
async fn blobs_are_for_the_tasks_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let content = vec![7; 600_000];
    let context = control.blob(&content).await;
    let other = control.blob(b"not for you").await;
    let setup = joined(&control).await;
    let mut delegate = setup.start_up().await;
    let mut request = task("t1");
    request.task.context = Some(context.clone());
    control.enqueue(request).await;
    delegate.started().await;
    let mut link = client::link(control.address(), &setup.identity)
        .await
        .unwrap();
    let fetch = |task_id: &str, epoch, sha256: &str| v1::FetchBlobRequest {
        task_id: task_id.to_owned(),
        epoch,
        sha256: sha256.to_owned(),
    };
    let chunks = link
        .fetch_blob(fetch("t1", 1, &context.sha256))
        .await
        .unwrap()
        .into_inner();
    let chunks: Vec<_> = chunks.map(|chunk| chunk.unwrap().data).collect().await;
    assert!(chunks.iter().all(|chunk| chunk.len() <= 256 * 1024));
    assert_eq!(chunks.concat(), content);
    for (id, epoch, hash) in [
        ("t1", 1, other.sha256.as_str()),
        ("t1", 2, context.sha256.as_str()),
        ("t2", 1, context.sha256.as_str()),
    ] {
        let status = link.fetch_blob(fetch(id, epoch, hash)).await.err().unwrap();
        assert_eq!(client::code(&status), "SRT-S221", "{id}@{epoch}");
    }

    let put = |bytes: &'static [u8], sha256: &str, size| {
        let blob = Some(v1::BlobRef {
            sha256: sha256.to_owned(),
            size,
        });
        let header = v1::PutBlobHeader {
            task_id: "t1".to_owned(),
            epoch: 1,
            blob,
        };
        use v1::put_blob_request::Message;
        let chunk = v1::BlobChunk { data: bytes.into() };
        tokio_stream::iter([Message::Header(header), Message::Chunk(chunk)]).map(|message| {
            v1::PutBlobRequest {
                message: Some(message),
            }
        })
    };
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert!(
        link.put_blob(put(b"hello", hash, 5))
            .await
            .unwrap()
            .into_inner()
            .stored
    );
    assert!(
        !link
            .put_blob(put(b"hello", hash, 5))
            .await
            .unwrap()
            .into_inner()
            .stored
    );
    assert!(
        link.put_blob(put(b"hellO", hash, 5)).await.is_err(),
        "another content"
    );
    assert!(
        link.put_blob(put(b"hello!", hash, 5)).await.is_err(),
        "more than announced"
    );
    assert!(
        link.put_blob(put(b"hello", hash, 1 << 40)).await.is_err(),
        "too large"
    );
    control.stop().await;
}

#[tokio::test]
async fn a_stopping_server_asks_delegates_to_leave() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let mut delegate = joined(&control).await.start_up().await;
    control.stop().await;
    delegate.wait(|told| matches!(told, Told::GoAway)).await;
    delegate.wait(|told| matches!(told, Told::Down(_))).await;
}
