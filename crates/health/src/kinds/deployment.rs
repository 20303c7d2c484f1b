//! Deployment and ReplicaSet: full counts, never "replicas minus maxUnavailable".

use serde_json::Value;

use super::{scaled_to_zero, unreported};
use crate::line::{are, of};
use crate::read::{condition, count, flag, int};
use crate::verdict::{Status, Verdict};

pub(super) fn deployment(object: &Value) -> Verdict {
    if flag(object, "/spec/paused") {
        return Verdict::suspended("paused: the rollout goes on when spec.paused is removed");
    }
    if let Some(verdict) = unreported(object) {
        return verdict;
    }
    if let Some(progressing) = condition(object, "Progressing")
        && progressing.is_false()
        && progressing.reason() == "ProgressDeadlineExceeded"
    {
        return Verdict::degraded(format!("{}; {}", progressing.explain(), counts(object)));
    }
    let verdict = rolled_out(object);
    match condition(object, "ReplicaFailure").filter(|failure| failure.is_true()) {
        Some(failure) if verdict.status == Status::Progressing => Verdict::progressing(format!(
            "{}; pods are refused: {}",
            verdict.message,
            failure.message()
        )),
        _ => verdict,
    }
}

/// Are there as many updated and available replicas as wished, and no others?
pub(super) fn rolled_out(object: &Value) -> Verdict {
    let desired = int(object, "/spec/replicas").unwrap_or(1);
    let replicas = count(object, "/status/replicas");
    let updated = count(object, "/status/updatedReplicas");
    let available = count(object, "/status/availableReplicas");
    let ready = int(object, "/status/readyReplicas").unwrap_or(available);
    if desired == 0 {
        return scaled_to_zero(replicas);
    }
    Verdict::progressing(if updated < desired || replicas < desired {
        let updated = updated.min(replicas);
        format!(
            "{} {} updated",
            of(updated, desired, "replica"),
            are(desired)
        )
    } else if replicas > updated {
        let old = replicas - updated;
        format!(
            "{old} old replica{} {} still running",
            if old == 1 { "" } else { "s" },
            are(old)
        )
    } else if ready < updated {
        format!(
            "{} {} ready",
            of(ready, updated, "updated replica"),
            are(updated)
        )
    } else if available < updated {
        format!(
            "{} {} available",
            of(available, updated, "updated replica"),
            are(updated)
        )
    } else if updated > desired {
        format!(
            "{updated} replicas exist, {desired} {} wanted",
            are(desired)
        )
    } else {
        return Verdict::healthy(format!(
            "{} {} available",
            of(available, desired, "replica"),
            are(desired)
        ));
    })
}

pub(super) fn replica_set(object: &Value) -> Verdict {
    if let Some(verdict) = unreported(object) {
        return verdict;
    }
    if let Some(failure) = condition(object, "ReplicaFailure")
        && failure.is_true()
    {
        return Verdict::degraded(failure.explain());
    }
    let desired = int(object, "/spec/replicas").unwrap_or(1);
    let replicas = count(object, "/status/replicas");
    let available = count(object, "/status/availableReplicas");
    if desired == 0 {
        return scaled_to_zero(replicas);
    }
    let message = format!(
        "{} {} available",
        of(available, desired, "replica"),
        are(desired)
    );
    if available == desired && replicas == desired {
        Verdict::healthy(message)
    } else if replicas > desired {
        Verdict::progressing(format!(
            "{replicas} replicas exist, {desired} {} wanted",
            are(desired)
        ))
    } else {
        Verdict::progressing(message)
    }
}

/// "1 of 3 updated replicas are ready", for messages of other rules.
pub(super) fn counts(object: &Value) -> String {
    let desired = int(object, "/spec/replicas").unwrap_or(1);
    let updated = count(object, "/status/updatedReplicas");
    let available = count(object, "/status/availableReplicas");
    format!(
        "{} updated, {available} available",
        of(updated, desired, "replica")
    )
}
