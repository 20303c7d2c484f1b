//! A rolling deployment: bring a set of objects in and wait until it is healthy.

use serde_json::{Value, json};
use sortie_cluster::apply::{Change, Planned};
use sortie_cluster::record::{Head, History, Stored};
use sortie_cluster::{clock, record};
use sortie_manifest::versioning::Versioned;
use sortie_manifest::{Object, Origin, hash};

use crate::apply::{self, Written};
use crate::environment::Environment;
use crate::failure::{Failure, FailureKind, chain};
use crate::locked::{Locked, record_failure};
use crate::plan::{Prepared, prepare};
use crate::policy::Project;
use crate::report::{Level, Masked, Unit};
use crate::resolve::Resolving;
use crate::steady::{self, Pending};
use crate::task::{Release, RollingDeploy, Task};
use crate::units::{Bounds, Ended, Units};

/// The unit under which a step's end is journalled.
const RESULT: &str = "Result";

/// Deploy. The outputs name the release and its number.
pub(crate) async fn run(
    task: &Task,
    options: &RollingDeploy,
    env: &Environment,
    masked: &Masked,
    units: &Units<'_>,
    bounds: &Bounds,
) -> Result<Value, Ended> {
    let never = std::future::pending();
    let before = async {
        units.enter(Unit::FetchFiles);
        check_namespace(task, env)?;
        let earlier = earlier_run(task, env).await?;
        let objects = match earlier {
            Earlier::Ended(result) => return Ok(Before::Ended(result)),
            Earlier::Recorded(objects) => {
                units.enter(Unit::Initialize);
                let text = "going on with the objects that the release record holds";
                env.sink.log(Unit::Initialize, Level::Info, text);
                objects
            }
            Earlier::None => render(task, options, env, masked, units).await?,
        };
        check_objects(task, env, &objects)?;
        if options.dry_run {
            return dry_run(task, options, env, objects)
                .await
                .map(Before::Ended);
        }
        let locked = Locked::acquire(task, env).await?;
        Ok(Before::Locked(Box::new(locked), objects))
    };
    let waiting = || "the release is held by another task, or a source did not answer".to_owned();
    let (locked, objects) = match bounds.run(env, never, waiting, before).await? {
        Before::Ended(outputs) => return Ok(outputs),
        Before::Locked(locked, objects) => (locked, objects),
    };
    let result = deploy(task, options, env, units, bounds, &locked, objects).await;
    if result.is_ok() {
        locked.collect(env).await;
    }
    locked.release().await;
    result
}

enum Before {
    Ended(Value),
    Locked(Box<Locked>, Vec<Object>),
}

/// Everything that happens under the lease.
async fn deploy(
    task: &Task,
    options: &RollingDeploy,
    env: &Environment,
    units: &Units<'_>,
    bounds: &Bounds,
    locked: &Locked,
    objects: Vec<Object>,
) -> Result<Value, Ended> {
    let pending = Pending::default();
    let open = async {
        close_interrupted(task, env, locked).await?;
        open(task, options, env, units, locked, objects).await
    };
    let opening = || "the API server did not answer in time".to_owned();
    let (mut stored, planned) = bounds.run(env, locked.lost(), opening, open).await?;
    let number = stored.head.number;
    let work = async {
        units.enter(Unit::Apply);
        let written = apply::whole_set(env, locked, &mut stored, planned, Unit::Apply).await?;
        units.enter(Unit::WaitForSteadyState);
        wait(env, &task.release, &written, &pending).await
    };
    let result = bounds
        .run(env, locked.lost(), || pending.describe(), work)
        .await;
    if result.is_ok() {
        units.enter(Unit::WrapUp);
    }
    close(env, locked, &mut stored, &result).await?;
    result
        .map(|()| outputs(task, number))
        .map_err(|ended| match ended {
            Ended::Failed(failure) => Ended::Failed(failure.of_release(number)),
            Ended::Aborted => Ended::Aborted,
        })
}

/// Wait for what was written.
pub(super) async fn wait(
    env: &Environment,
    release: &Release,
    written: &[Written],
    pending: &Pending,
) -> Result<(), Ended> {
    let awaited = apply::awaited(written);
    if awaited.is_empty() {
        let text = "nothing to wait for";
        env.sink.log(Unit::WaitForSteadyState, Level::Info, text);
        return Ok(());
    }
    let sink = env.sink.as_ref();
    match steady::wait(
        &env.cluster,
        &apply::release_id(release),
        awaited,
        sink,
        pending,
    )
    .await
    {
        Ok(()) => Ok(()),
        Err(steady::Stop::Failed { cause, last_words }) => {
            Err(Failure::health(&cause, &last_words).into())
        }
        Err(steady::Stop::Cluster(error)) => Err(Failure::cluster(&error).into()),
    }
}

fn check_namespace(task: &Task, env: &Environment) -> Result<(), Ended> {
    let checked = env
        .policy
        .check_namespace(project(task), &task.release.namespace);
    checked.map_err(|error| forbidden(&error))
}

fn check_objects(task: &Task, env: &Environment, objects: &[Object]) -> Result<(), Ended> {
    if objects.is_empty() {
        return Err(Ended::Failed(Failure::new(
            FailureKind::Configuration,
            "SRT-T011",
            "the sources hold no Kubernetes object",
            "check the paths of the manifest, and that its files are not all marked to be skipped",
        )));
    }
    let checked = env
        .policy
        .check_objects(project(task), &task.release.namespace, objects);
    checked.map_err(|error| forbidden(&error))
}

fn forbidden(error: &crate::policy::Forbidden) -> Ended {
    let hint = "ask the cluster's owner to change the policy, or deploy elsewhere";
    let kind = FailureKind::Authorization;
    Ended::Failed(Failure::new(kind, "SRT-T012", error.to_string(), hint))
}

fn project(task: &Task) -> Project<'_> {
    Project {
        organisation: &task.requested_by.organisation,
        project: &task.requested_by.project,
    }
}

enum Earlier {
    /// This task has not written anything yet.
    None,
    /// It was interrupted after it had opened its record.
    Recorded(Vec<Object>),
    /// It had ended, and its result was lost on the way.
    Ended(Value),
}

/// What an earlier holder of the same task has left behind.
async fn earlier_run(task: &Task, env: &Environment) -> Result<Earlier, Ended> {
    let release = record::Release::new(&task.release.namespace, &task.release.name)
        .map_err(|error| record_failure(&error))?;
    let records = record::Records::new(env.cluster.clone(), release);
    let history = records
        .history()
        .await
        .map_err(|error| record_failure(&error))?;
    let Some(stored) = of_task(&history, task) else {
        return Ok(Earlier::None);
    };
    let head = &stored.head;
    match head.status {
        record::Status::InProgress => {
            let values = records
                .objects(head)
                .await
                .map_err(|error| record_failure(&error))?;
            Ok(Earlier::Recorded(recorded(head, values)?))
        }
        record::Status::Failed => Err(Ended::Failed(recorded_failure(head))),
        record::Status::Succeeded | record::Status::Superseded => {
            Ok(Earlier::Ended(outputs(task, head.number)))
        }
    }
}

fn of_task<'a>(history: &'a History, task: &Task) -> Option<&'a Stored> {
    history
        .records()
        .iter()
        .rev()
        .find(|stored| stored.head.asked_by.task == task.id)
}

/// The objects of a record. Their place in messages is the record.
pub(super) fn recorded(head: &Head, values: Vec<Value>) -> Result<Vec<Object>, Failure> {
    let file: std::sync::Arc<str> =
        format!("release {} number {}", head.release, head.number).into();
    let objects = values.into_iter().zip(1..).map(|(value, document)| {
        Object::from_value(
            value,
            Origin {
                file: file.clone(),
                document,
                line: 1,
            },
        )
    });
    objects.collect::<Result<_, _>>().map_err(|error| {
        let hint = "restore the record's Secrets from a backup, or deploy again";
        Failure::new(
            FailureKind::Unknown,
            "SRT-T013",
            format!("{file} is damaged: {error}"),
            hint,
        )
    })
}

fn recorded_failure(head: &Head) -> Failure {
    let result = head.journal.iter().rev().find(|entry| entry.unit == RESULT);
    let recorded = result.and_then(|entry| serde_json::from_value(entry.data.clone()).ok());
    recorded.unwrap_or_else(|| {
        let hint = "look at the log of that attempt, then deploy again";
        Failure::new(FailureKind::Unknown, "SRT-T014", head.message.clone(), hint)
            .of_release(head.number)
    })
}

async fn render(
    task: &Task,
    options: &RollingDeploy,
    env: &Environment,
    masked: &Masked,
    units: &Units<'_>,
) -> Result<Vec<Object>, Ended> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let mut resolving = Resolving::new(&options.context, env.resolver.as_ref(), masked, &nonce);
    let sink = env.sink.as_ref();
    let manifests = env
        .renderer
        .fetch(&options.manifests, &mut resolving, sink)
        .await?;
    let values = env
        .renderer
        .fetch(&options.values, &mut resolving, sink)
        .await?;
    units.enter(Unit::Initialize);
    let release = &task.release;
    Ok(env
        .renderer
        .render(manifests, values, release, &mut resolving, sink)
        .await?)
}

/// Say what would happen, and write nothing.
async fn dry_run(
    task: &Task,
    options: &RollingDeploy,
    env: &Environment,
    objects: Vec<Object>,
) -> Result<Value, Ended> {
    let prepared = prepare(objects, &task.release, options.versioning, 1);
    let planned = apply::try_out(env, &task.release, prepared.objects, options.adopt).await?;
    let mut rows = Vec::new();
    for object in &planned {
        let change = object
            .change()
            .map_or("created once what it needs is there", Change::name);
        let text = format!("{} would be {change}", object.target.id);
        env.sink.log(Unit::Initialize, Level::Info, &text);
        rows.push(json!({"object": object.target.id, "change": change}));
    }
    Ok(json!({"releaseName": task.release.name, "dryRun": rows}))
}

/// A release that an interrupted task left in progress has failed.
async fn close_interrupted(task: &Task, env: &Environment, locked: &Locked) -> Result<(), Ended> {
    for stored in locked.history.records() {
        let head = &stored.head;
        if head.status != record::Status::InProgress || head.asked_by.task == task.id {
            continue;
        }
        let mut stored = stored.clone();
        stored.head.status = record::Status::Failed;
        stored.head.message = "interrupted, and not taken up again".to_owned();
        stored
            .head
            .note(RESULT, "", stored.head.message.clone(), clock::now());
        locked.update(&mut stored).await?;
        let text = format!(
            "release number {} was interrupted earlier",
            stored.head.number
        );
        env.sink.log(Unit::Initialize, Level::Warning, &text);
    }
    Ok(())
}

/// Try the set out and open the record; resumed, find the record that is open.
async fn open(
    task: &Task,
    options: &RollingDeploy,
    env: &Environment,
    units: &Units<'_>,
    locked: &Locked,
    objects: Vec<Object>,
) -> Result<(Stored, Vec<Planned>), Ended> {
    if let Some(stored) = of_task(&locked.history, task) {
        let planned = apply::try_out(env, &task.release, objects, options.adopt).await?;
        units.enter(Unit::Prepare);
        let text = format!("going on with release number {}", stored.head.number);
        env.sink.log(Unit::Prepare, Level::Info, &text);
        let mut stored = stored.clone();
        stored.head.task_epoch = task.epoch;
        locked.update(&mut stored).await?;
        return Ok((stored, planned));
    }
    let mut head = locked.next_head(task);
    let Prepared { objects, versioned } =
        prepare(objects, &task.release, options.versioning, head.number);
    let planned = apply::try_out(env, &task.release, objects, options.adopt).await?;
    let text = format!("the API server accepts all {} objects", planned.len());
    env.sink.log(Unit::Initialize, Level::Info, &text);

    units.enter(Unit::Prepare);
    describe(env, &planned, &versioned, head.number);
    for object in &planned {
        head.track(object.target.id.clone(), None);
    }
    let objects: Vec<Object> = planned
        .iter()
        .map(|object| object.target.object.clone())
        .collect();
    head.manifest_hash = hash::manifest(&objects);
    head.note("Prepare", "", "opened", clock::now());
    let stored = record_objects(locked, head, &objects).await?;
    Ok((stored, planned))
}

/// Write a new head with its objects.
pub(super) async fn record_objects(
    locked: &Locked,
    head: Head,
    objects: &[Object],
) -> Result<Stored, Failure> {
    let values: Vec<Value> = objects
        .iter()
        .map(|object| Value::Object(object.value().clone()))
        .collect();
    let values: Vec<&Value> = values.iter().collect();
    let stored = locked.records.create(head, &values, locked.guard()).await;
    stored.map_err(|error| record_failure(&error))
}

fn describe(env: &Environment, planned: &[Planned], versioned: &Versioned, number: u64) {
    let sink = env.sink.as_ref();
    sink.log(
        Unit::Prepare,
        Level::Info,
        &format!("release number {number}"),
    );
    for object in planned {
        let id = &object.target.id;
        let change = object.change().map_or("later", Change::name);
        sink.log(Unit::Prepare, Level::Info, &format!("{id}: {change}"));
    }
    for rename in &versioned.renames {
        let text = format!(
            "{:?} {} is deployed as {}",
            rename.kind, rename.from, rename.to
        );
        sink.log(Unit::Prepare, Level::Info, &text);
    }
    for mention in &versioned.mentions {
        let text = format!(
            "{}: {} names {:?} {}, which is deployed under a versioned name; add the annotation sortie.dev/skip-versioning to keep its name",
            mention.object, mention.path, mention.kind, mention.name
        );
        sink.log(Unit::Prepare, Level::Warning, &text);
    }
}

/// Close the record with the result. It is there before the result is told to anybody.
async fn close(
    env: &Environment,
    locked: &Locked,
    stored: &mut Stored,
    result: &Result<(), Ended>,
) -> Result<(), Ended> {
    let head = &mut stored.head;
    let now = clock::now();
    match result {
        Ok(()) => {
            head.status = record::Status::Succeeded;
            head.note(RESULT, "", "succeeded", now);
        }
        Err(Ended::Aborted) => {
            head.status = record::Status::Failed;
            head.message = "aborted".to_owned();
            head.note(RESULT, "", "aborted", now);
        }
        Err(Ended::Failed(failure)) => {
            head.status = record::Status::Failed;
            head.message = format!("{}: {}", failure.code, failure.message);
            let failure = failure.clone().of_release(head.number);
            let data = serde_json::to_value(failure).unwrap_or_default();
            head.note_with(RESULT, "", "failed", data, now);
        }
    }
    let number = head.number;
    if let Err(failure) = locked.update(stored).await {
        // A later holder owns the record now; its word counts, and ours must not hide what went wrong.
        if result.is_ok() {
            return Err(failure.into());
        }
        let text = format!("the record could not be closed: {}", failure.message);
        env.sink.log(Unit::WrapUp, Level::Warning, &text);
        return Ok(());
    }
    if result.is_ok() {
        let superseded = locked
            .records
            .supersede(&locked.history, number, locked.guard())
            .await;
        if let Err(error) = superseded {
            // The newest success counts; marks on older ones are for people.
            env.sink.log(Unit::WrapUp, Level::Warning, &chain(&error));
        }
    }
    Ok(())
}

fn outputs(task: &Task, number: u64) -> Value {
    let Release {
        namespace, name, ..
    } = &task.release;
    json!({"releaseName": name, "releaseNumber": number, "namespace": namespace})
}
