use std::fmt;

/// One file of a source, in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path relative to the root of the source, with `/`; it names the file in messages.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
    /// Whether somebody has named this very file, and not a folder that it is in: its extension does not count then.
    pub is_named: bool,
}

impl SourceFile {
    /// A file with text.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
            is_named: false,
        }
    }

    /// The same file, named by somebody.
    #[must_use]
    pub fn named(self) -> Self {
        Self {
            is_named: true,
            ..self
        }
    }

    /// The content as text, when it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.content).ok()
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Debug for SourceFile {
    /// Shows no content: values files hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFile")
            .field("path", &self.path)
            .field("bytes", &self.content.len())
            .finish()
    }
}
