//! Nothing changes any more: the last resort against waiting for something that will never come.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::SignedDuration;
use serde_json::Value;

use super::budget::{Budgets, seconds};
use super::cause::{Cause, Class};
use super::container::{Container, containers};
use super::event::Events;
use super::revision::{Revision, Workload};
use super::symptom::{Patience, Symptom};
use super::workload::most_telling;
use crate::kinds::assess;
use crate::line;
use crate::read::{count, deleting, has, int, list, text, uid};

/// How long past an announced time a change may come.
const SLACK: SignedDuration = SignedDuration::from_secs(60);

/// The symptom of standing still. Any change of the workload or its pods makes another symptom of it, whose clock
/// starts anew. Events do not count: a back-off that repeats is no progress.
pub(crate) fn symptom(
    kind: Workload,
    object: &Value,
    revision: &Revision<'_>,
    events: &Events<'_>,
    budgets: &Budgets,
    others: &[Symptom],
) -> Option<Symptom> {
    let allowed = allowed(kind, object, revision, events, budgets, others)?;
    let waited = line::seconds(allowed.as_secs());
    let message = format!(
        "nothing has changed for {waited}: {}",
        assess(object).message
    );
    let cause = Cause::new(Class::NoActivity, object, "no activity", &message)
        .because_of(most_telling(others));
    let print = i64::from_ne_bytes(fingerprint(object, &revision.all).to_ne_bytes());
    Some(Symptom::new(object, Patience::For(allowed), cause).of_run(print))
}

/// How long nothing may change, or nothing if there is a good reason to wait for ever.
fn allowed(
    kind: Workload,
    object: &Value,
    revision: &Revision<'_>,
    events: &Events<'_>,
    budgets: &Budgets,
    others: &[Symptom],
) -> Option<SignedDuration> {
    let runs = |pod: &&Value| text(pod, "/status/phase") == Some("Running");
    let to_completion = match kind {
        Workload::Job => revision.pods.iter().any(runs),
        Workload::Pod => {
            runs(&object)
                && text(object, "/spec/restartPolicy").is_some_and(|policy| policy != "Always")
        }
        _ => false,
    };
    if to_completion || revision.pods.iter().any(|pod| is_pulling(pod, events)) {
        return None;
    }
    let mut allowed = budgets.no_activity;
    if others
        .iter()
        .any(|symptom| symptom.key.class == Class::Unschedulable)
    {
        // An autoscaler may take its time; a Deployment has its own deadline.
        if kind == Workload::Deployment {
            return None;
        }
        allowed = allowed.saturating_mul(2);
    }
    let settle = seconds(count(object, "/spec/minReadySeconds"));
    allowed = allowed.max(settle.saturating_add(SLACK));
    for &pod in revision.all.iter().filter(|pod| deleting(pod)) {
        let grace = seconds(int(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(30));
        allowed = allowed.max(grace.saturating_add(SLACK));
    }
    for &pod in &revision.pods {
        for (status, is_init) in containers(pod).filter(|(status, _)| has(status, "/state/running"))
        {
            let container = Container {
                workload: object,
                pod,
                status,
                is_init,
                events,
                budgets,
                restarts_before: 0,
                failures_allowed: 1,
                of_job: false,
            };
            allowed = allowed.max(container.quiet().saturating_add(SLACK));
        }
    }
    Some(allowed)
}

/// Is an image of the pod being pulled now? A large one takes its time, and nothing else changes meanwhile.
fn is_pulling(pod: &Value, events: &Events<'_>) -> bool {
    text(pod, "/status/phase") == Some("Pending")
        && uid(pod)
            .and_then(|pod| {
                events.latest(pod, &["Pulling", "Pulled", "Failed", "BackOff", "Created"])
            })
            .is_some_and(|event| event.reason() == "Pulling")
}

/// What of the workload and its pods counts as change.
fn fingerprint(object: &Value, pods: &[&Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    int(object, "/metadata/generation").hash(&mut hasher);
    object
        .pointer("/status")
        .map(Value::to_string)
        .hash(&mut hasher);
    let mut prints: Vec<u64> = pods.iter().map(|pod| pod_fingerprint(pod)).collect();
    prints.sort_unstable();
    prints.hash(&mut hasher);
    hasher.finish()
}

fn pod_fingerprint(pod: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    uid(pod).hash(&mut hasher);
    text(pod, "/status/phase").hash(&mut hasher);
    deleting(pod).hash(&mut hasher);
    for condition in list(pod, "/status/conditions") {
        for field in ["/type", "/status", "/reason"] {
            text(condition, field).hash(&mut hasher);
        }
    }
    for (status, _) in containers(pod) {
        text(status, "/name").hash(&mut hasher);
        count(status, "/restartCount").hash(&mut hasher);
        for field in ["/ready", "/started"] {
            status
                .pointer(field)
                .and_then(Value::as_bool)
                .hash(&mut hasher);
        }
        text(status, "/state/waiting/reason").hash(&mut hasher);
        has(status, "/state/running").hash(&mut hasher);
        has(status, "/state/terminated").hash(&mut hasher);
    }
    hasher.finish()
}
