//! DeploymentConfig and Route of OpenShift.

use serde_json::Value;

use super::{deployment, unreported};
use crate::read::{condition, condition_in, count, flag, list, text};
use crate::verdict::Verdict;

/// As a Deployment, with deployer pods of its own and a version that counts rollouts.
pub(super) fn deployment_config(object: &Value) -> Verdict {
    if flag(object, "/spec/paused") {
        return Verdict::suspended("paused: the rollout goes on when spec.paused is removed");
    }
    if let Some(verdict) = unreported(object) {
        return verdict;
    }
    if let Some(progressing) = condition(object, "Progressing")
        && progressing.is_false()
    {
        let why = progressing.explain();
        return Verdict::degraded(format!("{why}; {}", deployment::counts(object)));
    }
    if count(object, "/status/latestVersion") == 0 {
        return Verdict::progressing("no rollout has been started yet");
    }
    deployment::rolled_out(object)
}

/// Each router that has seen the route says whether it admits it.
pub(super) fn route(object: &Value) -> Verdict {
    let generation = crate::read::int(object, "/metadata/generation").unwrap_or(0);
    let routers = list(object, "/status/ingress");
    let mut admitted = 0;
    for router in routers {
        match condition_in(list(router, "/conditions"), "Admitted", generation) {
            Some(it) if it.is_true() => admitted += 1,
            Some(it) if it.is_false() => {
                let name = text(router, "/routerName").unwrap_or("?");
                return Verdict::degraded(format!("router {name}: {}", it.explain()));
            }
            _ => {}
        }
    }
    match (
        admitted,
        routers.first().and_then(|router| text(router, "/host")),
    ) {
        (0, _) => Verdict::progressing("no router has admitted it yet"),
        (_, Some(host)) => Verdict::healthy(format!("host {host}")),
        (_, None) => Verdict::healthy("admitted"),
    }
}
