//! Canary and blue-green pipelines, their rollbacks, and a client that loops through the Service meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use anyhow::Result;
use sortie_testkit::TrafficProbe;
use sortie_tests::Product;
use sortie_tests::rollout::{Images, deployed_image, deployments, run_pipeline};

/// Requests that a client has made at least, each on a connection of its own.
const REQUESTS: u64 = 1000;
/// How long a client may take for its last ones.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a pipeline and asserts how it ends; says what it said.
async fn ends(
    product: &Product,
    pipeline: &str,
    images: &Images,
    version: &str,
    code: i32,
) -> Result<String> {
    let ended = run_pipeline(product, pipeline, images, version).await?;
    let said = format!("{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(code), "{version}: {said}");
    Ok(said)
}

async fn client(product: &Product) -> Result<TrafficProbe> {
    let (address, port) = product
        .cluster()
        .service(product.namespace(), "hello")
        .await?;
    TrafficProbe::start(product.cluster(), address, port)
}

/// The names of the Deployments, sorted.
async fn names(product: &Product) -> Result<Vec<String>> {
    let listed = deployments(product)
        .list(&kube::api::ListParams::default())
        .await?;
    let mut names: Vec<String> = listed
        .items
        .into_iter()
        .filter_map(|deployment| deployment.metadata.name)
        .collect();
    names.sort();
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_before_everybody() -> Result<()> {
    let product = Product::start("e2e-canary").await?;
    let images = Images::load(product.cluster()).await?;
    product.apply_example().await?;
    let canary = "hello_canary";
    ends(&product, canary, &images, "v1", 0).await?;
    assert_eq!(names(&product).await?, ["hello"]);

    let mut probe = client(&product).await?;
    probe
        .wait_for(PATIENCE, |report| report.count("v1") >= 20)
        .await?;
    let said = ends(&product, canary, &images, "v2", 0).await?;
    assert!(said.contains("hello-canary"), "{said}");
    assert_eq!(deployed_image(&product).await?, images.tag("v2"));
    // A broken version is found by its canary, and the present one never sees it.
    let said = ends(&product, canary, &images, "v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");
    assert!(said.contains("cannot open /data/settings.toml"), "{said}");
    assert_eq!(deployed_image(&product).await?, images.tag("v2"));
    assert_eq!(names(&product).await?, ["hello"]);
    probe
        .wait_for(PATIENCE, |report| {
            report.count("v1") + report.count("v2") >= REQUESTS
        })
        .await?;
    let traffic = probe.stop().await?;
    assert_eq!(traffic.failed, 0, "{traffic:?}");
    product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_colours_exchange_the_traffic() -> Result<()> {
    let product = Product::start("e2e-colours").await?;
    let images = Images::load(product.cluster()).await?;
    let example = product.apply_example().await?;
    let colours = "hello_blue_green";
    ends(&product, colours, &images, "v1", 0).await?;
    assert_eq!(names(&product).await?, ["hello-blue"]);

    let mut probe = client(&product).await?;
    probe
        .wait_for(PATIENCE, |report| report.count("v1") >= 20)
        .await?;
    ends(&product, colours, &images, "v2", 0).await?;
    assert_eq!(names(&product).await?, ["hello-blue", "hello-green"]);
    let replicas = async |name: &str| -> Result<Option<i32>> {
        let deployment = deployments(&product).get(name).await?;
        Ok(deployment.spec.and_then(|spec| spec.replicas))
    };
    assert_eq!(
        replicas("hello-blue").await?,
        Some(0),
        "the old version is scaled down"
    );
    assert_eq!(replicas("hello-green").await?, Some(3));
    let before = probe.report();

    // A broken version never gets traffic.
    let said = ends(&product, colours, &images, "v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");

    // Version 1 gets the traffic, a later step fails, and version 2 has it again.
    let fails = "                    settleDelay: 2s\n              - step:\n                  name: too much\n                  identifier: too_much\n                  type: K8sScale\n                  timeout: 1m\n                  spec:\n                    workload: Deployment/nobody\n                    instanceSelection: {type: Count, spec: {count: 1}}\n";
    example.edit(
        "pipeline-blue-green.yaml",
        "                    settleDelay: 2s\n",
        fails,
    )?;
    let folder = example.path().display().to_string();
    product.sortie(&["apply", "-f", &folder]).await?;
    let said = ends(&product, colours, &images, "v1", 1).await?;
    assert!(said.contains("nobody"), "{said}");
    let seen = probe.report();
    assert!(
        seen.count("v1") > before.count("v1"),
        "version 1 had the traffic: {seen:?}"
    );
    let so_far = seen.count("v2");
    probe
        .wait_for(PATIENCE, |report| {
            report.count("v2") >= so_far + 50 && report.count("v1") + report.count("v2") >= REQUESTS
        })
        .await?;
    let traffic = probe.stop().await?;
    assert_eq!(traffic.failed, 0, "{traffic:?}");
    product.finish().await
}
