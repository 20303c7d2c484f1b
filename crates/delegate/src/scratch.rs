//! The folder that fetches and renderers work in.
//!
//! A process that is killed leaves its private folders behind, and the volume outlives the container: the next process
//! removes them. A lock tells whether another process still works there.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// How private folders of tasks begin.
const PREFIX: &str = "sortie-";

/// Keeps other processes from clearing the folder while this one works in it.
#[derive(Debug)]
pub(crate) struct Scratch {
    _lock: Option<File>,
}

/// Makes the folder where it is missing, and clears what earlier processes left in it. The system's own folder for
/// temporary files belongs to everybody and is left alone.
pub(crate) async fn prepare(folder: &Path) -> Scratch {
    let folder = folder.to_owned();
    let prepared = tokio::task::spawn_blocking(move || clear(&folder)).await;
    let result = prepared.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    result.unwrap_or_else(|error| {
        // Tasks will say so where it matters.
        tracing::warn!(%error, "scratch folder could not be cleared");
        Scratch { _lock: None }
    })
}

fn clear(folder: &Path) -> std::io::Result<Scratch> {
    if folder == std::env::temp_dir() {
        return Ok(Scratch { _lock: None });
    }
    std::fs::create_dir_all(folder)?;
    let path = folder.join(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    if lock.try_lock().is_err() {
        return Ok(Scratch { _lock: None });
    }
    for left in left_behind(folder)? {
        tracing::info!(folder = %left.display(), "removing what an earlier process left");
        std::fs::remove_dir_all(left)?;
    }
    Ok(Scratch { _lock: Some(lock) })
}

fn left_behind(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_folders_of_processes_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        let held = prepare(&scratch).await;
        std::fs::create_dir(scratch.join("sortie-a")).unwrap();
        std::fs::create_dir(scratch.join("other")).unwrap();
        std::fs::write(scratch.join("sortie-file"), "x").unwrap();
        // Another process still works there.
        let second = prepare(&scratch).await;
        assert!(scratch.join("sortie-a").exists());
        drop((held, second));
        let _third = prepare(&scratch).await;
        assert!(!scratch.join("sortie-a").exists());
        assert!(scratch.join("other").exists() && scratch.join("sortie-file").exists());
    }

    #[test]
    fn the_prefix_is_that_of_the_renderers_folders() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = sortie_render::Workspace::create_in(folder.path()).unwrap();
        assert_eq!(left_behind(folder.path()).unwrap(), [workspace.path()]);
    }
}
