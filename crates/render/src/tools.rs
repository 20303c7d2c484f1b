//! Finding the programs that rendering needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::memory::Engines;
use crate::process::{Bounds, Run};

/// A program that was found, with the version it reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Absolute path.
    pub path: PathBuf,
    /// Version without a leading `v`, such as `4.3.1`.
    pub version: String,
}

/// Where programs are looked for when no path is given.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Folders, as in the `PATH` variable.
    pub path: OsString,
    /// Cache folder whose `bin` folder is looked at last.
    pub cache: Option<PathBuf>,
}

/// Why a program is not usable.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is nowhere, or only in versions that do not fit.
    #[error(
        "{tool} {wanted} is needed and was not found; looked for it in {looked}{}",
        if rejected.is_empty() { String::new() } else { format!("; found but not usable: {rejected}") }
    )]
    Missing {
        /// Name of the program.
        tool: &'static str,
        /// Version that is needed.
        wanted: &'static str,
        /// Where it was looked for.
        looked: String,
        /// What was found there, with its version.
        rejected: String,
    },
    /// The path that was given leads to another version, or to no such program.
    #[error("{} is not a usable {tool} {wanted}: {found}", path.display())]
    Unusable {
        /// Name of the program.
        tool: &'static str,
        /// Version that is needed.
        wanted: &'static str,
        /// The path that was given.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
}

impl ToolError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "SRT-R001",
            Self::Unusable { .. } => "SRT-R002",
        }
    }
}

impl Search {
    /// `PATH`, and the cache folder: `SORTIE_CACHE`, else `sortie` in `XDG_CACHE_HOME` or `~/.cache`.
    pub fn from_environment() -> Self {
        let folder = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = folder("SORTIE_CACHE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("sortie")))
            .or_else(|| folder("HOME").map(|path| path.join(".cache/sortie")));
        Self {
            path: std::env::var_os("PATH").unwrap_or_default(),
            cache,
        }
    }

    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        std::env::split_paths(&self.path)
            .filter(|folder| folder.is_absolute())
            .chain(self.cache.iter().map(|cache| cache.join("bin")))
            .map(|folder| folder.join(name))
            .collect()
    }
}

/// Finds Helm 4: at `explicit` if given, else on the path, else in the cache.
pub async fn find_helm(explicit: Option<&Path>, search: &Search) -> Result<Tool, ToolError> {
    let wanted = Wanted {
        tool: "helm",
        version: "4",
        arguments: &["version", "--template", "{{.Version}}"],
        fits: |version| version.first() == Some(&4),
    };
    wanted.find(explicit, search).await
}

/// Finds git 2.31 or newer: at `explicit` if given, else on the path, else in the cache.
pub async fn find_git(explicit: Option<&Path>, search: &Search) -> Result<Tool, ToolError> {
    let wanted = Wanted {
        tool: "git",
        version: "2.31 or newer",
        arguments: &["--version"],
        fits: |version| version >= [2, 31].as_slice(),
    };
    wanted.find(explicit, search).await
}

struct Wanted {
    tool: &'static str,
    version: &'static str,
    arguments: &'static [&'static str],
    fits: fn(&[u32]) -> bool,
}

impl Wanted {
    async fn find(&self, explicit: Option<&Path>, search: &Search) -> Result<Tool, ToolError> {
        if let Some(path) = explicit {
            return self.check(path).await.map_err(|found| ToolError::Unusable {
                tool: self.tool,
                wanted: self.version,
                path: path.to_owned(),
                found,
            });
        }
        let candidates = search.candidates(self.tool);
        let mut rejected = Vec::new();
        for path in candidates.iter().filter(|path| path.is_file()) {
            match self.check(path).await {
                Ok(tool) => return Ok(tool),
                Err(found) => rejected.push(format!("{} ({found})", path.display())),
            }
        }
        let looked: Vec<_> = candidates
            .iter()
            .filter_map(|path| path.parent())
            .map(|folder| folder.display().to_string())
            .collect();
        Err(ToolError::Missing {
            tool: self.tool,
            wanted: self.version,
            looked: if looked.is_empty() {
                "no folder".to_owned()
            } else {
                looked.join(", ")
            },
            rejected: rejected.join(", "),
        })
    }

    /// Asks a program for its version; the error says what it is instead.
    async fn check(&self, path: &Path) -> Result<Tool, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let run = Run {
            program: &path,
            arguments: self.arguments.iter().map(OsString::from).collect(),
            // Without a home, Helm looks for its settings in the folder it runs in.
            environment: vec![("HOME", "/nonexistent".into()), ("LC_ALL", "C".into())],
            folder: Path::new("/"),
            input: Vec::new(),
            bounds: Bounds {
                time: Duration::from_secs(20),
                output: 64 * 1024,
                memory: Engines::of_this_process().budget().each,
                file: 0,
            },
        };
        let done = run.wait().await.map_err(|error| chain(&error))?;
        if !done.succeeded() {
            return Err("it does not say its version".to_owned());
        }
        let text = String::from_utf8_lossy(&done.output);
        let version = version_in(&text).ok_or("it does not say its version")?;
        if (self.fits)(&numbers(version)) {
            Ok(Tool {
                version: version.to_owned(),
                path,
            })
        } else {
            Err(format!("version {version}"))
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The first word that looks like `1.2` or `v1.2.3-x`.
fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split(['.', '-', '+'])
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn program(folder: &Path, name: &str, prints: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{prints}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn an_old_helm_on_the_path_gives_way_to_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let old = program(&folder.path().join("old"), "helm", "v3.15.2");
        let cache = folder.path().join("cache");
        let search = Search {
            path: old.parent().unwrap().into(),
            cache: Some(cache.clone()),
        };
        let error = find_helm(None, &search).await.unwrap_err();
        assert_eq!(error.code(), "SRT-R001");
        let text = error.to_string();
        assert!(
            text.contains("old/helm (version 3.15.2)") && text.contains("cache/bin"),
            "{text}"
        );

        let new = program(&cache.join("bin"), "helm", "v4.3.1");
        let found = find_helm(None, &search).await.unwrap();
        assert_eq!(
            found,
            Tool {
                path: new.clone(),
                version: "4.3.1".to_owned()
            }
        );
        assert_eq!(
            find_helm(Some(&new), &Search::default()).await.unwrap(),
            found
        );
        let error = find_helm(Some(&old), &search).await.unwrap_err();
        assert_eq!(error.code(), "SRT-R002");
        assert!(error.to_string().ends_with("version 3.15.2"), "{error}");
        let error = find_helm(Some(Path::new("/nowhere/helm")), &search)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("cannot start helm"), "{error}");
    }

    #[tokio::test]
    async fn git_versions_are_compared_as_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for (prints, good) in [
            ("git version 2.9.5", false),
            ("git version 2.31.0", true),
            ("git version 2.39.5 (Apple Git-154)", true),
            ("git version 3.0", true),
            ("no version", false),
        ] {
            let path = program(folder.path(), "git", prints);
            assert_eq!(
                find_git(Some(&path), &Search::default()).await.is_ok(),
                good,
                "{prints}"
            );
        }
    }
}
