//! Which objects run pods, and where their pod templates are.

use serde_json::{Map, Value};

use crate::annotations;
use crate::object::Object;

/// Kinds that run pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// `apps` Deployment.
    Deployment,
    /// `apps` StatefulSet.
    StatefulSet,
    /// `apps` DaemonSet.
    DaemonSet,
    /// `apps` ReplicaSet.
    ReplicaSet,
    /// Core ReplicationController.
    ReplicationController,
    /// OpenShift DeploymentConfig.
    DeploymentConfig,
    /// `batch` Job.
    Job,
    /// `batch` CronJob.
    CronJob,
    /// A bare pod.
    Pod,
}

impl Workload {
    /// Group and kind of each that [`Workload::is_managed`].
    pub const MANAGED: [(&str, &str); 4] = [
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps.openshift.io", "DeploymentConfig"),
    ];

    /// The workload kind of a group and kind, if it is one.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        let workload = match (group, kind) {
            ("apps" | "extensions", "Deployment") => Self::Deployment,
            ("apps", "StatefulSet") => Self::StatefulSet,
            ("apps" | "extensions", "DaemonSet") => Self::DaemonSet,
            ("apps" | "extensions", "ReplicaSet") => Self::ReplicaSet,
            ("", "ReplicationController") => Self::ReplicationController,
            ("apps.openshift.io", "DeploymentConfig") => Self::DeploymentConfig,
            ("batch", "Job") => Self::Job,
            ("batch", "CronJob") => Self::CronJob,
            ("", "Pod") => Self::Pod,
            _ => return None,
        };
        Some(workload)
    }

    /// Whether a deployment waits for it to reach its steady state and rolls it back on failure,
    /// unless an annotation says otherwise.
    pub fn is_managed(self) -> bool {
        matches!(
            self,
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::DeploymentConfig
        )
    }
}

/// Whether the object runs pods.
pub fn is_workload(object: &Object) -> bool {
    Workload::of(object.group(), object.kind()).is_some()
}

/// Whether a deployment waits for the object and rolls it back on failure: Deployments,
/// StatefulSets, DaemonSets and DeploymentConfigs without the `direct-apply` annotation, and custom
/// resources with the `managed-workload` annotation.
pub fn is_managed(object: &Object) -> bool {
    if annotations::is_set(object, annotations::DIRECT_APPLY) {
        return false;
    }
    match Workload::of(object.group(), object.kind()) {
        Some(workload) => workload.is_managed(),
        None => annotations::is_set(object, annotations::MANAGED_WORKLOAD),
    }
}

/// The pod template of an object: a map with `metadata` and `spec`. A pod is its own template.
///
/// Besides the workloads of Kubernetes and OpenShift these are PodTemplates and the custom resources
/// of widely used operators that run pods from a template.
pub fn pod_template(object: &Object) -> Option<&Map<String, Value>> {
    template_path(object.group(), object.kind())?
        .iter()
        .try_fold(object.value(), |map, key| map.get(*key)?.as_object())
}

/// The pod template of an object, to be changed.
pub(crate) fn pod_template_mut(object: &mut Object) -> Option<&mut Map<String, Value>> {
    template_path(object.group(), object.kind())?
        .iter()
        .try_fold(object.value_mut(), |map, key| {
            map.get_mut(*key)?.as_object_mut()
        })
}

fn template_path(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    let path: &[&str] = match Workload::of(group, kind) {
        Some(Workload::Pod) => &[],
        Some(Workload::CronJob) => &["spec", "jobTemplate", "spec", "template"],
        Some(_) => &["spec", "template"],
        None => match (group, kind) {
            ("", "PodTemplate") => &["template"],
            ("argoproj.io", "Rollout")
            | ("serving.knative.dev", "Service" | "Configuration")
            | ("apps.kruise.io", "CloneSet" | "StatefulSet" | "DaemonSet") => &["spec", "template"],
            ("keda.sh", "ScaledJob") => &["spec", "jobTargetRef", "template"],
            _ => return None,
        },
    };
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_kinds_are_those_that_are_listed() {
        for (group, kind) in Workload::MANAGED {
            assert!(Workload::of(group, kind).unwrap().is_managed(), "{kind}");
        }
        let kinds = [
            "ReplicaSet",
            "Job",
            "Pod",
            "Deployment",
            "StatefulSet",
            "DaemonSet",
            "DeploymentConfig",
        ];
        for kind in kinds {
            for group in ["", "apps", "batch", "apps.openshift.io"] {
                let is_managed = Workload::of(group, kind).is_some_and(Workload::is_managed);
                assert_eq!(
                    is_managed,
                    Workload::MANAGED.contains(&(group, kind)),
                    "{kind}"
                );
            }
        }
    }
}
