//! Running the example's pipeline, and looking at what came of it.

use std::time::Duration;

use crate::process::{Finished, Program};
use crate::product::Product;
use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use sortie_testkit::{Cluster, wait_for};

/// The sample application's images, loaded into the node.
#[derive(Debug)]
pub struct Images {
    repository: String,
}

impl Images {
    /// Build and load them if need be.
    ///
    /// # Errors
    /// They cannot be built or loaded.
    pub async fn load(cluster: &Cluster) -> Result<Self> {
        let first = cluster.image("sample-v1").await?;
        for version in ["sample-v2", "sample-v3"] {
            cluster.image(version).await?;
        }
        let repository = first.strip_suffix(":v1").context("a tag of v1")?.to_owned();
        Ok(Self { repository })
    }

    /// The image of a version.
    #[must_use]
    pub fn tag(&self, version: &str) -> String {
        format!("{}:{version}", self.repository)
    }

    fn variables(&self, version: &str) -> [String; 2] {
        [
            format!("version={version}"),
            format!("image={}", self.repository),
        ]
    }
}

/// Run the pipeline of rolling deployments to its end.
///
/// # Errors
/// The program cannot be run.
pub async fn run(product: &Product, images: &Images, version: &str) -> Result<Finished> {
    run_pipeline(product, "hello", images, version).await
}

/// Run one of the example's pipelines to its end.
///
/// # Errors
/// The program cannot be run.
pub async fn run_pipeline(
    product: &Product,
    pipeline: &str,
    images: &Images,
    version: &str,
) -> Result<Finished> {
    let [version, image] = images.variables(version);
    product
        .try_sortie(
            &[
                "run", pipeline, "--set", &version, "--set", &image, "--follow",
            ],
            None,
        )
        .await
}

/// Start the pipeline and go on.
///
/// # Errors
/// The program cannot be started.
pub fn start(product: &Product, images: &Images, version: &str) -> Result<Program> {
    let [version, image] = images.variables(version);
    product.start_sortie(&[
        "run", "hello", "--set", &version, "--set", &image, "--follow",
    ])
}

/// The image that the Deployment names.
///
/// # Errors
/// There is no Deployment.
pub async fn deployed_image(product: &Product) -> Result<String> {
    let deployment = deployments(product)
        .get("hello")
        .await
        .context("read the Deployment")?;
    image_of(&deployment).context("a Deployment without a container")
}

/// Wait until all replicas of the Deployment run this image.
///
/// # Errors
/// It does not come to that in time.
pub async fn wait_for_image(product: &Product, image: &str) -> Result<()> {
    let settled = |deployment: Option<&Deployment>| {
        deployment.is_some_and(|deployment| {
            let status = deployment.status.clone().unwrap_or_default();
            let wanted = deployment
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(1);
            image_of(deployment).as_deref() == Some(image)
                && status.observed_generation == deployment.metadata.generation
                && status.updated_replicas == Some(wanted)
                && status.available_replicas == Some(wanted)
                && status.replicas == Some(wanted)
        })
    };
    wait_for(
        deployments(product),
        "hello",
        Duration::from_secs(120),
        settled,
    )
    .await?;
    Ok(())
}

/// The Deployments of the namespace that is deployed to.
#[must_use]
pub fn deployments(product: &Product) -> Api<Deployment> {
    Api::namespaced(product.test_namespace().client(), product.namespace())
}

fn image_of(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}
