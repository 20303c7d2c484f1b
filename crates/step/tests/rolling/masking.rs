//! What the Secrets of a set hold is in nothing that a step says, and nowhere in a record but among its objects.

use std::sync::Arc;

use sortie_cluster::record::{Records, Release};
use sortie_step::inspect::{inspect, recorded_secrets};

use crate::world::{RELEASE, Told, World, config, documents, plain, web};

const PASSWORD: &str = "correct-horse/battery";

fn assert_hidden(told: &Told) {
    let text = format!("{told:?}");
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(!text.contains("battery"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_repeats_of_a_secret_of_the_set_is_masked() {
    let world = World::new("masking").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {{password: {PASSWORD}, name: web, on: \"true\"}}\n"
    );
    let env = ", {name: P, valueFrom: {secretKeyRef: {name: login, key: password}}}";
    let broken = web(&image, env).replace(
        "          imagePullPolicy:",
        "          command: [\"/$(P)\"]\n          imagePullPolicy:",
    );
    world.deploy(plain(&config("a", "1"))).await.outputs();
    let set = documents(&[&secret, &broken]);
    let told = world.deploy(plain(&set)).await;
    // The pod cannot start, and the container runtime says what it was to run.
    let failure = told.failure();
    assert!(failure.message.contains("/**************"), "{failure:?}");
    assert!(failure.message.contains("web"), "{failure:?}");
    assert_hidden(&told);
    let heads = world.heads().await;
    let text = format!("{heads:?}");
    assert!(text.contains("**************"), "{text}");
    assert!(!text.contains("battery"), "{text}");
    // Whoever asks later hears no more.
    let inventory = &heads.last().unwrap().inventory;
    let inspected = inspect(&world.api, None, inventory, &Arc::default(), Vec::new()).await;
    let text = format!("{:?}", inspected.unwrap());
    assert!(text.contains("/**************"), "{text}");
    assert!(!text.contains("battery"), "{text}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_knows_what_a_secret_held_that_is_gone() {
    let world = World::new("masking_gone").await;
    let group = format!("{}.example.com", world.namespace.name());
    let crd = format!("crd/widgets.{group}");
    world
        .given(&format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: widgets.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  names: {{plural: widgets, kind: Widget}}\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n"
        ))
        .await;
    let established = ["wait", "--for=condition=Established", &crd];
    world.kubectl(&established, "").await;
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {{password: {PASSWORD}}}\n"
    );
    let widget = format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\n");
    let set = documents(&[&secret, &widget]);
    world.deploy(plain(&set)).await.outputs();

    let said = format!("cannot log in with {PASSWORD}");
    let condition =
        format!("{{\"type\": \"Ready\", \"status\": \"False\", \"message\": \"{said}\"}}");
    let status = format!("{{\"status\": {{\"conditions\": [{condition}]}}}}");
    let name = format!("widgets.{group}/one");
    let patch = ["patch", &name, "--type=merge", "-p", &status];
    world.kubectl(&patch, "").await;
    let listed = world.kubectl(&["get", "secrets", "-o", "name"], "").await;
    let login = listed.lines().find(|name| name.starts_with("secret/login"));
    world.kubectl(&["delete", login.unwrap()], "").await;

    let heads = world.heads().await;
    let release = Release::new(world.namespace.name(), RELEASE).unwrap();
    let records = Records::new(world.api.clone(), release);
    let known = recorded_secrets(&records, &heads).await;
    let inventory = &heads[0].inventory;
    let inspected = inspect(&world.api, None, inventory, &Arc::default(), known).await;
    world.kubectl(&["delete", &crd, "--wait=false"], "").await;
    let text = format!("{:?}", inspected.unwrap());
    assert!(text.contains("cannot log in with **************"), "{text}");
    assert!(!text.contains("battery"), "{text}");
    world.finish().await;
}
