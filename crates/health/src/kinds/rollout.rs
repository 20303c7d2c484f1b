//! Rollout of Argo Rollouts: its controller sums itself up in `status.phase` with `status.message`.

use serde_json::Value;

use crate::read::{condition, flag, int, text};
use crate::verdict::{Status, Verdict};

pub(super) fn rollout(object: &Value) -> Verdict {
    // A number that is written as text; before version 1.0 it was a hash, which tells nothing.
    let seen = text(object, "/status/observedGeneration").and_then(|it| it.parse::<i64>().ok());
    match (seen, int(object, "/metadata/generation")) {
        (Some(seen), Some(generation)) if seen < generation => {
            return Verdict::progressing(format!(
                "the controller has not seen the latest change yet (generation {generation}, seen {seen})"
            ));
        }
        _ => {}
    }
    if let Some(invalid) = condition(object, "InvalidSpec").filter(|it| it.is_true()) {
        return Verdict::degraded(invalid.explain());
    }
    let message = text(object, "/status/message");
    let say = |status, otherwise: &str| Verdict::new(status, message.unwrap_or(otherwise));
    if flag(object, "/status/abort") {
        return say(Status::Degraded, "aborted");
    }
    if flag(object, "/spec/paused") {
        return Verdict::suspended("paused: the rollout goes on when spec.paused is removed");
    }
    match text(object, "/status/phase") {
        Some("Healthy") => say(Status::Healthy, "healthy"),
        Some("Paused") => say(
            Status::Suspended,
            "paused: it waits for somebody to promote it",
        ),
        Some("Degraded" | "Error" | "Invalid") => say(Status::Degraded, "degraded"),
        Some(phase) => say(Status::Progressing, phase),
        None => Verdict::progressing("the controller has not reported a status yet"),
    }
}
