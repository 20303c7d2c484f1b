//! Changing how many pods a workload has, and undoing it.

use serde_json::json;
use sortie_step::report::Level;
use sortie_step::task::{Action, Amount, RollingRollback, Scale, Task};

use crate::world::{Told, World, web};

fn scale(workload: &str, to: Amount) -> Action {
    Action::Scale(Scale {
        workload: workload.to_owned(),
        to,
        skip_steady_state_check: false,
    })
}

/// A task of an execution.
pub(crate) fn in_execution(mut task: Task, execution: &str) -> Task {
    execution.clone_into(&mut task.requested_by.execution);
    task
}

/// The first step of the rollback of an execution. The release has no record, so that undoing is all that it does.
pub(crate) async fn roll_back(world: &World, execution: &str) -> Told {
    let task = world.task(Action::RollingRollback(RollingRollback::default()));
    let mut task = in_execution(task, execution);
    task.undo_changes = true;
    world.run(&task).await
}

pub(crate) async fn replicas(world: &World, name: &str) -> u64 {
    let live = world.get("apps/v1/Deployment", name).await.unwrap();
    live["spec"]["replicas"].as_u64().unwrap()
}

#[tokio::test]
async fn a_workload_gets_exactly_the_pods_that_are_asked_for() {
    let world = World::new("scale_count").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.given(&web(&image, "")).await;
    let task = world.task(scale("Deployment/web", Amount::Count(3)));
    let told = world.run(&task).await;
    let outputs = told.outputs().clone();
    assert_eq!(outputs["previousReplicas"], 1);
    assert_eq!(outputs["replicas"], 3);
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(live["status"]["readyReplicas"], 3, "it was waited for");
    let fields = live["metadata"]["managedFields"].as_array().unwrap();
    let ours = fields.iter().find(|of| of["manager"] == "sortie-control");
    let owned = &ours.unwrap()["fieldsV1"];
    assert_eq!(*owned, json!({"f:spec": {"f:replicas": {}}}));
    // Whoever asks for the same task again gets the same answer, and nothing happens.
    let again = world.run(&task).await;
    assert_eq!(*again.outputs(), outputs);
    assert_eq!(replicas(&world, "web").await, 3);

    let told = world
        .run(&world.task(scale("deployments.apps/web", Amount::Percent(50))))
        .await;
    assert_eq!(told.outputs()["replicas"], 2, "1.5 rounded half up");
    assert!(told.said("pods before: 3"), "{:?}", told.lines);
    assert!(told.said("pods after: 2"), "{:?}", told.lines);

    world
        .run(&world.task(scale("Deployment/web", Amount::Count(0))))
        .await
        .outputs();
    let pods = world.kubectl(&["get", "pods", "-o", "name"], "").await;
    assert_eq!(pods.trim(), "", "those that are ending are waited for");
    assert!(world.heads().await.is_empty(), "it has no release number");
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_scaled_is_refused_before_any_write() {
    let mut world = World::new("scale_refused").await;
    world.policy.namespaces = Some(vec![world.namespace.name().to_owned()]);
    let image = "example.com/none:1";
    let web = web(image, "");
    let daemon = web
        .replace("kind: Deployment", "kind: DaemonSet")
        .replace("name: web}\nspec", "name: agent}\nspec");
    let theirs = web.replace(
        "metadata: {name: web}",
        "metadata: {name: theirs, labels: {sortie.dev/release: other}, annotations: {sortie.dev/release-name: shop/other}}",
    );
    let scaled = web.replace("metadata: {name: web}", "metadata: {name: scaled}");
    let autoscaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: limits}\nspec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}\n  minReplicas: 2\n  maxReplicas: 4\n  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]\n";
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n";
    for yaml in [&web, &daemon, &theirs, &scaled, autoscaler, config] {
        world.given(yaml).await;
    }
    for (workload, code, text) in [
        ("Deployment/*", "SRT-T040", "wildcards"),
        ("web", "SRT-T040", "two or three parts"),
        ("Deployment/absent", "SRT-T041", "does not exist"),
        ("Deploy/web", "SRT-C004", "Deploy"),
        ("DaemonSet/agent", "SRT-T042", "one pod on each node"),
        ("ConfigMap/plain", "SRT-T042", "no scale subresource"),
        (
            "Deployment/scaled",
            "SRT-T043",
            "HorizontalPodAutoscaler limits decides",
        ),
        ("Deployment/theirs", "SRT-C015", "shop/other"),
        ("kube-system/Deployment/web", "SRT-T012", "kube-system"),
    ] {
        let task = world.task(scale(workload, Amount::Count(7)));
        let told = world.run(&task).await;
        let failure = told.failure();
        assert_eq!(failure.code, code, "{workload}: {failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
    }
    for name in ["web", "theirs", "scaled"] {
        assert!(replicas(&world, name).await < 7, "{name}");
    }
    let secrets = world.kubectl(&["get", "secrets", "-o", "name"], "").await;
    assert_eq!(secrets.trim(), "", "nothing was noted");
    world.finish().await;
}

#[tokio::test]
async fn an_autoscaler_rests_without_pods_and_goes_on_with_them() {
    let world = World::new("scale_rests").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.given(&web(&image, "")).await;
    world
        .given("apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  minReplicas: 1\n  maxReplicas: 2\n  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]\n")
        .await;
    let told = world
        .run(&world.task(scale("Deployment/web", Amount::Count(0))))
        .await;
    assert_eq!(told.outputs()["replicas"], 0);
    assert!(told.said("rests while"), "{:?}", told.lines);
    let told = world
        .run(&world.task(scale("Deployment/web", Amount::Count(1))))
        .await;
    assert_eq!(told.outputs()["replicas"], 1);
    assert!(told.said("between 1 and 2"), "{:?}", told.lines);
    world.finish().await;
}

#[tokio::test]
async fn whoever_may_not_list_autoscalers_is_told_the_missing_rule() {
    let mut world = World::new("scale_unseen").await;
    world.given(&web("example.com/none:1", "")).await;
    let rules = "
- {apiGroups: [\"\"], resources: [secrets], verbs: [get, list, create, update, delete]}
- {apiGroups: [\"\"], resources: [configmaps, pods], verbs: [get, list]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, delete]}
- {apiGroups: [apps], resources: [deployments], verbs: [get]}
- {apiGroups: [apps], resources: [deployments/scale], verbs: [get, patch]}
";
    world.with_rights(rules).await;
    let quickly = Action::Scale(Scale {
        workload: "Deployment/web".to_owned(),
        to: Amount::Count(3),
        skip_steady_state_check: true,
    });
    let told = world.run(&world.task(quickly)).await;
    assert_eq!(told.outputs()["replicas"], 3);
    let rule = "{apiGroups: [\"autoscaling\"], resources: [\"horizontalpodautoscalers\"], verbs: [\"list\"]}";
    let warned = told.lines.iter().any(|(_, level, line)| {
        *level == Level::Warning && line.contains("takes the number back") && line.contains(rule)
    });
    assert!(warned, "{:?}", told.lines);
    world.finish().await;
}

#[tokio::test]
async fn a_rollback_undoes_what_its_execution_has_scaled() {
    let world = World::new("scale_undone").await;
    let image = "example.com/none:1";
    for name in ["web", "api", "other"] {
        let web = web(image, "").replace(
            "metadata: {name: web}",
            &format!("metadata: {{name: {name}}}"),
        );
        world.given(&web).await;
    }
    let quickly = |workload: &str, to| {
        Action::Scale(Scale {
            workload: workload.to_owned(),
            to,
            skip_steady_state_check: true,
        })
    };
    let steps = [
        ("e0", "other", 2),
        ("e1", "web", 3),
        ("e1", "api", 4),
        ("e1", "web", 5),
    ];
    for (execution, name, to) in steps {
        let action = quickly(&format!("Deployment/{name}"), Amount::Count(to));
        let task = in_execution(world.task(action), execution);
        world.run(&task).await.outputs();
    }
    // Somebody takes one of them over.
    world
        .kubectl(&["scale", "deployment/api", "--replicas=9"], "")
        .await;
    let told = roll_back(&world, "e1").await;
    told.outputs();
    assert_eq!(
        replicas(&world, "web").await,
        1,
        "both are undone, the newest first"
    );
    assert_eq!(replicas(&world, "api").await, 9);
    assert!(
        told.said("spec.replicas was changed by somebody else since"),
        "{:?}",
        told.lines
    );
    assert_eq!(replicas(&world, "other").await, 2, "another execution's");
    // A second step of the same rollback has nothing to undo, and a change that the rollback makes stays.
    let mut task = in_execution(
        world.task(quickly("Deployment/web", Amount::Count(6))),
        "e1",
    );
    task.undo_changes = true;
    world.run(&task).await.outputs();
    let told = roll_back(&world, "e1").await;
    told.outputs();
    assert!(
        !told
            .begun()
            .iter()
            .any(|unit| unit.name() == "Undo Changes")
    );
    assert_eq!(replicas(&world, "web").await, 6);
    world.finish().await;
}
