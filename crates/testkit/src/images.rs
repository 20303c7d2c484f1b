//! Container images, built by `tests/cluster/build-images.sh` without a Docker daemon.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    cluster::{blocking, process::run_command},
    environment,
};

/// A built image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name for the build script: `sample-v1`, `delegate`, ...
    pub name: String,
    /// What a pod says under `image:`, always with `imagePullPolicy: IfNotPresent`.
    pub reference: String,
    /// The docker archive.
    pub archive: PathBuf,
    /// Changes with the content.
    pub key: String,
}

/// Builds the image when what it is made of changed; the programs in it come from `cargo build` (dev profile).
pub async fn build(name: &str) -> Result<Image> {
    let name = name.to_owned();
    blocking(move || build_now(name)).await
}

/// Builds the image and pushes it to `prefix` (such as `registry.example.com/team`), for a cluster that is not on this
/// machine; returns its reference there.
pub async fn push(name: &str, prefix: &str) -> Result<String> {
    let (name, prefix) = (name.to_owned(), prefix.to_owned());
    blocking(move || {
        let script = environment::repository().join("tests/cluster/push-images.sh");
        let output = run_command(Command::new(script).arg(&name).env("IMAGE_PREFIX", prefix));
        let references = output.with_context(|| format!("push the image {name}"))?;
        Ok(references.trim().to_owned())
    })
    .await
}

fn build_now(name: String) -> Result<Image> {
    let images = environment::cache_dir()?.join("images");
    let script = environment::repository().join("tests/cluster/build-images.sh");
    run_command(Command::new(script).arg(&name))
        .with_context(|| format!("build the image {name}"))?;
    let read = |suffix: &str| {
        let path = images.join(format!("{name}.{suffix}"));
        let text = std::fs::read_to_string(&path);
        text.map(|text| text.trim().to_owned())
            .with_context(|| format!("read {}", path.display()))
    };
    let (reference, key) = (read("ref")?, read("key")?);
    Ok(Image {
        archive: images.join(format!("{name}.tar")),
        name,
        reference,
        key,
    })
}
