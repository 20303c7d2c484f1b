//! The writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::time::Instant;

use super::autoscale::REPLICAS;
use super::handover::{self, handed_over};
use super::mark::Owned;
use super::plan::{apply_call, is_creation};
use super::scrub::scrub;
use super::{
    Applied, Change, Desired, Document, MANAGER, Outcome, Planned, Target, managed_fields_of,
};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::Point;
use crate::lease::Guard;

/// How often an object that keeps changing under our hands is planned anew.
const RACES: u32 = 8;

/// A version that no object has: etcd's first revision is an empty store's. Who sends it along can only create.
pub(super) const NEVER: &str = "1";

/// How long a kind may take to be served after its definition was applied.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

impl Cluster {
    /// Writes a planned object if it differs from what is live.
    ///
    /// The write requires the version that the plan was made on; when somebody else was quicker, the
    /// object is dry-run again. A deferred object is dry-run now.
    pub async fn apply(&self, planned: &Planned, guard: &Guard) -> Result<Applied, Error> {
        let target = &planned.target;
        let mut outcome = match &planned.outcome {
            Outcome::Deferred { .. } => self.judge_when_served(planned).await?,
            outcome => outcome.clone(),
        };
        let fail = |cause| {
            let error = Error::new("apply", target.id.to_string(), cause);
            error.at(Some(target.object.origin()))
        };
        // Fields have changed hands, whatever becomes of the apply after that.
        let mut handed = false;
        for _ in 0..RACES {
            let (change, live, result, conflicts, handover) = match &outcome {
                Outcome::Accepted {
                    change,
                    live,
                    result,
                    conflicts,
                    handover,
                } => (change, live, result, conflicts, handover),
                Outcome::Replacement { problems, .. } => {
                    let (problems, others) = (problems.clone(), Vec::new());
                    return Err(fail(Cause::Immutable { problems, others }));
                }
                Outcome::Deferred { .. } => break,
            };
            let applied = |object: Value, change: Change| Applied {
                id: target.id.clone(),
                object: Arc::new(object),
                change,
                conflicts: conflicts.clone(),
            };
            if *change == Change::Unchanged {
                let change = if handed { Change::Configured } else { *change };
                return Ok(applied(result.value(), change));
            }
            handed |= *handover;
            let live = live.as_ref().map(|live| (live, *handover));
            match self.write(planned, (live, None), Some(result), guard).await {
                Ok((object, change)) => {
                    if target.id.kind == "CustomResourceDefinition" {
                        self.forget_kinds();
                    }
                    return Ok(applied(object, change));
                }
                Err(error) if error.is_conflict() => {
                    let (scope, autoscaled) = (&planned.scope, planned.autoscaled);
                    outcome = match self.judge(target, None, scope, autoscaled).await {
                        Err(error) => self.explain(target, error, scope).await?,
                        Ok(outcome) => outcome,
                    };
                }
                Err(error) => return Err(error),
            }
        }
        let message = format!("{RACES} times in a row");
        Err(fail(Cause::Conflict { message }))
    }

    /// Applies the objects of one stage, many at a time. Every object is tried; `done` gets each with
    /// its result, in the order of the plan, so that nothing has to be kept until the stage is over.
    pub async fn apply_stage(
        &self,
        stage: Vec<Planned>,
        guard: &Guard,
        mut done: impl FnMut(Planned, Result<Applied, Error>),
    ) {
        let mut stage = stage.into_iter().enumerate();
        let mut running = FuturesUnordered::new();
        // What is done before something that comes before it.
        let mut early = BTreeMap::new();
        let mut next = 0;
        loop {
            while running.len() < self.inner.options.concurrency
                && let Some((place, planned)) = stage.next()
            {
                running.push(async move {
                    let result = self.apply(&planned, guard).await;
                    (place, planned, result)
                });
            }
            let Some((place, planned, result)) = running.next().await else {
                return;
            };
            early.insert(place, (planned, result));
            while let Some((planned, result)) = early.remove(&next) {
                done(planned, result);
                next += 1;
            }
        }
    }

    /// Lets fields change hands that a plan says do so before its object is applied; no value changes by that. Whoever
    /// plans anew learns what applying will remove. Says whether there was anything to do.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn take_fields(&self, planned: &Planned, guard: &Guard) -> Result<bool, Error> {
        let Outcome::Accepted {
            live: Some(live),
            handover: true,
            ..
        } = &planned.outcome
        else {
            return Ok(false);
        };
        let (target, autoscaled) = (&planned.target, planned.autoscaled);
        match self.hand_over(target, live, autoscaled, guard).await {
            // Whoever was quicker is seen by the next plan.
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(true),
        }
    }

    /// Sends the apply. What is not `live` is only created, and nobody's object is overwritten: an object that is there is a
    /// conflict. `former` is what the new object replaces.
    pub(super) async fn write(
        &self,
        planned: &Planned,
        (live, former): (Option<(&Document, bool)>, Option<&Value>),
        result: Option<&Document>,
        guard: &Guard,
    ) -> Result<(Value, Change), Error> {
        let target = &planned.target;
        let autoscaled = planned.autoscaled;
        let version = match live {
            Some((live, true)) => self.hand_over(target, live, autoscaled, guard).await?,
            Some((live, false)) => version_of(live),
            None => None,
        };
        let owned = result.and_then(|result| owned_after(result, autoscaled));
        let desired = Desired::of(target, !autoscaled);
        let mut body = desired.marked(owned.as_ref());
        let creates = version.is_none();
        body["metadata"]["resourceVersion"] = version.unwrap_or_else(|| NEVER.to_owned()).into();
        if creates && let Some(replicas) = first_replicas(planned, former) {
            body["spec"]["replicas"] = replicas.clone();
        }
        let mut call = apply_call(target, &body, "force=true")?;
        let point = if target.id.kind == "Namespace" {
            Point::NamespaceCreate
        } else {
            Point::Apply
        };
        call.write = Some((point, guard));
        let (written, created) = match self.send(&call).await {
            Ok(answer) => {
                let created = is_creation(&answer);
                (Document::new(answer.body), created)
            }
            Err(error) if creates && error.is_conflict() => {
                // Somebody was quicker; or an answer of ours was lost, and the request sent again.
                let ours = self.known(target).await?;
                let ours = ours.filter(|known| known.is(&desired));
                let ours = ours.ok_or_else(|| scrub(error, &target.object))?;
                (ours.document, true)
            }
            Err(error) => return Err(scrub(error, &target.object)),
        };
        let change = match created {
            true => Change::Created,
            false => Change::Configured,
        };
        if autoscaled && change == Change::Created {
            self.leave_replicas(target, written.clone(), guard).await?;
        }
        Ok((written.value(), change))
    }

    /// Gives the replicas of a workload that was just created to its autoscaler.
    async fn leave_replicas(
        &self,
        target: &Target,
        mut written: Document,
        guard: &Guard,
    ) -> Result<(), Error> {
        for _ in 0..RACES {
            match self.hand_over(target, &written, true, guard).await {
                Err(error) if error.is_conflict() => {}
                result => return result.map(drop),
            }
            // Its controller was quicker.
            match self.known(target).await? {
                Some(known) => written = known.document,
                None => break,
            }
        }
        // The next apply will do it.
        Ok(())
    }

    /// Lets fields change hands before an apply, unless the object was written since it was read.
    /// Returns the version that the apply is to meet.
    async fn hand_over(
        &self,
        target: &Target,
        live: &Document,
        autoscaled: bool,
        guard: &Guard,
    ) -> Result<Option<String>, Error> {
        let version = version_of(live);
        let entries = handed_over(&live.whole(), autoscaled.then_some(REPLICAS));
        let (Some(version), Some(entries)) = (&version, entries) else {
            return Ok(version);
        };
        let operations = handover::patch(version, &entries);
        let patched = self
            .patch(&target.resource, &target.id, &operations, guard)
            .await?;
        let version = patched.pointer("/metadata/resourceVersion");
        Ok(version.and_then(Value::as_str).map(str::to_owned))
    }

    /// Judges an object whose namespace or kind was brought by an earlier stage; a kind is served a
    /// moment after its definition is established.
    async fn judge_when_served(&self, planned: &Planned) -> Result<Outcome, Error> {
        let give_up = Instant::now() + SERVED_WITHIN;
        loop {
            let (scope, autoscaled) = (&planned.scope, planned.autoscaled);
            let result = self.judge(&planned.target, None, scope, autoscaled).await;
            let early = match &result {
                Err(error) => error.is_not_found() && planned.target.defined_by.is_some(),
                Ok(_) => false,
            };
            if !early || Instant::now() >= give_up {
                return match result {
                    Err(error) => self.explain(&planned.target, error, scope).await,
                    outcome => outcome,
                };
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// The replicas with which a new workload begins: the manifest's number, but where an autoscaler decides, those of the
/// object that it replaces.
fn first_replicas<'a>(planned: &'a Planned, former: Option<&'a Value>) -> Option<&'a Value> {
    let former = former.filter(|_| planned.autoscaled);
    former
        .and_then(|former| former.pointer("/spec/replicas"))
        .or_else(|| planned.target.object.value().get("spec")?.get("replicas"))
}

fn version_of(document: &Document) -> Option<String> {
    let version = document.outline().ok()?.metadata.resource_version;
    (!version.is_empty()).then(|| version.into_owned())
}

/// The fields that will be ours when what was dry-run is applied.
fn owned_after(result: &Document, autoscaled: bool) -> Option<Owned> {
    if !autoscaled {
        return result.outline().ok()?.owned();
    }
    let whole = result.whole();
    let fields = managed_fields_of(&whole, MANAGER)?.clone();
    Some(Owned::read(
        &handover::without(fields, REPLICAS).to_string(),
    ))
}
