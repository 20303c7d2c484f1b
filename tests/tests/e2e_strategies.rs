//! The usual step groups of each strategy as pipelines: what succeeds, each step that fails with its rollback, and a client
//! that loops through the Service meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use sortie_testkit::{TrafficProbe, TrafficReport};
use sortie_tests::rollout::{Images, deployed_image, deployments, run_pipeline};
use sortie_tests::{Example, Product};

/// How long a client may take for its last requests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Requests that a client makes at least while one pipeline runs, each on a connection of its own.
fn requests() -> u64 {
    if std::env::var_os("SORTIE_FULL").is_some() {
        5000
    } else {
        1000
    }
}

/// The product with the example.
struct Shop {
    product: Product,
    images: Images,
    example: Example,
}

impl Shop {
    async fn open(test: &str) -> Result<Self> {
        let product = Product::start(test).await?;
        let images = Images::load(product.cluster()).await?;
        let example = product.apply_example().await?;
        Ok(Self {
            product,
            images,
            example,
        })
    }

    /// Runs a pipeline and asserts how it ends; says what it said.
    async fn run(&self, pipeline: &str, version: &str, code: i32) -> Result<String> {
        let ended = run_pipeline(&self.product, pipeline, &self.images, version).await?;
        let said = format!("{}\n{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, Some(code), "{version}: {said}");
        Ok(said)
    }

    /// The same with a client of the version that serves; no request of it fails.
    async fn watched(
        &self,
        pipeline: &str,
        version: &str,
        code: i32,
    ) -> Result<(String, TrafficReport)> {
        let cluster = self.product.cluster();
        let (address, port) = cluster.service(self.product.namespace(), "hello").await?;
        let mut probe = TrafficProbe::start(cluster, address, port)?;
        probe
            .wait_for(PATIENCE, |report| report.total >= 20)
            .await?;
        let said = self.run(pipeline, version, code).await?;
        let ended = probe.report().total;
        let enough = |report: &TrafficReport| report.total >= requests().max(ended + 50);
        probe.wait_for(PATIENCE, enough).await?;
        let traffic = probe.stop().await?;
        assert_eq!(traffic.failed, 0, "{pipeline} {version}: {traffic:?}");
        Ok((said, traffic))
    }

    /// Changes a file of the example, and stores it.
    async fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        self.example.edit(file, from, to)?;
        let folder = self.example.path().display().to_string();
        self.product
            .sortie(&["apply", "-f", &folder])
            .await
            .map(drop)
    }

    /// The Deployments and how many pods each wants, sorted.
    async fn sizes(&self) -> Result<Vec<(String, i32)>> {
        let listed = deployments(&self.product);
        let listed = listed.list(&ListParams::default()).await?;
        let size = |deployment: k8s_openapi::api::apps::v1::Deployment| {
            let replicas = deployment.spec.and_then(|spec| spec.replicas);
            Some((deployment.metadata.name?, replicas?))
        };
        let mut sizes: Vec<_> = listed.items.into_iter().filter_map(size).collect();
        sizes.sort();
        Ok(sizes)
    }

    async fn has_sizes(&self, expected: &[(&str, i32)]) -> Result<()> {
        let sizes = self.sizes().await?;
        let sizes: Vec<_> = sizes.iter().map(|(name, size)| (&**name, *size)).collect();
        assert_eq!(sizes, expected);
        Ok(())
    }

    /// The colour that has the traffic.
    async fn color(&self) -> Result<String> {
        let client = self.product.test_namespace().client();
        let services: Api<Service> = Api::namespaced(client, self.product.namespace());
        let spec = services.get("hello").await?.spec.context("a spec")?;
        let selector = spec.selector.context("a selector")?;
        let color = selector.get("sortie.dev/color");
        Ok(color.context("a colour")?.clone())
    }

    /// State and track of the two newest records.
    async fn newest(&self) -> Result<[(Value, Value); 2]> {
        let namespace = self.product.namespace();
        let verb = [
            "history",
            "-n",
            namespace,
            "--release",
            "hello",
            "-o",
            "json",
        ];
        let listed = self.product.sortie(&verb).await?;
        let listed: Value = serde_json::from_str(&listed.stdout)?;
        let record = |at: usize| &listed["items"][at];
        Ok([0, 1].map(|at| (record(at)["status"].clone(), record(at)["track"].clone())))
    }

    async fn has_image(&self, version: &str) -> Result<()> {
        let image = deployed_image(&self.product).await?;
        assert_eq!(image, self.images.tag(version));
        Ok(())
    }
}

/// All that was answered is of these versions.
#[track_caller]
fn only(traffic: &TrafficReport, versions: &[&str]) {
    let answered: Vec<&str> = traffic.versions.keys().map(String::as_str).collect();
    assert!(
        answered.iter().all(|one| versions.contains(one)),
        "{traffic:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deployment_succeeds_or_is_rolled_back() -> Result<()> {
    let shop = Shop::open("e2e-rolling").await?;
    shop.run("hello", "v1", 0).await?;
    let (_, traffic) = shop.watched("hello", "v2", 0).await?;
    assert!(traffic.count("v2") > 0, "{traffic:?}");

    let (said, traffic) = shop.watched("hello", "v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");
    only(&traffic, &["v2"]);
    shop.has_image("v2").await?;
    shop.has_sizes(&[("hello", 3)]).await?;
    shop.product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_before_everybody() -> Result<()> {
    let shop = Shop::open("e2e-canary").await?;
    let canary = "hello_canary";
    shop.run(canary, "v1", 0).await?;
    shop.has_sizes(&[("hello", 3)]).await?;
    let (said, traffic) = shop.watched(canary, "v2", 0).await?;
    assert!(said.contains("hello-canary"), "{said}");
    assert!(traffic.count("v2") > 0, "{traffic:?}");
    shop.has_image("v2").await?;

    // A broken version is found by its canary, and nobody else ever sees it.
    let (said, traffic) = shop.watched(canary, "v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");
    assert!(said.contains("cannot open /data/settings.toml"), "{said}");
    only(&traffic, &["v2"]);
    shop.has_image("v2").await?;
    shop.has_sizes(&[("hello", 3)]).await?;

    // One that breaks only after its canary is rolled back as well.
    let crash = "              env:\n                - name: CRASH\n                  value: {{ if and (eq .Values.version \"v3\") (ne .Values.step \"K8sCanaryDeploy\") }}\"1\"{{ else }}\"0\"{{ end }}\n";
    shop.example
        .edit("files.yaml", "              env:\n", crash)?;
    let values =
        "    version: <+pipeline.variables.version>\n    step: <+step.type>\n    replicas: <+";
    shop.edit("files.yaml", "    replicas: <+", values).await?;
    let (said, traffic) = shop.watched(canary, "v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");
    only(&traffic, &["v2", "v3"]);
    let ended = [("Failed", Value::Null), ("Superseded", "canary".into())];
    assert_eq!(
        shop.newest().await?,
        ended.map(|(status, track)| (status.into(), track))
    );
    shop.has_image("v2").await?;
    shop.has_sizes(&[("hello", 3)]).await?;
    shop.product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_colours_exchange_the_traffic() -> Result<()> {
    let shop = Shop::open("e2e-colours").await?;
    let colours = "hello_blue_green";
    let pipeline = "pipeline-blue-green.yaml";
    shop.run(colours, "v1", 0).await?;
    shop.has_sizes(&[("hello-blue", 3)]).await?;
    let (_, traffic) = shop.watched(colours, "v2", 0).await?;
    assert!(traffic.count("v1") > 0, "{traffic:?}");
    assert!(traffic.count("v2") > 0, "{traffic:?}");
    assert_eq!(shop.color().await?, "green");
    // The old version is scaled down.
    shop.has_sizes(&[("hello-blue", 0), ("hello-green", 3)])
        .await?;

    // A broken version never gets traffic.
    let (said, traffic) = shop.watched(colours, "v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");
    only(&traffic, &["v2"]);
    assert_eq!(shop.color().await?, "green");

    // What fails before the swap leaves the traffic where it is.
    let fails = "              - step:\n                  name: too much\n                  identifier: too_much\n                  type: K8sScale\n                  timeout: 1m\n                  spec:\n                    workload: Deployment/nobody\n                    instanceSelection: {type: Count, spec: {count: 1}}\n";
    let swap = "              - step:\n                  name: swap\n                  ";
    let before = format!("{fails}{swap}");
    shop.edit(pipeline, swap, &before).await?;
    let (said, traffic) = shop.watched(colours, "v1", 1).await?;
    assert!(said.contains("nobody"), "{said}");
    only(&traffic, &["v2"]);
    assert_eq!(shop.color().await?, "green");
    shop.has_sizes(&[("hello-blue", 3), ("hello-green", 3)])
        .await?;

    // What fails after it gives the traffic back.
    shop.example.edit(pipeline, &before, swap)?;
    let settle = "                    settleDelay: 2s\n";
    let after = format!("{settle}{fails}");
    shop.edit(pipeline, settle, &after).await?;
    let (said, traffic) = shop.watched(colours, "v1", 1).await?;
    assert!(said.contains("nobody"), "{said}");
    assert!(traffic.count("v1") > 0, "version 1 had it: {traffic:?}");
    assert_eq!(shop.color().await?, "green");
    shop.has_sizes(&[("hello-blue", 3), ("hello-green", 3)])
        .await?;
    let (_, traffic) = shop.watched(colours, "v3", 1).await?;
    only(&traffic, &["v2"]);
    shop.product.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_takes_over_share_by_share() -> Result<()> {
    let shop = Shop::open("e2e-progressive").await?;
    let progressive = "hello_progressive";
    // Nothing runs yet, so that there is nothing to share.
    let said = shop.run(progressive, "v1", 0).await?;
    assert!(said.contains("deployed as a whole"), "{said}");
    shop.has_image("v1").await?;
    shop.has_sizes(&[("hello", 3)]).await?;
    let (said, traffic) = shop.watched(progressive, "v2", 0).await?;
    assert!(said.contains("hello-canary"), "{said}");
    assert!(traffic.count("v1") > 0 && traffic.count("v2") > 0);
    shop.has_image("v2").await?;
    shop.has_sizes(&[("hello", 3)]).await?;

    // A broken version gets no pod of the present one.
    let (said, traffic) = shop.watched(progressive, "v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");
    assert_eq!(traffic.count("v2"), traffic.total, "{traffic:?}");
    shop.has_image("v2").await?;
    shop.has_sizes(&[("hello", 3)]).await?;

    // What fails in the middle goes back share by share.
    let last = "              - step:\n                  name: share 100\n";
    let fails = "              - step:\n                  name: too much\n                  identifier: too_much\n                  type: K8sScale\n                  timeout: 1m\n                  spec:\n                    workload: Deployment/nobody\n                    instanceSelection: {type: Count, spec: {count: 1}}\n";
    let before_last = format!("{fails}{last}");
    shop.edit("pipeline-progressive.yaml", last, &before_last)
        .await?;
    let (said, traffic) = shop.watched(progressive, "v1", 1).await?;
    assert!(said.contains("nobody"), "{said}");
    assert!(traffic.count("v1") > 0, "version 1 had its share");
    shop.has_image("v2").await?;
    shop.has_sizes(&[("hello", 3)]).await?;
    shop.product.finish().await
}
