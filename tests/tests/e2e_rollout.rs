//! The main job: version 1, version 2 without a failed request, a broken version 3 explained and rolled back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use sortie_testkit::TrafficProbe;
use sortie_tests::Product;
use sortie_tests::rollout::{Images, deployed_image, run};

#[tokio::test(flavor = "multi_thread")]
async fn three_versions() -> anyhow::Result<()> {
    let product = Product::start("e2e-rollout").await?;
    let images = Images::load(product.cluster()).await?;
    product.apply_example().await?;

    let first = run(&product, &images, "v1").await?;
    assert_eq!(first.code, Some(0), "{}\n{}", first.stdout, first.stderr);
    assert_eq!(deployed_image(&product).await?, images.tag("v1"));

    let (address, port) = product
        .cluster()
        .service(product.namespace(), "hello")
        .await?;
    let mut probe = TrafficProbe::start(product.cluster(), address, port)?;
    probe
        .wait_for(Duration::from_secs(30), |report| report.count("v1") >= 20)
        .await?;
    let second = run(&product, &images, "v2").await?;
    assert_eq!(second.code, Some(0), "{}\n{}", second.stdout, second.stderr);
    probe
        .wait_for(Duration::from_secs(30), |report| report.count("v2") >= 100)
        .await?;
    let traffic = probe.stop().await?;
    assert_eq!(
        traffic.failed, 0,
        "requests failed during the rollout: {traffic:?}"
    );
    assert!(
        traffic.count("v1") > 0 && traffic.count("v2") > 0,
        "{traffic:?}"
    );

    let third = run(&product, &images, "v3").await?;
    assert_eq!(third.code, Some(1), "{}\n{}", third.stdout, third.stderr);
    let said = format!("{}\n{}", third.stdout, third.stderr);
    assert!(
        said.contains("cannot open /data/settings.toml"),
        "the last log line is missing:\n{said}"
    );
    assert!(said.contains("SRT-H007"), "the code is missing:\n{said}");
    assert_eq!(
        deployed_image(&product).await?,
        images.tag("v2"),
        "version 2 is not back"
    );

    // Seen from the command line alone, the same release.
    let namespace = product.namespace().to_owned();
    let history = product
        .sortie(&[
            "history",
            "-n",
            &namespace,
            "--release",
            "hello",
            "-o",
            "json",
        ])
        .await?;
    let history: serde_json::Value = serde_json::from_str(&history.stdout)?;
    let newest = &history["items"][0];
    assert_eq!(
        history["items"].as_array().map(Vec::len),
        Some(3),
        "{history}"
    );
    assert_eq!(
        (newest["number"].as_u64(), newest["status"].as_str()),
        (Some(3), Some("Failed"))
    );
    product.finish().await
}
