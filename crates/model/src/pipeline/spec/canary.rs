//! Canaries.

use super::instances::{InstanceSelection, percentage};
use super::rolling::RollingDeploy;
use crate::field::TextField;
use crate::problem::Code;
use crate::reader::{Context, Fields};

/// Options of `K8sCanaryDeploy`.
#[derive(Clone, Debug)]
pub struct CanaryDeploy {
    /// As for a rolling deployment. A canary prunes nothing.
    pub deploy: RollingDeploy,
    /// How many pods it has.
    pub size: CanarySize,
}

/// How many pods a canary has.
#[derive(Clone, Debug)]
pub enum CanarySize {
    /// `canaryType: Standard`: so many beside those that run already.
    Standard(InstanceSelection),
    /// `canaryType: Progressive`: this percentage of all, from 1 to 100, in the place of those that run already.
    Progressive(TextField),
}

impl CanaryDeploy {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        spec.not_runnable(&["trafficRouting"], cx);
        let deploy = RollingDeploy::read_without_pruning(spec, cx);
        let size = CanarySize::read(spec, cx)?;
        Some(Self { deploy, size })
    }
}

impl CanarySize {
    fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const TYPES: [(&str, bool); 2] = [("Standard", false), ("Progressive", true)];
        spec.accept(&["instanceSelection", "targetPercentage"]);
        let progressive = match spec.node("canaryType") {
            None => false,
            Some(_) => spec.settled_choice("canaryType", &TYPES, cx)?,
        };
        let (wanted, other) = match progressive {
            true => ("targetPercentage", "instanceSelection"),
            false => ("instanceSelection", "targetPercentage"),
        };
        if spec.node(other).is_some() {
            let kind = if progressive {
                "Progressive"
            } else {
                "Standard"
            };
            let message =
                format!("`{other}` is not for a canary of type {kind}, which has `{wanted}`");
            cx.error(
                Code::Conflict,
                &spec.path_of(other),
                spec.position_of(other),
                message,
            );
        }
        if !progressive {
            return InstanceSelection::required(spec, 1..=100, cx).map(Self::Standard);
        }
        if spec.node("targetPercentage").is_none() {
            spec.missing("targetPercentage", cx);
        }
        let message = "canaries of type `Progressive` are kept, and cannot be run yet";
        let path = spec.path_of("canaryType");
        let at = spec.position_of_value("canaryType");
        cx.not_runnable(Code::NotRunnable, &path, at, message.to_owned());
        percentage(spec, "targetPercentage", 1..=100, cx).map(Self::Progressive)
    }
}
