//! Changing fields of one object: tried out, told, noted and then written, once for each task.

use std::sync::Arc;

use serde_json::{Value, json};
use sortie_cluster::apply::{Applied, Change};
use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::record::changes::{Entry, Field, Undo, fields, fields_since, redoing};
use sortie_cluster::{Cause, Error, clock};
use sortie_manifest::ObjectId;
use sortie_strategy::routing::changed_fields;

use super::named::missing;
use crate::adoption::object_of;
use crate::apply as writing;
use crate::changes::Ledger;
use crate::difference::{Difference, Fate};
use crate::failure::{Failure, FailureKind};
use crate::health_rules;
use crate::locked::Locked;
use crate::protection::text;
use crate::report::Unit;
use crate::run::Run;
use crate::steady::{self, Awaited, facts};
use crate::units::Ended;

/// How often an object that keeps changing under our hands is read anew.
const RACES: u32 = 8;

/// What is changed, and what becomes of that in a rollback.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) patched: Patched<'a>,
    pub(super) unit: Unit,
    /// Whether a rollback leaves it as it then is.
    pub(super) stays: bool,
}

/// A change that was made, or was not necessary.
#[derive(Clone, Debug)]
pub(super) struct Altered {
    /// What was written to, as it is now.
    pub(super) after: Value,
    /// Whether this task has changed it, now or before it was interrupted.
    pub(super) changed: bool,
    /// Whether it is only on its way: the same is to be asked for once more, when that has settled.
    pub(super) halfway: bool,
}

/// What an object becomes on its way from what it is to what is meant; `None`: it may become that at once.
pub(super) type Way<'a> = &'a (dyn Fn(&Value, &Value) -> Option<Value> + Sync);

/// The patch for an object as it is now; a note of an earlier attempt of the same task says what it meant to write.
pub(super) type Make<'a> =
    &'a (dyn Fn(&Value, Option<&Entry>) -> Result<(Form, Value), Failure> + Sync);

/// Change an object, unless this task has already done so. Without a ledger nothing is noted, and it is changed each time:
/// whoever asks has a journal of its own.
///
/// # Errors
/// It is not there, or the API server or the policy refuses the change; nothing was written then.
pub(super) async fn alter(
    run: &Run<'_>,
    locked: &Locked,
    ledger: Option<&mut Ledger>,
    subject: Subject<'_>,
    make: Make<'_>,
) -> Result<Altered, Failure> {
    alter_by_way(run, locked, ledger, subject, (make, None)).await
}

/// The same, for an object that may have to become something else first. What is meant in the end is noted before that.
///
/// # Errors
/// As [`alter`].
pub(super) async fn alter_by_way(
    run: &Run<'_>,
    locked: &Locked,
    mut ledger: Option<&mut Ledger>,
    subject: Subject<'_>,
    (make, way): (Make<'_>, Option<Way<'_>>),
) -> Result<Altered, Failure> {
    let (cluster, patched) = (&run.env.cluster, subject.patched);
    let id = patched.id;
    for _ in 0..RACES {
        let live = cluster.read_patched(patched).await;
        let live = live.map_err(|error| Failure::cluster(&error))?;
        let live = live.ok_or_else(|| missing(id))?;
        let noted = ledger.as_ref().and_then(|ledger| ledger.noted(run, id));
        let earlier = noted.map(Entry::fields).unwrap_or_default();
        if !earlier.is_empty() && earlier.iter().all(|field| field.is_ours(&live)) {
            run.info(
                subject.unit,
                format!("{id} was changed before the interruption"),
            );
            return Ok(Altered {
                after: live,
                changed: true,
                halfway: false,
            });
        }
        let is_known = |field: &Field| field.is_ours(&live) || field.is_undone(&live);
        let (form, body) = if !earlier.is_empty() && earlier.iter().all(is_known) {
            // Nobody has touched it since: what was meant then is written, be it an addition or a moment.
            (Form::Json, redoing(earlier, &live).into())
        } else {
            make(&live, noted)?
        };
        let body = (form, &of_version(form, body, &live));
        let result = match cluster.try_patch(patched, body).await {
            Ok(result) => result,
            Err(error) if error.is_conflict() => continue,
            Err(error) if matches!(error.cause(), Cause::Server { status: 415, .. }) => {
                return Err(strategic_refused(id));
            }
            Err(error) => return Err(Failure::cluster(&error)),
        };
        if fields(&live, &result).is_empty() {
            run.info(subject.unit, format!("{id} unchanged"));
            return Ok(Altered {
                after: live,
                changed: false,
                halfway: false,
            });
        }
        if patched.subresource.is_none() {
            let objects: Vec<_> = object_of(result.clone()).into_iter().collect();
            run.check_objects(&objects)?;
            tell(run, subject.unit, id, (&live, &result));
        }
        let found = fields_since(earlier, &live, &result);
        if let Some(ledger) = &mut ledger {
            let entry = noted_as(run, subject, &live, found);
            ledger.note(run, locked, vec![entry]).await?;
        }
        let first = way.and_then(|way| way(&live, &result));
        let first = first.map(|first| Value::from(changed_fields(&live, &first)));
        let halfway = first.is_some();
        let first = first.map(|first| of_version(Form::Json, first, &live));
        let body = first.as_ref().map_or(body, |first| (Form::Json, first));
        match cluster.patch_as(patched, body, locked.guard()).await {
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(Failure::cluster(&error)),
            Ok(after) => {
                let how = if halfway { "prepared" } else { "configured" };
                run.info(subject.unit, format!("{id} {how}"));
                return Ok(Altered {
                    after,
                    changed: true,
                    halfway,
                });
            }
        }
    }
    let message = format!("{RACES} times in a row");
    let error = Error::new("change", id.to_string(), Cause::Conflict { message });
    Err(Failure::cluster(&error))
}

/// What is noted before these fields of an object are written.
fn noted_as(run: &Run<'_>, subject: Subject<'_>, live: &Value, fields: Vec<Field>) -> Entry {
    let Subject {
        patched,
        unit,
        stays,
    } = subject;
    Entry {
        task: run.task.id.clone(),
        at: clock::now(),
        what: unit.name().to_owned(),
        object: patched.id.clone(),
        uid: Some(text(live, "/metadata/uid").to_owned()),
        subresource: patched.subresource.map(str::to_owned),
        undo: if stays {
            Undo::Stays(fields)
        } else {
            Undo::Fields(fields)
        },
        undone: false,
    }
}

/// The patch for this version of the object and no other.
fn of_version(form: Form, mut body: Value, live: &Value) -> Value {
    let version = text(live, "/metadata/resourceVersion");
    match (form, &mut body) {
        (Form::Json, Value::Array(operations)) => {
            let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
            operations.insert(0, test);
        }
        (_, Value::Object(fields)) => {
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            // What is no map is refused when it is read.
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("resourceVersion".to_owned(), version.into());
            }
        }
        _ => {}
    }
    body
}

/// What changes, line by line; values of Secrets are not among it.
fn tell(run: &Run<'_>, unit: Unit, id: &ObjectId, (live, result): (&Value, &Value)) {
    let difference = Difference::plain(id.clone(), Fate::Configured);
    let difference = difference.between(Some(live), Some(result));
    for line in difference.text.lines() {
        run.info(unit, line);
    }
}

/// What changed objects are waited for with, once all of them are written.
pub(super) async fn settle(
    run: &Run<'_>,
    locked: &Locked,
    objects: Vec<Awaited>,
) -> Result<(), Ended> {
    run.units.enter(Unit::WaitForSteadyState);
    if objects.is_empty() {
        run.info(Unit::WaitForSteadyState, "nothing to wait for");
        return Ok(());
    }
    let wait = steady::wait(run, locked.guard(), objects);
    run.bounds.run(locked.lost(), Box::pin(wait)).await
}

/// Lists of custom resources have no keys by which the API server could merge them.
pub(super) fn strategic_refused(id: &ObjectId) -> Failure {
    let text =
        format!("{id} cannot be changed by a strategic merge patch: its kind is a custom one");
    let hint = "write it as a merge patch, with whole lists, or as a JSON patch";
    Failure::new(FailureKind::Configuration, "SRT-T044", text, hint)
}

/// An object as the API server shows it now, if its kind is one to wait for.
pub(super) async fn awaited(
    run: &Run<'_>,
    patched: Patched<'_>,
    changed: bool,
) -> Result<Option<Awaited>, Failure> {
    let (cluster, id) = (&run.env.cluster, patched.id);
    let live = cluster
        .get(patched.resource, id.namespace.as_deref(), &id.name)
        .await
        .map_err(|error| Failure::cluster(&error))?;
    let live = live.ok_or_else(|| missing(id))?;
    let rules = run.rules().await?;
    let objects: Vec<_> = object_of(live.clone()).into_iter().collect();
    if !objects.iter().all(writing::is_waited_for) {
        return Ok(None);
    }
    health_rules::warn(run, &objects, &rules);
    let set = facts::Set::default().with_rules(rules);
    let change = if changed {
        Change::Configured
    } else {
        Change::Unchanged
    };
    let written = Applied {
        id: id.clone(),
        object: Arc::new(live),
        change,
        conflicts: Vec::new(),
    };
    Ok(Some(Awaited::of(written, patched.resource.clone(), &set)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_patch_is_for_one_version() {
        let live = json!({"metadata": {"resourceVersion": "7"}});
        let json = of_version(Form::Json, json!([{"op": "remove", "path": "/a"}]), &live);
        assert_eq!(json[0]["value"], "7");
        assert_eq!(json.as_array().unwrap().len(), 2);
        for form in [Form::Merge, Form::Strategic] {
            let body = of_version(form, json!({"spec": {"a": 1}}), &live);
            assert_eq!(body["metadata"]["resourceVersion"], "7");
            for odd in [json!("x"), json!([1]), Value::Null] {
                let body = json!({"metadata": odd});
                assert_eq!(of_version(form, body.clone(), &live), body);
            }
            let body = of_version(form, json!({"metadata": {"labels": {"a": "b"}}}), &live);
            assert_eq!(
                body["metadata"],
                json!({"labels": {"a": "b"}, "resourceVersion": "7"})
            );
        }
    }
}
