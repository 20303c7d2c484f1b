//! Annotations by which an author steers a deployment.
//!
//! Each is written `sortie.dev/NAME`; manifests that carry the older `harness.io/NAME` mean the same.
//! When both are present, ours counts. Values are `"true"` or `"false"`, where nothing else is said.

use crate::object::Object;

/// The workload is applied but neither waited for nor rolled back on failure.
pub const DIRECT_APPLY: &str = "direct-apply";
/// A ConfigMap or Secret keeps its name.
pub const SKIP_VERSIONING: &str = "skip-versioning";
/// A custom resource is waited for and rolled back like a workload.
pub const MANAGED_WORKLOAD: &str = "managed-workload";

/// Places at which an object names ConfigMaps; see [`crate::references`].
pub const CONFIG_MAP_PATHS: &str = "sortie.dev/configmap-paths";
/// Places at which an object names Secrets; see [`crate::references`].
pub const SECRET_PATHS: &str = "sortie.dev/secret-paths";

/// The value of an annotation, ours before the older one.
pub fn value<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    ["sortie.dev", "harness.io"]
        .iter()
        .find_map(|prefix| object.annotation(&format!("{prefix}/{name}")))
}

/// Whether an annotation says `true`.
pub fn is_set(object: &Object, name: &str) -> bool {
    value(object, name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// Whether the first line of a file says that a deployment leaves the whole file out:
/// `# sortie.dev/skip-file-for-deploy`, or the same under `harness.io`.
pub fn skips_file(text: &str) -> bool {
    let first = text
        .trim_start_matches('\u{feff}')
        .lines()
        .next()
        .unwrap_or_default();
    first.trim_start().strip_prefix('#').is_some_and(|comment| {
        let comment = comment.trim_start_matches('#').trim();
        [
            "sortie.dev/skip-file-for-deploy",
            "harness.io/skip-file-for-deploy",
        ]
        .iter()
        .any(|marker| comment.split_whitespace().next() == Some(marker))
    })
}
