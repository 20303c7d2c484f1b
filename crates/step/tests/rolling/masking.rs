//! What the Secrets of a set hold is in nothing that a step says, and nowhere in a record but among its objects.

use std::sync::Arc;

use sortie_step::inspect::inspect;

use crate::world::{Told, World, config, documents, plain, web};

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
