//! Changing fields by patches of every form, and undoing it.

use serde_json::{Value, json};
use sortie_step::task::{Action, Patch, PatchKind};

use crate::scaling::{in_execution, replicas, roll_back};
use crate::world::{World, inline, plain, web};

fn patch(workload: &str, kind: PatchKind, content: &str) -> Patch {
    Patch {
        workload: workload.to_owned(),
        kind,
        content: inline(&[("patch.yaml", content)]),
        context: json!({"pods": 4}),
        change_cause: false,
        skip_steady_state_check: true,
    }
}

/// A Deployment that nothing can run, with two containers.
async fn given_web(world: &World) {
    let web = web("example.com/none:1", "");
    let second = "containers:\n        - {name: side, image: example.com/side:1}";
    world.given(&web.replace("containers:", second)).await;
}

fn images(live: &Value) -> Vec<&str> {
    let containers = live["spec"]["template"]["spec"]["containers"].as_array();
    let images = containers.unwrap().iter().map(|one| one["image"].as_str());
    images.map(Option::unwrap).collect()
}

#[tokio::test]
async fn every_form_of_patch_is_written_once_and_undone() {
    let world = World::new("patch_forms").await;
    given_web(&world).await;
    let before = world.get("apps/v1/Deployment", "web").await.unwrap();
    let image =
        "spec: {template: {spec: {containers: [{name: web, image: 'example.com/none:2'}]}}}";
    let strategic = Patch {
        change_cause: true,
        ..patch("Deployment/web", PatchKind::Strategic, image)
    };
    let task = in_execution(world.task(Action::Patch(strategic)), "e1");
    let told = world.run(&task).await;
    assert_eq!(told.outputs()["changed"], true);
    assert!(
        told.said("+          image: example.com/none:2") || told.said("none:2"),
        "{:?}",
        told.lines
    );
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(
        images(&live),
        ["example.com/side:1", "example.com/none:2"],
        "merged by name"
    );
    let cause = &live["metadata"]["annotations"]["kubernetes.io/change-cause"];
    assert_eq!(
        *cause,
        "sortie patch of Deployment/web, execution e1, by ann"
    );

    let merge = "spec: {replicas: <+pods>, template: {metadata: {labels: {tier: front}}}}";
    let task = world.task(Action::Patch(patch(
        "Deployment/web",
        PatchKind::Merge,
        merge,
    )));
    world.run(&in_execution(task, "e1")).await.outputs();
    assert_eq!(replicas(&world, "web").await, 4, "expressions are resolved");

    // An addition that would be there twice if it were written twice.
    let add = "[{op: add, path: /spec/template/spec/containers/-, value: {name: third, image: 'example.com/third:1'}}]";
    let task = world.task(Action::Patch(patch("Deployment/web", PatchKind::Json, add)));
    let task = in_execution(task, "e1");
    let first = world.run(&task).await.outputs().clone();
    let again = world.run(&task).await;
    assert_eq!(*again.outputs(), first);
    assert!(
        again.said("changed before the interruption"),
        "{:?}",
        again.lines
    );
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(images(&live).len(), 3);

    // What is as it should be needs no write.
    let none = world.task(Action::Patch(patch(
        "Deployment/web",
        PatchKind::Merge,
        merge,
    )));
    assert_eq!(
        world.run(&in_execution(none, "e1")).await.outputs()["changed"],
        false
    );

    let told = roll_back(&world, "e1").await;
    told.outputs();
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(live["spec"], before["spec"]);
    let cause = live["metadata"]["annotations"].get("kubernetes.io/change-cause");
    assert_eq!(cause, None);
    world.finish().await;
}

#[tokio::test]
async fn a_patch_that_cannot_be_is_refused_before_any_write() {
    let mut world = World::new("patch_refused").await;
    given_web(&world).await;
    let group = format!("{}.example.com", world.namespace.name());
    world
        .given(&format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: widgets.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  names: {{plural: widgets, singular: widget, kind: Widget}}\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n"
        ))
        .await;
    world
        .kubectl(
            &[
                "wait",
                "--for=condition=Established",
                &format!("crd/widgets.{group}"),
            ],
            "",
        )
        .await;
    world
        .given(&format!(
            "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\nspec: {{size: 1}}\n"
        ))
        .await;
    world
        .given("apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {a: first}\n")
        .await;
    world.policy.projects.insert(
        "*".to_owned(),
        sortie_step::policy::ProjectPolicy {
            registries: vec!["example.com".to_owned()],
            ..Default::default()
        },
    );
    let widget = format!("Widget.{group}/one");
    let elsewhere =
        "spec: {template: {spec: {containers: [{name: web, image: 'evil.example/web'}]}}}";
    for (workload, kind, content, code, text) in [
        (
            "Deployment/web",
            PatchKind::Merge,
            "[]",
            "SRT-T044",
            "map of the fields",
        ),
        (
            "Deployment/web",
            PatchKind::Json,
            "{}",
            "SRT-T044",
            "list of operations",
        ),
        (
            widget.as_str(),
            PatchKind::Strategic,
            "spec: {size: 2}",
            "SRT-T044",
            "custom",
        ),
        (
            "Deployment/web",
            PatchKind::Merge,
            "spec: {replicas: -1}",
            "SRT-C005",
            "replicas",
        ),
        (
            "Deployment/web",
            PatchKind::Strategic,
            "spec: {replica: 3}",
            "SRT-C005",
            "replica",
        ),
        (
            "Deployment/web",
            PatchKind::Merge,
            "spec: {selector: {matchLabels: {app: b}}}",
            "SRT-C",
            "",
        ),
        (
            "Deployment/web",
            PatchKind::Json,
            "[{op: remove, path: /spec/none}]",
            "SRT-C",
            "",
        ),
        (
            "Deployment/web",
            PatchKind::Strategic,
            elsewhere,
            "SRT-T012",
            "evil.example",
        ),
        (
            "Deployment/web",
            PatchKind::Merge,
            "spec: {replicas: <+nobody.knows>}",
            "SRT-X",
            "nobody",
        ),
        (
            "Secret/key",
            PatchKind::Merge,
            "data: {a: hunter2-is-no-base64!}",
            "SRT-C",
            "",
        ),
    ] {
        let task = world.task(Action::Patch(patch(workload, kind, content)));
        let told = world.run(&task).await;
        let failure = told.failure();
        assert!(failure.code.starts_with(code), "{content}: {failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
        assert!(
            !format!("{failure:?}{:?}", told.lines).contains("hunter2"),
            "{failure:?}"
        );
    }
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(live["metadata"]["generation"], 1, "nothing was written");
    // Other forms do for a custom resource.
    let task = world.task(Action::Patch(patch(
        &widget,
        PatchKind::Merge,
        "spec: {size: 2}",
    )));
    world.run(&task).await.outputs();
    // What changes in a Secret is told, and its values are not.
    let secret = patch("Secret/key", PatchKind::Merge, "stringData: {a: hunter2}");
    let told = world.run(&world.task(Action::Patch(secret))).await;
    told.outputs();
    assert!(told.said("(after)"), "{:?}", told.lines);
    assert!(
        !format!("{:?}", told.lines).contains("hunter2"),
        "{:?}",
        told.lines
    );
    world
        .kubectl(&["delete", "crd", &format!("widgets.{group}")], "")
        .await;
    world.finish().await;
}

#[tokio::test]
async fn a_patch_waits_for_its_workload_and_stays_over_a_deployment() {
    let world = World::new("patch_waits").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.deploy(plain(&web(&image, ""))).await.outputs();
    let content = "spec: {template: {metadata: {annotations: {example.com/note: a}}}}";
    let options = Patch {
        skip_steady_state_check: false,
        ..patch("Deployment/web", PatchKind::Merge, content)
    };
    world
        .run(&world.task(Action::Patch(options)))
        .await
        .outputs();
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(live["status"]["updatedReplicas"], 1, "it was waited for");
    assert_eq!(
        live["status"]["observedGeneration"],
        live["metadata"]["generation"]
    );
    // What only a patch has added stays.
    world
        .deploy(plain(&web(&image, ", {name: MORE, value: a}")))
        .await
        .outputs();
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    let annotations = &live["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["example.com/note"], "a");
    world.finish().await;
}
