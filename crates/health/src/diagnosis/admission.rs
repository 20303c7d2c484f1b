//! Pods that cannot even be created: quotas, Pod Security, webhooks, missing service accounts.

use serde_json::Value;

use super::budget::Budgets;
use super::cause::{Cause, Class};
use super::container::names_missing;
use super::event::Events;
use super::revision::{Revision, Workload};
use super::symptom::{Patience, Symptom};
use crate::read::{condition, count, deleting, int, text, uid};

/// Why the workload's controller cannot create pods (or a ReplicaSet), if so.
pub(crate) fn symptom(
    workload: Workload,
    object: &Value,
    revision: &Revision<'_>,
    events: &Events<'_>,
    budgets: &Budgets,
) -> Option<Symptom> {
    if workload == Workload::Deployment
        && let Some(progressing) = condition(object, "Progressing")
        && progressing.is_false()
        && progressing.reason() == "ReplicaSetCreateError"
    {
        let refusal = classify(progressing.message(), budgets, false);
        return Some(symptom_of(
            object,
            object,
            progressing.reason(),
            progressing.message(),
            refusal,
        ));
    }
    let creator = revision.creator?;
    if revision.pods.len() >= usize::try_from(wanted(workload, creator)).unwrap_or(usize::MAX) {
        return None;
    }
    let (reason, message) = refused(creator, events)?;
    let refusal = classify(message, budgets, may_free_quota(workload, object, revision));
    Some(symptom_of(object, creator, reason, message, refusal))
}

fn symptom_of(
    object: &Value,
    subject: &Value,
    reason: &str,
    message: &str,
    (class, patience): (Class, Patience),
) -> Symptom {
    Symptom::new(
        subject,
        patience,
        Cause::new(class, object, reason, message),
    )
}

/// How many pods of the new revision the creator wants now.
fn wanted(workload: Workload, creator: &Value) -> i64 {
    match workload {
        Workload::DaemonSet => count(creator, "/status/desiredNumberScheduled"),
        Workload::Job => int(creator, "/spec/parallelism").unwrap_or(1),
        Workload::Pod => 0,
        Workload::Deployment | Workload::ReplicaSet | Workload::StatefulSet => {
            int(creator, "/spec/replicas").unwrap_or(1)
        }
    }
}

/// The refusal that stands: a condition, or an event that no success has followed.
fn refused<'a>(creator: &'a Value, events: &Events<'a>) -> Option<(&'a str, &'a str)> {
    if let Some(failure) = condition(creator, "ReplicaFailure")
        && failure.is_true()
        && failure.reason() == "FailedCreate"
    {
        return Some((failure.reason(), failure.message()));
    }
    let creator = uid(creator)?;
    let failed = events.latest(creator, &["FailedCreate"])?;
    let succeeded = events.latest(creator, &["SuccessfulCreate"]);
    if succeeded.is_some_and(|succeeded| succeeded.last() > failed.last()) {
        return None;
    }
    Some((failed.reason(), failed.message()))
}

fn classify(message: &str, budgets: &Budgets, may_free_quota: bool) -> (Class, Patience) {
    if message.contains("exceeded quota") || message.contains("insufficient quota") {
        let patience = if may_free_quota {
            budgets.quota
        } else {
            budgets.quota_stuck
        };
        (Class::Quota, Patience::For(patience))
    } else if message.contains("failed calling webhook")
        || message.contains("failed to call webhook")
    {
        (Class::PodRefused, Patience::For(budgets.container_refused))
    } else if names_missing(message) {
        (Class::ConfigMissing, Patience::For(budgets.config_missing))
    } else if [
        "forbidden",
        "violates PodSecurity",
        "denied the request",
        "is invalid",
    ]
    .iter()
    .any(|sign| message.contains(sign))
    {
        (Class::PodRefused, Patience::For(budgets.pod_refused))
    } else {
        (Class::PodRefused, Patience::For(budgets.container_refused))
    }
}

/// Can this rollout make room for itself? Pods that are going away do, and so does a strategy that takes old pods
/// down before new ones are ready.
fn may_free_quota(workload: Workload, object: &Value, revision: &Revision<'_>) -> bool {
    let living = revision.all.iter().filter(|pod| !deleting(pod)).count();
    let old = living.saturating_sub(revision.pods.len());
    if revision.all.len() > living {
        return true;
    }
    if old == 0 || workload != Workload::Deployment {
        return old > 0;
    }
    let starting = revision.pods.iter().any(|pod| !super::pod::is_ready(pod));
    let recreate = text(object, "/spec/strategy/type") == Some("Recreate");
    starting || recreate || takes_down_first(object)
}

/// Is `maxUnavailable`, rounded down as the Deployment controller does, at least one?
fn takes_down_first(object: &Value) -> bool {
    let replicas = int(object, "/spec/replicas").unwrap_or(1);
    let unavailable = object.pointer("/spec/strategy/rollingUpdate/maxUnavailable");
    match unavailable {
        Some(Value::String(share)) => {
            let percent = share
                .trim_end_matches('%')
                .parse::<i64>()
                .unwrap_or(0)
                .clamp(0, 100);
            replicas.saturating_mul(percent) >= 100
        }
        Some(number) => number.as_i64().unwrap_or(0) >= 1,
        None => replicas.saturating_mul(25) >= 100,
    }
}
