//! Canaries.

use super::instances::{InstanceSelection, percentage};
use super::rolling::RollingDeploy;
use super::traffic::TrafficRouting;
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
    /// How requests are routed once it is healthy.
    pub routing: Option<TrafficRouting>,
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
        let routing = TrafficRouting::read_option(spec, cx);
        let deploy = RollingDeploy::read_without_pruning(spec, cx);
        let size = CanarySize::read(spec, cx)?;
        if matches!(size, CanarySize::Progressive(_)) {
            spec.not_runnable(&["trafficRouting"], cx);
        }
        Some(Self {
            deploy,
            size,
            routing,
        })
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
        percentage(spec, "targetPercentage", 1..=100, cx).map(Self::Progressive)
    }
}
