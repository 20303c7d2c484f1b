//! The whole-set dry run.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::Value;
use sortie_manifest::{Object, ObjectId, labels, tracking, workload};

use super::autoscale::{Autoscaled, REPLICAS, is_scaled, is_turned_off};
use super::compare::is_same;
use super::handover::handed_over;
use super::live::{Known, Live};
use super::scrub::scrub;
use super::{
    CONTROL_MANAGER, Change, Conflict, Desired, Document, Immutable, MANAGER, MARK, Outcome,
    Planned, Scope, Target, immutable,
};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::request::{Answer, Call};
use crate::resource::escape;

impl Cluster {
    /// Lets the API server dry-run every object that may differ from what is live, and compares.
    /// Nothing is written. All refusals are found, in the order of the set.
    ///
    /// Objects in a namespace, or of a kind, that only the set itself will bring are deferred.
    pub async fn plan(
        &self,
        targets: Vec<Target>,
        scope: &Scope,
    ) -> Result<Vec<Planned>, Vec<Error>> {
        let (live, autoscaled) =
            futures::join!(self.live(&targets, scope), self.autoscaled(&targets, scope));
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
            autoscaled: &autoscaled,
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
            (index, self.plan_one(target, context, unsettled).await)
        });
        stream::iter(runs)
            .buffer_unordered(self.inner.options.concurrency)
            .collect()
            .await
    }

    async fn plan_one(
        &self,
        mut target: Target,
        context: &Context<'_>,
        unsettled: &HashSet<ObjectId>,
    ) -> Result<Planned, Error> {
        let (autoscaled, unseen) = self.is_autoscaled(&target, context).await;
        let until = target.defined_by.clone();
        let outcome = match until.filter(|id| unsettled.contains(id)) {
            Some(until) => Outcome::Deferred { until },
            None => {
                let known = context.live.get(&target.id).cloned();
                let result = self.judge(&target, known, context.scope, autoscaled).await;
                let result = match self.as_tracked(&target, &result).await {
                    Some((object, live)) => {
                        let former = std::mem::replace(&mut target.object, object);
                        let again = self.judge(&target, Some(live), context.scope, autoscaled);
                        match (result, Box::pin(again).await) {
                            (Err(error), Err(_)) => {
                                target.object = former;
                                Err(error)
                            }
                            (_, again) => again,
                        }
                    }
                    None => result,
                };
                let result = match (result, &target.defined_by) {
                    // A definition that is as it should be may have been made a moment ago, and its kind not be served yet.
                    (Err(error), Some(until)) if matches!(error.cause(), Cause::NotFound) => {
                        let until = until.clone();
                        Ok(Outcome::Deferred { until })
                    }
                    (Err(error), _) => self.explain(&target, error, context.scope).await,
                    (outcome, _) => outcome,
                };
                context.deferred(result)?
            }
        };
        Ok(Planned {
            target,
            outcome,
            scope: context.scope.clone(),
            autoscaled,
            unseen,
        })
    }

    /// Whether a planner or an autoscaler decides about the replicas of an object; if autoscalers cannot be listed, the live object
    /// tells, and why it had to be asked comes along.
    async fn is_autoscaled(
        &self,
        target: &Target,
        context: &Context<'_>,
    ) -> (bool, Option<Arc<Error>>) {
        if context.scope.steered.contains(&target.id) {
            return (true, None);
        }
        if context.autoscaled.has(target) {
            let known = context.live.get(&target.id);
            let off = known.is_some_and(|known| is_turned_off(&known.document.whole()));
            return (!off, None);
        }
        let Some(error) = context.autoscaled.unseen(target) else {
            return (false, None);
        };
        let known = match context.live.get(&target.id) {
            Some(known) => Some(known.clone()),
            // What hinders reading it is told by its dry run.
            None => self.known(target).await.ok().flatten(),
        };
        known.map_or((false, None), |known| {
            (is_scaled(&known.document.whole()), Some(error.clone()))
        })
    }

    /// What applying one object would do, with what is known to be live.
    pub(super) async fn judge(
        &self,
        target: &Target,
        known: Option<Known>,
        scope: &Scope,
        autoscaled: bool,
    ) -> Result<Outcome, Error> {
        // A new workload begins with the manifest's number; later the autoscaler's is the right one.
        let ours = !autoscaled || known.is_none();
        let desired = Desired::of(target, ours);
        if let Some(known) = known.as_ref().filter(|known| known.is(&desired)) {
            return Ok(Outcome::Accepted {
                change: Change::Unchanged,
                live: Some(known.document.clone()),
                result: known.document.clone(),
                conflicts: Vec::new(),
                handover: false,
            });
        }
        let handover = known
            .as_ref()
            .and_then(|known| handed_over(&known.document.whole(), (!ours).then_some(REPLICAS)));
        let body = match &known {
            // As if the field had changed hands already: it keeps its value.
            Some(known) if !ours && handover.is_some() => {
                let mut body = desired.marked(None);
                let replicas = known.document.whole().pointer("/spec/replicas").cloned();
                body["spec"]["replicas"] = replicas.unwrap_or_default();
                body
            }
            _ => desired.marked(None),
        };
        let (answer, conflicts) = self.dry_run(target, &body).await?;
        let created = is_creation(&answer);
        let result = Document::new(answer.body);
        let live = if created {
            None
        } else {
            // The answer carries the live object's version; what was read before may be older.
            let version = Known::read(result.clone())
                .map_err(|source| unreadable(target, source))?
                .version;
            match known.filter(|known| known.version == version) {
                Some(known) => Some(known),
                None if autoscaled => {
                    let known = self.known(target).await?;
                    return Box::pin(self.judge(target, known, scope, true)).await;
                }
                None => self.known(target).await?,
            }
        };
        let Some(live) = live else {
            return Ok(Outcome::Accepted {
                change: Change::Created,
                live: None,
                result,
                conflicts,
                handover: false,
            });
        };
        refuse_foreign(target, &live.document, scope)?;
        let whole = live.document.whole();
        let handover = handed_over(&whole, (!ours).then_some(REPLICAS)).is_some();
        let same = !handover && is_same(&whole, &result.whole(), MANAGER);
        // Nothing will be written, so what is live is the result: a dry run counts a generation up for the mark alone.
        let (change, result) = if same {
            (Change::Unchanged, live.document.clone())
        } else {
            (Change::Configured, result)
        };
        Ok(Outcome::Accepted {
            change,
            live: Some(live.document),
            result,
            conflicts,
            handover,
        })
    }

    /// The object with the labels by which its pods are tracked now, when it is not ours yet and the
    /// judgement says that nothing else of its pods would change, or that a label cannot change; and
    /// the live one. So objects are taken over without a restart of their pods.
    async fn as_tracked(
        &self,
        target: &Target,
        result: &Result<Outcome, Error>,
    ) -> Option<(Object, Known)> {
        workload::pod_template(&target.object)?;
        let (live, result) = match result {
            Ok(Outcome::Accepted {
                change: Change::Configured,
                live: Some(live),
                result,
                ..
            }) => (live.clone(), Some(result)),
            Err(error)
                if matches!(
                    error.cause(),
                    Cause::Immutable { .. } | Cause::Invalid { .. }
                ) =>
            {
                (self.known(target).await.ok()??.document, None)
            }
            _ => return None,
        };
        let read = |document: &Document| {
            let origin = target.object.origin().clone();
            Object::from_value(document.whole(), origin).ok()
        };
        let object = read(&live)?;
        let tracked = tracking::as_live(&target.object, &object)?;
        if let Some(result) = result
            && !tracking::same_pods(&object, &read(result)?)
        {
            return None;
        }
        Some((tracked, Known::read(live).ok()?))
    }

    /// Names the fields that cannot change, and plans a replacement if that is allowed. What a new object is refused for
    /// as well is invalid, whatever words the API server has for it.
    pub(super) async fn explain(
        &self,
        target: &Target,
        error: Error,
        scope: &Scope,
    ) -> Result<Outcome, Error> {
        if !matches!(
            error.cause(),
            Cause::Immutable { .. } | Cause::Invalid { .. }
        ) {
            return Err(error);
        }
        let Some(known) = self.known(target).await? else {
            return Err(immutable::invalid(error));
        };
        let error = immutable::named(error, target, &known.document.whole());
        if !matches!(error.cause(), Cause::Immutable { .. }) {
            return Err(error);
        }
        let (result, refused) = match self.sample(target).await {
            Ok(result) => (result, None),
            Err(error) => (None, Some(error)),
        };
        let is_refused = refused.is_some();
        let error = immutable::told_apart(error, refused);
        let alone = !matches!(
            target.id.kind.as_str(),
            "CustomResourceDefinition" | "Namespace"
        );
        let Cause::Immutable { problems, others } = error.cause() else {
            return Err(error);
        };
        if target.immutable == Immutable::Refuse || !alone {
            return Err(error);
        }
        if is_refused {
            let problems = others.clone();
            return Err(error.map_cause(|_| Cause::Invalid { problems }));
        }
        refuse_foreign(target, &known.document, scope)?;
        Ok(Outcome::Replacement {
            live: known.document,
            problems: problems.clone(),
            result,
        })
    }

    /// The live object.
    pub(super) async fn known(&self, target: &Target) -> Result<Option<Known>, Error> {
        let path = target
            .resource
            .path(target.id.namespace.as_deref(), Some(&target.id.name));
        let call = Call::read("read", target.id.to_string(), path);
        match self.send(&call).await {
            Ok(answer) => Known::read(Document::new(answer.body))
                .map(Some)
                .map_err(|source| unreadable(target, source)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The API server's answer to an apply that it is not to store, and whose fields it would take.
    async fn dry_run(
        &self,
        target: &Target,
        body: &Value,
    ) -> Result<(Answer, Vec<Conflict>), Error> {
        let gentle = apply_call(target, body, "dryRun=All&force=false")?;
        let status = match self.ask(&gentle).await? {
            Ok(answer) => return Ok((answer, Vec::new())),
            Err(status) => status,
        };
        let conflicts = status.field_conflicts();
        if conflicts.is_empty() {
            let error = gentle.failure(status.into_cause());
            return Err(scrub(error, &target.object));
        }
        let forced = apply_call(target, body, "dryRun=All&force=true")?;
        let answer = self.send(&forced).await;
        let answer = answer.map_err(|error| scrub(error, &target.object))?;
        Ok((answer, foreign(conflicts)))
    }
}

/// What every dry run of a set is judged against.
struct Context<'a> {
    live: &'a Live,
    autoscaled: &'a Autoscaled,
    /// Namespaces that the set brings.
    namespaces: &'a HashSet<String>,
    scope: &'a Scope,
}

impl Context<'_> {
    /// An object whose namespace the set brings is judged when that is there.
    fn deferred(&self, result: Result<Outcome, Error>) -> Result<Outcome, Error> {
        match result {
            Err(error) => match error.cause() {
                Cause::NamespaceMissing { namespace } if self.namespaces.contains(namespace) => {
                    let until = ObjectId {
                        group: String::new(),
                        kind: "Namespace".to_owned(),
                        namespace: None,
                        name: namespace.clone(),
                    };
                    Ok(Outcome::Deferred { until })
                }
                _ => Err(error),
            },
            Ok(outcome) => Ok(outcome),
        }
    }
}

/// An apply patch of the object, with these query parameters. Dry runs find unknown fields; to look for
/// them in the write that follows, the server would parse the whole once more.
pub(super) fn apply_call<'a>(
    target: &'a Target,
    body: &Value,
    query: &str,
) -> Result<Call<'a>, Error> {
    let path = target
        .resource
        .path(target.id.namespace.as_deref(), Some(&target.id.name));
    let manager = escape(MANAGER);
    let validation = match query.contains("dryRun=All") {
        true => "Strict",
        false => "Ignore",
    };
    let path = format!("{path}?fieldManager={manager}&fieldValidation={validation}&{query}");
    let mut call = Call::read("apply", target.id.to_string(), path);
    call.method = Method::PATCH;
    call.content_type = "application/apply-patch+yaml";
    call.origin = Some(target.object.origin());
    call.body(body)
}

pub(super) fn is_creation(answer: &Answer) -> bool {
    answer.status == 201
}

fn unreadable(target: &Target, source: serde_json::Error) -> Error {
    let cause = Cause::Unreadable {
        source: source.into(),
    };
    Error::new("apply", target.id.to_string(), cause).at(Some(target.object.origin()))
}

/// The conflicts with anybody but ourselves.
fn foreign(conflicts: Vec<(String, String)>) -> Vec<Conflict> {
    let theirs = |(path, manager): (String, String)| {
        let ours = manager == CONTROL_MANAGER || manager == MANAGER || path.ends_with(MARK);
        (!ours).then_some(Conflict { path, manager })
    };
    conflicts.into_iter().filter_map(theirs).collect()
}

pub(super) fn refuse_foreign(target: &Target, live: &Document, scope: &Scope) -> Result<(), Error> {
    let outline = live.outline();
    let metadata = outline
        .map_err(|source| unreadable(target, source))?
        .metadata;
    let Some(release) = metadata.labels.get(labels::RELEASE) else {
        return Ok(());
    };
    if scope.adopt || scope.release.is_empty() || *release == scope.release {
        return Ok(());
    }
    let owner = metadata.annotations.get(labels::RELEASE_NAME);
    let owner = owner.unwrap_or(release).clone();
    let error = Error::new(
        "apply",
        target.id.to_string(),
        Cause::AnotherRelease { owner },
    );
    Err(error.at(Some(target.object.origin())))
}
