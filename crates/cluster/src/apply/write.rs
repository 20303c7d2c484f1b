//! The writes.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::Method;
use serde_json::Value;
use sortie_manifest::ObjectId;
use tokio::time::Instant;

use super::plan::{apply_call, is_creation, version};
use super::scrub::scrub;
use super::{Applied, CONTROL_MANAGER, Change, Outcome, Planned, Target};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::Point;
use crate::lease::Guard;
use crate::request::Call;
use crate::resource::{Resource, escape};

/// How often an object that keeps changing under our hands is planned anew.
const RACES: u32 = 8;

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
            Outcome::Deferred { .. } => self.dry_run_when_served(planned).await?,
            outcome => outcome.clone(),
        };
        for _ in 0..RACES {
            let Outcome::Accepted {
                change,
                live,
                result,
                conflicts,
            } = &outcome
            else {
                break;
            };
            let id = target.id.clone();
            let conflicts = conflicts.clone();
            if *change == Change::Unchanged {
                let (change, object) = (*change, Arc::clone(result));
                return Ok(Applied {
                    id,
                    object,
                    change,
                    conflicts,
                });
            }
            match self.write(target, live.as_deref(), guard).await {
                Ok((object, change)) => {
                    if target.id.kind == "CustomResourceDefinition" {
                        self.forget_kinds();
                    }
                    return Ok(Applied {
                        id,
                        object: Arc::new(object),
                        change,
                        conflicts,
                    });
                }
                Err(error) if error.is_conflict() => {
                    outcome = self.dry_run(target, None, &planned.scope).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let message = format!("{RACES} times in a row");
        let error = Error::new("apply", target.id.to_string(), Cause::Conflict { message });
        Err(error.at(Some(target.object.origin())))
    }

    /// Applies the objects of one stage, many at a time. Every object is tried; the results are in
    /// the order of the plan.
    pub async fn apply_stage(
        &self,
        stage: &[Planned],
        guard: &Guard,
    ) -> Vec<Result<Applied, Error>> {
        let writes = stage.iter().map(|planned| self.apply(planned, guard));
        let writes: Vec<_> = writes.collect();
        stream::iter(writes)
            .buffered(self.inner.options.concurrency)
            .collect()
            .await
    }

    /// Changes single fields by a JSON patch under [`CONTROL_MANAGER`].
    ///
    /// `operations` is the list of RFC 6902; a failed `test` in it is a conflict.
    pub async fn patch(
        &self,
        resource: &Resource,
        id: &ObjectId,
        operations: &Value,
        guard: &Guard,
    ) -> Result<Value, Error> {
        let path = resource.path(id.namespace.as_deref(), Some(&id.name));
        let path = format!("{path}?fieldManager={}", escape(CONTROL_MANAGER));
        let place = (Method::PATCH, path);
        let mut call = Call::write("patch", id.to_string(), place, (Point::Patch, guard));
        call.content_type = "application/json-patch+json";
        let call = call.body(operations)?;
        match self.ask(&call).await? {
            Ok(answer) => answer.json(&call),
            // The server does not say that it was a `test` which failed, only that it was no field.
            Err(status) if status.code == 422 && status.causes.is_empty() && tests(operations) => {
                let message = "a value or version that the patch tests is another".to_owned();
                Err(call.failure(Cause::Conflict { message }))
            }
            Err(status) => Err(call.failure(status.into_cause())),
        }
    }

    async fn write(
        &self,
        target: &Target,
        live: Option<&Value>,
        guard: &Guard,
    ) -> Result<(Value, Change), Error> {
        let mut call = apply_call(target, "force=true");
        let point = if target.id.kind == "Namespace" {
            Point::NamespaceCreate
        } else {
            Point::Apply
        };
        call.write = Some((point, guard));
        if let Some(version) = live.and_then(version) {
            let mut object = Value::Object(target.object.value().clone());
            object["metadata"]["resourceVersion"] = version.into();
            call = call.body(&object)?;
        }
        let answer = self
            .send(&call)
            .await
            .map_err(|error| scrub(error, &target.object))?;
        let object = answer.json(&call)?;
        let change = if is_creation(&answer) {
            Change::Created
        } else {
            Change::Configured
        };
        Ok((object, change))
    }

    /// The dry run of an object whose namespace or kind was brought by an earlier stage; a kind is
    /// served a moment after its definition is established.
    async fn dry_run_when_served(&self, planned: &Planned) -> Result<Outcome, Error> {
        let give_up = Instant::now() + SERVED_WITHIN;
        loop {
            let result = self.dry_run(&planned.target, None, &planned.scope).await;
            let early = match &result {
                Err(error) => error.is_not_found() && planned.target.defined_by.is_some(),
                Ok(_) => false,
            };
            if !early || Instant::now() >= give_up {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Whether a JSON patch tests anything.
fn tests(operations: &Value) -> bool {
    let is_test = |operation: &Value| operation.get("op").and_then(Value::as_str) == Some("test");
    operations
        .as_array()
        .is_some_and(|all| all.iter().any(is_test))
}
