//! What is live of a release: object by object as it is tracked, or by its label where nothing is tracked.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use sortie_manifest::references::ConfigKind;
use sortie_manifest::{ObjectId, labels};

use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::record::METADATA_LIST;
use crate::resource::Resource;
use crate::watch::Selection;

/// Kinds of Kubernetes itself that people deploy. What carries a release's label only because a controller made it, such
/// as a ReplicaSet or an EndpointSlice, is not among them.
const KINDS: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "ServiceAccount"),
    ("", "Service"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("storage.k8s.io", "StorageClass"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("apps", "DaemonSet"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("policy", "PodDisruptionBudget"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
];

/// An object with its identity.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its identity.
    pub id: ObjectId,
    /// The object.
    pub object: Value,
}

/// What a search by label brought.
#[derive(Debug, Default)]
pub struct Labelled {
    /// Objects with the label.
    pub found: Vec<Found>,
    /// Kinds that could not be listed, and why.
    pub unseen: Vec<Error>,
}

impl Cluster {
    /// Reads tracked objects, many at a time, in the given order. `None`: it does not exist.
    pub async fn survey(
        &self,
        ids: Vec<ObjectId>,
    ) -> Vec<(ObjectId, Result<Option<Value>, Error>)> {
        let reads = ids.into_iter().map(|id| async move {
            let found = self.find(&id).await;
            (id, found.map(|found| found.map(|(_, object)| object)))
        });
        let reads: Vec<_> = reads.collect();
        stream::iter(reads)
            .buffered(self.inner.options.concurrency)
            .collect()
            .await
    }

    /// Everything in `namespaces` and outside of namespaces that was applied as part of a release, `named` `namespace/name`
    /// by its annotation, of the kinds that people deploy: those of Kubernetes, and all that definitions in the
    /// cluster define.
    ///
    /// The price is a list per kind and namespace: for a release whose records say nothing.
    ///
    /// # Errors
    /// The kinds cannot be asked for at all. A kind that may not be listed is in the result.
    pub async fn labelled(
        &self,
        release: &str,
        named: &str,
        namespaces: &BTreeSet<String>,
    ) -> Result<Labelled, Error> {
        let mut labelled = Labelled::default();
        let mut selections = Vec::new();
        for resource in self.deployable(&mut labelled.unseen).await? {
            let selector = format!("{}={release}", labels::RELEASE);
            let selection = |namespace: &str| {
                Selection::of(resource.clone(), namespace)
                    .labelled(&selector)
                    .without_records()
            };
            if resource.namespaced {
                selections.extend(namespaces.iter().map(|namespace| selection(namespace)));
            } else {
                selections.push(selection(""));
            }
        }
        let lists: Vec<_> = selections
            .iter()
            .map(|selection| async move { (selection, self.list(selection).await) })
            .collect();
        let mut lists = stream::iter(lists).buffered(self.inner.options.concurrency);
        while let Some((selection, listed)) = lists.next().await {
            match listed {
                Ok(objects) => {
                    let ours = objects.into_iter().filter(|object| is_named(object, named));
                    let found = ours.filter_map(|object| found(selection, object));
                    labelled.found.extend(found);
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => labelled.unseen.push(error),
            }
        }
        Ok(labelled)
    }

    /// Metadata of the ConfigMaps or Secrets in a namespace, of a release or all of them, without the records.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn configuration(
        &self,
        kind: ConfigKind,
        namespace: &str,
        release: Option<&str>,
    ) -> Result<Vec<Found>, Error> {
        let resource = match kind {
            ConfigKind::ConfigMap => Resource::config_maps(),
            ConfigKind::Secret => Resource::secrets(),
        };
        let mut selection = Selection::of(resource, namespace).without_records();
        if let Some(release) = release {
            selection = selection.labelled(format!("{}={release}", labels::RELEASE));
        }
        let path = selection.path();
        let target = &selection.resource.plural;
        let listed = self.list_all("list", target, &path, Some(METADATA_LIST));
        let objects = listed.await?.into_iter();
        Ok(objects
            .filter_map(|object| found(&selection, object))
            .collect())
    }

    /// The kinds that people deploy, as the cluster serves them.
    async fn deployable(&self, unseen: &mut Vec<Error>) -> Result<Vec<Resource>, Error> {
        let mut resources = Vec::new();
        for (group, kind) in KINDS {
            match self.resolve_preferred(group, kind).await {
                Ok(resource) => resources.push(resource),
                Err(error) if matches!(error.cause(), Cause::UnknownKind { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let kind = "CustomResourceDefinition";
        let definitions = self.resolve_preferred("apiextensions.k8s.io", kind).await?;
        match self.list(&Selection::of(definitions, "")).await {
            Ok(definitions) => resources.extend(definitions.iter().filter_map(stored_version)),
            Err(error) => unseen.push(error),
        }
        Ok(resources)
    }
}

/// The API of the version that a definition stores.
fn stored_version(definition: &Value) -> Option<Resource> {
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let served = |version: &&Value| version.get("served").and_then(Value::as_bool) == Some(true);
    let version = versions.iter().find(served)?.get("name")?.as_str()?;
    Resource::of_definition(definition, version)
}

/// Pods and what else a controller makes carry the label, and not the annotation.
fn is_named(object: &Value, named: &str) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    let name = annotations.and_then(|all| all.get(labels::RELEASE_NAME));
    name.and_then(Value::as_str) == Some(named)
}

fn found(selection: &Selection, object: Value) -> Option<Found> {
    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
    let id = ObjectId {
        group: selection.resource.group.clone(),
        kind: selection.resource.kind.clone(),
        namespace: selection.namespace.clone(),
        name,
    };
    Some(Found { id, object })
}
