//! Options of the steps that have no strategy and no release number of their own.

use serde_json::Value;

use super::Source;

/// Manifests with the values for their templates; their documents form one set.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Manifest sources, in order.
    pub manifests: Vec<Source>,
    /// Values files, in order; later ones win. Manifests are templates only when there is one or when they hold `{{`.
    pub values: Vec<Source>,
    /// What expressions in values files may name: a JSON object.
    pub context: Value,
}

/// Options of a step that applies a set as it is: no versions, no release number, no history.
#[derive(Clone, Debug, Default)]
pub struct Apply {
    /// What to apply.
    pub set: Set,
    /// Ends as soon as everything is written.
    pub skip_steady_state_check: bool,
}

/// Options of a step that changes how many pods a workload has.
#[derive(Clone, Debug)]
pub struct Scale {
    /// `[namespace/]Kind/name`.
    pub workload: String,
    /// How many.
    pub to: Amount,
    /// Ends as soon as the number is written.
    pub skip_steady_state_check: bool,
}

/// A number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many hundredths of what there is now, rounded half up; at least one unless 0 is asked for.
    Percent(u32),
}

impl Amount {
    /// How many that are when there are `current` now.
    #[must_use]
    pub fn of(self, current: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(0) => 0,
            Self::Percent(percent) => {
                let hundredths = u64::from(current) * u64::from(percent);
                u32::try_from((hundredths + 50) / 100)
                    .unwrap_or(u32::MAX)
                    .max(1)
            }
        }
    }
}

/// Options of a step that changes some fields of an object.
#[derive(Clone, Debug)]
pub struct Patch {
    /// `[namespace/]Kind/name`.
    pub workload: String,
    /// How the content is to be read.
    pub kind: PatchKind,
    /// The patch as YAML or JSON; several files are applied in order.
    pub content: Vec<Source>,
    /// What expressions in the content may name: a JSON object.
    pub context: Value,
    /// Whether the object gets the annotation `kubernetes.io/change-cause`.
    pub change_cause: bool,
    /// Ends as soon as the fields are written.
    pub skip_steady_state_check: bool,
}

/// The forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// Strategic merge patch: lists are merged by their keys. Built-in kinds only.
    Strategic,
    /// JSON merge patch (RFC 7386): lists are replaced whole.
    Merge,
    /// JSON patch (RFC 6902).
    Json,
}

/// Options of a step that deletes objects.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Which.
    pub resources: Resources,
    /// Namespaces of the release, or of the set, go as well, with everything in them. By its name a Namespace always goes.
    pub delete_namespaces: bool,
}

/// Options of a step about the revisions of workloads.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// What to do.
    pub command: RolloutCommand,
    /// With which workloads.
    pub resources: Resources,
}

/// What to do with the revisions of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutCommand {
    /// All pods are made anew, and waited for.
    Restart,
    /// Changes of a Deployment's template are rolled out again, and waited for.
    Resume,
    /// Wait until the workloads are as they should be.
    Status,
    /// Bring an earlier revision back, and wait for it.
    Undo {
        /// Which; `None`: the one before the present.
        to_revision: Option<u64>,
    },
    /// Changes of a Deployment's template are not rolled out until they are resumed.
    Pause,
    /// List the revisions.
    History,
}

/// Which objects a step is about.
#[derive(Clone, Debug)]
pub enum Resources {
    /// Each `[namespace/]Kind/name`; no wildcards.
    Names(Vec<String>),
    /// The objects of a set.
    Manifests(Set),
    /// The objects of the release.
    Release,
}
