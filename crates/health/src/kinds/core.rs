//! Storage and namespaces.

use serde_json::Value;

use super::{Facts, VolumeBinding};
use crate::read::{condition, text};
use crate::verdict::{Status, Verdict};

pub(super) fn claim(object: &Value, facts: &Facts) -> Verdict {
    match text(object, "/status/phase") {
        Some("Bound") => bound(object),
        Some("Lost") => Verdict::degraded("its volume is lost"),
        Some("Pending") | None => match (facts.volume_binding, facts.claim_is_mounted) {
            (Some(VolumeBinding::WaitForFirstConsumer), Some(false)) => Verdict::healthy(
                "is bound when the first pod mounts it; no pod of this release does",
            ),
            (Some(VolumeBinding::WaitForFirstConsumer), _) => {
                Verdict::progressing("waits for the first pod that mounts it")
            }
            (Some(VolumeBinding::Immediate), _) => Verdict::progressing("waits for a volume"),
            (None, _) => Verdict::progressing(
                "waits for a volume, or for the first pod that mounts it if its class says so",
            ),
        },
        Some(phase) => Verdict::new(Status::Unknown, format!("phase {phase}")),
    }
}

fn bound(object: &Value) -> Verdict {
    let volume = text(object, "/spec/volumeName").unwrap_or("a volume");
    let is = |kind| condition(object, kind).is_some_and(|condition| condition.is_true());
    if is("Resizing") {
        Verdict::progressing(format!("bound to {volume}, which is being resized"))
    } else if is("FileSystemResizePending") {
        Verdict::healthy(format!(
            "bound to {volume}; its file system grows when a pod mounts it again"
        ))
    } else {
        Verdict::healthy(format!("bound to {volume}"))
    }
}

pub(super) fn volume(object: &Value) -> Verdict {
    match text(object, "/status/phase") {
        Some(phase @ ("Available" | "Bound" | "Released")) => {
            Verdict::healthy(phase.to_lowercase())
        }
        Some("Failed") => Verdict::degraded(text(object, "/status/message").unwrap_or("failed")),
        _ => Verdict::progressing("pending"),
    }
}

pub(super) fn namespace(object: &Value) -> Verdict {
    match text(object, "/status/phase") {
        Some("Active") => Verdict::healthy("active"),
        Some("Terminating") => Verdict::progressing("is being deleted"),
        _ => Verdict::progressing("not active yet"),
    }
}
