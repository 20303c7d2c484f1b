//! Waves and dependencies.

use std::sync::Arc;

use sortie_step::report::Change;
use sortie_step::task::{Action, Prune, RollingDeploy};

use crate::world::{Log, World, config, documents, plain, web};

/// A ConfigMap with one more annotation, whose name stays as it is.
fn annotated(name: &str, annotation: &str) -> String {
    let with = format!("annotations: {{{annotation}, ");
    config(name, "1").replacen("annotations: {", &with, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_begins_when_the_one_before_is_healthy() {
    let world = World::new("waves").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let late = annotated("late", "sortie.dev/wave: \"1\"");
    let broken = world
        .deploy(plain(&documents(&[&late, &web(&v3, "")])))
        .await;
    assert_eq!(broken.failure().code, "SRT-H007");
    assert!(world.get("v1/ConfigMap", "late").await.is_none());

    let good = world
        .deploy(plain(&documents(&[&late, &web(&v1, "")])))
        .await;
    good.outputs();
    let journal = world.heads().await.pop().unwrap().journal;
    let stages: Vec<&str> = journal
        .iter()
        .filter(|entry| entry.unit == "Apply")
        .map(|entry| entry.stage.as_str())
        .collect();
    assert_eq!(stages, ["Running", "wave 1 Settings"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_wait_for_each_other_are_refused() {
    let world = World::new("circle").await;
    let a = annotated("a", "sortie.dev/depends-on: ConfigMap/b");
    let b = annotated("b", "sortie.dev/depends-on: ConfigMap/a");
    let told = world.deploy(plain(&documents(&[&a, &b]))).await;
    assert_eq!(told.failure().code, "SRT-M014");
    let b = format!("ConfigMap/{}/b", world.namespace.name());
    let text = &told.failure().message;
    assert!(text.contains(&b) && !text.contains("ConfigMap/b"), "{text}");
    let malformed = annotated("a", "sortie.dev/wave: soon");
    let told = world.deploy(plain(&malformed)).await;
    assert_eq!(told.failure().code, "SRT-M012");
    world.assert_untouched(&[("v1/ConfigMap", "a")]).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_set_depends_on_and_lacks_is_waited_for_before_the_first_write() {
    let world = World::new("outside").await;
    let set = annotated("a", "sortie.dev/depends-on: ConfigMap/outside");
    let task = world.task(Action::RollingDeploy(plain(&set)));
    let log = Arc::new(Log::default());
    let home = world.namespace.name();
    let line = format!("ConfigMap/{home}/a depends on ConfigMap/{home}/outside: it is not there");
    let bring = async {
        log.says(&line).await;
        assert!(world.heads().await.is_empty());
        assert!(world.get("v1/ConfigMap", "a").await.is_none());
        world.given(&config("outside", "1")).await;
    };
    let (told, ()) = tokio::join!(world.run_with(&task, log.clone()), bring);
    told.outputs();
    assert!(world.get("v1/ConfigMap", "a").await.is_some());

    let mut hasty = world.task(Action::RollingDeploy(plain(&annotated(
        "b",
        "sortie.dev/depends-on: ConfigMap/nowhere",
    ))));
    hasty.timeout = std::time::Duration::from_secs(3);
    let told = world.run(&hasty).await;
    assert_eq!(told.failure().code, "SRT-T010");
    assert!(
        told.failure().message.contains("nowhere: it is not there"),
        "{told:?}"
    );
    assert_eq!(world.statuses().await, ["Succeeded"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_goes_the_other_way() {
    let world = World::new("waves_back").await;
    let set = documents(&[
        &config("kept", "1"),
        &annotated("a", "sortie.dev/wave: \"1\""),
        &annotated("m", "sortie.dev/depends-on: ConfigMap/z"),
        &config("z", "1"),
    ]);
    world.deploy(plain(&set)).await.outputs();
    let pruned = RollingDeploy {
        prune: Some(Prune::default()),
        ..plain(&config("kept", "2"))
    };
    let told = world.deploy(pruned).await;
    told.outputs();
    let deleted: Vec<&str> = told
        .rows
        .iter()
        .filter(|row| row.change == Change::Deleted && row.message == "deleted")
        .map(|row| row.id.name.as_str())
        .collect();
    assert_eq!(deleted, ["a", "m", "z"]);
    world.finish().await;
}
