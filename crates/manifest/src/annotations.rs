//! Annotations by which an author steers a deployment.
//!
//! Each has a name of ours, under `sortie.dev/`, and one under `harness.io/` that older manifests
//! carry and that means the same. When both are present, ours counts. What is said of the order of
//! objects is in [`crate::order::plan`].

use crate::object::Object;

/// Keeps the name that the author gave a hook, whose deployed name ends with the number of its release.
pub const HOOK_NAME: &str = "sortie.dev/hook-name";

/// The two names of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotation {
    ours: &'static str,
    older: &'static str,
}

/// `"true"`: the workload is applied but neither waited for nor rolled back on failure.
pub const DIRECT_APPLY: Annotation =
    Annotation::new("sortie.dev/direct-apply", "harness.io/direct-apply");
/// `"true"`: a ConfigMap or Secret keeps its name.
pub const SKIP_VERSIONING: Annotation =
    Annotation::new("sortie.dev/skip-versioning", "harness.io/skip-versioning");
/// `"true"`: a custom resource is waited for and rolled back like a workload.
pub const MANAGED_WORKLOAD: Annotation =
    Annotation::new("sortie.dev/managed-workload", "harness.io/managed-workload");
/// `"true"`: the object stays when it leaves the set.
pub const SKIP_PRUNING: Annotation =
    Annotation::new("sortie.dev/skip-pruning", "harness.io/skipPruning");
/// `"true"`: the Service that production traffic comes through.
pub const PRIMARY_SERVICE: Annotation =
    Annotation::new("sortie.dev/primary-service", "harness.io/primary-service");
/// `"true"`: the Service that reaches the new side before it is primary.
pub const STAGE_SERVICE: Annotation =
    Annotation::new("sortie.dev/stage-service", "harness.io/stage-service");
/// `"true"`: a route whose weights a deployment sets.
pub const MANAGED: Annotation = Annotation::new("sortie.dev/managed", "harness.io/managed");
/// An expression that is true when the object has reached its steady state.
pub const STEADY_STATE_CONDITION: Annotation = Annotation::new(
    "sortie.dev/steady-state-condition",
    "harness.io/steadyStateCondition",
);
/// An expression that is true when the object has failed for good.
pub const FAILURE_CONDITION: Annotation = Annotation::new(
    "sortie.dev/failure-condition",
    "harness.io/failureCondition",
);

/// `"true"`: the object may be deleted and made anew when a field changes that cannot change.
pub const REPLACE: &str = "sortie.dev/replace";
/// Places at which an object names ConfigMaps; see [`crate::references`].
pub const CONFIG_MAP_PATHS: &str = "sortie.dev/configmap-paths";
/// Places at which an object names Secrets; see [`crate::references`].
pub const SECRET_PATHS: &str = "sortie.dev/secret-paths";

impl Annotation {
    const fn new(ours: &'static str, older: &'static str) -> Self {
        Self { ours, older }
    }

    /// The name under `sortie.dev/`.
    pub const fn name(self) -> &'static str {
        self.ours
    }
}

/// The value of an annotation, ours before the older one.
pub fn value(object: &Object, annotation: Annotation) -> Option<&str> {
    [annotation.ours, annotation.older]
        .iter()
        .find_map(|name| object.annotation(name))
}

/// Whether an annotation says `true`.
pub fn is_set(object: &Object, annotation: Annotation) -> bool {
    value(object, annotation).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
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
