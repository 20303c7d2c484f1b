//! Objects whose changes the API server never allows: refused, or deleted and made anew when somebody asks for it.

use sortie_step::Outcome;
use sortie_step::task::{Action, RollingDeploy, Target};

use crate::crashing::{Deed, Order, run_until};
use crate::world::{Told, World, config, documents, plain, web};

/// A ConfigMap that can never change.
fn frozen(name: &str, value: &str) -> String {
    format!("{}immutable: true\n", config(name, value))
}

fn replacing(yaml: &str) -> RollingDeploy {
    RollingDeploy {
        replace: true,
        ..plain(yaml)
    }
}

async fn value(world: &World, name: &str) -> Option<String> {
    let map = world.get("v1/ConfigMap", name).await?;
    map["data"]["a"].as_str().map(str::to_owned)
}

async fn uid(world: &World, kind: &str, name: &str) -> String {
    let object = world.get(kind, name).await.unwrap();
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_replaces_only_when_asked_and_a_rollback_unasked() {
    let world = World::new("replacing").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let other = web(&image, "").replace("app: web", "app: shop");
    let first = documents(&[&frozen("f", "1"), &web(&image, "")]);
    let second = documents(&[&frozen("f", "2"), &other]);
    world.deploy(plain(&first)).await.outputs();
    let was = uid(&world, "apps/v1/Deployment", "web").await;

    // Both objects are named, with the fields and what to do.
    let refused = world.deploy(plain(&second)).await;
    let failure = refused.failure();
    assert_eq!(failure.code, "SRT-C006", "{failure:?}");
    assert!(failure.hint.contains("--replace"), "{failure:?}");
    assert!(failure.hint.contains("sortie.dev/replace"), "{failure:?}");
    for part in ["ConfigMap/", "Deployment/", "spec.selector", "data"] {
        assert!(refused.said(part), "{part}: {:?}", refused.lines);
    }
    assert_eq!(world.statuses().await, ["Succeeded"]);
    assert_eq!(value(&world, "f").await.unwrap(), "1");

    // What is going to happen is said before, and in a dry run.
    let tried = RollingDeploy {
        dry_run: true,
        ..replacing(&second)
    };
    let tried = world.deploy(tried).await;
    let changes: Vec<_> = tried.outputs()["dryRun"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert!(
        changes.iter().all(|row| row["change"] == "replaced"),
        "{changes:?}"
    );
    let told = world.deploy(replacing(&second)).await;
    let replaced = told.outputs()["replacedResourceIds"].as_array().unwrap();
    assert_eq!(replaced.len(), 2, "{replaced:?}");
    assert!(told.said("web: will be deleted and made anew, because spec.selector cannot change; its pods end before new ones start"), "{:?}", told.lines);
    assert!(told.said("web replaced"), "{:?}", told.lines);
    assert_eq!(value(&world, "f").await.unwrap(), "2");
    let is = uid(&world, "apps/v1/Deployment", "web").await;
    assert_ne!(was, is);
    // The former objects are in the record.
    let head = world.heads().await.pop().unwrap();
    assert_eq!(head.kept.len(), 2);

    let back = world.rollback(Target::Number(1)).await;
    let replaced = back.outputs()["replacedResourceIds"].as_array().unwrap();
    assert_eq!(replaced.len(), 2, "{replaced:?}");
    assert_eq!(value(&world, "f").await.unwrap(), "1");
    let web = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(web["spec"]["selector"]["matchLabels"]["app"], "web");
    assert_eq!(web["status"]["availableReplicas"], 1);
    world.finish().await;
}

/// A definition of builds whose images a rule judges.
fn builds(group: &str, rule: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: builds.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  names: {{kind: Build, plural: builds}}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{image: {{type: string, x-kubernetes-validations: [{{rule: \"{rule}\", message: must be an immutable reference}}]}}}}}}}}}}}}\n"
    )
}

fn build(group: &str, image: &str) -> String {
    format!(
        "apiVersion: {group}/v1\nkind: Build\nmetadata: {{name: b, annotations: {{sortie.dev/configmap-paths: spec.image}}}}\nspec: {{image: {image}}}\n"
    )
}

/// Builds may be made from now on.
async fn given_builds(world: &World, group: &str) {
    world.given(&builds(group, "size(self) > 0")).await;
    let name = format!("crd/builds.{group}");
    world
        .kubectl(&["wait", "--for=condition=Established", &name], "")
        .await;
}

/// What a dry run says of a set as soon as the API server judges it by a definition that was changed a moment ago.
async fn refused(world: &World, set: &str) -> Told {
    for _ in 0..200 {
        let tried = RollingDeploy {
            dry_run: true,
            ..replacing(set)
        };
        let tried = world.deploy(tried).await;
        if matches!(tried.outcome, Outcome::Failed(_)) {
            return tried;
        }
    }
    panic!("the changed definition is not in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_deletes_nothing_that_could_not_be_made_again() {
    let world = World::new("replacing_rules").await;
    let group = format!("{}.example.com", world.namespace.name());
    let build = |image: &str| build(&group, image);
    given_builds(&world, &group).await;
    world.deploy(plain(&build("web:1"))).await.outputs();
    world.deploy(plain(&build("web@2"))).await.outputs();
    let kind = format!("{group}/v1/Build");
    let was = uid(&world, &kind, "b").await;
    world.given(&builds(&group, "self.contains('@')")).await;
    let refused = refused(&world, &build("web:3")).await;
    let back = world.rollback(Target::Number(1)).await;
    let is = uid(&world, &kind, "b").await;
    let live = world.get(&kind, "b").await.unwrap();
    let name = format!("crd/builds.{group}");
    world.kubectl(&["delete", &name], "").await;

    assert_eq!(refused.failure().code, "SRT-C005");
    assert!(matches!(back.outcome, Outcome::Failed(_)));
    assert!(back.said("immutable reference"), "{:?}", back.lines);
    assert!(!back.said("deleted"), "{:?}", back.lines);
    assert_eq!(was, is);
    assert_eq!(live["spec"]["image"], "web@2");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_needs_that_a_rollback_left_behind_is_kept_until_it_is_back() {
    let world = World::new("left_behind").await;
    let group = format!("{}.example.com", world.namespace.name());
    given_builds(&world, &group).await;
    let first = build(&group, "web");
    world.deploy(plain(&first)).await.outputs();
    let second = documents(&[
        &build(&group, "settings"),
        &config("settings", "1"),
        &config("extra", "1"),
    ]);
    world.deploy(plain(&second)).await.outputs();
    world.given(&builds(&group, "self != 'web'")).await;
    refused(&world, &first).await;
    let back = world.rollback(Target::Number(1)).await;
    let extra = world.get("v1/ConfigMap", "extra").await;
    let settings = world.get("v1/ConfigMap", "settings").await;
    world.given(&builds(&group, "self != 'none'")).await;
    refused(&world, &build(&group, "none")).await;
    let again = world.rollback(Target::Number(1)).await;
    let later = world.get("v1/ConfigMap", "settings").await;
    let name = format!("crd/builds.{group}");
    world.kubectl(&["delete", &name], "").await;

    assert!(matches!(back.outcome, Outcome::Failed(_)));
    assert!(back.said("settings is kept"), "{:?}", back.lines);
    assert!(extra.is_none(), "nothing needs it: {:?}", back.lines);
    assert!(settings.is_some(), "{:?}", back.lines);
    again.outputs();
    assert!(later.is_none(), "{:?}", again.lines);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_and_a_removal_say_which_pods_they_wait_for() {
    let world = World::new("replacing_slowly").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let slow = web(&image, "").replace(
        "terminationGracePeriodSeconds: 0",
        "terminationGracePeriodSeconds: 200",
    );
    let slow = slow.replace(
        "          readinessProbe:",
        "          lifecycle: {preStop: {sleep: {seconds: 5}}}\n          readinessProbe:",
    );
    let other = slow.replace("app: web", "app: shop");
    world.deploy(plain(&slow)).await.outputs();
    let told = world.deploy(replacing(&other)).await;
    told.outputs();
    assert!(
        told.said("web, waiting for pods to end: web-"),
        "{:?}",
        told.lines
    );
    let options = sortie_step::task::Uninstall {
        delete_storage: false,
        dry_run: false,
    };
    let told = world.run(&world.task(Action::Uninstall(options))).await;
    told.outputs();
    let waits = |row: &sortie_step::report::ObjectRow| {
        row.message
            .starts_with("being deleted, waiting for pods to end: web-")
    };
    assert!(told.rows.iter().any(waits), "{:?}", told.rows);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_asks_for_one_object() {
    let world = World::new("replacing_one").await;
    let asked = |value: &str| {
        frozen("asked", value).replace(
            "annotations: {",
            "annotations: {sortie.dev/replace: \"true\", ",
        )
    };
    let set = |asked: &str, other: &str| documents(&[asked, &frozen("other", other)]);
    world.deploy(plain(&set(&asked("1"), "1"))).await.outputs();
    let refused = world.deploy(plain(&set(&asked("2"), "2"))).await;
    let failure = refused.failure();
    assert_eq!(failure.code, "SRT-C006");
    assert!(failure.message.contains("/other"), "{failure:?}");
    assert!(!failure.message.contains("more)"), "{failure:?}");
    world.deploy(plain(&set(&asked("2"), "1"))).await.outputs();
    assert_eq!(value(&world, "asked").await.unwrap(), "2");
    assert_eq!(value(&world, "other").await.unwrap(), "1");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_replaced_by_no_rollback_and_by_no_flag() {
    let world = World::new("replacing_storage").await;
    let claim = |mode: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data}}\nspec: {{accessModes: [{mode}], storageClassName: none, resources: {{requests: {{storage: 1Mi}}}}}}\n"
        )
    };
    let wait_for_nothing =
        "metadata: {name: data, annotations: {sortie.dev/direct-apply: \"true\"}}";
    let claim = |mode: &str| claim(mode).replace("metadata: {name: data}", wait_for_nothing);
    let (first, second) = (
        documents(&[&config("a", "1"), &claim("ReadWriteOnce")]),
        documents(&[&config("a", "2"), &claim("ReadWriteMany")]),
    );
    world.deploy(plain(&first)).await.outputs();
    let was = uid(&world, "v1/PersistentVolumeClaim", "data").await;
    let refused = world.deploy(replacing(&second)).await;
    assert_eq!(refused.failure().code, "SRT-C006");

    // Somebody makes another one by hand; the rollback leaves it as it is.
    world.deploy(plain(&config("a", "2"))).await.outputs();
    world.kubectl(&["delete", "pvc", "data"], "").await;
    let other =
        claim("ReadWriteMany").replace("annotations: {", "labels: {by: hand}, annotations: {");
    world.given(&other).await;
    let back = world.rollback(Target::Number(1)).await;
    back.outputs();
    assert!(back.said("left as it is"), "{:?}", back.lines);
    assert_eq!(value(&world, "a").await.unwrap(), "1");
    let is = world.get("v1/PersistentVolumeClaim", "data").await.unwrap();
    assert_eq!(is["metadata"]["labels"]["by"], "hand");
    assert_ne!(is["metadata"]["uid"], was.as_str());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_replacement_has_deleted_is_brought_back_by_whoever_comes_next() {
    let mut world = World::new("replacing_killed").await;
    world.limits.lease = std::time::Duration::from_secs(3);
    world
        .deploy(plain(&documents(&[&config("a", "1"), &frozen("f", "1")])))
        .await
        .outputs();
    let folder = tempfile::tempdir().unwrap();
    let asked = frozen("f", "2").replace(
        "annotations: {",
        "annotations: {sortie.dev/replace: \"true\", ",
    );
    let deed = Deed::Deploy(documents(&[&config("a", "2"), &asked]));
    let order = Order::of(&world, deed, folder.path());
    run_until(&order, Some("delete:after".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(
        value(&world, "f").await,
        None,
        "it died between deletion and creation"
    );

    // The next one does not even name it.
    let told = world.deploy(plain(&config("a", "3"))).await;
    told.outputs();
    assert!(
        told.said("f was deleted to be replaced: it is back as it was"),
        "{:?}",
        told.lines
    );
    assert_eq!(value(&world, "f").await.unwrap(), "1");
    assert_eq!(value(&world, "a").await.unwrap(), "3");
    assert_eq!(
        world.statuses().await,
        ["Superseded", "Failed", "Succeeded"]
    );
    // Once is enough: what somebody deletes later stays away.
    world.kubectl(&["delete", "configmap", "f"], "").await;
    world.deploy(plain(&config("a", "4"))).await.outputs();
    assert_eq!(value(&world, "f").await, None);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_brings_an_object_back_waits_no_longer_than_the_step_may_take() {
    let mut world = World::new("replacing_late").await;
    world.limits.lease = std::time::Duration::from_secs(3);
    let image = world.cluster.image("sample-v1").await.unwrap();
    let slow = web(&image, "")
        .replace(
            "terminationGracePeriodSeconds: 0",
            "terminationGracePeriodSeconds: 600",
        )
        .replace(
            "          readinessProbe:",
            "          lifecycle: {preStop: {sleep: {seconds: 600}}}\n          readinessProbe:",
        );
    let others = config("a", "1");
    let set = documents(&[&others, &slow]);
    world.deploy(plain(&set)).await.outputs();
    let asked = slow.replace("app: web", "app: shop").replace(
        "{name: web}",
        "{name: web, annotations: {sortie.dev/replace: \"true\"}}",
    );
    let folder = tempfile::tempdir().unwrap();
    let deed = Deed::Deploy(documents(&[&others, &asked]));
    let order = Order::of(&world, deed, folder.path());
    run_until(&order, Some("delete:after".to_owned()))
        .await
        .unwrap_err();

    let mut task = world.task(Action::RollingDeploy(plain(&others)));
    task.timeout = std::time::Duration::from_secs(8);
    let told = world.run(&task).await;
    assert!(
        told.said("is not back: the end of the old one takes longer than this step may"),
        "{:?}",
        told.lines
    );
    let pods = ["delete", "pods", "--all", "--force", "--grace-period=0"];
    world.kubectl(&pods, "").await;
    let told = world.deploy(plain(&others)).await;
    told.outputs();
    assert!(
        told.said("web was deleted to be replaced: it is back as it was"),
        "{:?}",
        told.lines
    );
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(live["spec"]["selector"]["matchLabels"]["app"], "web");
    let scale = ["scale", "deployment/web", "--replicas=0"];
    world.kubectl(&scale, "").await;
    world.kubectl(&pods, "").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_does_not_go_away_is_named_and_brought_back_when_it_has_gone() {
    let world = World::new("replacing_stuck").await;
    let held = |value: &str| {
        frozen("f", value).replace(
            "  annotations: {",
            "  finalizers: [example.com/hold]\n  annotations: {",
        )
    };
    world.deploy(plain(&held("1"))).await.outputs();
    let mut task = world.task(Action::RollingDeploy(replacing(&held("2"))));
    task.timeout = std::time::Duration::from_secs(3);
    let began = tokio::time::Instant::now();
    let told = world.run(&task).await;
    let took = began.elapsed();
    let failure = told.failure();
    assert!(
        failure
            .message
            .contains("not done within 3 s: the replacement of ConfigMap"),
        "{failure:?}"
    );
    assert!(told.said("example.com/hold"), "{:?}", told.lines);
    // Ten seconds more are for its return.
    assert!(took < std::time::Duration::from_secs(25), "{took:?}");
    let release = "{\"metadata\": {\"finalizers\": null}}";
    let release = ["patch", "configmap", "f", "--type=merge", "-p", release];
    world.kubectl(&release, "").await;
    world
        .kubectl(&["wait", "--for=delete", "configmap/f"], "")
        .await;

    let told = world.deploy(plain(&config("a", "1"))).await;
    told.outputs();
    assert!(told.said("it is back as it was"), "{:?}", told.lines);
    assert_eq!(value(&world, "f").await.unwrap(), "1");
    world.kubectl(&release, "").await;
    world.finish().await;
}
