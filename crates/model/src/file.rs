//! Files of the Harness file store.
//!
//! Harness has no YAML document for them; this is Sortie's own envelope:
//!
//! ```yaml
//! file:
//!   identifier: hello_values
//!   path: /hello/values.yaml
//!   content: |
//!     replicas: 3
//! ```

use crate::position::Located;

/// A file of the file store.
#[derive(Clone, Debug)]
pub struct File {
    /// Absolute path in the store of its scope: `/folder/file`.
    pub path: Located<String>,
    /// `MANIFEST_FILE`, `CONFIG` or `SCRIPT`; for people only.
    pub usage: Option<Located<String>>,
    /// The content, verbatim.
    pub content: Located<String>,
}

/// Whether a text is an absolute path of the store: no empty, `.` or `..` segments.
pub(crate) fn is_store_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    path.len() <= MAX_PATH
        && !path.contains(['\\', '\0'])
        && rest
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Longest path in bytes.
const MAX_PATH: usize = 1024;
