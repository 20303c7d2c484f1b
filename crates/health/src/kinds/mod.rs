//! The rules per kind: one file per family, chosen here.

mod autoscaling;
mod batch;
mod conventions;
mod core;
mod deployment;
mod extension;
mod gateway;
mod knative;
mod network;
mod openshift;
pub(crate) mod pod;
mod rollout;
mod stateful;

use std::sync::Arc;

use serde_json::Value;

use crate::line;
use crate::read;
use crate::rules::{self, ClusterRules};
use crate::verdict::{Status, Verdict};

pub use network::selects;
pub(crate) use stateful::beyond_partition;

/// When a StorageClass binds a claim to a volume (its `volumeBindingMode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VolumeBinding {
    /// As soon as the claim exists.
    Immediate,
    /// When the first pod that mounts the claim is scheduled.
    WaitForFirstConsumer,
}

/// What the caller knows that the object itself does not say. The default knows nothing and wants no more than what
/// every cluster can give.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Binding mode of a claim's class, if known.
    pub volume_binding: Option<VolumeBinding>,
    /// Whether a pod template of the set mounts the claim, if known.
    pub claim_is_mounted: Option<bool>,
    /// How many pods (or pod templates) of the set the Service selects, if known.
    pub pods_selected: Option<usize>,
    /// Whether a Service of type LoadBalancer needs an address to be healthy. Default: it does.
    pub load_balancer_address_wanted: bool,
    /// Whether an Ingress needs an address to be healthy. Default: it does not, since not every controller writes one.
    pub ingress_address_wanted: bool,
    /// Rules of the cluster for all objects of a kind.
    pub rules: Arc<ClusterRules>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            volume_binding: None,
            claim_is_mounted: None,
            pods_selected: None,
            load_balancer_address_wanted: true,
            ingress_address_wanted: false,
            rules: Arc::default(),
        }
    }
}

/// Health of an object as the cluster shows it. `Value::Null` is an object that does not exist.
///
/// Every kind climbs the same ladder before the rules of its own: being deleted is Progressing, a rule that a user gave
/// decides, and a generation that the controller has not observed yet is Progressing.
#[must_use]
pub fn assess(object: &Value) -> Verdict {
    assess_with(object, &Facts::default())
}

/// [`assess`] with what the caller knows from elsewhere.
#[must_use]
pub fn assess_with(object: &Value, facts: &Facts) -> Verdict {
    judge(object, facts).verdict
}

/// A verdict and whose it is.
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// A rule that a user gave decided.
    pub(crate) by_user: bool,
}

pub(crate) fn judge(object: &Value, facts: &Facts) -> Judgement {
    let by_kind = |verdict| Judgement {
        verdict,
        by_user: false,
    };
    if object.is_null() {
        return by_kind(Verdict::missing());
    }
    if !object.is_object() || read::kind(object).is_empty() {
        let message = "not a Kubernetes object: it has no kind";
        return by_kind(Verdict::new(Status::Unknown, message));
    }
    if read::deleting(object) {
        return by_kind(being_deleted(object));
    }
    if let Some(verdict) = rules::assess(object, &facts.rules) {
        // A rule that cannot be read or evaluated does not get better with time.
        let behind = conventions::behind(object).filter(|_| verdict.status != Status::Unknown);
        return behind.map_or(
            Judgement {
                verdict,
                by_user: true,
            },
            by_kind,
        );
    }
    by_kind(assess_kind(object, facts))
}

/// The verdict by the rule of the kind, whatever a user's rule says.
pub(crate) fn assess_kind(object: &Value, facts: &Facts) -> Verdict {
    match own(object) {
        Some(rule) => unobserved(object).unwrap_or_else(|| rule(object, facts)),
        None => conventions::general(object),
    }
}

/// Is a status of the object as good as old, because nothing in it tells the generation that it is about? So it is for
/// custom resources whose controllers do not say, until they write something else.
pub(crate) fn may_be_old(object: &Value) -> bool {
    let group = read::group(object);
    let custom = group.contains('.') && !group.ends_with(".k8s.io");
    custom && own(object).is_none() && !conventions::tells_generation(object)
}

/// A rule of one kind.
type Rule = fn(&Value, &Facts) -> Verdict;

/// The rule of the object's own kind, if it has one.
fn own(object: &Value) -> Option<Rule> {
    let rule: Rule = match (read::group(object), read::kind(object)) {
        ("apps", "Deployment") => |it, _| deployment::deployment(it),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            |it, _| deployment::replica_set(it)
        }
        ("apps", "StatefulSet") => |it, _| stateful::stateful_set(it),
        ("apps", "DaemonSet") => |it, _| stateful::daemon_set(it),
        ("batch", "Job") => |it, _| batch::job(it),
        ("batch", "CronJob") => |it, _| batch::cron_job(it),
        ("", "Pod") => |it, _| pod::pod(it),
        ("", "Service") => network::service,
        ("networking.k8s.io" | "extensions", "Ingress") => network::ingress,
        ("discovery.k8s.io", "EndpointSlice") => |it, _| network::slice(it),
        ("", "PersistentVolumeClaim") => core::claim,
        ("", "PersistentVolume") => |it, _| core::volume(it),
        ("", "Namespace") => |it, _| core::namespace(it),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => |it, _| extension::definition(it),
        ("apiregistration.k8s.io", "APIService") => |it, _| extension::api_service(it),
        ("autoscaling", "HorizontalPodAutoscaler") => |it, _| autoscaling::horizontal(it),
        ("policy", "PodDisruptionBudget") => |it, _| autoscaling::disruption_budget(it),
        (gateway::GROUP, "Gateway") => |it, _| gateway::gateway(it),
        (gateway::GROUP, "GatewayClass") => |it, _| gateway::class(it),
        (gateway::GROUP, "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute") => {
            |it, _| gateway::route(it)
        }
        ("apps.openshift.io", "DeploymentConfig") => |it, _| openshift::deployment_config(it),
        ("route.openshift.io", "Route") => |it, _| openshift::route(it),
        ("argoproj.io", "Rollout") => |it, _| rollout::rollout(it),
        (group, _) if group.ends_with(".knative.dev") && knative::reports(object) => {
            |it, _| knative::living(it)
        }
        _ => return None,
    };
    Some(rule)
}

/// Being deleted, and what holds it back but the garbage collector, which nobody has to do anything about.
fn being_deleted(object: &Value) -> Verdict {
    let finalizers: Vec<&str> = read::list(object, "/metadata/finalizers")
        .iter()
        .filter_map(Value::as_str)
        .filter(|name| *name != "foregroundDeletion")
        .collect();
    if finalizers.is_empty() {
        return Verdict::progressing("is being deleted");
    }
    Verdict::progressing(format!(
        "is being deleted, waiting for {}",
        finalizers.join(", ")
    ))
}

/// Progressing while `status.observedGeneration` is behind `metadata.generation`.
fn unobserved(object: &Value) -> Option<Verdict> {
    let generation = read::int(object, "/metadata/generation")?;
    let observed = read::int(object, "/status/observedGeneration")?;
    (observed < generation).then(|| {
        Verdict::progressing(format!(
            "the controller has not seen the latest change yet (generation {generation}, seen {observed})"
        ))
    })
}

/// The controllers of these kinds always write `observedGeneration`: without it nothing has been looked at.
fn unreported(object: &Value) -> Option<Verdict> {
    let looked_at = read::has(object, "/status/observedGeneration")
        || (!read::has(object, "/metadata/generation") && read::has(object, "/status"));
    (!looked_at).then(|| Verdict::progressing("the controller has not reported a status yet"))
}

/// "scaled to zero" once nothing is left.
fn scaled_to_zero(left: i64) -> Verdict {
    if left > 0 {
        Verdict::progressing(format!(
            "scaling to zero: {left} replica{} {} left",
            if left == 1 { "" } else { "s" },
            line::are(left)
        ))
    } else {
        Verdict::healthy("scaled to zero")
    }
}
