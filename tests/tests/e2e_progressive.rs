//! The progressive canary as a pipeline: four shares, a broken version, and the way back from the middle, with a client that
//! loops through the Service meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use anyhow::Result;
use kube::api::ListParams;
use sortie_testkit::{TrafficProbe, TrafficReport};
use sortie_tests::rollout::{Images, deployed_image, deployments, run_pipeline};
use sortie_tests::{Example, Product};

/// How long a client may take for its last requests.
const PATIENCE: Duration = Duration::from_secs(120);
const PIPELINE: &str = "hello_progressive";
const FILE: &str = "pipeline-progressive.yaml";

/// Requests of which none may fail.
fn requests() -> u64 {
    if std::env::var_os("SORTIE_FULL").is_some() {
        5000
    } else {
        1000
    }
}

struct Shop {
    product: Product,
    images: Images,
    example: Example,
}

impl Shop {
    /// Runs the pipeline and asserts how it ends; what it said.
    async fn run(&self, version: &str, code: i32) -> Result<String> {
        let ended = run_pipeline(&self.product, PIPELINE, &self.images, version).await?;
        let said = format!("{}\n{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, Some(code), "{version}: {said}");
        Ok(said)
    }

    /// The same with a client, of whose requests none fails.
    async fn watched(&self, version: &str, code: i32) -> Result<(String, TrafficReport)> {
        let cluster = self.product.cluster();
        let (address, port) = cluster.service(self.product.namespace(), "hello").await?;
        let mut probe = TrafficProbe::start(cluster, address, port)?;
        probe.wait_for(PATIENCE, |seen| seen.total >= 20).await?;
        let said = self.run(version, code).await?;
        let ended = probe.report().total;
        let enough = |seen: &TrafficReport| seen.total >= requests().max(ended + 50);
        probe.wait_for(PATIENCE, enough).await?;
        let traffic = probe.stop().await?;
        assert_eq!(traffic.failed, 0, "{version}: {traffic:?}");
        Ok((said, traffic))
    }

    /// Only the Deployment of the release is there, with all its pods and this version.
    async fn is_whole(&self, version: &str) -> Result<()> {
        let all = ListParams::default();
        let listed = deployments(&self.product).list(&all).await?;
        let sizes: Vec<_> = listed
            .items
            .into_iter()
            .map(|one| (one.metadata.name, one.spec.and_then(|spec| spec.replicas)))
            .collect();
        assert_eq!(sizes, [(Some("hello".to_owned()), Some(3))]);
        let image = deployed_image(&self.product).await?;
        assert_eq!(image, self.images.tag(version));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_takes_over_share_by_share() -> Result<()> {
    let product = Product::start("e2e-progressive").await?;
    let images = Images::load(product.cluster()).await?;
    let example = product.apply_example().await?;
    let shop = Shop {
        product,
        images,
        example,
    };
    // Nothing runs yet, so that there is nothing to share.
    let said = shop.run("v1", 0).await?;
    assert!(said.contains("deployed as a whole"), "{said}");
    shop.is_whole("v1").await?;
    let (said, traffic) = shop.watched("v2", 0).await?;
    assert!(said.contains("hello-canary"), "{said}");
    assert!(traffic.count("v1") > 0 && traffic.count("v2") > 0);
    shop.is_whole("v2").await?;

    // A broken version gets no pod of the present one.
    let (said, traffic) = shop.watched("v3", 1).await?;
    assert!(said.contains("SRT-H007"), "{said}");
    assert_eq!(traffic.count("v2"), traffic.total, "{traffic:?}");
    shop.is_whole("v2").await?;

    // What fails in the middle goes back share by share.
    let last = "              - step:\n                  name: share 100\n";
    let fails = "              - step:\n                  name: too much\n                  identifier: too_much\n                  type: K8sScale\n                  timeout: 1m\n                  spec:\n                    workload: Deployment/nobody\n                    instanceSelection: {type: Count, spec: {count: 1}}\n";
    shop.example.edit(FILE, last, &format!("{fails}{last}"))?;
    let folder = shop.example.path().display().to_string();
    shop.product.sortie(&["apply", "-f", &folder]).await?;
    let (said, traffic) = shop.watched("v1", 1).await?;
    assert!(said.contains("nobody"), "{said}");
    assert!(traffic.count("v1") > 0, "version 1 had its share");
    shop.is_whole("v2").await?;
    shop.product.finish().await
}
