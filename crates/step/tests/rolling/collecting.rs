//! Versioned configuration that nothing needs any more.

use crate::world::{World, documents, plain, web};

/// A set with a ConfigMap whose name follows its content, and one more.
fn set(value: &str, more: &str) -> String {
    let settings = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: {value:?}}}\n"
    );
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: token}}\nstringData: {{a: {value:?}}}\n"
    );
    documents(&[&settings, &secret, more])
}

/// Names of the versioned objects of a kind.
async fn versioned(world: &World, kind: &str) -> Vec<String> {
    let listed = world.kubectl(&["get", kind, "-o", "name"], "").await;
    let names = listed.lines().filter_map(|line| line.split('/').nth(1));
    let names = names.filter(|name| name.starts_with("settings-") || name.starts_with("token-"));
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn versioned_configuration_goes_with_the_last_record_and_the_last_user() {
    let mut world = World::new("collecting").await;
    world.limits.history = 2;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let web = web(
        &image,
        r#", {name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: a}}}"#,
    );
    let deployed = async |value: &str| {
        world.deploy(plain(&set(value, &web))).await.outputs();
        (
            versioned(&world, "configmaps").await.len(),
            versioned(&world, "secrets").await.len(),
        )
    };
    assert_eq!(deployed("1").await, (1, 1));
    assert_eq!(deployed("2").await, (2, 2));
    // The record of the first is gone; its ReplicaSet still names the ConfigMap, and nothing its Secret.
    assert_eq!(deployed("3").await, (3, 2));
    let old = world.kubectl(
        &[
            "get",
            "replicasets",
            "-o",
            "name",
            "--sort-by=.metadata.creationTimestamp",
        ],
        "",
    );
    let old = old.await;
    let oldest = old.lines().next().unwrap();
    world.kubectl(&["delete", oldest], "").await;
    assert_eq!(
        deployed("4").await,
        (3, 2),
        "the first goes, the fourth comes"
    );
    world.finish().await;
}
