//! What goes wrong in a deployment ends in a clear error within seconds, and the old version goes on serving.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use sortie_testkit::TrafficProbe;
use sortie_tests::rollout::{Images, deployed_image, run, wait_for_image};
use sortie_tests::{Example, Product};

/// A failure that takes longer was not found but waited out: the step's own time-out is five minutes.
const FAILS_WITHIN: Duration = Duration::from_secs(120);

/// One way to break the example: what is replaced in its files, and what the error must say.
struct Breakage {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    says: &'static [&'static str],
}

const BREAKAGES: [Breakage; 6] = [
    Breakage {
        name: "an image that does not exist",
        file: "files.yaml",
        from: "image: {{ .Values.image }}",
        to: "image: registry.local/sortie-sample:never-built",
        says: &["SRT-H00", "never-built"],
    },
    Breakage {
        name: "a readiness probe that fails",
        file: "files.yaml",
        from: "path: /ready",
        to: "path: /no-such-page",
        says: &["SRT-H011", "404"],
    },
    Breakage {
        name: "a manifest that is not YAML",
        file: "files.yaml",
        from: "    kind: ConfigMap",
        to: "    kind: [ConfigMap",
        says: &["SRT-M", "configmap.yaml"],
    },
    Breakage {
        name: "a kind that the cluster does not know",
        file: "files.yaml",
        from: "    kind: ConfigMap",
        to: "    kind: ConfigMop",
        says: &["SRT-C004", "ConfigMop", "ConfigMap"],
    },
    Breakage {
        name: "a value that no values file has",
        file: "files.yaml",
        from: "<+serviceVariables.greeting>",
        to: "<+serviceVariables.greetings>",
        says: &["SRT-X", "greetings"],
    },
    Breakage {
        name: "a namespace that the delegate's policy does not allow",
        file: "infrastructure.yaml",
        from: "namespace: ",
        to: "namespace: kube-system # ",
        says: &["SRT-T012", "kube-system"],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_explained_and_leaves_the_old_version() -> Result<()> {
    let product = Product::start("e2e-failures").await?;
    let images = Images::load(product.cluster()).await?;
    product.apply_example().await?;
    let first = run(&product, &images, "v1").await?;
    assert_eq!(first.code, Some(0), "{}\n{}", first.stdout, first.stderr);
    let (address, port) = product
        .cluster()
        .service(product.namespace(), "hello")
        .await?;
    let probe = TrafficProbe::start(product.cluster(), address, port)?;

    for breakage in &BREAKAGES {
        let Breakage {
            name,
            file,
            from,
            to,
            says,
        } = breakage;
        let example = Example::new(product.namespace(), product.namespace())?;
        example.edit(file, from, to).context(*name)?;
        expect_failure(&product, &images, &example, name, says).await?;
    }

    quota(&product, &images).await?;
    let traffic = probe.stop().await?;
    assert_eq!(
        traffic.failed, 0,
        "the old version did not serve: {traffic:?}"
    );
    assert!(traffic.count("v1") > 100, "{traffic:?}");
    product.finish().await
}

/// A quota without room for one more pod: the rollout cannot surge.
async fn quota(product: &Product, images: &Images) -> Result<()> {
    let quotas: Api<ResourceQuota> =
        Api::namespaced(product.test_namespace().client(), product.namespace());
    let full = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"pods": "3"}}});
    let full: ResourceQuota = serde_json::from_value(full)?;
    quotas
        .create(&PostParams::default(), &full)
        .await
        .context("create the quota")?;
    let example = Example::new(product.namespace(), product.namespace())?;
    let result = expect_failure(
        product,
        images,
        &example,
        "a full quota",
        &["SRT-H009", "quota"],
    )
    .await;
    quotas
        .delete("full", &DeleteParams::default())
        .await
        .context("delete the quota")?;
    result
}

/// How long the newest execution took.
async fn took(product: &Product) -> Result<Duration> {
    let shown = product
        .sortie(&["get", "execution", "hello", "-o", "json"])
        .await?;
    let execution: Value = serde_json::from_str(&shown.stdout).context("the execution as JSON")?;
    let time = |field: &str| -> Result<jiff::Timestamp> {
        let text = execution[field]
            .as_str()
            .with_context(|| format!("no {field} in {execution}"))?;
        text.parse().context("a timestamp")
    };
    let took = time("endedAt")?.duration_since(time("createdAt")?);
    Duration::try_from(took).context("an end after the begin")
}

async fn expect_failure(
    product: &Product,
    images: &Images,
    example: &Example,
    name: &str,
    says: &[&str],
) -> Result<()> {
    product
        .sortie(&["apply", "-f", &example.path().display().to_string()])
        .await?;
    let ended = run(product, images, "v2").await?;
    let said = format!("{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(1), "{name}:\n{said}");
    for word in says {
        assert!(said.contains(word), "{name}: {word:?} is not in\n{said}");
    }
    assert!(!said.contains("panicked"), "{name}:\n{said}");
    assert!(
        took(product).await? < FAILS_WITHIN,
        "{name} was a time-out rather than a failure:\n{said}"
    );
    wait_for_image(product, &images.tag("v1"))
        .await
        .context(name.to_owned())?;
    assert_eq!(deployed_image(product).await?, images.tag("v1"), "{name}");
    Ok(())
}
