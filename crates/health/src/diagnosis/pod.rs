//! What is wrong with a pod as a whole: scheduling, volumes, its end.

use serde_json::Value;

use super::budget::Budgets;
use super::cause::{Cause, Class, Logs};
use super::container::{containers, names_missing};
use super::event::Events;
use super::symptom::{Patience, Symptom};
use crate::read::{condition, int, last_message, list, text, uid};

/// Not scheduled, or scheduled and not set up.
pub(crate) fn symptom(
    workload: &Value,
    pod: &Value,
    events: &Events<'_>,
    budgets: &Budgets,
) -> Option<Symptom> {
    if text(pod, "/status/phase") != Some("Pending") {
        return None;
    }
    match condition(pod, "PodScheduled") {
        Some(scheduled) if scheduled.is_false() => {
            let message = scheduled.message();
            let hopeless = impossible(message) && !autoscaler_reacts(pod, events);
            let patience = if hopeless {
                Patience::For(budgets.unschedulable)
            } else {
                Patience::Endless
            };
            let cause =
                Cause::new(Class::Unschedulable, workload, scheduled.reason(), message).in_pod(pod);
            Some(Symptom::new(pod, patience, cause))
        }
        Some(_) if is_being_set_up(pod) => set_up(workload, pod, events, budgets),
        _ => None,
    }
}

/// No container has started or waits for anything but the pod.
fn is_being_set_up(pod: &Value) -> bool {
    containers(pod).all(|(status, _)| {
        matches!(
            text(status, "/state/waiting/reason"),
            Some("ContainerCreating" | "PodInitializing")
        )
    })
}

fn set_up(
    workload: &Value,
    pod: &Value,
    events: &Events<'_>,
    budgets: &Budgets,
) -> Option<Symptom> {
    let reasons = [
        "FailedMount",
        "FailedAttachVolume",
        "FailedMapVolume",
        "FailedCreatePodSandBox",
        "NetworkNotReady",
    ];
    let event = events.latest(uid(pod)?, &reasons)?;
    let (class, patience) = if names_missing(event.message()) {
        (Class::ConfigMissing, Patience::For(budgets.config_missing))
    } else {
        (Class::NotStarting, Patience::Endless)
    };
    let cause = Cause::new(class, workload, event.reason(), event.message()).in_pod(pod);
    Some(Symptom::new(pod, patience, cause))
}

fn autoscaler_reacts(pod: &Value, events: &Events<'_>) -> bool {
    uid(pod).is_some_and(|pod| {
        events
            .latest(pod, &["TriggeredScaleUp", "Nominated"])
            .is_some()
    })
}

/// Does the scheduler say that every node is ruled out by something that neither time nor other pods' leaving
/// changes? Its message reads "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match …. preemption: …".
fn impossible(message: &str) -> bool {
    const FINAL: [&str; 5] = [
        "didn't match Pod's node affinity/selector",
        "didn't satisfy plugin(s) [NodeAffinity]",
        "had volume node affinity conflict",
        "untolerated taint",
        "not found",
    ];
    let Some((nodes, rest)) = message.split_once(" nodes are available: ") else {
        return false;
    };
    if nodes.ends_with("/0") {
        return false;
    }
    let reasons = rest.split(" preemption:").next().unwrap_or(rest);
    // Taints of the node life cycle come and go.
    let passing =
        reasons.contains("{node.kubernetes.io/") || reasons.contains("{node.cloudprovider");
    !passing
        && reasons
            .trim_end_matches(['.', ' '])
            .split(", ")
            .all(|reason| FINAL.iter().any(|sign| reason.contains(sign)))
}

/// Did the node throw the pod out? Such pods are replaced and tell nothing about their revision.
pub(crate) fn was_evicted(pod: &Value) -> bool {
    matches!(
        text(pod, "/status/reason"),
        Some(
            "Evicted"
                | "Preempting"
                | "Preempted"
                | "NodeLost"
                | "NodeShutdown"
                | "Terminated"
                | "Shutdown"
        )
    ) || condition(pod, "DisruptionTarget").is_some_and(|target| target.is_true())
}

/// Why a pod that has failed has failed.
pub(crate) fn failure(workload: &Value, pod: &Value, class: Class) -> Cause {
    let ended = containers(pod).find_map(|(status, _)| {
        let code = int(status, "/state/terminated/exitCode").filter(|code| *code != 0)?;
        Some((status, code))
    });
    match ended {
        Some((status, code)) => {
            let reason = text(status, "/state/terminated/reason").unwrap_or("Error");
            let mut message = format!("exit code {code}");
            let ended = status.pointer("/state/terminated");
            if let Some(more) = ended.and_then(last_message) {
                message.push_str("; ");
                message.push_str(&more);
            }
            let mut cause = Cause::new(class, workload, reason, &message)
                .in_pod(pod)
                .in_container(text(status, "/name").unwrap_or("?"));
            cause.exit_code = Some(code);
            cause.logs = Some(Logs::Current);
            cause
        }
        None => {
            let reason = text(pod, "/status/reason").unwrap_or("Failed");
            let message = text(pod, "/status/message").unwrap_or("the pod has failed");
            Cause::new(class, workload, reason, message).in_pod(pod)
        }
    }
}

/// Are all containers of the pod ready, and the pod itself?
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.is_true())
        && list(pod, "/status/containerStatuses")
            .iter()
            .all(|status| status.pointer("/ready").and_then(Value::as_bool) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scheduler_says() {
        for (message, expected) in [
            (
                "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
                true,
            ),
            (
                "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node affinity/selector.",
                true,
            ),
            (
                "0/1 nodes are available: persistentvolumeclaim \"data\" not found. not found",
                true,
            ),
            (
                "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector.",
                false,
            ),
            (
                "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available",
                false,
            ),
            (
                "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
                false,
            ),
            ("no nodes available to schedule pods", false),
            ("", false),
        ] {
            assert_eq!(impossible(message), expected, "{message}");
        }
    }
}
