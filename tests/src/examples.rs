//! The example of the repository, made to fit a test's own namespace and delegate.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A copy of `examples/hello` for one test.
#[derive(Debug)]
pub struct Example {
    folder: TempDir,
}

impl Example {
    /// Copy the entities, with `namespace` and `delegate` in place of the demo's.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn new(namespace: &str, delegate: &str) -> Result<Self> {
        let source = repository().join("examples/hello");
        let folder = tempfile::tempdir().context("a folder for the example")?;
        for entry in std::fs::read_dir(&source).context("list the example")? {
            let path = entry.context("list the example")?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).context("read the example")?;
            let text = text
                .replace("namespace: sortie-demo", &format!("namespace: {namespace}"))
                .replace("      - demo\n", &format!("      - {delegate}\n"));
            let name = path.file_name().context("a file name")?;
            std::fs::write(folder.path().join(name), text).context("write the example")?;
        }
        Ok(Self { folder })
    }

    /// The folder for `sortie apply -f`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replace text in one of the files.
    ///
    /// # Errors
    /// The file does not hold `from`, or cannot be read or written.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.folder.path().join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
        anyhow::ensure!(text.contains(from), "{file} does not hold {from:?}");
        std::fs::write(&path, text.replace(from, to)).with_context(|| format!("write {file}"))
    }
}

/// The top folder of the repository.
#[must_use]
pub(crate) fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}
