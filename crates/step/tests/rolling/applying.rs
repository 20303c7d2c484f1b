//! Applying files beside release numbers: neither tracked nor pruned, and undone with their execution.

use serde_json::Value;
use sortie_step::task::{Action, Apply, Prune, RollingDeploy, Set};

use crate::coloring::SERVICE;
use crate::crashing::ground::Ground;
use crate::scaling::{in_execution, roll_back};
use crate::world::{World, config, documents, inline, plain, web};

pub(crate) fn set(yaml: &str) -> Set {
    Set {
        manifests: inline(&[("set.yaml", yaml)]),
        ..Set::default()
    }
}

fn apply(yaml: &str) -> Action {
    Action::Apply(Apply {
        set: set(yaml),
        skip_steady_state_check: false,
    })
}

fn job(name: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      schedulerName: nobody\n      containers: [{{name: it, image: 'example.com/none:1'}}]\n"
    )
}

fn label(live: &Value) -> Option<&str> {
    live.pointer("/metadata/labels")?
        .get("sortie.dev/release")?
        .as_str()
}

#[tokio::test]
async fn a_service_of_two_colours_keeps_the_one_that_it_selects() {
    let ground = Ground::shared().await;
    let world = World::on(ground.cluster.clone(), "apply_color").await;
    let app = crate::swapping::app("example.com/web:1");
    world.stage(&app, "").await.outputs();
    let service = SERVICE.replace("port: 80,", "port: 81,");
    world.run(&world.task(apply(&service))).await.outputs();
    assert_eq!(world.colors().await, ["green", "blue"]);
    let live = world.get("v1/Service", "web").await.unwrap();
    assert_eq!(live.pointer("/spec/ports/0/port").unwrap(), 81);
    assert_eq!(live.pointer("/spec/selector/app").unwrap(), "web");
    world.finish().await;
}

#[tokio::test]
async fn what_is_applied_beside_a_release_is_neither_tracked_nor_pruned() {
    let world = World::new("apply_untracked").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let released = documents(&[&config("settings", "1"), &web(&image, "")]);
    world.deploy(plain(&released)).await.outputs();
    // A workload of its own, a file that deployments skip, and an object that the release has.
    let beside = web(&image, "")
        .replace("name: web}", "name: beside}")
        .replace("app: web", "app: beside");
    let skipped = format!(
        "# harness.io/skip-file-for-deploy\n{}",
        config("extra", "1")
    );
    let options = Apply {
        set: Set {
            manifests: inline(&[
                ("beside.yaml", &beside),
                ("extra.yaml", &skipped),
                ("settings.yaml", &config("settings", "2")),
            ]),
            ..Set::default()
        },
        skip_steady_state_check: false,
    };
    let told = world.run(&world.task(Action::Apply(options))).await;
    let objects = told.outputs()["objects"].as_array().unwrap().clone();
    let changes: Vec<&str> = objects
        .iter()
        .map(|of| of["change"].as_str().unwrap())
        .collect();
    assert_eq!(
        changes
            .iter()
            .filter(|change| **change == "created")
            .count(),
        2
    );
    assert_eq!(
        changes
            .iter()
            .filter(|change| **change == "configured")
            .count(),
        1
    );
    let live = world.get("apps/v1/Deployment", "beside").await.unwrap();
    assert_eq!(live["status"]["readyReplicas"], 1, "it was waited for");
    assert_eq!(label(&live), None);
    assert_eq!(
        label(&world.get("v1/ConfigMap", "extra").await.unwrap()),
        None
    );
    let settings = world.get("v1/ConfigMap", "settings").await.unwrap();
    assert_eq!(settings["data"]["a"], "2");
    assert!(
        label(&settings).is_some(),
        "the release goes on tracking it"
    );
    assert_eq!(world.heads().await.len(), 1, "it has no release number");
    // A deployment that prunes knows nothing of it, and one that brings the same object takes it.
    let pruning = RollingDeploy {
        prune: Some(Prune::default()),
        ..plain(&documents(&[&config("settings", "1"), &web(&image, "")]))
    };
    world.deploy(pruning).await.outputs();
    assert!(world.get("apps/v1/Deployment", "beside").await.is_some());
    assert!(world.get("v1/ConfigMap", "extra").await.is_some());
    let settings = world.get("v1/ConfigMap", "settings").await.unwrap();
    assert_eq!(settings["data"]["a"], "1", "the manifest has the last word");
    world.finish().await;
}

#[tokio::test]
async fn jobs_are_awaited_unless_nobody_wants_to_wait() {
    let world = World::new("apply_job").await;
    let mut task = world.task(apply(&job("migrate")));
    task.timeout = std::time::Duration::from_secs(4);
    let told = world.run(&task).await;
    assert_eq!(told.failure().code, "SRT-T010", "nobody runs it");
    assert!(
        told.failure().message.contains("Job"),
        "{:?}",
        told.failure()
    );
    let quick = Action::Apply(Apply {
        set: set(&job("later")),
        skip_steady_state_check: true,
    });
    world.run(&world.task(quick)).await.outputs();
    assert!(world.get("batch/v1/Job", "later").await.is_some());
    // A Job cannot be changed, and nothing is replaced beside a record.
    let changed = job("later").replace("example.com/none:1", "example.com/none:2");
    let both = documents(&[&changed, &config("new", "1")]);
    let told = world.run(&world.task(apply(&both))).await;
    assert_eq!(told.failure().code, "SRT-C006");
    assert!(
        world.get("v1/ConfigMap", "new").await.is_none(),
        "nothing was written"
    );
    world.finish().await;
}

#[tokio::test]
async fn a_rollback_undoes_what_its_execution_has_applied() {
    let world = World::new("apply_undone").await;
    world.given(&config("old", "1")).await;
    let before = world.get("v1/ConfigMap", "old").await.unwrap();
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Mi}}}\n";
    let changed = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old, labels: {a: b}}\ndata: {a: '2', b: '3'}\n";
    let yaml = documents(&[&config("new", "1"), changed, claim]);
    let options = Action::Apply(Apply {
        set: set(&yaml),
        skip_steady_state_check: true,
    });
    let task = in_execution(world.task(options), "e1");
    world.run(&task).await.outputs();
    // The same task again changes nothing, and forgets nothing.
    world.run(&task).await.outputs();
    let told = roll_back(&world, "e1").await;
    told.outputs();
    assert!(world.get("v1/ConfigMap", "new").await.is_none());
    let old = world.get("v1/ConfigMap", "old").await.unwrap();
    let annotations = |live: &Value| {
        let mut all = live["metadata"]["annotations"].as_object().unwrap().clone();
        all.shift_remove("sortie.dev/applied");
        all
    };
    assert_eq!(
        annotations(&old),
        annotations(&before),
        "what kubectl had set and the manifest did not name comes back too"
    );
    assert_eq!(old["data"], before["data"]);
    assert_eq!(
        old["metadata"].get("labels"),
        before["metadata"].get("labels")
    );
    assert!(
        world
            .get("v1/PersistentVolumeClaim", "data")
            .await
            .is_some()
    );
    assert!(told.said("data stays: what it holds"), "{:?}", told.lines);
    // An object that somebody has made again is theirs.
    let task = world.task(Action::Apply(Apply {
        set: set(&config("new", "1")),
        skip_steady_state_check: true,
    }));
    world.run(&in_execution(task, "e2")).await.outputs();
    world.kubectl(&["delete", "configmap", "new"], "").await;
    world.given(&config("new", "1")).await;
    roll_back(&world, "e2").await.outputs();
    assert!(world.get("v1/ConfigMap", "new").await.is_some());
    world.finish().await;
}

#[tokio::test]
async fn one_bad_object_means_that_none_is_applied() {
    let world = World::new("apply_bad").await;
    world
        .given("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, labels: {sortie.dev/release: other}}\n")
        .await;
    for (bad, code) in [
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999}]}\n",
            "SRT-C005",
        ),
        (
            "apiVersion: v9\nkind: Nothing\nmetadata: {name: bad}\n",
            "SRT-C004",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\n",
            "SRT-C015",
        ),
    ] {
        let yaml = documents(&[&config("good", "1"), bad]);
        let told = world.run(&world.task(apply(&yaml))).await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
        assert!(world.get("v1/ConfigMap", "good").await.is_none());
    }
    world.finish().await;
}
