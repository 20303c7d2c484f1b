//! Progressive canaries from here, on the real cluster that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::world::{World, web};
use support::{Ended, Person};

impl World {
    /// The files have this version from now on.
    async fn version(&self, image: &str) {
        let image = self.cluster.image(image).await.unwrap();
        self.me.file("k8s/app.yaml", &web(2, &image));
    }

    async fn share(&self, percent: &str) -> Ended {
        let deploy = ["deploy", "k8s", "--strategy", "canary", "--progressive"];
        self.on(&[&deploy[..], &[percent]].concat()).await
    }

    /// Names and numbers of pods of the Deployments.
    async fn sizes(&self) -> String {
        let path = "jsonpath={range .items[*]}{.metadata.name}={.spec.replicas} {end}";
        let sizes = self.kubectl(&["get", "deployments", "-o", path]).await;
        sizes.trim().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_taken_given_back_or_becomes_everything() {
    let world = World::of("cli_progressive", Person::with_tools()).await;
    world.version("sample-v1").await;
    let ended = world.share("50%").await.ok();
    assert!(ended.stdout.contains("number 1 runs"), "{ended:?}");
    assert_eq!(world.sizes().await, "web=2");

    world.version("sample-v2").await;
    let ended = world.share("50%").await.ok();
    assert!(ended.stdout.contains("canary"), "{ended:?}");
    assert!(ended.stdout.contains("1 pod"), "{ended:?}");
    assert_eq!(world.sizes().await, "web=1 web-canary=1");
    world.on(&["cancel"]).await.ok();
    assert_eq!(world.sizes().await, "web=2");

    world.share("50%").await.ok();
    let ended = world.on(&["promote", "k8s"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    // It needs no files: the record has what was looked at.
    world.version("sample-v3").await;
    let ended = world.on(&["promote"]).await.ok();
    assert!(ended.stdout.contains("is deleted"), "{ended:?}");
    assert_eq!(world.sizes().await, "web=2");
    let image = ["get", "deployment", "web", "-o"];
    let path = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = world.kubectl(&[&image[..], &[path]].concat()).await;
    assert!(image.ends_with("v2"), "{image}");
    world.version("sample-v2").await;
    let ended = world.share("10%").await.ok();
    assert!(ended.stdout.contains("already"), "{ended:?}");
}
