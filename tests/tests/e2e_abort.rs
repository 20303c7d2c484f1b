//! A deployment that is aborted while it waits: everybody who looks on is told, and the release is free for the next run at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use sortie_tests::rollout::{Images, deployed_image, run, start, wait_for_image};
use sortie_tests::{Example, Product};

/// How long each step of the test may take.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_run_ends_for_everybody_and_frees_the_release() -> Result<()> {
    let product = Product::start("e2e-abort").await?;
    let images = Images::load(product.cluster()).await?;
    product.apply_example().await?;
    let first = run(&product, &images, "v1").await?;
    assert_eq!(first.code, Some(0), "{}\n{}", first.stdout, first.stderr);

    // From here on a pod needs five minutes to become ready.
    let slow = Example::new(product.namespace(), product.namespace())?;
    slow.edit(
        "files.yaml",
        "              env:\n",
        "              env:\n                - name: START_DELAY\n                  value: \"300\"\n",
    )?;
    apply(&product, &slow).await?;
    let mut second = start(&product, &images, "v2")?;
    let said = second
        .line(SOON, |line| line.contains("is execution "))
        .await?;
    let id = said.rsplit(' ').next().context("an id")?.to_owned();
    let mut watching = product.start_sortie(&["watch", &id])?;
    let mut reading = product.start_sortie(&["logs", &id, "--follow"])?;
    for program in [&mut second, &mut watching, &mut reading] {
        program
            .line(SOON, |line| line.contains("Wait for Steady State"))
            .await?;
    }
    assert!(held(&product).await?, "the running step holds the release");

    let reason = "the wrong version";
    let aborted = product
        .sortie(&["abort", &id, "--reason", reason, "-o", "json"])
        .await?;
    let told: Value = serde_json::from_str(&aborted.stdout)?;
    assert_eq!(told["id"], id.as_str(), "{told}");

    // 1 for those who follow the execution, 0 for the log: it is complete.
    let (code, output) = second.end(SOON).await?;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("hello #2 aborted"), "{output}");
    let (code, output) = watching.end(SOON).await?;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("hello #2 aborted"), "{output}");
    let (code, output) = reading.end(SOON).await?;
    assert_eq!(code, Some(0), "{output}");
    let whole = product.sortie(&["logs", &id]).await?.stdout;
    assert_eq!(
        output.trim_end(),
        whole.trim_end(),
        "the followed log is the whole log"
    );

    let shown = product
        .sortie(&["get", "execution", &id, "-o", "json"])
        .await?;
    let shown: Value = serde_json::from_str(&shown.stdout)?;
    assert_eq!(
        (&shown["status"], &shown["abortedBy"]),
        (&"ABORTED".into(), &"admin".into()),
        "{shown}"
    );
    // An abort rolls nothing back.
    assert_eq!(deployed_image(&product).await?, images.tag("v2"));
    assert!(!held(&product).await?, "the release is free");

    // A second abort is refused with a reason.
    let again = product.try_sortie(&["abort", &id], None).await?;
    assert_eq!(again.code, Some(6), "{}\n{}", again.stdout, again.stderr);
    assert!(again.stderr.contains("ABORTED"), "{}", again.stderr);

    let quick = Example::new(product.namespace(), product.namespace())?;
    apply(&product, &quick).await?;
    let third = run(&product, &images, "v2").await?;
    let said = format!("{}\n{}", third.stdout, third.stderr);
    assert_eq!(third.code, Some(0), "{said}");
    assert!(!said.contains("waiting for"), "it had to wait:\n{said}");
    wait_for_image(&product, &images.tag("v2")).await?;
    product.finish().await
}

async fn apply(product: &Product, example: &Example) -> Result<()> {
    let folder = example.path().display().to_string();
    product.sortie(&["apply", "-f", &folder]).await?;
    Ok(())
}

/// Whether somebody holds the lease of the example's release.
async fn held(product: &Product) -> Result<bool> {
    let leases: Api<Lease> =
        Api::namespaced(product.test_namespace().client(), product.namespace());
    let leases = leases.list(&ListParams::default()).await?;
    let of_release = leases.into_iter().find(|lease| {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        name.starts_with("sortie.release.")
    });
    let lease = of_release.context("no lease of the release")?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    Ok(holder.is_some_and(|holder| !holder.is_empty()))
}
