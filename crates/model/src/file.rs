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
use crate::problem::Code;
use crate::reader::{Context, Fields};

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

impl File {
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        fields.accept(&["type", "mimeType"]);
        let path = fields.required_fixed_text("path", cx);
        if let Some(path) = &path
            && (!is_store_path(&path.value) || path.ends_with('/'))
        {
            let message = "the path of a file starts with `/` and names a file: `/folder/file.yaml`, without `.` or `..`";
            cx.error(
                Code::InvalidValue,
                &fields.path_of("path"),
                path.position,
                message,
            );
        }
        let usages = [("MANIFEST_FILE", ()), ("CONFIG", ()), ("SCRIPT", ())];
        fields.choice("fileUsage", &usages, cx);
        let usage = fields.fixed_text("fileUsage", cx);
        if fields.node("content").is_none() {
            fields.missing("content", cx);
        }
        let content = fields.fixed_text("content", cx);
        Some(Self {
            path: path?,
            usage,
            content: content?,
        })
    }

    /// The last part of its path.
    pub fn name(&self) -> &str {
        self.path
            .rsplit_once('/')
            .map_or(self.path.as_str(), |(_, name)| name)
    }
}
