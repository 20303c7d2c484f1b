//! Deleting objects by their names, those of a set, and those of a release.

use serde_json::json;
use sortie_step::task::{Action, Delete, Resources};

use crate::applying::set;
use crate::world::{World, config, documents, plain};

fn delete(resources: Resources) -> Action {
    Action::Delete(Delete {
        resources,
        delete_namespaces: false,
    })
}

fn names(names: &[&str]) -> Resources {
    Resources::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test]
async fn objects_go_by_their_names_and_absent_ones_are_no_failure() {
    let mut world = World::new("delete_names").await;
    world.policy.namespaces = Some(vec![world.namespace.name().to_owned()]);
    let theirs = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, labels: {sortie.dev/release: other}}\n";
    world
        .given(&documents(&[&config("a", "1"), &config("b", "1"), theirs]))
        .await;
    for (wanted, code) in [
        (&["ConfigMap/a", "*"][..], "SRT-T040"),
        (&["ConfigMap/a", "Nothing/x"], "SRT-C004"),
        (&["ConfigMap/a", "default/ConfigMap/x"], "SRT-T012"),
        (&["ConfigMap/a", "ConfigMap/theirs"], "SRT-C015"),
    ] {
        let told = world.run(&world.task(delete(names(wanted)))).await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
        assert!(world.get("v1/ConfigMap", "a").await.is_some(), "{wanted:?}");
    }
    let qualified = format!("{}/ConfigMap/b", world.namespace.name());
    let wanted = ["ConfigMap/a", &qualified, "ConfigMap/a", "configmaps/none"];
    let task = world.task(delete(names(&wanted)));
    let told = world.run(&task).await;
    let namespace = world.namespace.name();
    let id = |name: &str| format!("ConfigMap/{namespace}/{name}");
    let mut deleted: Vec<String> =
        serde_json::from_value(told.outputs()["deleted"].clone()).unwrap();
    deleted.sort();
    assert_eq!(deleted, [id("a"), id("b")]);
    assert_eq!(told.outputs()["notFound"], json!([id("none")]));
    // Whoever carries it on finds nothing left.
    let again = world.run(&task).await;
    assert_eq!(again.outputs()["deleted"], json!([]));
    world.finish().await;
}

#[tokio::test]
async fn the_objects_of_a_set_go_and_its_namespace_stays() {
    let world = World::new("delete_set").await;
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n",
        world.namespace.name()
    );
    let gone = "apiVersion: gone.example.com/v1\nkind: Gadget\nmetadata: {name: x}\n";
    let yaml = documents(&[&config("a", "1"), &namespace, &config("none", "1"), gone]);
    world.given(&config("a", "1")).await;
    let told = world
        .run(&world.task(delete(Resources::Manifests(set(&yaml)))))
        .await;
    assert_eq!(told.outputs()["deleted"].as_array().unwrap().len(), 1);
    assert_eq!(told.outputs()["kept"].as_array().unwrap().len(), 1);
    assert!(told.said("does not know kind Gadget"), "{:?}", told.lines);
    let live = world
        .kubectl(
            &[
                "get",
                "namespace",
                world.namespace.name(),
                "-o",
                "jsonpath={.metadata.deletionTimestamp}",
            ],
            "",
        )
        .await;
    assert_eq!(live, "");
    world.finish().await;
}

#[tokio::test]
async fn a_release_goes_with_everything_that_it_has() {
    let world = World::new("delete_release").await;
    world.deploy(plain(&config("a", "1"))).await.outputs();
    world.deploy(plain(&config("b", "1"))).await.outputs();
    world.given(&config("beside", "1")).await;
    let told = world.run(&world.task(delete(Resources::Release))).await;
    assert_eq!(told.outputs()["uninstalled"], true);
    for (name, there) in [("a", false), ("b", false), ("beside", true)] {
        assert_eq!(
            world.get("v1/ConfigMap", name).await.is_some(),
            there,
            "{name}"
        );
    }
    assert!(world.heads().await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn a_namespace_of_the_release_goes_only_when_it_is_asked_for() {
    let world = World::new("delete_namespace").await;
    let own = format!("{}-own", world.namespace.name());
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {own}}}\n");
    let claim = format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data, namespace: {own}}}\nspec: {{accessModes: [ReadWriteOnce], storageClassName: none, resources: {{requests: {{storage: 1Mi}}}}}}\n"
    );
    let outside = claim.replace(&format!("namespace: {own}"), "labels: {a: b}");
    let yaml = documents(&[&namespace, &claim, &outside]);
    let mut options = plain(&yaml);
    options.wait_for_jobs = false;
    let mut task = world.task(Action::RollingDeploy(options));
    task.timeout = std::time::Duration::from_secs(20);
    // Nobody binds the claims, so that it may not become healthy.
    world.run(&task).await;
    let delete = |delete_namespaces| {
        Action::Delete(Delete {
            resources: Resources::Release,
            delete_namespaces,
        })
    };
    let told = world.run(&world.task(delete(true))).await;
    let outputs = told.outputs();
    assert!(
        world
            .get_in(&own, "v1/PersistentVolumeClaim", "data")
            .await
            .is_none()
    );
    assert!(
        world
            .get("v1/PersistentVolumeClaim", "data")
            .await
            .is_some(),
        "storage elsewhere stays"
    );
    let kept = outputs["kept"].as_array().unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    world.finish().await;
}
