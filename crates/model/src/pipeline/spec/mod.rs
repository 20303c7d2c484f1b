//! What each type of steps is asked to do: the typed `spec`.

mod blue_green;
mod canary;
mod flags;
mod instances;
mod objects;
mod resources;
mod rolling;
pub mod traffic;

pub use blue_green::{BlueGreenDeploy, StageScaleUp, SwapServices};
pub use canary::{CanaryDeploy, CanarySize};
pub use instances::InstanceSelection;
pub use objects::{Apply, ApplySource, Delete, Patch, PatchKind, Rollout, RolloutCommand, Scale};
pub use resources::{ManifestPaths, Resources};
pub use rolling::{RollingDeploy, RollingRollback};
pub use traffic::TrafficRouting;

use serde_json::Value;

use super::step_type::StepType;
use crate::field::{Field, ListField};
use crate::path;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::{Context, Fields};
use crate::suggest;
use crate::yaml::json::from_json;

/// Step types of the published schema that Sortie knows by name alone.
const LATER: [&str; 19] = [
    "AIVerifyNG",
    "Barrier",
    "CustomApproval",
    "DownloadManifests",
    "Email",
    "HarnessApproval",
    "HelmBGDeploy",
    "HelmBlueGreenSwapStep",
    "HelmCanaryDelete",
    "HelmCanaryDeploy",
    "HelmDelete",
    "HelmDeploy",
    "HelmRollback",
    "Http",
    "Policy",
    "Queue",
    "ShellScript",
    "Verify",
    "Wait",
];

/// The typed `spec` of a step.
#[derive(Clone, Debug)]
pub enum StepSpec {
    /// `K8sRollingDeploy`
    RollingDeploy(RollingDeploy),
    /// `K8sRollingRollback`
    RollingRollback(RollingRollback),
    /// `K8sCanaryDeploy`
    CanaryDeploy(CanaryDeploy),
    /// `K8sCanaryDelete`
    CanaryDelete,
    /// `K8sProgressiveCanaryRollback`
    ProgressiveCanaryRollback,
    /// `K8sBlueGreenDeploy`
    BlueGreenDeploy(BlueGreenDeploy),
    /// `K8sBGSwapServices`
    SwapServices(SwapServices),
    /// `K8sBlueGreenStageScaleDown`
    StageScaleDown,
    /// `K8sBlueGreenStageScaleUp`
    StageScaleUp(StageScaleUp),
    /// `K8sApply`
    Apply(Box<Apply>),
    /// `K8sScale`
    Scale(Scale),
    /// `K8sDelete`
    Delete(Delete),
    /// `K8sDryRun`
    DryRun,
    /// `K8sDiff`
    Diff,
    /// `K8sRollout`
    Rollout(Rollout),
    /// `K8sPatch`
    Patch(Box<Patch>),
    /// `K8sTrafficRouting`
    TrafficRouting(TrafficRouting),
    /// A type that is known by name alone.
    Unsupported,
}

impl StepSpec {
    /// Reads the `spec` of a step whose `type` is `step_type`, and with it the step's delegate selectors.
    pub(super) fn read(
        step_type: &str,
        fields: &mut Fields<'_>,
        cx: &mut Context<'_>,
    ) -> Option<(Self, ListField)> {
        let path = fields.path_of("type");
        let at = fields.position_of_value("type");
        let later = |cx: &mut Context<'_>| {
            let message = format!("steps of type `{step_type}` are kept, and cannot be run yet");
            cx.not_runnable(Code::StepNotRunnable, &path, at, message);
        };
        if let Some(known) = StepType::from_name(step_type) {
            if !known.is_runnable() {
                later(cx);
            }
            let mut spec = fields.required_map("spec", cx)?;
            let selectors = spec.texts("delegateSelectors", cx);
            let read = Self::read_known(known, &mut spec, cx);
            spec.finish(cx);
            return Some((read?, selectors));
        }
        if LATER.contains(&step_type) {
            later(cx);
            let none = Located {
                value: Field::Value(Vec::new()),
                position: at,
            };
            return Some((Self::Unsupported, none));
        }
        let shown = path::clip(step_type);
        let known = LATER.into_iter().chain(StepType::ALL.map(StepType::name));
        let message = match suggest::nearest(step_type, known) {
            Some(nearest) => format!("there is no step type `{shown}`; was `{nearest}` meant?"),
            None => format!(
                "there is no step type `{shown}`; see the documentation for the types there are"
            ),
        };
        cx.error(Code::UnknownStep, &path, at, message);
        None
    }

    fn read_known(
        step_type: StepType,
        spec: &mut Fields<'_>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        Some(match step_type {
            StepType::RollingDeploy => Self::RollingDeploy(RollingDeploy::read(spec, cx)),
            StepType::RollingRollback => Self::RollingRollback(RollingRollback::read(spec, cx)),
            StepType::CanaryDeploy => Self::CanaryDeploy(CanaryDeploy::read(spec, cx)?),
            StepType::CanaryDelete => Self::CanaryDelete,
            StepType::ProgressiveCanaryRollback => {
                flags::read(spec, cx);
                Self::ProgressiveCanaryRollback
            }
            StepType::BlueGreenDeploy => Self::BlueGreenDeploy(BlueGreenDeploy::read(spec, cx)),
            StepType::SwapServices => Self::SwapServices(SwapServices::read(spec, cx)),
            StepType::StageScaleDown => Self::StageScaleDown,
            StepType::StageScaleUp => Self::StageScaleUp(StageScaleUp::read(spec, cx)?),
            StepType::Apply => Self::Apply(Box::new(Apply::read(spec, cx)?)),
            StepType::Scale => Self::Scale(Scale::read(spec, cx)?),
            StepType::Delete => Self::Delete(Delete::read(spec, cx)?),
            StepType::DryRun => {
                spec.not_runnable(&["encryptYamlOutput"], cx);
                Self::DryRun
            }
            StepType::Diff => Self::Diff,
            StepType::Rollout => Self::Rollout(Rollout::read(spec, cx)?),
            StepType::TrafficRouting => Self::TrafficRouting(TrafficRouting::read(spec, cx)?),
            StepType::Patch => Self::Patch(Box::new(Patch::read(spec, cx)?)),
        })
    }

    /// The typed form of a `spec` that is kept as JSON, such as a step's
    /// [`parameters`](super::Step::parameters). Positions say nothing. `None` when it has errors.
    #[must_use]
    pub fn of_json(step_type: StepType, spec: &Value) -> Option<Self> {
        let node = from_json(spec);
        let mut cx = Context::new("", "", 1);
        let mut fields = Fields::open(&node, String::new(), &mut cx)?;
        let read = Self::read_known(step_type, &mut fields, &mut cx);
        read.filter(|_| !cx.problems.iter().any(crate::Problem::is_error))
    }
}
