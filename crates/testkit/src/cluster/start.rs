//! The order in which a cluster starts: what does not wait for each other starts at the same time.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{
    Cluster, Kind, Settings, blocking, control_plane, dns, kwok, network, node::RealNode,
    pki::Authority, state::State, volumes,
};

/// Starts a cluster in the empty or forgotten folder `dir`.
pub(super) async fn bring_up(
    (kind, settings): (Kind, Settings),
    name: &str,
    dir: &Path,
) -> Result<State> {
    clear(dir)?;
    for folder in ["log", "pki", "images"] {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    let (base_name, base_dir) = (name.to_owned(), dir.to_owned());
    let mut state = blocking(move || State::allocate(&base_name, kind, &base_dir)).await?;
    state.settings = settings;
    let authority = Authority::new("kubernetes-ca")?;
    match kind {
        Kind::Real => Box::pin(start_real(&state, dir, &authority)).await?,
        Kind::Kwok => {
            let client = control_plane::start(&state, dir, &authority).await?;
            kwok::start(&state, dir, &client).await?;
            control_plane::wait_controllers(&client).await?;
        }
    }
    state.ready = true;
    state.write(dir)?;
    Ok(state)
}

async fn start_real(state: &State, dir: &Path, authority: &Authority) -> Result<()> {
    let number = state.number.context("a real cluster without a number")?;
    network::connect_control(number, dir)?;
    let node = RealNode::new(state, dir)?;
    // The state is ready enough for images to be loaded.
    let cluster = Cluster::here(dir.to_owned(), state.clone());
    let (client, ()) = tokio::try_join!(control_plane::start(state, dir, authority), async {
        node.start_containerd().await?;
        for name in ["pause", "coredns"] {
            cluster.image(name).await?;
        }
        Ok(())
    })?;
    tokio::try_join!(
        node.join(authority, &client),
        control_plane::wait_controllers(&client),
        dns::start(state.service_address(10), dir, &client),
        volumes::provide(dir, &client),
    )?;
    Ok(())
}

/// Empties the folder of an earlier cluster, whose mounts are gone.
fn clear(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry
            .with_context(|| format!("list {}", dir.display()))?
            .path();
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
