//! Blue-green deployments.

use std::time::Duration;

use super::instances::InstanceSelection;
use super::rolling::RollingDeploy;
use super::traffic::TrafficRouting;
use crate::field::FlagField;
use crate::problem::Code;
use crate::reader::{Context, Fields};

/// Options of `K8sBlueGreenDeploy`.
#[derive(Clone, Debug)]
pub struct BlueGreenDeploy {
    /// As for a rolling deployment. Pruning concerns the colour that is deployed.
    pub deploy: RollingDeploy,
    /// Do nothing when the manifests are those of the colour with traffic.
    pub skip_if_same_manifest: Option<FlagField>,
    /// How requests are routed once the colour is healthy.
    pub routing: Option<TrafficRouting>,
}

impl BlueGreenDeploy {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        Self {
            deploy: RollingDeploy::read(spec, cx),
            skip_if_same_manifest: spec.flag("skipDeploymentIfSameManifest", cx),
            routing: TrafficRouting::read_option(spec, cx),
        }
    }
}

/// Options of `K8sBGSwapServices`.
#[derive(Clone, Debug)]
pub struct SwapServices {
    /// How long clients may still be on their way to the former colour.
    pub settle: Option<Duration>,
}

impl SwapServices {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        let field = spec.duration("settleDelay", cx);
        if let Some(field) = field.as_ref().filter(|field| field.value.value().is_none()) {
            let message = "`settleDelay` must be a fixed duration such as `30s` to be run";
            let path = spec.path_of("settleDelay");
            cx.not_runnable(Code::NotRunnable, &path, field.position, message.to_owned());
        }
        Self {
            settle: field.and_then(|field| field.value.value().copied()),
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
            true => Some(InstanceSelection::required(spec, 1..=1000, cx)?),
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
