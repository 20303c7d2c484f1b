//! Which pods belong to the revision that is being rolled out. Pods of older revisions never fail a rollout.

use serde_json::Value;

use super::Observation;
use crate::read::{deleting, group, has, int, kind, list, member, owned_by, text, uid};

const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";
const TEMPLATE_HASH: &str = "pod-template-hash";
const REVISION_HASH: &str = "controller-revision-hash";
const TEMPLATE_GENERATION_LABEL: &str = "pod-template-generation";
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The workloads that have pods of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workload {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Pod,
}

impl Workload {
    pub(crate) fn of(object: &Value) -> Option<Self> {
        match (group(object), kind(object)) {
            ("apps", "Deployment") => Some(Self::Deployment),
            ("apps", "ReplicaSet") | ("", "ReplicationController") => Some(Self::ReplicaSet),
            ("apps", "StatefulSet") => Some(Self::StatefulSet),
            ("apps", "DaemonSet") => Some(Self::DaemonSet),
            ("batch", "Job") => Some(Self::Job),
            ("", "Pod") => Some(Self::Pod),
            _ => None,
        }
    }
}

/// The part of an observation that belongs to the newest revision.
pub(crate) struct Revision<'a> {
    /// The ReplicaSet of a Deployment, otherwise the workload itself: the object that creates pods.
    pub(crate) creator: Option<&'a Value>,
    /// Living pods of the newest revision.
    pub(crate) pods: Vec<&'a Value>,
    /// All pods of the workload, of every revision, including those that are going away.
    pub(crate) all: Vec<&'a Value>,
}

impl<'a> Revision<'a> {
    /// Nothing is of the newest revision until the controller has observed the newest generation.
    pub(crate) fn of(workload: Workload, observation: &Observation<'a>) -> Self {
        let object = observation.workload;
        let owner = uid(object).unwrap_or("");
        let observed = !has(object, "/metadata/generation")
            || int(object, "/status/observedGeneration") >= int(object, "/metadata/generation");
        let owned = |pod: &&Value| owned_by(pod, owner);
        match workload {
            Workload::Pod => Self {
                creator: None,
                pods: if deleting(object) {
                    Vec::new()
                } else {
                    vec![object]
                },
                all: vec![object],
            },
            Workload::Deployment => {
                let sets: Vec<&Value> = observation
                    .revisions
                    .iter()
                    .copied()
                    .filter(|set| owned_by(set, owner))
                    .collect();
                let belongs = |pod: &&Value| {
                    sets.iter()
                        .filter_map(|set| uid(set))
                        .any(|set| owned_by(pod, set))
                };
                let all: Vec<&Value> = observation.pods.iter().copied().filter(belongs).collect();
                let newest = sets
                    .iter()
                    .copied()
                    .find(|set| observed && is_newest(object, set));
                let pods = newest.map_or_else(Vec::new, |set| of_set(set, &all));
                Self {
                    creator: newest,
                    pods,
                    all,
                }
            }
            Workload::StatefulSet => {
                let all: Vec<&Value> = observation.pods.iter().copied().filter(owned).collect();
                let hash = text(object, "/status/updateRevision").filter(|_| observed);
                Self {
                    creator: Some(object),
                    pods: with_hash(&all, hash),
                    all,
                }
            }
            Workload::DaemonSet => {
                let all: Vec<&Value> = observation.pods.iter().copied().filter(owned).collect();
                let pods = if observed {
                    daemon_pods(object, observation, &all)
                } else {
                    Vec::new()
                };
                Self {
                    creator: Some(object),
                    pods,
                    all,
                }
            }
            Workload::ReplicaSet => {
                let all: Vec<&Value> = observation.pods.iter().copied().filter(owned).collect();
                let pods = if observed { living(&all) } else { Vec::new() };
                Self {
                    creator: Some(object),
                    pods,
                    all,
                }
            }
            // A Job's pod template cannot change, and its generation is observed nowhere.
            Workload::Job => {
                let all: Vec<&Value> = observation.pods.iter().copied().filter(owned).collect();
                Self {
                    creator: Some(object),
                    pods: living(&all),
                    all,
                }
            }
        }
    }
}

fn living<'a>(pods: &[&'a Value]) -> Vec<&'a Value> {
    pods.iter().copied().filter(|pod| !deleting(pod)).collect()
}

/// The newest ReplicaSet carries the same revision as its Deployment.
fn is_newest(deployment: &Value, set: &Value) -> bool {
    let revision = |object| member(object, "/metadata/annotations", DEPLOYMENT_REVISION);
    revision(deployment).is_some() && revision(deployment) == revision(set)
}

fn of_set<'a>(set: &Value, pods: &[&'a Value]) -> Vec<&'a Value> {
    let owner = uid(set).unwrap_or("");
    let hash = member(set, "/metadata/labels", TEMPLATE_HASH);
    let same_template = |pod: &Value| {
        hash.is_none()
            || member(pod, "/metadata/labels", TEMPLATE_HASH).is_none_or(|its| Some(its) == hash)
    };
    living(pods)
        .into_iter()
        .filter(|pod| owned_by(pod, owner) && same_template(pod))
        .collect()
}

fn with_hash<'a>(pods: &[&'a Value], hash: Option<&str>) -> Vec<&'a Value> {
    let Some(hash) = hash else { return Vec::new() };
    living(pods)
        .into_iter()
        .filter(|pod| member(pod, "/metadata/labels", REVISION_HASH) == Some(hash))
        .collect()
}

/// By the newest ControllerRevision if the caller has them, else by the template generation that the API server
/// counts and the controller writes on each pod.
fn daemon_pods<'a>(
    object: &Value,
    observation: &Observation<'_>,
    all: &[&'a Value],
) -> Vec<&'a Value> {
    let owner = uid(object).unwrap_or("");
    let newest = observation
        .revisions
        .iter()
        .filter(|revision| kind(revision) == "ControllerRevision" && owned_by(revision, owner))
        .max_by_key(|revision| int(revision, "/revision"));
    if let Some(newest) = newest {
        return with_hash(all, member(newest, "/metadata/labels", REVISION_HASH));
    }
    let generation = member(object, "/metadata/annotations", TEMPLATE_GENERATION);
    living(all)
        .into_iter()
        .filter(|pod| {
            generation.is_some()
                && member(pod, "/metadata/labels", TEMPLATE_GENERATION_LABEL) == generation
        })
        .collect()
}

/// The pod that an ordered StatefulSet waits for before it replaces any other: of an older revision and not ready.
pub(crate) fn stuck<'a>(object: &Value, all: &[&'a Value]) -> Option<&'a Value> {
    let hash = text(object, "/status/updateRevision")?;
    let ordered =
        text(object, "/spec/podManagementPolicy").is_none_or(|policy| policy == "OrderedReady");
    let rolling =
        text(object, "/spec/updateStrategy/type").is_none_or(|kind| kind == "RollingUpdate");
    if !ordered || !rolling {
        return None;
    }
    living(all).into_iter().find(|pod| {
        let failing = list(pod, "/status/containerStatuses")
            .iter()
            .any(|container| {
                text(container, "/state/waiting/reason").is_some_and(crate::kinds::pod::is_error)
            });
        failing && member(pod, "/metadata/labels", REVISION_HASH).is_some_and(|its| its != hash)
    })
}
