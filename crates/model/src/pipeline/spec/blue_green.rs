//! Blue-green deployments.

use super::flags;
use super::instances::InstanceSelection;
use crate::field::FlagField;
use crate::problem::Code;
use crate::reader::{Context, Fields};

/// Options of `K8sBlueGreenDeploy`.
#[derive(Clone, Debug)]
pub struct BlueGreenDeploy {
    /// Do not ask the server for a dry run first.
    pub skip_dry_run: Option<FlagField>,
    /// Delete objects that neither colour needs any more.
    pub pruning_enabled: Option<FlagField>,
    /// Do nothing when the manifests are those of the primary colour.
    pub skip_if_same_manifest: Option<FlagField>,
    /// Take over objects that belong to another release.
    pub adopt: Option<FlagField>,
}

impl BlueGreenDeploy {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        spec.not_runnable(&["trafficRouting"], cx);
        flags::read(spec, cx);
        Self {
            skip_dry_run: spec.flag("skipDryRun", cx),
            pruning_enabled: spec.flag("pruningEnabled", cx),
            skip_if_same_manifest: spec.flag("skipDeploymentIfSameManifest", cx),
            adopt: spec.flag("adopt", cx),
        }
    }
}

/// Options of `K8sBlueGreenStageScaleUp`.
#[derive(Clone, Debug)]
pub struct StageScaleUp {
    /// How many pods; `None`: as many as there were before they were scaled down.
    pub instances: Option<InstanceSelection>,
    /// Do not wait until they are ready.
    pub skip_steady_state_check: Option<FlagField>,
}

impl StageScaleUp {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const MODES: [(&str, bool); 2] = [("Auto", false), ("Custom", true)];
        let custom = match spec.node("replicaCountMode") {
            None => false,
            Some(_) => spec.choice("replicaCountMode", &MODES, cx)?,
        };
        let instances = match custom {
            true => Some(InstanceSelection::required(spec, 1, cx)?),
            false => {
                if spec
                    .node("instanceSelection")
                    .is_some_and(|node| !node.is_empty())
                {
                    let message = "`instanceSelection` needs `replicaCountMode: Custom`; add that, or remove it";
                    let path = spec.path_of("instanceSelection");
                    let at = spec.position_of("instanceSelection");
                    cx.error(Code::Conflict, &path, at, message);
                }
                None
            }
        };
        Some(Self {
            instances,
            skip_steady_state_check: spec.flag("skipSteadyStateCheck", cx),
        })
    }
}
