//! Jobs that run before and after everything else of a deployment.

use std::sync::Arc;

use sortie_step::task::{Action, RollingDeploy, Target};
use tokio_util::sync::CancellationToken;

use crate::world::{Log, World, config, documents, plain, web};

/// A Job that ends at once, well or not.
fn job(name: &str, image: &str, annotations: &str, argument: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n        - name: it\n          image: {image}\n          imagePullPolicy: IfNotPresent\n          args: [{argument}]\n          envFrom: [{{configMapRef: {{name: settings}}}}]\n"
    )
}

/// Names of the Jobs in the namespace, the oldest first.
async fn jobs(world: &World) -> Vec<String> {
    let args = ["get", "jobs", "-o", "name", "--sort-by=.metadata.name"];
    let listed = world.kubectl(&args, "").await;
    let names = listed.lines().filter_map(|line| line.split('/').nth(1));
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_once_per_release_around_everything_else() {
    let world = World::new("hooks").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {A: b}\n";
    let before = job("before", &image, "sortie.dev/hook: pre-deploy", "--help");
    let helm =
        "helm.sh/hook: 'post-install,post-upgrade', helm.sh/hook-delete-policy: hook-succeeded";
    let after = job("after", &image, helm, "--help");
    let set = |value: &str| {
        documents(&[
            &config("a", value),
            settings,
            &before,
            &after,
            &web(&image, ""),
        ])
    };
    let quick = RollingDeploy {
        wait_for_jobs: false,
        ..plain(&set("1"))
    };
    let first = world.deploy(quick).await;
    first.outputs();
    let journal = world.heads().await.pop().unwrap().journal;
    let stages: Vec<&str> = journal
        .iter()
        .filter(|entry| entry.unit == "Apply")
        .map(|entry| entry.stage.as_str())
        .collect();
    assert_eq!(
        stages,
        [
            "wave -1000000000 Settings",
            "wave -1000000000 Running",
            "Settings",
            "Running",
            "wave 1000000000 Running"
        ],
        "the hook's settings come with it"
    );
    assert_eq!(jobs(&world).await, ["before-1"], "the other has its policy");

    // Again although it is the same Job; the one of the earlier release goes.
    world.deploy(plain(&set("2"))).await.outputs();
    assert_eq!(jobs(&world).await, ["before-2"]);

    // A rollback runs none.
    world.rollback(Target::Below(2)).await.outputs();
    assert_eq!(
        world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"],
        "1"
    );
    assert!(
        jobs(&world).await.is_empty(),
        "the undone release's hook goes"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_written_when_a_hook_before_it_fails() {
    let world = World::new("hook_fails").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let settings =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {CRASH: \"1\"}\n";
    let before = job("before", &image, "helm.sh/hook: pre-install", "--serve");
    let test = job("probe", &image, "helm.sh/hook: test", "--help");
    let set = documents(&[&config("a", "1"), settings, &before, &test]);
    let told = world.deploy(plain(&set)).await;
    assert!(told.failure().message.contains("before-1"), "{told:?}");
    assert!(told.said("is a hook for test"), "{:?}", told.lines);
    assert!(world.get("v1/ConfigMap", "a").await.is_none());
    assert_eq!(jobs(&world).await, ["before-1"], "it stays to be looked at");

    let odd = job("odd", &image, "sortie.dev/hook: sometimes", "--help");
    let told = world.deploy(plain(&odd)).await;
    assert_eq!(told.failure().code, "SRT-T023");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_handed_over_runs_its_hooks_no_second_time() {
    let mut world = World::new("hooks_over").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {A: b}\n";
    let policy = "helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-failed";
    let before = job("before", &image, policy, "--help");
    let slow = web(&image, "").replacen("spec:", "spec:\n  minReadySeconds: 5", 1);
    let set = documents(&[settings, &before, &slow]);
    let mut task = world.task(Action::RollingDeploy(plain(&set)));
    let log = Arc::new(Log::default());
    let hand_over = CancellationToken::new();
    let ask = async {
        log.says("/web: Progressing").await;
        hand_over.cancel();
    };
    let env = world.env(log.clone());
    let first = sortie_step::run_until(&task, &env, &hand_over);
    let (first, ()) = tokio::join!(first, ask);
    assert!(first.is_err(), "{first:?}");
    let job = world.get("batch/v1/Job", "before-1").await;
    let ran = job.expect("it has not failed")["metadata"]["uid"].clone();

    world.holder = "another".to_owned();
    task.epoch += 1;
    world.run(&task).await.outputs();
    let job = world.get("batch/v1/Job", "before-1").await.unwrap();
    assert_eq!(job["metadata"]["uid"], ran);
    world.finish().await;
}
