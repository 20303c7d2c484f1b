//! Files of one commit of a repository, over HTTP(S).
//!
//! One reference is fetched at depth one into a bare repository in a private folder. Files are then
//! read from the object store by id: nothing of the repository is ever checked out. User name and
//! password go into a configuration file of mode 0600 in that folder, never into an argument, the
//! URL, the environment or a message.

mod error;
mod setup;
mod source;
mod tree;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;

use crate::memory::Engines;
use crate::process::{Bounds, Finished, ProcessError, Run};
use crate::source::SourceFile;
use crate::tools::Tool;
use crate::workspace::Workspace;

pub use error::Error;
pub use source::{Credentials, GitSource, Network, Reference};

/// How much one fetch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Time of the whole fetch.
    pub time: Duration,
    /// Bytes of the repository at this commit, compressed as it travels.
    pub repository: u64,
    /// Bytes of the files that are asked for, together.
    pub bytes: usize,
    /// Number of files that are asked for.
    pub files: usize,
}

impl Default for FetchLimits {
    /// 2 minutes, 512 MiB on the wire, 25 MiB in at most 5,000 files.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(120),
            repository: 512 * 1024 * 1024,
            bytes: 25 * 1024 * 1024,
            files: 5_000,
        }
    }
}

/// What [`fetch`] brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFiles {
    /// The files under the paths that were asked for: in the order of these paths, each folder
    /// sorted by name, none twice.
    pub files: Vec<SourceFile>,
    /// Full id of the commit.
    pub commit: String,
}

/// Fetches files of a repository.
///
/// Dropping the future ends git and everything it started.
pub async fn fetch(
    source: &GitSource,
    git: &Tool,
    workspace: &Workspace,
    limits: &FetchLimits,
) -> Result<FetchedFiles, Error> {
    source.check()?;
    let paths = source::checked_paths(&source.paths)?;
    let work = Repository::create(source, git, workspace, limits)?;
    let all = async {
        work.run(
            &["init", "--quiet", "--bare", "--template=", "."],
            Vec::new(),
        )
        .await?;
        let name = source.reference.as_fetched();
        work.run(
            &[
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                "--no-auto-maintenance",
                "--end-of-options",
                &source.url,
                &format!("+{name}:{FETCHED}"),
            ],
            Vec::new(),
        )
        .await?;
        let commit = work
            .run(
                &[
                    "rev-parse",
                    "--verify",
                    "--quiet",
                    &format!("{FETCHED}^{{commit}}"),
                ],
                Vec::new(),
            )
            .await?;
        let commit = String::from_utf8_lossy(&commit).trim().to_owned();
        let entries = tree::list(&work, &commit, &paths).await?;
        let files = tree::read(&work, entries).await?;
        Ok(FetchedFiles { files, commit })
    };
    match tokio::time::timeout(limits.time, all).await {
        Ok(result) => result,
        Err(_) => Err(Error::TimeLimit {
            repository: source.url.clone(),
            limit: limits.time,
        }),
    }
}

/// Where the fetched reference is kept.
const FETCHED: &str = "refs/sortie/fetched";

/// A bare repository in a folder of its own, and how git is run on it.
struct Repository<'a> {
    source: &'a GitSource,
    git: &'a Path,
    folder: tempfile::TempDir,
    limits: &'a FetchLimits,
    environment: Vec<(&'static str, OsString)>,
}

impl<'a> Repository<'a> {
    fn create(
        source: &'a GitSource,
        git: &'a Tool,
        workspace: &Workspace,
        limits: &'a FetchLimits,
    ) -> Result<Self, Error> {
        let private = |source| Error::Workspace { source };
        let folder = workspace.folder("git-").map_err(private)?;
        let settings = folder.path().join("settings");
        crate::workspace::write_private(&settings, setup::settings(source).as_bytes())
            .map_err(private)?;
        let repository = folder.path().join("repository");
        std::fs::create_dir(&repository).map_err(|source| {
            private(crate::WorkspaceError::Write {
                path: repository.clone(),
                source,
            })
        })?;
        let environment = setup::environment(source, &settings, folder.path());
        Ok(Self {
            source,
            git: &git.path,
            folder,
            limits,
            environment,
        })
    }

    /// Runs git; the output is everything it printed.
    async fn run(&self, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>, Error> {
        let run = Run {
            program: self.git,
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: self.environment.clone(),
            folder: &self.repository(),
            input,
            bounds: Bounds {
                time: self.limits.time,
                output: self.limits.bytes + self.limits.files * 4096 + 64 * 1024,
                memory: Engines::of_this_process().budget().each,
                file: self.limits.repository,
            },
        };
        let finished = run.wait().await.map_err(|source| {
            let repository = self.url();
            match source {
                ProcessError::TimeLimit { limit, .. } => Error::TimeLimit { repository, limit },
                source => Error::Run { repository, source },
            }
        })?;
        if finished.succeeded() {
            return Ok(finished.output);
        }
        Err(self.failure(finished))
    }

    fn failure(&self, mut finished: Finished) -> Error {
        // Git does not print what it was given, but a server may repeat it.
        if let Some(credentials) = &self.source.credentials {
            let password = credentials.password.expose_secret();
            if !password.is_empty() {
                finished.errors = finished.errors.replace(password, "***");
            }
        }
        error::classify(self.source, self.limits, &finished)
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn url(&self) -> String {
        self.source.url.clone()
    }
}
