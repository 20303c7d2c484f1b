//! Kinds without a rule of their own: what operators share by the Kubernetes API conventions.
//!
//! In this order: Stalled, Reconciling, conditions that name a failure, conditions that name success (the first one
//! there is decides), then `status.phase` or `status.state`. A kind that reports nothing is healthy once it exists.

use serde_json::Value;

use crate::read::{condition, has, list, text};
use crate::verdict::Verdict;

/// True means that something is wrong and will not mend by itself.
const FAILURES: [&str; 4] = ["Failed", "Failure", "Degraded", "Error"];

/// True means done, anything else means not yet. The most telling first.
const SUCCESSES: [&str; 13] = [
    "Ready",
    "Available",
    "Healthy",
    "Programmed",
    "Established",
    "Complete",
    "Completed",
    "Succeeded",
    "Success",
    "Synced",
    "Accepted",
    "Issued",
    "Approved",
];

const GOOD_PHASES: [&str; 16] = [
    "ready",
    "active",
    "available",
    "bound",
    "complete",
    "completed",
    "created",
    "deployed",
    "done",
    "healthy",
    "ok",
    "online",
    "running",
    "succeeded",
    "success",
    "valid",
];

const BAD_PHASES: [&str; 9] = [
    "crashed",
    "degraded",
    "error",
    "failed",
    "failure",
    "invalid",
    "lost",
    "rejected",
    "unhealthy",
];

pub(super) fn general(object: &Value) -> Verdict {
    if let Some(stalled) = condition(object, "Stalled")
        && stalled.is_true()
    {
        return Verdict::degraded(stalled.explain());
    }
    if let Some(reconciling) = condition(object, "Reconciling")
        && reconciling.is_true()
    {
        return Verdict::progressing(reconciling.explain());
    }
    if let Some(failure) = FAILURES
        .iter()
        .filter_map(|kind| condition(object, kind))
        .find(|failure| failure.is_true())
    {
        return Verdict::degraded(failure.explain());
    }
    for kind in SUCCESSES {
        if let Some(success) = condition(object, kind) {
            return if success.is_true() {
                Verdict::healthy(kind.to_lowercase())
            } else {
                Verdict::progressing(format!(
                    "not {}: {}",
                    kind.to_lowercase(),
                    success.explain()
                ))
            };
        }
    }
    phase(object)
}

fn phase(object: &Value) -> Verdict {
    let stated = ["/status/phase", "/status/state", "/status/currentPhase"]
        .into_iter()
        .find_map(|pointer| text(object, pointer));
    let Some(stated) = stated else {
        return unstated(object);
    };
    let lower = stated.to_lowercase();
    if BAD_PHASES.contains(&lower.as_str()) {
        let message = text(object, "/status/message").or_else(|| text(object, "/status/reason"));
        Verdict::degraded(message.map_or_else(
            || stated.to_owned(),
            |message| format!("{stated}: {message}"),
        ))
    } else if GOOD_PHASES.contains(&lower.as_str()) {
        Verdict::healthy(stated)
    } else {
        Verdict::progressing(stated)
    }
}

/// Nothing that we can read. Conditions that are all of an older generation are news to wait for.
fn unstated(object: &Value) -> Verdict {
    let known = |entry: &Value| {
        text(entry, "/type")
            .is_some_and(|kind| FAILURES.contains(&kind) || SUCCESSES.contains(&kind))
    };
    let outdated = list(object, "/status/conditions").iter().any(|entry| {
        known(entry) && text(entry, "/type").is_some_and(|kind| condition(object, kind).is_none())
    });
    if outdated {
        Verdict::progressing("its conditions are of an earlier generation")
    } else if has(object, "/status") {
        Verdict::healthy("exists; its status says nothing about health")
    } else {
        Verdict::healthy("exists")
    }
}
