//! Deleting objects, and waiting until they are gone.

mod ending;

use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::{Value, json};
use sortie_manifest::{ObjectId, labels, order};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connect::Cluster;
use crate::error::{Cause, Error, holder_clause};
use crate::fault::Point;
use crate::lease::Guard;
use crate::request::Call;
use crate::resource::Resource;
use crate::watch::{self, Selection};
use ending::Ending;

/// How often an object that keeps changing under our hands is read anew.
const RACES: u32 = 8;

/// An object to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// What identifies it.
    pub id: ObjectId,
    /// UID of the object that is meant; another object of the same name is left alone.
    pub uid: Option<String>,
    /// Value of the release label it must carry; an object of somebody else is left alone.
    pub release: Option<String>,
}

/// How a deletion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was deleted, and is gone.
    Deleted,
    /// It was not there.
    Absent,
    /// Another object has its name: other UID or other release. It was left alone.
    NotOurs,
}

/// Is told why an object that is being deleted is still there, whenever that changes; `None`: nothing holds it any more.
pub type Held<'a> = &'a (dyn Fn(&ObjectId, Option<&str>) + Sync);

/// How long the end of an object is waited for, and who is told meanwhile what it waits for.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// At least so long; and as long as the pods that end with the object may take.
    at_least: Duration,
    held: Held<'a>,
    stop: Option<&'a CancellationToken>,
}

impl<'a> Patience<'a> {
    /// The same, but over as soon as `stop` is cancelled, whatever the pods may take. Only waiting is given up then, never a
    /// request that is under way.
    #[must_use]
    pub fn unless(self, stop: &'a CancellationToken) -> Self {
        let stop = Some(stop);
        Self { stop, ..self }
    }

    /// Resolves when it is over.
    pub(crate) async fn stopped(&self) {
        match self.stop {
            Some(stop) => stop.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl From<Duration> for Patience<'_> {
    fn from(at_least: Duration) -> Self {
        let held: Held<'_> = &|_, _| {};
        Self::from((at_least, held))
    }
}

impl<'a> From<(Duration, Held<'a>)> for Patience<'a> {
    fn from((at_least, held): (Duration, Held<'a>)) -> Self {
        Self {
            at_least,
            held,
            stop: None,
        }
    }
}

impl std::fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Patience");
        debug
            .field("at_least", &self.at_least)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Deletes an object and waits, by watch, until it is gone or another has taken its name.
    /// Workloads go after their pods, everything else at once.
    ///
    /// After `patience`, and after the longest grace period of its pods, or when it is to stop, an object that is still there
    /// is an error that names its finalizers and pods.
    pub async fn delete(
        &self,
        doomed: &Doomed,
        patience: impl Into<Patience<'_>>,
        guard: &Guard,
    ) -> Result<Gone, Error> {
        let patience = patience.into();
        for _ in 0..RACES {
            let Some((resource, live)) = self.find(&doomed.id).await? else {
                return Ok(Gone::Absent);
            };
            if !doomed.means(&live) {
                return Ok(Gone::NotOurs);
            }
            let uid = text(&live, "/metadata/uid");
            let ending = Ending::of(self, &doomed.id, &live).await;
            match self.send_delete(doomed, &resource, &live, guard).await {
                Ok(()) => {
                    self.wait_until_gone(doomed, (resource, &uid), ending, patience)
                        .await?;
                    if doomed.id.kind == "CustomResourceDefinition" {
                        self.forget_kinds();
                    }
                    return Ok(Gone::Deleted);
                }
                Err(error) if error.is_not_found() => return Ok(Gone::Deleted),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        let message = format!("{RACES} times in a row");
        Err(Error::new(
            "delete",
            doomed.id.to_string(),
            Cause::Conflict { message },
        ))
    }

    /// Deletes objects in the reverse of the order of applying: stage by stage, many at a time
    /// inside a stage. Every object is tried; the results are in the order of deletion.
    pub async fn delete_all(
        &self,
        mut doomed: Vec<Doomed>,
        patience: impl Into<Patience<'_>>,
        guard: &Guard,
    ) -> Vec<(ObjectId, Result<Gone, Error>)> {
        let patience = patience.into();
        doomed.sort_by(|a, b| order::compare(&b.id, &a.id));
        let stage = |doomed: &Doomed| order::stage(&doomed.id.group, &doomed.id.kind);
        let mut results = Vec::with_capacity(doomed.len());
        for stage in doomed.chunk_by(|a, b| stage(a) == stage(b)) {
            let deletions: Vec<_> = stage
                .iter()
                .map(|doomed| async move {
                    let result = self.delete(doomed, patience, guard).await;
                    (doomed.id.clone(), result)
                })
                .collect();
            let concurrency = self.inner.options.concurrency;
            results.extend(
                stream::iter(deletions)
                    .buffered(concurrency)
                    .collect::<Vec<_>>()
                    .await,
            );
        }
        results
    }

    async fn send_delete(
        &self,
        doomed: &Doomed,
        resource: &Resource,
        live: &Value,
        guard: &Guard,
    ) -> Result<(), Error> {
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(());
        }
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": if has_dependants(&doomed.id) { "Foreground" } else { "Background" },
            "preconditions": {
                "uid": text(live, "/metadata/uid"),
                "resourceVersion": text(live, "/metadata/resourceVersion"),
            },
        });
        let path = resource.path(doomed.id.namespace.as_deref(), Some(&doomed.id.name));
        let (place, write) = ((Method::DELETE, path), (Point::Delete, guard));
        let call = Call::write("delete", doomed.id.to_string(), place, write).body(&options)?;
        self.send(&call).await.map(drop)
    }

    async fn wait_until_gone(
        &self,
        doomed: &Doomed,
        (resource, uid): (Resource, &str),
        mut ending: Ending,
        patience: Patience<'_>,
    ) -> Result<(), Error> {
        let (began, held) = (Instant::now(), patience.held);
        let namespace = doomed.id.namespace.clone().unwrap_or_default();
        let mut selection = Selection::of(resource, &namespace).named(&doomed.id.name);
        // What is left in a namespace is in its status.
        selection.metadata_only = doomed.id.kind != "Namespace";
        let name = doomed.id.name.as_str();
        let within = patience.at_least.max(ending.within);
        let mut holders = Holders::default();
        let watching = async {
            let mut watched = self.watch(selection).await?;
            loop {
                let view = watched.view();
                let Some(object) = view.objects.get(name) else {
                    break;
                };
                if text(object, "/metadata/uid") != uid {
                    break;
                }
                let now = Holders::of(object, ending.open());
                if now != holders {
                    held(&doomed.id, now.clause().as_deref());
                    holders = now;
                }
                let watches = std::iter::once(&mut watched).chain(ending.pods.as_mut());
                watch::any_changed(watches).await;
            }
            held(&doomed.id, None);
            Ok(())
        };
        let ended = tokio::select! {
            biased;
            ended = tokio::time::timeout(within, watching) => ended,
            () = patience.stopped() => return Err(stuck(doomed, &Value::Null, began.elapsed(), holders)),
        };
        match ended {
            Ok(Ok(())) => Ok(()),
            // With its definition the kind itself has gone.
            Ok(Err(error)) if is_not_served(&error) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let live = self.find(&doomed.id).await.ok().flatten();
                let live = live.map(|(_, live)| live).unwrap_or_default();
                Err(stuck(doomed, &live, within, holders))
            }
        }
    }
}

/// Why an object does not go away.
fn stuck(doomed: &Doomed, live: &Value, waited: Duration, holders: Holders) -> Error {
    let mut remaining = remaining_content(live);
    if live.is_null() {
        remaining = holders.remaining;
    }
    let cause = Cause::Stuck {
        waited,
        since: text(live, "/metadata/deletionTimestamp"),
        holders: holders.finalizers,
        pods: holders.pods,
        remaining,
    };
    Error::new("delete", doomed.id.to_string(), cause)
}

/// What keeps an object that is being deleted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holders {
    /// Finalizers, each with who has to clear it.
    finalizers: Vec<String>,
    /// Pods that end with it and are still there.
    pods: Vec<String>,
    /// What is left in a namespace.
    remaining: Vec<String>,
}

impl Holders {
    fn of(live: &Value, pods: Vec<String>) -> Self {
        let finalizers = remaining_finalizers(live);
        Self {
            finalizers: finalizers.iter().map(|name| holder(name)).collect(),
            pods,
            remaining: remaining_content(live),
        }
    }

    /// In words; `None`: nothing but time.
    fn clause(&self) -> Option<String> {
        (*self != Self::default())
            .then(|| holder_clause(&self.finalizers, &self.pods, &self.remaining))
    }
}

/// A finalizer with who has to clear it.
fn holder(finalizer: &str) -> String {
    let who = match finalizer {
        "kubernetes.io/pvc-protection" => "until no pod uses the claim",
        "kubernetes.io/pv-protection" => "until no claim is bound to the volume",
        "service.kubernetes.io/load-balancer-cleanup" => {
            "until the cloud's controller has removed the load balancer"
        }
        "customresourcecleanup.apiextensions.k8s.io" => "until all objects of its kind are gone",
        "batch.kubernetes.io/job-tracking" => "until the Job controller has counted the pod",
        "orphan" => "until the garbage collector has released its dependants",
        other => {
            return match other.split_once('/') {
                Some((domain, _)) => format!("{other} (of the controller of {domain})"),
                None => other.to_owned(),
            };
        }
    };
    format!("{finalizer} ({who})")
}

/// What a namespace's own conditions say about what is left in it.
fn remaining_content(live: &Value) -> Vec<String> {
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let is_reason = |condition: &&Value| {
        let kind = condition.get("type").and_then(Value::as_str);
        let kind = kind.unwrap_or_default();
        let about = kind.starts_with("Namespace") && condition["status"] == "True";
        about && condition["message"].is_string()
    };
    conditions
        .into_iter()
        .flatten()
        .filter(is_reason)
        .map(|condition| text(condition, "/message"))
        .collect()
}

impl Doomed {
    fn means(&self, live: &Value) -> bool {
        let uid = text(live, "/metadata/uid");
        let release = live
            .pointer("/metadata/labels")
            .and_then(|all| all.get(labels::RELEASE));
        self.uid.as_ref().is_none_or(|meant| *meant == uid)
            && self
                .release
                .as_deref()
                .is_none_or(|meant| release.and_then(Value::as_str) == Some(meant))
    }
}

/// Whether the object is gone only when what it owns is.
fn has_dependants(id: &ObjectId) -> bool {
    match id.group.as_str() {
        "apps" | "batch" => true,
        "" => id.kind == "ReplicationController",
        _ => false,
    }
}

/// Finalizers that somebody must act on; the garbage collector's own is not among them.
fn remaining_finalizers(object: &Value) -> Vec<String> {
    let finalizers = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    finalizers
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|name| *name != "foregroundDeletion")
        .map(str::to_owned)
        .collect()
}

fn is_not_served(error: &Error) -> bool {
    error.is_not_found()
}

fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_an_object_is_told_and_the_garbage_collector_is_not() {
        let clause = |live: Value| Holders::of(&live, Vec::new()).clause();
        let finalizers = |names: &[&str]| json!({"metadata": {"finalizers": names}});
        assert_eq!(clause(finalizers(&["foregroundDeletion"])), None);
        assert_eq!(
            clause(finalizers(&["foregroundDeletion", "example.com/hold"])).unwrap(),
            "waiting for finalizers example.com/hold (of the controller of example.com)"
        );
        let pods = vec!["web-1".to_owned(), "2 more".to_owned()];
        let held = Holders::of(&finalizers(&["foregroundDeletion"]), pods);
        assert_eq!(
            held.clause().unwrap(),
            "waiting for pods to end: web-1, 2 more"
        );
        let condition =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "message": kind});
        let namespace = json!({"status": {"conditions": [
            condition("NamespaceDeletionContentFailure", "False"),
            condition("NamespaceContentRemaining", "True"),
            condition("NamespaceFinalizersRemaining", "True"),
        ]}});
        let remaining = "NamespaceContentRemaining; NamespaceFinalizersRemaining";
        assert_eq!(clause(namespace).unwrap(), remaining);
    }
}
