//! StatefulSet and DaemonSet.

use serde_json::Value;

use super::{scaled_to_zero, unreported};
use crate::line::{are, of};
use crate::read::{count, int, text};
use crate::verdict::Verdict;

pub(super) fn stateful_set(object: &Value) -> Verdict {
    if let Some(verdict) = unreported(object) {
        return verdict;
    }
    let desired = int(object, "/spec/replicas").unwrap_or(1);
    let replicas = count(object, "/status/replicas");
    let ready = count(object, "/status/readyReplicas");
    // Older servers do not write availableReplicas; ready is then all there is.
    let available = int(object, "/status/availableReplicas").unwrap_or(ready);
    if desired == 0 {
        return scaled_to_zero(replicas);
    }
    if replicas > desired {
        return Verdict::progressing(format!(
            "{replicas} pods exist, {desired} {} wanted",
            are(desired)
        ));
    }
    let on_delete = text(object, "/spec/updateStrategy/type") == Some("OnDelete");
    let partition = int(object, "/spec/updateStrategy/rollingUpdate/partition")
        .unwrap_or(0)
        .max(0);
    let updated = updated(object);
    let wanted = if on_delete {
        0
    } else {
        beyond_partition(object, desired, partition)
    };
    if updated < wanted {
        let message = format!("{} {} updated", of(updated, wanted, "pod"), are(wanted));
        return Verdict::progressing(message);
    }
    if ready < desired {
        return Verdict::progressing(format!(
            "{} {} ready",
            of(ready, desired, "pod"),
            are(desired)
        ));
    }
    if available < desired {
        let message = format!(
            "{} {} available",
            of(available, desired, "pod"),
            are(desired)
        );
        return Verdict::progressing(message);
    }
    let ready = format!("{} {} ready", of(ready, desired, "pod"), are(desired));
    if on_delete {
        return Verdict::healthy(format!(
            "{ready}; update strategy OnDelete: a pod takes the new revision when it is deleted"
        ));
    }
    if partition > 0 {
        return Verdict::healthy(format!(
            "{ready}; {updated} of the new revision (partition {partition})"
        ));
    }
    match (
        text(object, "/status/currentRevision"),
        text(object, "/status/updateRevision"),
    ) {
        (Some(current), Some(update)) if current != update => Verdict::progressing(format!(
            "{ready}; revision {update} is not yet the current one"
        )),
        _ => Verdict::healthy(ready),
    }
}

/// Pods of the new revision. Where the field is absent and no update is going on, every current pod is one.
fn updated(object: &Value) -> i64 {
    int(object, "/status/updatedReplicas").unwrap_or_else(|| {
        let current = text(object, "/status/currentRevision");
        if current.is_some() && current == text(object, "/status/updateRevision") {
            count(object, "/status/currentReplicas")
        } else {
            0
        }
    })
}

/// How many pods have an ordinal at or above the partition. Ordinals begin at `spec.ordinals.start`.
pub(crate) fn beyond_partition(object: &Value, desired: i64, partition: i64) -> i64 {
    let start = count(object, "/spec/ordinals/start").max(0);
    start
        .saturating_add(desired)
        .saturating_sub(partition)
        .clamp(0, desired.max(0))
}

pub(super) fn daemon_set(object: &Value) -> Verdict {
    if let Some(verdict) = unreported(object) {
        return verdict;
    }
    let desired = count(object, "/status/desiredNumberScheduled");
    let scheduled = count(object, "/status/currentNumberScheduled");
    let updated = count(object, "/status/updatedNumberScheduled");
    let ready = count(object, "/status/numberReady");
    let available = count(object, "/status/numberAvailable");
    let on_delete = text(object, "/spec/updateStrategy/type") == Some("OnDelete");
    if desired == 0 {
        return if scheduled > 0 {
            Verdict::progressing(format!(
                "{scheduled} pods left on nodes that no longer want one"
            ))
        } else {
            Verdict::healthy("scaled to zero: no node wants a pod")
        };
    }
    let on_nodes = |part, what: &str| {
        Verdict::progressing(format!(
            "{} {} {what}",
            of(part, desired, "pod"),
            are(desired)
        ))
    };
    if scheduled < desired {
        return on_nodes(scheduled, "created");
    }
    if updated < desired && !on_delete {
        return on_nodes(updated, "updated");
    }
    if ready < desired {
        return on_nodes(ready, "ready");
    }
    if available < desired {
        return on_nodes(available, "available");
    }
    let message = format!(
        "{} {} available",
        of(available, desired, "pod"),
        are(desired)
    );
    if on_delete && updated < desired {
        return Verdict::healthy(format!(
            "{message}; update strategy OnDelete: a pod takes the new revision when it is deleted"
        ));
    }
    Verdict::healthy(message)
}
