//! Replacing an object whose change the API server refuses: delete it and make it anew.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value};
use sortie_manifest::{Object, Origin};
use tokio::time::Instant;

use super::handover;
use super::immutable::invalid;
use super::occupied::is_occupied;
use super::plan::refuse_foreign;
use super::scrub::scrub;
use super::write::NEVER;
use super::{Applied, Change, Desired, Document, Outcome, Planned, Target};
use crate::connect::Cluster;
use crate::delete::{Doomed, Gone, Patience};
use crate::error::{Cause, Error, Problem};
use crate::fault::Point;
use crate::lease::Guard;

/// Longest name of an object that every kind allows.
const NAME_LIMIT: usize = 63;
/// Hexadecimal digits that make a sample's name one that no object has.
const RANDOM: usize = 12;

/// How long what an object had occupied (its share of a quota, an address) may take to be free after it is gone.
const FREE_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait before it is tried again.
const FREE_PAUSE: Duration = Duration::from_millis(500);

/// Labels that the Job controller gives to the pods of one Job.
const JOB_LABELS: [&str; 4] = [
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];

/// Counted by the Deployment controller from the ReplicaSets that there are.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// How often fields are given back to an object that keeps changing under our hands.
const RACES: u32 = 8;

impl Cluster {
    /// Replaces an object, the new one of which the plan has dry-run: deletes the live one, awaits its
    /// end, creates the new one. If that is refused, the former object is made again.
    ///
    /// `kept` is the live object, whole, as the caller has written it down, where a successor finds it; if
    /// another is live by now, it is a conflict and nothing is done. A Job that has ended is not
    /// made again, for it would run again. When `patience` is to stop, what hinders the new object is the error, and nothing
    /// is made again: that is up to the caller.
    pub async fn replace(
        &self,
        planned: &Planned,
        kept: &Value,
        patience: impl Into<Patience<'_>>,
        guard: &Guard,
    ) -> Result<Applied, Error> {
        let (target, patience) = (&planned.target, patience.into());
        let fail = |cause| {
            let error = Error::new("replace", target.id.to_string(), cause);
            error.at(Some(target.object.origin()))
        };
        if let Some(known) = self.known(target).await? {
            refuse_foreign(target, &known.document, &planned.scope)?;
            if essence(&known.document.value()) != essence(kept) {
                let message = "it is not the object that was kept".to_owned();
                return Err(fail(Cause::Conflict { message }));
            }
        }
        let uid = kept.pointer("/metadata/uid").and_then(Value::as_str);
        let doomed = Doomed {
            id: target.id.clone(),
            uid: uid.map(str::to_owned),
            release: None,
        };
        if self.delete(&doomed, patience, guard).await? == Gone::NotOurs {
            let message = "another object has its name".to_owned();
            return Err(fail(Cause::Conflict { message }));
        }
        let result = match &planned.outcome {
            Outcome::Replacement { result, .. } => result.as_ref(),
            _ => None,
        };
        let write = || self.write(planned, (None, Some(kept)), result, guard);
        let (written, stopped) = when_free(write, patience).await;
        match written {
            Ok((object, _)) => Ok(Applied {
                id: target.id.clone(),
                object: object.into(),
                change: Change::Created,
                conflicts: Vec::new(),
            }),
            // The successor finds what was kept.
            Err(error) if matches!(error.cause(), Cause::LeaseLost { .. }) => Err(error),
            // Somebody was quicker, whose object stays.
            Err(error) if error.is_conflict() || stopped => Err(error),
            Err(error) => {
                let restored = self.restore(target, kept, patience, guard).await;
                Err(fail(Cause::NotReplaced {
                    restored: restored.map_err(Box::new),
                    source: Box::new(error),
                }))
            }
        }
    }

    /// Makes an object again that was kept before it was to be replaced, when whoever began that was
    /// killed on the way: the object is gone, or going, and nothing has its name. `false` when
    /// something has, or when it is a Job that had ended.
    pub async fn bring_back(
        &self,
        kept: &Value,
        patience: impl Into<Patience<'_>>,
        guard: &Guard,
    ) -> Result<bool, Error> {
        let patience = patience.into();
        let origin = Origin::outside("the release's record");
        let object = Object::from_value(kept.clone(), origin).map_err(|source| {
            let cause = Cause::Unreadable {
                source: source.into(),
            };
            Error::new("restore", "an object that was kept".to_owned(), cause)
        })?;
        let id = object.id();
        let namespace = id.namespace.clone().unwrap_or_default();
        let located = self.locate(vec![object], &namespace).await;
        let Some(target) = located.map_err(|mut errors| errors.remove(0))?.pop() else {
            return Ok(false);
        };
        if let Some((_, live)) = self.find(&id).await? {
            let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str);
            let uid = text("/metadata/uid").map(str::to_owned);
            if text("/metadata/deletionTimestamp").is_none() {
                let was = kept.pointer("/metadata/uid").and_then(Value::as_str);
                let again = uid.as_deref() != was && is_back(&live, kept);
                if again {
                    self.give_fields_back(&target, live, kept, guard).await?;
                }
                return Ok(again);
            }
            let doomed = Doomed {
                id,
                uid,
                release: None,
            };
            if self.delete(&doomed, patience, guard).await? == Gone::NotOurs {
                return Ok(false);
            }
        }
        self.restore(&target, kept, patience, guard).await
    }

    /// The dry run of the new object under a name that is free, while the old one is there. `None`
    /// when it would be accepted but for what the old one occupies. It is new, so that no refusal is about a change.
    pub(super) async fn sample(&self, target: &Target) -> Result<Option<Document>, Error> {
        let name = sample_name(&target.id.name);
        let mut body = Desired::of(target, true).marked(None);
        body["metadata"]["name"] = name.as_str().into();
        let mut result = self.dry_run_as(target, &name, &body).await;
        if result.as_ref().is_err_and(is_occupied) && give_up_allocations(&mut body) {
            result = self.dry_run_as(target, &name, &body).await;
        }
        match result {
            Ok(answer) => Ok(Some(renamed(&answer, &name, &target.id.name))),
            Err(error) if is_occupied(&error) => Ok(None),
            Err(error) => Err(of_target(invalid(error), &name, &target.id.name)),
        }
    }

    /// A dry run of the object under another name.
    async fn dry_run_as(
        &self,
        target: &Target,
        name: &str,
        body: &Value,
    ) -> Result<Document, Error> {
        let mut call = super::plan::apply_call(target, body, "dryRun=All&force=true")?;
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let collection = path
            .rsplit_once('/')
            .map_or(path, |(collection, _)| collection);
        call.path = format!("{collection}/{}?{query}", crate::resource::escape(name));
        let answer = self.send(&call).await;
        let answer = answer.map_err(|error| scrub(error, &target.object))?;
        Ok(Document::new(answer.body))
    }

    /// Makes the former object again, where nothing has its name. `false` when it is one that would run again.
    async fn restore(
        &self,
        target: &Target,
        kept: &Value,
        patience: Patience<'_>,
        guard: &Guard,
    ) -> Result<bool, Error> {
        let Some(mut former) = former(kept) else {
            return Ok(false);
        };
        former["metadata"]["resourceVersion"] = NEVER.into();
        let mut call = super::plan::apply_call(target, &former, "force=true")?;
        call.method = Method::PATCH;
        call.write = Some((Point::Apply, guard));
        let live = match when_free(|| self.send(&call), patience).await.0 {
            Ok(answer) => Document::new(answer.body).whole(),
            Err(error) if error.is_conflict() => {
                // An answer of ours may have been lost, and the request sent again.
                let live = self.find(&target.id).await?.map(|(_, live)| live);
                let ours = live.filter(|live| is_back(live, kept));
                ours.ok_or_else(|| scrub(error, &target.object))?
            }
            Err(error) => return Err(scrub(error, &target.object)),
        };
        self.give_fields_back(target, live, kept, guard).await?;
        Ok(true)
    }

    /// Lets the fields of an object that was made again be whose they were. Applying it has made all of them ours, and the
    /// next apply would remove what its manifest does not name.
    async fn give_fields_back(
        &self,
        target: &Target,
        mut live: Value,
        kept: &Value,
        guard: &Guard,
    ) -> Result<(), Error> {
        for _ in 0..RACES {
            let version = live.pointer("/metadata/resourceVersion");
            let (Some(version), Some(entries)) = (
                version.and_then(Value::as_str),
                handover::given_back(&live, kept),
            ) else {
                break;
            };
            let operations = handover::patch(version, &entries);
            let patch = self.patch(&target.resource, &target.id, &operations, guard);
            match patch.await {
                Err(error) if error.is_conflict() => {}
                result => return result.map(drop),
            }
            // Its controller was quicker.
            match self.find(&target.id).await? {
                Some((_, again)) => live = again,
                None => break,
            }
        }
        Ok(())
    }
}

/// Tries a write again while what the object needs is not free yet, and says whether it was to stop before it was.
async fn when_free<T, W>(
    mut write: impl FnMut() -> W,
    patience: Patience<'_>,
) -> (Result<T, Error>, bool)
where
    W: Future<Output = Result<T, Error>>,
{
    let give_up = Instant::now() + FREE_WITHIN;
    loop {
        let written = write().await;
        let occupied = written.as_ref().is_err_and(is_occupied);
        if !occupied || Instant::now() >= give_up {
            return (written, false);
        }
        tokio::select! {
            biased;
            () = patience.stopped() => return (written, true),
            () = tokio::time::sleep(FREE_PAUSE) => {}
        }
    }
}

impl Planned {
    /// The object that has to be replaced and the fields that cannot change, when applying it was
    /// refused for that and replacing is allowed.
    pub const fn replaces(&self) -> Option<(&Document, &Vec<Problem>)> {
        match &self.outcome {
            Outcome::Replacement { live, problems, .. } => Some((live, problems)),
            _ => None,
        }
    }
}

/// Lets the server choose the ports and addresses of a Service, where it names any. Says whether it does.
fn give_up_allocations(service: &mut Value) -> bool {
    if service["kind"] != "Service" || service["apiVersion"] != "v1" {
        return false;
    }
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return false;
    };
    let mut any = spec.shift_remove("healthCheckNodePort").is_some();
    if spec.get("clusterIP").and_then(Value::as_str) != Some("None") {
        any |= spec.shift_remove("clusterIP").is_some();
        any |= spec.shift_remove("clusterIPs").is_some();
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let port = port.as_object_mut();
        any |= port.is_some_and(|port| port.shift_remove("nodePort").is_some());
    }
    any
}

/// A name that no object has.
fn sample_name(name: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let kept: String = name.chars().take(NAME_LIMIT - 1 - RANDOM).collect();
    let kept = kept.trim_end_matches(['-', '.']);
    format!("{kept}-{}", random.get(..RANDOM).unwrap_or_default())
}

/// A refusal of a sample, in words about the object that it stands for.
fn of_target(error: Error, sample: &str, name: &str) -> Error {
    error.map_cause(|cause| match cause {
        Cause::Invalid { mut problems } => {
            for problem in &mut problems {
                problem.message = problem.message.replace(sample, name);
            }
            Cause::Invalid { problems }
        }
        other => other,
    })
}

/// The answer to a dry run under another name, as it would be under its own.
fn renamed(answer: &Document, from: &str, to: &str) -> Document {
    let mut value = answer.whole();
    value["metadata"]["name"] = to.into();
    if let Some(labels) = value
        .pointer_mut("/spec/template/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        for key in JOB_LABELS {
            if let Some(label) = labels.get_mut(key).filter(|label| **label == from) {
                *label = to.into();
            }
        }
    }
    Document::new(value.to_string().into())
}

/// An object without what the server writes into it.
fn essence(object: &Value) -> Value {
    let mut essence = super::compare::content(object);
    super::mark::without_mark(&mut essence);
    essence
}

/// Whether a live object is the one that was kept, made again.
fn is_back(live: &Value, kept: &Value) -> bool {
    former(kept).is_some_and(|kept| former(live) == Some(kept))
}

/// What is to be applied so that the object is there again; `None` for a Job that has ended.
fn former(kept: &Value) -> Option<Value> {
    let mut former = essence(kept);
    let metadata = former.get_mut("metadata")?.as_object_mut()?;
    for key in ["uid", "creationTimestamp", "deletionTimestamp", "selfLink"] {
        metadata.shift_remove(key);
    }
    let annotations = metadata.get_mut("annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.shift_remove(REVISION);
    }
    if kept.get("kind")? == "Job" {
        let conditions = kept.pointer("/status/conditions").and_then(Value::as_array);
        let ended = |condition: &Value| {
            matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
                && condition["status"] == "True"
        };
        if conditions.is_some_and(|all| all.iter().any(ended)) {
            return None;
        }
        let spec = former.get_mut("spec")?.as_object_mut()?;
        if spec.get("manualSelector") != Some(&Value::Bool(true)) {
            spec.shift_remove("selector");
            if let Some(labels) = template_labels(spec) {
                labels.retain(|label, _| !JOB_LABELS.contains(&label.as_str()));
            }
        }
    }
    Some(former)
}

fn template_labels(spec: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let template = spec.get_mut("template")?;
    template.pointer_mut("/metadata/labels")?.as_object_mut()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn job(conditions: &Value) -> Value {
        json!({
            "kind": "Job",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "annotations": {"a": "b", "sortie.dev/applied": "x"}},
            "spec": {"selector": {"matchLabels": {"controller-uid": "u"}},
                     "template": {"metadata": {"labels": {"app": "a", "controller-uid": "u", "job-name": "a"}}}},
            "status": {"conditions": conditions},
        })
    }

    #[test]
    fn a_job_is_made_again_as_it_was_written_and_only_while_it_runs() {
        let expected = json!({
            "kind": "Job",
            "metadata": {"name": "a", "annotations": {"a": "b"}},
            "spec": {"template": {"metadata": {"labels": {"app": "a"}}}},
        });
        assert_eq!(former(&job(&json!([]))), Some(expected));
        for ended in ["Complete", "Failed"] {
            assert_eq!(
                former(&job(&json!([{"type": ended, "status": "True"}]))),
                None
            );
        }
        assert!(former(&job(&json!([{"type": "Failed", "status": "False"}]))).is_some());
    }

    #[tokio::test]
    async fn room_is_waited_for_until_it_is_time_to_stop() {
        let attempts = Cell::new(0);
        let write = async || {
            attempts.set(attempts.get() + 1);
            let message = "exceeded quota: small".to_owned();
            match attempts.get() {
                2 => Ok(()),
                _ => Err(Error::new("apply", "a", Cause::Quota { message })),
            }
        };
        let now = CancellationToken::new();
        now.cancel();
        let patient = Patience::from(Duration::ZERO);
        let (written, stopped) = when_free(write, patient.unless(&now)).await;
        assert!(written.is_err_and(|error| is_occupied(&error)) && stopped);
        assert_eq!(attempts.get(), 1);
        let (written, stopped) = when_free(write, patient).await;
        assert!(written.is_ok() && !stopped);
    }

    #[test]
    fn what_the_server_counts_is_no_other_object() {
        let (mut one, other) = (job(&json!([])), job(&json!([{"type": "Complete"}])));
        one["metadata"]["resourceVersion"] = "9".into();
        assert_eq!(essence(&one), essence(&other));
        one["metadata"]["uid"] = "v".into();
        assert_ne!(essence(&one), essence(&other));
    }
}
