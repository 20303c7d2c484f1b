//! What the testkit takes from the process environment, in one place.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Folder for everything that outlives a build: tools, images, clusters. `SORTIE_CACHE`, or `sortie` in the user's
/// cache folder. Never inside the checkout.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = variable("SORTIE_CACHE") {
        return std::path::absolute(&dir).with_context(|| format!("resolve SORTIE_CACHE={dir}"));
    }
    if let Some(dir) = variable("XDG_CACHE_HOME") {
        return Ok(Path::new(&dir).join("sortie"));
    }
    let home = variable("HOME").context("none of SORTIE_CACHE, XDG_CACHE_HOME and HOME is set")?;
    Ok(Path::new(&home).join(".cache/sortie"))
}

/// The user's own cluster (`KUBECONFIG`), used instead of starting one. Only the first file of a list counts.
pub fn user_kubeconfig() -> Option<PathBuf> {
    let value = variable("KUBECONFIG")?;
    value
        .split(':')
        .find(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// Where images are pushed for the user's own cluster (`IMAGE_PREFIX`), such as `registry.example.com/team`.
pub fn image_prefix() -> Option<String> {
    variable("IMAGE_PREFIX")
}

/// A built tool of `tests/cluster/build-tools.sh`, as `$SORTIE_CACHE/bin/NAME`.
pub fn tool(name: &str) -> Result<PathBuf> {
    let path = cache_dir()?.join("bin").join(name);
    anyhow::ensure!(
        path.exists(),
        "{} is missing: build the tools with tests/cluster/build-tools.sh (about 12 minutes once)",
        path.display()
    );
    Ok(path)
}

/// The checkout this testkit was compiled from.
pub fn repository() -> &'static Path {
    const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");
    let manifest_dir = Path::new(MANIFEST_DIR);
    manifest_dir
        .parent()
        .and_then(Path::parent)
        .unwrap_or(manifest_dir)
}

/// One environment variable, unset when empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the testkit reads its environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
