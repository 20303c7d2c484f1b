//! HorizontalPodAutoscaler and PodDisruptionBudget.

use serde_json::Value;

use super::unreported;
use crate::read::{condition, count, has, int};
use crate::verdict::Verdict;

pub(super) fn horizontal(object: &Value) -> Verdict {
    if let Some(able) = condition(object, "AbleToScale")
        && able.is_false()
    {
        return Verdict::degraded(able.explain());
    }
    if let Some(active) = condition(object, "ScalingActive")
        && active.is_false()
    {
        // The target has no replicas, or the behaviour switches scaling off: as somebody wished.
        return if active.reason() == "ScalingDisabled" {
            Verdict::healthy(format!("scaling is off: {}", active.message()))
        } else {
            Verdict::degraded(active.explain())
        };
    }
    let current = count(object, "/status/currentReplicas");
    let desired = int(object, "/status/desiredReplicas").unwrap_or(current);
    let able = condition(object, "AbleToScale").is_some_and(|it| it.is_true());
    let limited = condition(object, "ScalingLimited").filter(|it| it.is_true());
    match limited {
        Some(limited) => Verdict::healthy(format!("{current} replicas: {}", limited.explain())),
        None if able => Verdict::healthy(format!("{current} replicas, {desired} wanted")),
        // autoscaling/v1 has no conditions.
        None if !has(object, "/status/conditions") && has(object, "/status/lastScaleTime") => {
            Verdict::healthy(format!("{current} replicas, {desired} wanted"))
        }
        None => Verdict::progressing("has not looked at its target yet"),
    }
}

pub(super) fn disruption_budget(object: &Value) -> Verdict {
    if let Some(verdict) = unreported(object) {
        return verdict;
    }
    if let Some(allowed) = condition(object, "DisruptionAllowed")
        && allowed.is_false()
        && allowed.reason() != "InsufficientPods"
    {
        return Verdict::degraded(allowed.explain());
    }
    let allowed = count(object, "/status/disruptionsAllowed");
    let healthy = count(object, "/status/currentHealthy");
    let wanted = count(object, "/status/desiredHealthy");
    Verdict::healthy(format!(
        "{allowed} disruption{} allowed ({healthy} pods healthy, {wanted} needed)",
        if allowed == 1 { "" } else { "s" }
    ))
}
