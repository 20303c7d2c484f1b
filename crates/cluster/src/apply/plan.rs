//! The whole-set dry run.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::Value;
use sortie_manifest::{ObjectId, labels};

use super::compare::is_same;
use super::scrub::scrub;
use super::{CONTROL_MANAGER, Change, Conflict, MANAGER, Outcome, Planned, Scope, Target};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::request::{Answer, Call};
use crate::resource::{Resource, escape};
use crate::watch::Selection;

/// From how many objects of one kind on a list is cheaper than reading them one by one.
const WORTH_A_LIST: usize = 4;

/// Live objects that a plan knows before its dry runs.
type Live = HashMap<ObjectId, Arc<Value>>;

impl Cluster {
    /// Lets the API server dry-run every object, and compares with what is live. Nothing is
    /// written. All refusals are found, in the order of the set.
    ///
    /// Objects in a namespace, or of a kind, that only the set itself will bring are deferred.
    pub async fn plan(
        &self,
        targets: Vec<Target>,
        scope: &Scope,
    ) -> Result<Vec<Planned>, Vec<Error>> {
        let live = self.live(&targets, scope).await;
        let namespaces: HashSet<String> = targets
            .iter()
            .filter(|target| target.id.kind == "Namespace" && target.id.group.is_empty())
            .map(|target| target.id.name.clone())
            .collect();
        let (definitions, others): (Vec<_>, Vec<_>) = targets
            .into_iter()
            .enumerate()
            .partition(|(_, target)| target.id.kind == "CustomResourceDefinition");
        let context = Context {
            live: &live,
            namespaces: &namespaces,
            scope,
        };
        let mut results = self.plan_part(definitions, &context, &HashSet::new()).await;
        let unsettled: HashSet<ObjectId> = results
            .iter()
            .filter_map(|(_, result)| result.as_ref().ok())
            .filter(|planned| planned.change() != Some(Change::Unchanged))
            .map(|planned| planned.target.id.clone())
            .collect();
        results.extend(self.plan_part(others, &context, &unsettled).await);
        results.sort_by_key(|(index, _)| *index);
        let mut plan = Vec::with_capacity(results.len());
        let mut errors = Vec::new();
        for (_, result) in results {
            match result {
                Ok(planned) => plan.push(planned),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(plan)
        } else {
            Err(errors)
        }
    }

    async fn plan_part(
        &self,
        targets: Vec<(usize, Target)>,
        context: &Context<'_>,
        unsettled: &HashSet<ObjectId>,
    ) -> Vec<(usize, Result<Planned, Error>)> {
        let runs = targets.into_iter().map(|(index, target)| async move {
            let until = target
                .defined_by
                .clone()
                .filter(|id| unsettled.contains(id));
            if let Some(until) = until {
                let outcome = Outcome::Deferred { until };
                return (
                    index,
                    Ok(Planned {
                        target,
                        outcome,
                        scope: context.scope.clone(),
                    }),
                );
            }
            let live = context.live.get(&target.id).cloned();
            let result = self.dry_run(&target, live, context.scope).await;
            (index, context.judge(target, result))
        });
        stream::iter(runs)
            .buffer_unordered(self.inner.options.concurrency)
            .collect()
            .await
    }

    /// One object's dry run, with what is known to be live.
    pub(super) async fn dry_run(
        &self,
        target: &Target,
        known: Option<Arc<Value>>,
        scope: &Scope,
    ) -> Result<Outcome, Error> {
        let gentle = apply_call(target, "dryRun=All&force=false");
        let (answer, conflicts) = match self.ask(&gentle).await? {
            Ok(answer) => (answer, Vec::new()),
            Err(status) => {
                let conflicts = status.field_conflicts();
                if conflicts.is_empty() {
                    let error = gentle.failure(status.into_cause());
                    return Err(scrub(error, &target.object));
                }
                let forced = apply_call(target, "dryRun=All&force=true");
                let answer = self.send(&forced).await;
                let answer = answer.map_err(|error| scrub(error, &target.object))?;
                (answer, foreign(conflicts))
            }
        };
        let result = Arc::new(answer.json(&gentle)?);
        if is_creation(&answer) {
            let change = Change::Created;
            return Ok(Outcome::Accepted {
                change,
                live: None,
                result,
                conflicts,
            });
        }
        // The answer carries the live object's version; what was read before may be older.
        let live = match known.filter(|live| version(live) == version(&result)) {
            Some(live) => live,
            None => {
                let (id, resource) = (&target.id, &target.resource);
                match self
                    .get(resource, id.namespace.as_deref(), &id.name)
                    .await?
                {
                    Some(live) => Arc::new(live),
                    None => {
                        let change = Change::Created;
                        return Ok(Outcome::Accepted {
                            change,
                            live: None,
                            result,
                            conflicts,
                        });
                    }
                }
            }
        };
        refuse_foreign(target, &live, scope)?;
        let same = is_same(&live, &result, MANAGER);
        let change = if same {
            Change::Unchanged
        } else {
            Change::Configured
        };
        Ok(Outcome::Accepted {
            change,
            live: Some(live),
            result,
            conflicts,
        })
    }

    /// What is live of the release, read by few lists instead of many single reads. A hint only:
    /// whatever is missing here is read one by one when its dry run shows that it exists.
    async fn live(&self, targets: &[Target], scope: &Scope) -> Live {
        if scope.release.is_empty() {
            return Live::new();
        }
        let mut groups: HashMap<(&Resource, Option<&str>), usize> = HashMap::new();
        for target in targets {
            let key = (&target.resource, target.id.namespace.as_deref());
            *groups.entry(key).or_default() += 1;
        }
        let lists = groups
            .into_iter()
            .filter(|(_, count)| *count >= WORTH_A_LIST)
            .map(|((resource, namespace), _)| async move {
                let mut selection = Selection::of(resource.clone(), namespace.unwrap_or_default())
                    .labelled(format!("{}={}", labels::RELEASE, scope.release));
                if *resource == Resource::secrets() {
                    // Not our own records, which are large.
                    let (head, part) = (crate::record::HEAD_TYPE, crate::record::PART_TYPE);
                    selection = selection.where_fields(format!("type!={head},type!={part}"));
                }
                let objects = self.list(&selection).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "reading live objects one by one");
                    Vec::new()
                });
                let identified = |object: Value| {
                    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
                    let id = ObjectId {
                        group: resource.group.clone(),
                        kind: resource.kind.clone(),
                        namespace: namespace.map(str::to_owned),
                        name,
                    };
                    Some((id, Arc::new(object)))
                };
                objects
                    .into_iter()
                    .filter_map(identified)
                    .collect::<Vec<_>>()
            });
        let lists: Vec<_> = lists.collect();
        stream::iter(lists)
            .buffer_unordered(self.inner.options.concurrency)
            .flat_map(stream::iter)
            .collect()
            .await
    }
}

/// What every dry run of a set is judged against.
struct Context<'a> {
    live: &'a Live,
    /// Namespaces that the set brings.
    namespaces: &'a HashSet<String>,
    scope: &'a Scope,
}

impl Context<'_> {
    fn judge(&self, target: Target, result: Result<Outcome, Error>) -> Result<Planned, Error> {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => match error.cause() {
                Cause::NamespaceMissing { namespace } if self.namespaces.contains(namespace) => {
                    let until = ObjectId {
                        group: String::new(),
                        kind: "Namespace".to_owned(),
                        namespace: None,
                        name: namespace.clone(),
                    };
                    Outcome::Deferred { until }
                }
                _ => return Err(error),
            },
        };
        Ok(Planned {
            target,
            outcome,
            scope: self.scope.clone(),
        })
    }
}

/// An apply patch for the object, with these query parameters.
pub(super) fn apply_call<'a>(target: &'a Target, query: &str) -> Call<'a> {
    let path = target
        .resource
        .path(target.id.namespace.as_deref(), Some(&target.id.name));
    let manager = escape(MANAGER);
    let path = format!("{path}?fieldManager={manager}&fieldValidation=Strict&{query}");
    let mut call = Call::read("apply", target.id.to_string(), path);
    call.method = Method::PATCH;
    call.content_type = "application/apply-patch+yaml";
    call.origin = Some(target.object.origin());
    // A map of JSON values always serializes.
    call.body = serde_json::to_vec(target.object.value())
        .unwrap_or_default()
        .into();
    call
}

pub(super) fn is_creation(answer: &Answer) -> bool {
    answer.status == 201
}

pub(super) fn version(object: &Value) -> Option<&str> {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
}

/// The conflicts with anybody but ourselves.
fn foreign(conflicts: Vec<(String, String)>) -> Vec<Conflict> {
    let theirs = |(path, manager): (String, String)| {
        (manager != CONTROL_MANAGER && manager != MANAGER).then_some(Conflict { path, manager })
    };
    conflicts.into_iter().filter_map(theirs).collect()
}

fn refuse_foreign(target: &Target, live: &Value, scope: &Scope) -> Result<(), Error> {
    let metadata = |field: &str, key: &str| {
        live.pointer("/metadata")?
            .get(field)?
            .get(key)?
            .as_str()
            .map(str::to_owned)
    };
    let Some(release) = metadata("labels", labels::RELEASE) else {
        return Ok(());
    };
    if scope.adopt || scope.release.is_empty() || release == scope.release {
        return Ok(());
    }
    let owner = metadata("annotations", labels::RELEASE_NAME).unwrap_or(release);
    let error = Error::new(
        "apply",
        target.id.to_string(),
        Cause::AnotherRelease { owner },
    );
    Err(error.at(Some(target.object.origin())))
}
