//! Restarting, stopping and bringing back revisions of workloads.

use serde_json::Value;
use sortie_step::task::{Action, Resources, Rollout, RolloutCommand};

use crate::scaling::{in_execution, roll_back};
use crate::world::{Told, World, plain, web};

fn rollout(command: RolloutCommand, name: &str) -> Action {
    Action::Rollout(Rollout {
        command,
        resources: Resources::Names(vec![name.to_owned()]),
    })
}

async fn run(world: &World, command: RolloutCommand) -> Told {
    world
        .run(&world.task(rollout(command, "Deployment/web")))
        .await
}

async fn generation(world: &World) -> Value {
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    live["metadata"]["generation"].clone()
}

async fn variable(world: &World) -> String {
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    let value = live.pointer("/spec/template/spec/containers/0/env/1/value");
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_deployment_is_restarted_stopped_and_brought_back() {
    let world = World::new("rollout").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    for value in ["1", "2"] {
        let env = format!(", {{name: VALUE, value: '{value}'}}");
        world.deploy(plain(&web(&image, &env))).await.outputs();
    }
    let told = run(&world, RolloutCommand::History).await;
    let revisions = told.outputs()["history"][0]["revisions"]
        .as_array()
        .unwrap();
    let numbers: Vec<u64> = revisions
        .iter()
        .map(|of| of["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2]);
    assert!(told.said("CHANGE-CAUSE"), "{:?}", told.lines);

    let pods = world.kubectl(&["get", "pods", "-o", "name"], "").await;
    let restart = world.task(rollout(RolloutCommand::Restart, "Deployment/web"));
    world.run(&restart).await.outputs();
    let others = world
        .kubectl(
            &[
                "get",
                "pods",
                "--field-selector=status.phase=Running",
                "-o",
                "name",
            ],
            "",
        )
        .await;
    assert!(!others.contains(pods.trim()), "{pods} {others}");
    // Carried on, it restarts nothing again.
    let before = generation(&world).await;
    world.run(&restart).await.outputs();
    assert_eq!(generation(&world).await, before);

    // Paused, it neither restarts nor goes back.
    run(&world, RolloutCommand::Pause).await.outputs();
    for command in [
        RolloutCommand::Restart,
        RolloutCommand::Undo { to_revision: None },
    ] {
        assert_eq!(run(&world, command).await.failure().code, "SRT-T048");
    }
    run(&world, RolloutCommand::Status).await.outputs();
    run(&world, RolloutCommand::Resume).await.outputs();

    let undo = RolloutCommand::Undo {
        to_revision: Some(1),
    };
    let task = in_execution(world.task(rollout(undo, "Deployment/web")), "e1");
    world.run(&task).await.outputs();
    assert_eq!(variable(&world).await, "1");
    world.run(&task).await.outputs();
    assert_eq!(
        variable(&world).await,
        "1",
        "carried on, it does not go back once more"
    );
    roll_back(&world, "e1").await;
    assert_eq!(variable(&world).await, "2", "undone with its execution");
    world.finish().await;
}

#[tokio::test]
async fn sets_of_pods_go_back_to_their_revisions_too() {
    let world = World::new("rollout_sets").await;
    for kind in ["StatefulSet", "DaemonSet"] {
        let name = format!("{}-a", kind.to_lowercase());
        for value in ["1", "2"] {
            let env = format!(", {{name: VALUE, value: '{value}'}}");
            let yaml = web("example.com/none:1", &env)
                .replace("kind: Deployment", &format!("kind: {kind}"))
                .replace(
                    "metadata: {name: web}",
                    &format!("metadata: {{name: {name}}}"),
                )
                .replace(
                    "spec:\n      terminationGracePeriodSeconds",
                    "spec:\n      nodeSelector: {none: such}\n      terminationGracePeriodSeconds",
                );
            let yaml = match kind {
                "StatefulSet" => yaml.replace(
                    "spec:\n  selector",
                    "spec:\n  replicas: 0\n  serviceName: a\n  selector",
                ),
                _ => yaml,
            };
            world.given(&yaml).await;
            let resource = format!("{kind}/{name}");
            world
                .kubectl(&["rollout", "status", &resource, "--timeout=60s"], "")
                .await;
        }
        let command = RolloutCommand::Undo { to_revision: None };
        let task = world.task(rollout(command, &format!("{kind}/{name}")));
        world.run(&task).await.outputs();
        let live = world.get(&format!("apps/v1/{kind}"), &name).await.unwrap();
        let value = live.pointer("/spec/template/spec/containers/0/env/1/value");
        assert_eq!(value.unwrap(), "1", "{kind}");
        let pause = rollout(RolloutCommand::Pause, &format!("{kind}/{name}"));
        assert_eq!(
            world.run(&world.task(pause)).await.failure().code,
            "SRT-T045"
        );
    }
    world.finish().await;
}

#[tokio::test]
async fn what_has_no_revisions_is_told() {
    let world = World::new("rollout_refused").await;
    world
        .given("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
        .await;
    world.given(&web("example.com/none:1", "")).await;
    let undo = RolloutCommand::Undo {
        to_revision: Some(9),
    };
    for (command, name, code) in [
        (RolloutCommand::Restart, "ConfigMap/a", "SRT-T045"),
        (RolloutCommand::Restart, "Deployment/none", "SRT-T041"),
        (undo, "Deployment/web", "SRT-T046"),
    ] {
        let told = world.run(&world.task(rollout(command, name))).await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
    }
    // A release without workloads.
    let release = Action::Rollout(Rollout {
        command: RolloutCommand::Restart,
        resources: Resources::Release,
    });
    assert_eq!(
        world.run(&world.task(release)).await.failure().code,
        "SRT-T045"
    );
    world.finish().await;
}

#[tokio::test]
async fn a_release_is_restarted_as_a_whole() {
    let world = World::new("rollout_release").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.deploy(plain(&web(&image, ""))).await.outputs();
    let restart = Action::Rollout(Rollout {
        command: RolloutCommand::Restart,
        resources: Resources::Release,
    });
    let told = world.run(&world.task(restart)).await;
    assert_eq!(told.outputs()["workloads"].as_array().unwrap().len(), 1);
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    let annotations = &live["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string());
    world.finish().await;
}
