//! What a cluster made on this machine, one JSON line per thing, written as soon as it exists: `down` works from this
//! alone, also when `up` was interrupted anywhere or the machine was restarted in between.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::process::ProcessId;

/// Something that `down` has to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// A process and the group it leads.
    Process {
        /// Which one, for messages; its output is in `log/NAME.log`.
        name: String,
        /// Pid and start time.
        id: ProcessId,
    },
    /// A named network namespace.
    Netns(String),
    /// A network interface of the host.
    Link(String),
    /// A cgroup's name below the root of each hierarchy.
    Cgroup(String),
    /// A CNI network, whose results lie in the CNI library's own cache.
    CniNetwork(String),
    /// A containerd state folder, whose shims listen on sockets outside it.
    ContainerdState(PathBuf),
}

/// The list of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            path: dir.join("journal"),
        }
    }

    /// Adds one entry; a single write, so that a killed writer leaves at most one broken last line.
    pub(crate) fn record(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_string(entry).context("encode a journal entry")?;
        line.push('\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .with_context(|| format!("write {}", self.path.display()))
    }

    /// All entries, oldest first. A broken line is skipped.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).with_context(|| format!("read {}", self.path.display()));
            }
        };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        Ok(lines
            .filter_map(|line| serde_json::from_str(&line).ok())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_last_line_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::of(dir.path());
        assert_eq!(journal.entries().unwrap(), vec![]);
        journal.record(&Entry::Netns("a".to_owned())).unwrap();
        journal.record(&Entry::Link("b".to_owned())).unwrap();
        let mut file = OpenOptions::new()
            .append(true)
            .open(dir.path().join("journal"))
            .unwrap();
        file.write_all(b"{\"process\":{\"na").unwrap();
        let expected = vec![Entry::Netns("a".to_owned()), Entry::Link("b".to_owned())];
        assert_eq!(journal.entries().unwrap(), expected);
    }
}
