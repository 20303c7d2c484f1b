//! Tasks that go from one delegate to the next: handed back, or lost again and again.

use std::time::Duration;

use sortie_link::delegate::Command;
use sortie_link::{CancelReason, TaskRef};
use sortie_proto::v1;
use sortie_server::tasks::{Dispatcher as _, Handover, TaskOutcome, TaskRequest};

use super::control::{Control, Heard, options, task};
use super::delegate::{Setup, Told};
use super::tasks::{joined, succeeded};

fn handovers(control: &Control) -> Vec<(u64, Handover)> {
    let heard = control.recorder.all().into_iter();
    let change = |heard| match heard {
        Heard::ChangedHands(epoch, handover) => Some((epoch, handover)),
        _ => None,
    };
    heard.filter_map(change).collect()
}

#[tokio::test]
async fn a_task_that_loses_every_delegate_fails_and_says_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::start(folder.path(), options()).await;
    let mut setup = joined(&control).await;
    control.enqueue(task("deadly")).await;
    for boot in 1..=5_u32 {
        setup.boot = format!("boot-{boot}");
        let mut delegate = setup.start_up().await;
        let started = delegate.started().await;
        assert_eq!(started, TaskRef::new("deadly", boot.into()));
    }
    setup.boot = "boot-6".to_owned();
    let _sixth = setup.start_up().await;
    let TaskOutcome::Failed(failed) = control.recorder.outcome("deadly").await else {
        panic!()
    };
    assert_eq!(failed.failure_type(), v1::FailureType::DelegateRestart);
    assert_eq!(failed.code, "SRT-S233");
    assert!(failed.hint.contains("OOMKilled"), "{}", failed.hint);
    let lost = handovers(&control);
    let lost = lost
        .iter()
        .filter(|(_, handover)| *handover == Handover::Lost);
    assert_eq!(lost.count(), 4, "the fifth loss is the end");
    control.stop().await;
}

#[tokio::test]
async fn what_a_leaving_delegate_hands_back_goes_to_another_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody may wait for the task lease.
    let mut patient = options();
    patient.task_lease = Duration::from_secs(3600);
    let control = Control::start(folder.path(), patient).await;
    let setup = joined(&control).await;
    let mut leaving = setup.start_up().await;
    control.enqueue(task("resumable")).await;
    let resumable = leaving.started().await;
    control
        .enqueue(TaskRequest {
            resumable: false,
            ..task("once")
        })
        .await;
    let once = leaving.started().await;
    control.enqueue(task("cancelled")).await;
    let cancelled = leaving.started().await;
    let other = Setup {
        instance: "pod-2".to_owned(),
        ..setup
    };
    let mut other = other.start_up().await;

    leaving.order(Command::Drain);
    control.agent.cancel("cancelled").await.unwrap();
    leaving
        .wait(|told| *told == Told::Cancelled(cancelled.clone(), CancelReason::Requested))
        .await;
    for held in [&resumable, &once, &cancelled] {
        leaving.order(Command::HandBack(held.clone()));
        leaving
            .wait(|told| *told == Told::Stored(held.clone()))
            .await;
    }
    let next = other.started().await;
    assert_eq!(next, TaskRef::new("resumable", 2));
    assert_eq!(
        handovers(&control),
        [
            (1, Handover::HandedBack),
            (
                2,
                Handover::Resumed {
                    attempt: 2,
                    delegate: "edge".into()
                }
            )
        ]
    );
    let TaskOutcome::Failed(failed) = control.recorder.outcome("once").await else {
        panic!()
    };
    assert_eq!(failed.code, "SRT-S230");
    assert!(matches!(
        control.recorder.outcome("cancelled").await,
        TaskOutcome::Aborted(_)
    ));
    // What is handed back is not handed back twice.
    leaving.order(Command::HandBack(resumable));
    other.succeed(&next, "{}");
    assert_eq!(control.recorder.outcome("resumable").await, succeeded("{}"));
    control.stop().await;
}
