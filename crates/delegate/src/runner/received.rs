//! What comes back of a script, in bounds. The runner keeps them, and is not believed: scripts are its next neighbours.

use std::collections::HashSet;

use sortie_render::SourceFile;
use sortie_runner::frame::{File, MAX_BYTES, MAX_FILES, MAX_LINES, MAX_SHOWN};

/// The runner sends more than any script may leave.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    /// Files.
    #[error("there are too many files, or one comes twice")]
    Files,
    /// Output.
    #[error("there is too much output")]
    Lines,
}

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Received {
    files: Vec<SourceFile>,
    paths: HashSet<String>,
    bytes: usize,
    lines: usize,
    shown: usize,
}

impl Received {
    /// A line that may be handed on.
    pub(super) const fn line(&mut self, line: &str) -> Result<(), Excess> {
        self.lines += 1;
        self.shown = self.shown.saturating_add(line.len());
        // The last line says how many are not shown.
        match self.lines <= MAX_LINES + 1 && self.shown <= MAX_SHOWN {
            true => Ok(()),
            false => Err(Excess::Lines),
        }
    }

    pub(super) fn file(&mut self, file: File) -> Result<(), Excess> {
        let File { path, content } = file;
        self.bytes = self.bytes.saturating_add(content.len());
        let fits = self.bytes <= MAX_BYTES && self.files.len() < MAX_FILES;
        if !fits || !self.paths.insert(path.clone()) {
            return Err(Excess::Files);
        }
        self.files.push(SourceFile::new(path, content));
        Ok(())
    }

    pub(super) fn into_files(self) -> Vec<SourceFile> {
        self.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: usize) -> File {
        File {
            path: path.to_owned(),
            content: vec![b'x'; bytes],
        }
    }

    #[test]
    fn files_have_bounds() {
        let mut received = Received::default();
        for number in 0..MAX_FILES {
            assert_eq!(received.file(file(&number.to_string(), 0)), Ok(()));
        }
        assert_eq!(received.file(file("one more", 0)), Err(Excess::Files));
        assert_eq!(received.into_files().len(), MAX_FILES);

        let mut received = Received::default();
        assert_eq!(received.file(file("a", MAX_BYTES)), Ok(()));
        assert_eq!(received.file(file("b", 1)), Err(Excess::Files));

        let mut received = Received::default();
        assert_eq!(received.file(file("a", 1)), Ok(()));
        assert_eq!(received.file(file("a", 1)), Err(Excess::Files));
    }

    #[test]
    fn output_has_bounds() {
        let mut received = Received::default();
        for _ in 0..=MAX_LINES {
            assert_eq!(received.line("x"), Ok(()));
        }
        assert_eq!(received.line("x"), Err(Excess::Lines));

        let mut received = Received::default();
        assert_eq!(received.line(&"x".repeat(MAX_SHOWN)), Ok(()));
        assert_eq!(received.line("x"), Err(Excess::Lines));
    }
}
