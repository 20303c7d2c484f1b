//! Pod.

use serde_json::Value;

use crate::read::{condition, count, int, list, name, text};
use crate::verdict::{Status, Verdict};

pub(super) fn pod(object: &Value) -> Verdict {
    match text(object, "/status/phase") {
        Some("Succeeded") => Verdict::healthy("completed"),
        Some("Failed") => Verdict::degraded(failure(object)),
        Some("Running") => running(object),
        Some("Pending") | None => pending(object),
        Some(phase) => Verdict::new(
            Status::Unknown,
            format!("phase {phase}: its node does not report"),
        ),
    }
}

fn failure(object: &Value) -> String {
    let reason = text(object, "/status/reason");
    let message = text(object, "/status/message");
    match (reason, message, failed_container(object)) {
        (Some(reason), Some(message), _) => format!("{reason}: {message}"),
        (_, _, Some(container)) => container,
        (Some(reason), None, None) => reason.to_owned(),
        (None, Some(message), None) => message.to_owned(),
        (None, None, None) => "failed".to_owned(),
    }
}

/// "container web: Error, exit code 3" of the first container that ended badly.
fn failed_container(object: &Value) -> Option<String> {
    containers(object).find_map(|container| {
        let code = int(container, "/state/terminated/exitCode").filter(|code| *code != 0)?;
        let reason = text(container, "/state/terminated/reason").unwrap_or("Error");
        Some(format!(
            "container {}: {reason}, exit code {code}",
            container_name(container)
        ))
    })
}

fn running(object: &Value) -> Verdict {
    let restarts_always =
        text(object, "/spec/restartPolicy").is_none_or(|policy| policy == "Always");
    if let Some(trouble) = trouble(object) {
        return Verdict::degraded(trouble);
    }
    let ready = condition(object, "Ready");
    if !restarts_always {
        return Verdict::progressing("running, not completed yet");
    }
    if ready.is_some_and(|ready| ready.is_true()) {
        return Verdict::healthy("running and ready");
    }
    if let Some(ended) = containers(object).find(|container| {
        !container
            .pointer("/ready")
            .and_then(Value::as_bool)
            .unwrap_or(false)
            && container.pointer("/lastState/terminated").is_some()
    }) {
        return Verdict::degraded(format!(
            "container {}: restarted {}, not ready (last exit code {})",
            container_name(ended),
            crate::line::times(count(ended, "/restartCount").max(1).unsigned_abs()),
            count(ended, "/lastState/terminated/exitCode"),
        ));
    }
    Verdict::progressing(match ready.map(|ready| ready.explain()) {
        Some(why) => format!("not ready: {why}"),
        None => "not ready".to_owned(),
    })
}

fn pending(object: &Value) -> Verdict {
    if let Some(trouble) = trouble(object) {
        return Verdict::degraded(trouble);
    }
    if let Some(scheduled) = condition(object, "PodScheduled")
        && scheduled.is_false()
    {
        return Verdict::progressing(format!("not scheduled: {}", scheduled.explain()));
    }
    if let Some((container, reason)) = containers(object)
        .find_map(|container| Some((container, text(container, "/state/waiting/reason")?)))
    {
        let name = container_name(container);
        return Verdict::progressing(format!("container {name}: {reason}"));
    }
    Verdict::progressing("pending")
}

/// The first container, init containers included, that waits because of an error.
fn trouble(object: &Value) -> Option<String> {
    containers(object).find_map(|container| {
        let reason = text(container, "/state/waiting/reason").filter(|reason| is_error(reason))?;
        let name = container_name(container);
        Some(match text(container, "/state/waiting/message") {
            Some(message) => format!("container {name}: {reason}: {message}"),
            None => format!("container {name}: {reason}"),
        })
    })
}

/// Reasons of a waiting container that mean trouble, by the naming that the kubelet keeps to.
pub(crate) fn is_error(reason: &str) -> bool {
    reason.starts_with("Err")
        || reason.ends_with("Error")
        || reason.ends_with("BackOff")
        || reason == "InvalidImageName"
}

/// Statuses of all containers, init containers first.
fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    list(object, "/status/initContainerStatuses")
        .iter()
        .chain(list(object, "/status/containerStatuses"))
}

fn container_name(container: &Value) -> &str {
    text(container, "/name").unwrap_or_else(|| name(container))
}
