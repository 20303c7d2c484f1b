//! What the workload as a whole says: its end, its deadline, its completeness.

use jiff::SignedDuration;
use serde_json::Value;

use super::cause::{Cause, Class};
use super::pod::{failure, is_ready, was_evicted};
use super::revision::{Revision, Workload, stuck as stuck_pod};
use super::symptom::{Patience, Symptom};
use crate::kinds::beyond_partition;
use crate::line;
use crate::read::{condition, count, int, text, time};

/// The controller takes a moment to clear the condition of an earlier revision when it goes back to one.
const DEADLINE_SETTLES: SignedDuration = SignedDuration::from_secs(2);

/// Why a Job or a Pod has ended badly, for good.
pub(crate) fn ended(
    kind: Workload,
    object: &Value,
    revision: &Revision<'_>,
    symptoms: &[Symptom],
) -> Option<Cause> {
    match kind {
        Workload::Job => {
            let failed = ["Failed", "FailureTarget"]
                .into_iter()
                .filter_map(|kind| condition(object, kind))
                .find(|failed| failed.is_true())?;
            let last = revision
                .all
                .iter()
                .filter(|pod| text(pod, "/status/phase") == Some("Failed"))
                .max_by_key(|pod| time(pod, "/metadata/creationTimestamp"))
                .map(|pod| failure(object, pod, Class::PodFailed));
            let deeper = last.as_ref().or_else(|| most_telling(symptoms));
            Some(
                Cause::new(Class::JobFailed, object, failed.reason(), failed.message())
                    .because_of(deeper),
            )
        }
        Workload::Pod if text(object, "/status/phase") == Some("Failed") => {
            Some(failure(object, object, Class::PodFailed))
        }
        _ => None,
    }
}

/// The Deployment's own deadline has passed. What is wrong with its pods explains it.
pub(crate) fn overdue(kind: Workload, object: &Value, symptoms: &[Symptom]) -> Option<Symptom> {
    let progressing = condition(object, "Progressing").filter(|_| kind == Workload::Deployment)?;
    if !progressing.is_false() || progressing.reason() != "ProgressDeadlineExceeded" {
        return None;
    }
    let deadline = int(object, "/spec/progressDeadlineSeconds").unwrap_or(600);
    let message = format!("no progress within {}", line::seconds(deadline.max(0)));
    let cause = Cause::new(
        Class::DeadlineExceeded,
        object,
        progressing.reason(),
        &message,
    )
    .because_of(most_telling(symptoms));
    Some(Symptom::new(object, Patience::For(DEADLINE_SETTLES), cause))
}

/// An ordered StatefulSet waits for a broken pod of an older revision before it replaces it.
pub(crate) fn stuck(object: &Value, revision: &Revision<'_>) -> Option<Symptom> {
    let pod = stuck_pod(object, &revision.all)?;
    let cause = Cause::new(
        Class::OldPodStuck,
        object,
        "waits for a pod of an earlier revision",
        "it is not ready, and an ordered StatefulSet replaces it only when it is or when it is deleted",
    )
    .in_pod(pod);
    Some(Symptom::new(pod, Patience::Endless, cause))
}

/// Whether it was scaled down to nothing: what is wrong with a pod that still goes does not matter any more.
pub(crate) fn wants_no_pods(kind: Workload, object: &Value) -> bool {
    matches!(
        kind,
        Workload::Deployment | Workload::ReplicaSet | Workload::StatefulSet
    ) && int(object, "/spec/replicas") == Some(0)
}

/// Are there as many pods of the new revision as wished, all ready? Then only time is missing.
pub(crate) fn all_ready(kind: Workload, object: &Value, revision: &Revision<'_>) -> bool {
    let wanted = match kind {
        Workload::DaemonSet => count(object, "/status/desiredNumberScheduled"),
        Workload::StatefulSet => {
            let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition").max(0);
            beyond_partition(
                object,
                int(object, "/spec/replicas").unwrap_or(1),
                partition,
            )
        }
        Workload::Deployment | Workload::ReplicaSet => int(object, "/spec/replicas").unwrap_or(1),
        Workload::Job | Workload::Pod => return false,
    };
    let living = || revision.pods.iter().filter(|pod| !was_evicted(pod));
    wanted > 0
        && i64::try_from(living().count()).is_ok_and(|there| there >= wanted)
        && living().all(|pod| is_ready(pod))
}

/// The symptom that explains most.
pub(crate) fn most_telling(symptoms: &[Symptom]) -> Option<&Cause> {
    symptoms
        .iter()
        .min_by_key(|symptom| (symptom.key.class, &symptom.cause.pod))
        .map(|symptom| &symptom.cause)
}
