//! Waiting: for a release that another holds, for objects, and not for ever.

use std::sync::Arc;
use std::time::Duration;

use sortie_step::Outcome;
use sortie_step::report::{Level, Unit, UnitStatus};
use sortie_step::task::Action;

use crate::world::{Log, RELEASE, World, config, documents, plain, web};

/// A Deployment that is not ready for a long time.
fn slow(image: &str) -> String {
    web(image, r#", {name: START_DELAY, value: "600"}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_task_waits_for_the_holder_and_names_it() {
    let mut world = World::new("second_task").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    world.holder = "ann@laptop".to_owned();
    let first = world.task(Action::RollingDeploy(plain(&slow(&v1))));
    let (first_log, second_log) = (Arc::new(Log::default()), Arc::new(Log::default()));
    let second = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    let stop_first = world.cancel.clone();

    let holder = world.env(first_log.clone());
    let mut waiter = world.env(second_log.clone());
    waiter.cancel = tokio_util::sync::CancellationToken::new();
    waiter.holder = "bob@laptop".to_owned();
    let story = async {
        first_log.says("Progressing").await;
        let second = sortie_step::run(&second, &waiter);
        let mend = async {
            second_log.says("waiting for ann@laptop").await;
            stop_first.cancel();
        };
        tokio::join!(second, mend).0
    };
    let (first, second) = tokio::join!(sortie_step::run(&first, &holder), story);
    assert!(matches!(first, Outcome::Aborted), "{first:?}");
    assert!(matches!(second, Outcome::Succeeded { .. }), "{second:?}");
    assert_eq!(world.statuses().await, ["Failed", "Succeeded"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there_is_told_once_and_not_waited_for() {
    let world = World::new("no_registry").await;
    // Nothing listens on this port of the node.
    let mut task = world.task(Action::RollingDeploy(plain(&web("127.0.0.1:5/web:1", ""))));
    task.timeout = Duration::from_secs(50);
    let told = world.run(&task).await;
    assert_eq!(told.failure().code, "SRT-H004", "{:?}", told.failure());
    let tries = told.lines.iter().filter(|(_, level, line)| {
        *level == Level::Warning && line.contains("ErrImagePull: image 127.0.0.1:5/web:1: dial")
    });
    assert_eq!(tries.count(), 1, "{:?}", told.lines);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_too_long_for_a_holder_is_told_who_it_is() {
    let world = World::new("held").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let first = world.task(Action::RollingDeploy(plain(&slow(&v1))));
    let mut second = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    second.timeout = Duration::from_secs(2);
    let log = Arc::new(Log::default());
    let mut holder = world.env(log.clone());
    holder.holder = "ann@laptop".to_owned();
    let story = async {
        log.says("Progressing").await;
        let told = world.run_with(&second, Arc::new(Log::default())).await;
        holder.cancel.cancel();
        told
    };
    let (_, second) = tokio::join!(sortie_step::run(&first, &holder), story);
    let failure = second.failure();
    assert_eq!(failure.code, "SRT-T010");
    assert!(
        failure.message.contains("ann@laptop holds release"),
        "{failure:?}"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_while_waiting_is_recorded_and_told_again() {
    let mut world = World::new("abort").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let task = world.task(Action::RollingDeploy(plain(&slow(&v1))));
    let log = Arc::new(Log::default());
    let cancel = world.cancel.clone();
    let abort = async {
        log.says("Progressing").await;
        cancel.cancel();
    };
    let (told, ()) = tokio::join!(world.run_with(&task, log.clone()), abort);
    assert!(matches!(told.outcome, Outcome::Aborted), "{told:?}");
    let last = told.units.last().unwrap();
    assert_eq!(*last, (Unit::WaitForSteadyState, UnitStatus::Aborted));
    assert_eq!(world.statuses().await, ["Failed"]);
    assert_eq!(world.heads().await[0].message, "aborted");

    world.cancel = tokio_util::sync::CancellationToken::new();
    let again = world.run(&task).await;
    assert!(matches!(again.outcome, Outcome::Aborted), "{again:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_leaves_the_release_free_and_the_record_open() {
    let mut world = World::new("hand_over").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let manifest = web(&v1, "").replacen("spec:", "spec:\n  minReadySeconds: 8", 1);
    let mut task = world.task(Action::RollingDeploy(plain(&manifest)));
    let log = Arc::new(Log::default());
    let hand_over = tokio_util::sync::CancellationToken::new();
    let ask = async {
        log.says("Progressing").await;
        hand_over.cancel();
    };
    let env = world.env(log.clone());
    let first = sortie_step::run_until(&task, &env, &hand_over);
    let (first, ()) = tokio::join!(first, ask);
    assert!(matches!(first, Err(sortie_step::HandedOver)), "{first:?}");
    assert_eq!(world.statuses().await, ["InProgress"]);
    let last = *log.units.lock().unwrap().last().unwrap();
    assert_eq!(last, (Unit::WaitForSteadyState, UnitStatus::Running));

    world.holder = "another".to_owned();
    task.epoch += 1;
    let second = world.run(&task).await;
    assert!(
        matches!(second.outcome, Outcome::Succeeded { .. }),
        "{second:?}"
    );
    let waited = second
        .lines
        .iter()
        .filter(|(_, _, line)| line.contains("waiting for"));
    assert_eq!(waited.count(), 0, "{:?}", second.lines);
    let heads = world.heads().await;
    assert_eq!(heads.len(), 1);
    assert_eq!((heads[0].number, heads[0].task_epoch), (1, task.epoch));
    assert_eq!(world.statuses().await, ["Succeeded"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_lost_the_release_stops_at_once() {
    let world = World::new("lease_lost").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let task = world.task(Action::RollingDeploy(plain(&slow(&v1))));
    let release = sortie_cluster::record::Release::new(&task.release.namespace, RELEASE).unwrap();
    let log = Arc::new(Log::default());
    let theft = async {
        log.says("Progressing").await;
        let patch = r#"{"spec": {"holderIdentity": "eve@laptop"}}"#;
        let lease = release.lease_name();
        world
            .kubectl(&["patch", "lease", &lease, "--type=merge", "-p", patch], "")
            .await;
    };
    let (told, ()) = tokio::join!(world.run_with(&task, log.clone()), theft);
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-C023", "{failure:?}");
    assert!(failure.message.contains("eve@laptop"), "{failure:?}");
    // The record is the thief's to close.
    assert_eq!(world.statuses().await, ["InProgress"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_says_what_was_waited_for() {
    let world = World::new("deadline").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let mut task = world.task(Action::RollingDeploy(plain(&slow(&v1))));
    task.timeout = Duration::from_secs(4);
    let told = world.run(&task).await;
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-T010");
    assert!(
        failure.message.contains("Deployment") && failure.message.contains("web"),
        "{failure:?}"
    );
    assert_eq!(world.statuses().await, ["Failed"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_will_ever_answer_is_not_waited_for() {
    let mut world = World::new("no_answer").await;
    world.limits.load_balancer = Duration::from_secs(1);
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: spare}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n";
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}\n";
    let told = world.deploy(plain(&documents(&[claim, service]))).await;
    told.outputs();
    assert!(told.said("going on without it"), "{:?}", told.lines);
    world.finish().await;
}
