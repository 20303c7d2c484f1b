//! Rolling deployments and their rollback.

use super::flags;
use super::instances::count;
use crate::field::{FlagField, TextField};
use crate::reader::{Context, Fields};

/// Options of `K8sRollingDeploy`, and what other deployments have in common with it.
#[derive(Clone, Debug)]
pub struct RollingDeploy {
    /// Do not ask the server for a dry run first.
    pub skip_dry_run: Option<FlagField>,
    /// Delete objects that the release no longer holds.
    pub pruning_enabled: Option<FlagField>,
    /// How many objects pruning may delete: a number.
    pub prune_limit: Option<TextField>,
    /// Take over objects that belong to another release.
    pub adopt: Option<FlagField>,
    /// Delete objects and make them anew where a field changes that cannot change.
    pub replace: Option<FlagField>,
    /// Do not wait for the end of Jobs.
    pub skip_job_wait: Option<FlagField>,
}

impl RollingDeploy {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        Self {
            pruning_enabled: spec.flag("pruningEnabled", cx),
            prune_limit: count(spec, "pruneLimit", 0, cx),
            ..Self::read_without_pruning(spec, cx)
        }
    }

    pub(super) fn read_without_pruning(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        flags::read(spec, cx);
        Self {
            skip_dry_run: spec.flag("skipDryRun", cx),
            pruning_enabled: None,
            prune_limit: None,
            adopt: spec.flag("adopt", cx),
            replace: spec.flag("replace", cx),
            skip_job_wait: spec.flag("skipJobWait", cx),
        }
    }
}

/// Options of `K8sRollingRollback`.
#[derive(Clone, Debug)]
pub struct RollingRollback {
    /// Bring back what the failed deployment pruned, and remove what it added.
    pub pruning_enabled: Option<FlagField>,
    /// Also remove volumes, claims, definitions and namespaces that the failed deployment added.
    pub delete_storage: Option<FlagField>,
}

impl RollingRollback {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        // Written by older pipelines; a rollback has no dry run.
        spec.accept(&["skipDryRun"]);
        flags::read(spec, cx);
        Self {
            pruning_enabled: spec.flag("pruningEnabled", cx),
            delete_storage: spec.flag("deleteStorage", cx),
        }
    }
}
