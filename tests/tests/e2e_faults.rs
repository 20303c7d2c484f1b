//! Processes die and links break in the middle of a deployment; it still ends right.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use anyhow::Result;
use sortie_tests::rollout::{Images, run, start, wait_for_image};
use sortie_tests::{Product, ProductOptions};

/// How long a run may take to its end in spite of a fault.
const END: Duration = Duration::from_secs(180);

async fn with_version_one(test: &str, options: ProductOptions) -> Result<(Product, Images)> {
    let product = Product::start_with(test, options).await?;
    let images = Images::load(product.cluster()).await?;
    product.apply_example().await?;
    let first = run(&product, &images, "v1").await?;
    assert_eq!(first.code, Some(0), "{}\n{}", first.stdout, first.stderr);
    Ok((product, images))
}

/// The fault happens when the run shows `when`; then the run must end well with version 2.
async fn delegate_killed(test: &str, when: &str) -> Result<()> {
    let options = ProductOptions {
        task_lease: Some("5s".to_owned()),
        ..ProductOptions::default()
    };
    let (mut product, images) = with_version_one(test, options).await?;
    let mut second = start(&product, &images, "v2")?;
    second.line(END, |line| line.contains(when)).await?;
    product.kill_delegate().await?;
    product.start_delegate().await?;
    second
        .line(END, |line| {
            line.contains("hello #") && line.contains("succeeded")
        })
        .await?;
    wait_for_image(&product, &images.tag("v2")).await?;
    product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_killed_during_apply_is_followed_by_the_next() -> Result<()> {
    delegate_killed("e2e-kill-apply", "Apply").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_killed_during_the_wait_is_followed_by_the_next() -> Result<()> {
    delegate_killed("e2e-kill-wait", "Wait for Steady State").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_that_leaves_hands_its_step_to_another_replica() -> Result<()> {
    // Nobody may wait for the task lease: the whole test is over before.
    let options = ProductOptions {
        task_lease: Some("1h".to_owned()),
        drain_seconds: Some(1),
        ..ProductOptions::default()
    };
    let mut product = Product::start_with("e2e-hand-over", options).await?;
    let images = Images::load(product.cluster()).await?;
    let example = product.apply_example().await?;
    // The wait is still on when the drain is over.
    let (from, to) = (
        "      replicas:",
        "      minReadySeconds: 15\n      replicas:",
    );
    example.edit("files.yaml", from, to)?;
    let folder = example.path().display().to_string();
    product.sortie(&["apply", "-f", &folder]).await?;

    let mut follower = start(&product, &images, "v1")?;
    follower
        .line(END, |line| line.contains("Wait for Steady State"))
        .await?;
    let mut other = product.spawn_delegate("b")?;
    other
        .line(END, |line| line.contains("connected to the control plane"))
        .await?;
    let left = product.stop_delegate().await?;
    assert!(left.contains("task stopped at a safe place"), "{left}");
    assert!(!left.contains("not everything"), "{left}");
    follower
        .line(END, |line| {
            line.contains("hello #") && line.contains("succeeded")
        })
        .await?;
    let told = follower.output();
    assert!(told.contains("going on with release number 1"), "{told}");
    assert!(told.contains("shuts down: the next one carries"), "{told}");
    let attempt = format!("attempt 2, on {}", product.namespace());
    assert!(told.contains(&attempt), "{told}");
    // The release was free: the next holder had not to wait for the end of a Lease.
    assert!(!told.contains("waiting for"), "{told}");
    let carried_on = |line: &str| {
        line.contains("task accepted") && (line.contains("epoch=2") || line.contains("\"epoch\":2"))
    };
    other.line(END, carried_on).await?;
    wait_for_image(&product, &images.tag("v1")).await?;
    let namespace = product.namespace().to_owned();
    let history = product
        .sortie(&[
            "history",
            "--release",
            "hello",
            "-n",
            &namespace,
            "-o",
            "json",
        ])
        .await?;
    let history: serde_json::Value = serde_json::from_str(&history.stdout)?;
    assert_eq!(
        history["items"].as_array().map(Vec::len),
        Some(1),
        "{history}"
    );
    other.terminate(END).await?;
    product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_during_a_run_carries_it_on() -> Result<()> {
    let (mut product, images) =
        with_version_one("e2e-kill-server", ProductOptions::default()).await?;
    let mut second = start(&product, &images, "v2")?;
    second
        .line(END, |line| line.contains("Wait for Steady State"))
        .await?;
    product.kill_server().await?;
    product.start_server().await?;
    second
        .line(END, |line| {
            line.contains("hello #") && line.contains("succeeded")
        })
        .await?;
    wait_for_image(&product, &images.tag("v2")).await?;
    product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_cut_for_a_minute_delays_only_the_news() -> Result<()> {
    let (product, images) = with_version_one("e2e-cut", ProductOptions::default()).await?;
    let mut second = start(&product, &images, "v2")?;
    second
        .line(END, |line| line.contains("Wait for Steady State"))
        .await?;
    product.link().cut();
    // The delegate goes on without the link; the minute is part of what is tested.
    wait_for_image(&product, &images.tag("v2")).await?;
    tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>())
        .await
        .ok();
    product.link().mend();
    second
        .line(END, |line| {
            line.contains("hello #") && line.contains("succeeded")
        })
        .await?;
    product.finish().await
}
