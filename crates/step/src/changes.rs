//! What steps without a release number have changed: noted before each write, undone by a rollback of the same execution.

use serde_json::json;
use sortie_cluster::apply::MARK;
use sortie_cluster::delete::Doomed;
use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::record::changes::{Entry, Field, StoredChanges, Undo, fields, former, undoing};
use sortie_cluster::{Cause, Error};
use sortie_manifest::ObjectId;
use sortie_strategy::routing::{changed_fields, easing};

use crate::failure::{Failure, chain};
use crate::locked::{self, Locked, record_failure};
use crate::protection::{annotation, is_storage, text};
use crate::remove::{is_final, remove};
use crate::report::Unit;
use crate::run::Run;
use crate::single::traffic;
use crate::task::Task;
use crate::units::Ended;

/// How often an object that keeps changing under our hands is read anew.
const RACES: u32 = 8;

/// The changes of the task's execution.
#[derive(Debug)]
pub(crate) struct Ledger {
    stored: StoredChanges,
}

/// What stands for the execution of a task. A task without one stands for itself.
fn execution(task: &Task) -> &str {
    match task.requested_by.execution.as_str() {
        "" => &task.id,
        execution => execution,
    }
}

impl Ledger {
    /// What the execution has noted so far.
    pub(crate) async fn open(run: &Run<'_>, locked: &Locked) -> Result<Self, Failure> {
        let stored = locked.records.changes(execution(run.task)).await;
        let stored = stored.map_err(|error| record_failure(&error))?;
        Ok(Self { stored })
    }

    /// What the task has noted about an object.
    pub(crate) fn noted(&self, run: &Run<'_>, object: &ObjectId) -> Option<&Entry> {
        self.stored.changes.noted(&run.task.id, object)
    }

    /// Note changes that are about to be made. What a rollback itself changes stays.
    pub(crate) async fn note(
        &mut self,
        run: &Run<'_>,
        locked: &Locked,
        entries: Vec<Entry>,
    ) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        for mut entry in entries {
            if run.task.undo_changes {
                entry.undo = match entry.undo {
                    Undo::Created => Undo::Stays(Vec::new()),
                    Undo::Fields(fields) | Undo::Stays(fields) => Undo::Stays(fields),
                };
            }
            self.stored.changes.note(entry);
        }
        self.write(locked).await
    }

    /// Write down which objects were made by the task.
    pub(crate) async fn made(
        &mut self,
        run: &Run<'_>,
        locked: &Locked,
        made: &[(ObjectId, String)],
    ) -> Result<(), Failure> {
        let mut any = false;
        for entry in &mut self.stored.changes.entries {
            let is_new = entry.task == run.task.id && entry.uid.is_none();
            let uid = made.iter().find(|(id, _)| *id == entry.object);
            if let (true, Some((_, uid))) = (is_new, uid) {
                entry.uid = Some(uid.clone());
                any = true;
            }
        }
        match any {
            true => self.write(locked).await,
            false => Ok(()),
        }
    }

    async fn write(&mut self, locked: &Locked) -> Result<(), Failure> {
        let written = locked
            .records
            .write_changes(&mut self.stored, locked.guard());
        written.await.map_err(|error| record_failure(&error))
    }
}

/// What comes before a step of a rollback: [`undo`].
///
/// # Errors
/// As [`undo`].
pub(crate) async fn undo_first(run: &Run<'_>) -> Result<(), Ended> {
    match run.task.undo_changes {
        true => undo(run).await,
        false => Ok(()),
    }
}

/// Undo what earlier tasks of the same execution have changed, the newest first. What cannot be undone is told and keeps
/// nobody from the rest.
///
/// # Errors
/// The notes cannot be read or written, or it is time to stop.
async fn undo(run: &Run<'_>) -> Result<(), Ended> {
    let records = locked::records(run)?;
    let look = async {
        run.check_namespace()?;
        let changes = records.changes(execution(run.task)).await;
        Ok(changes.map_err(|error| record_failure(&error))?)
    };
    let changes = run
        .bounds
        .run(std::future::pending(), Box::pin(look))
        .await?;
    if next(&changes, &run.task.id).is_empty() {
        return Ok(());
    }
    run.units.enter(Unit::UndoChanges);
    let take = async {
        let look = locked::look(run).await?;
        Ok(Locked::acquire(run, Unit::UndoChanges, look).await?)
    };
    let locked = run
        .bounds
        .run(std::future::pending(), Box::pin(take))
        .await?;
    let result = undo_under_lease(run, &locked).await;
    locked.release(run).await;
    result
}

/// Whoever is sent elsewhere arrives there before pods go.
async fn undo_under_lease(run: &Run<'_>, locked: &Locked) -> Result<(), Ended> {
    let ease = run
        .bounds
        .run_writes(locked.lost(), Box::pin(ease(run, locked)));
    let eased = ease.await?;
    traffic::settle_undone(run, locked, eased.clone()).await?;
    let work = run
        .bounds
        .run_writes(locked.lost(), Box::pin(undo_all(run, locked)));
    let mut undone = work.await?;
    undone.retain(|id| !eased.contains(id));
    traffic::settle_undone(run, locked, undone).await
}

/// Bring routes to what they were, but for Services that they named not before: these stay, without requests, until the
/// router has taken that. Which routes.
async fn ease(run: &Run<'_>, locked: &Locked) -> Result<Vec<ObjectId>, Ended> {
    let mut ledger = Ledger::open(run, locked).await?;
    let open = next(&ledger.stored, &run.task.id);
    let entries = &ledger.stored.changes.entries;
    let mut routes: Vec<ObjectId> = open.iter().map(|at| entries[*at].object.clone()).collect();
    routes.retain(traffic::is_route);
    routes.sort();
    routes.dedup();
    let mut eased = Vec::new();
    for id in routes {
        run.bounds.check()?;
        let of_route = |at: &&usize| ledger.stored.changes.entries[**at].object == id;
        let places: Vec<usize> = open.iter().filter(of_route).copied().collect();
        let done = match ease_one(run, locked, &ledger, (&id, &places)).await {
            Ok(done) => done,
            Err(error) if is_final(&error) => return Err(Failure::cluster(&error).into()),
            Err(error) => {
                let text = format!("{id} is not as before yet: {}", chain(&error));
                run.warn(Unit::UndoChanges, text);
                None
            }
        };
        let (Some(fields), [newest, older @ ..]) = (done, &places[..]) else {
            continue;
        };
        for at in older {
            ledger.stored.changes.entries[*at].undone = true;
        }
        ledger.stored.changes.entries[*newest].undo = Undo::Fields(fields);
        ledger.write(locked).await?;
        eased.push(id);
    }
    Ok(eased)
}

/// The same with one route; how it then differs from what it was. `None`: it may become that at once.
async fn ease_one(
    run: &Run<'_>,
    locked: &Locked,
    ledger: &Ledger,
    (id, places): (&ObjectId, &[usize]),
) -> Result<Option<Vec<Field>>, Error> {
    let cluster = &run.env.cluster;
    let Some((resource, live)) = cluster.find(id).await? else {
        return Ok(None);
    };
    let mut then = live.clone();
    for at in places {
        let entry = &ledger.stored.changes.entries[*at];
        let is_it = entry.uid.as_deref() == Some(text(&live, "/metadata/uid"));
        match &entry.undo {
            Undo::Fields(fields) if is_it => then = former(fields, &then),
            _ => return Ok(None),
        }
    }
    let Some(eased) = easing(&live, &then) else {
        return Ok(None);
    };
    let version = text(&live, "/metadata/resourceVersion");
    let mut operations = changed_fields(&live, &eased);
    if !operations.is_empty() {
        let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
        operations.insert(0, test);
        let patched = Patched {
            resource: &resource,
            id,
            subresource: None,
        };
        let body = (Form::Json, &operations.into());
        cluster.patch_as(patched, body, locked.guard()).await?;
    }
    Ok(Some(fields(&then, &eased)))
}

/// What was changed back.
async fn undo_all(run: &Run<'_>, locked: &Locked) -> Result<Vec<ObjectId>, Ended> {
    let mut ledger = Ledger::open(run, locked).await?;
    let mut undone = Vec::new();
    // A later step of the rollback tries these again, and what was done to the same objects before.
    let mut failed: Vec<ObjectId> = Vec::new();
    loop {
        run.bounds.check()?;
        let entries = &ledger.stored.changes.entries;
        let mut open = next(&ledger.stored, &run.task.id);
        open.retain(|at| !failed.contains(&entries[*at].object));
        let Some(first) = open.first().copied() else {
            return Ok(undone);
        };
        let newest = &entries[first];
        let (tried, done) = match &newest.undo {
            Undo::Fields(fields) => {
                let undone = undo_fields(run, locked, newest, fields).await;
                let over = is_over(run, &newest.object, undone)?;
                (vec![first], Vec::from_iter(over.then_some(first)))
            }
            _ => {
                let is_alike = |at: &&usize| {
                    entries[**at].undo == Undo::Created && entries[**at].task == newest.task
                };
                let made: Vec<usize> = open.iter().take_while(is_alike).copied().collect();
                let done = undo_made(run, locked, entries, &made).await?;
                (made, done)
            }
        };
        let left = tried.into_iter().filter(|at| !done.contains(at));
        failed.extend(left.map(|at| entries[at].object.clone()));
        if !failed.is_empty() {
            run.units.mark_failed();
        }
        if done.is_empty() {
            continue;
        }
        for at in done {
            let entry = &mut ledger.stored.changes.entries[at];
            entry.undone = true;
            if matches!(entry.undo, Undo::Fields(_)) {
                undone.push(entry.object.clone());
            }
        }
        ledger.write(locked).await?;
    }
}

/// Whether an undoing is over. A refusal is told, and the end of our right to write is a failure.
fn is_over(run: &Run<'_>, id: &ObjectId, undone: Result<(), Error>) -> Result<bool, Failure> {
    match undone {
        Ok(()) => Ok(true),
        Err(error) if is_final(&error) => Err(Failure::cluster(&error)),
        Err(error) => {
            run.warn(
                Unit::UndoChanges,
                format!("{id} is not as before: {}", chain(&error)),
            );
            Ok(false)
        }
    }
}

/// Places of the changes that are to be undone, the newest first. What the task itself has done is none of them.
fn next(stored: &StoredChanges, task: &str) -> Vec<usize> {
    let entries = stored.changes.entries.iter().enumerate().rev();
    let is_open = |entry: &Entry| {
        !entry.undone && entry.task != task && !matches!(entry.undo, Undo::Stays(_))
    };
    let open = entries.filter(|(_, entry)| is_open(entry));
    open.map(|(at, _)| at).collect()
}

/// Delete objects that were made; which of them need no more looking at.
async fn undo_made(
    run: &Run<'_>,
    locked: &Locked,
    entries: &[Entry],
    made: &[usize],
) -> Result<Vec<usize>, Ended> {
    let unit = Unit::UndoChanges;
    let (mut done, mut doomed) = (Vec::new(), Vec::new());
    for at in made {
        let Entry { object, uid, .. } = &entries[*at];
        if is_storage(object) {
            let text = format!("{object} stays: what it holds cannot be brought back");
            run.warn(unit, text);
            done.push(*at);
            continue;
        }
        let uid = match uid {
            Some(uid) => uid.clone(),
            // It was interrupted between the write and its note: only what we have applied is ours.
            None => match run.env.cluster.find(object).await {
                Ok(Some((_, live))) if annotation(&live, MARK).is_some() => {
                    text(&live, "/metadata/uid").to_owned()
                }
                Ok(_) => {
                    done.push(*at);
                    continue;
                }
                Err(error) => {
                    run.warn(unit, format!("{object} stays: {}", chain(&error)));
                    continue;
                }
            },
        };
        doomed.push(Doomed {
            id: object.clone(),
            uid: Some(uid),
            release: None,
        });
    }
    if !doomed.is_empty() {
        let removal = async { Ok(remove(run, locked, doomed, unit).await) };
        let removed = run.bounds.run(locked.lost(), Box::pin(removal)).await?;
        for (id, result) in removed {
            let at = made.iter().find(|at| entries[**at].object == id);
            match result {
                Ok(_) => done.extend(at.copied()),
                Err(error) if is_final(&error) => return Err(Failure::cluster(&error).into()),
                Err(_) => {}
            }
        }
    }
    Ok(done)
}

/// Bring former values back.
async fn undo_fields(
    run: &Run<'_>,
    locked: &Locked,
    entry: &Entry,
    fields: &[Field],
) -> Result<(), Error> {
    let (unit, id, cluster) = (Unit::UndoChanges, &entry.object, &run.env.cluster);
    let Some((resource, _)) = cluster.find(id).await? else {
        run.warn(
            unit,
            format!("{id} is gone: there is nothing to bring back"),
        );
        return Ok(());
    };
    let patched = Patched {
        resource: &resource,
        id,
        subresource: entry.subresource.as_deref(),
    };
    for _ in 0..RACES {
        let live = cluster.read_patched(patched).await?.unwrap_or_default();
        if entry.uid.as_deref() != Some(text(&live, "/metadata/uid")) {
            run.warn(
                unit,
                format!("{id} is another object now, and stays as it is"),
            );
            return Ok(());
        }
        let undoing = undoing(fields, &live);
        for field in &undoing.left {
            let text =
                format!("{id}: {field} was changed by somebody else since, and stays as it is");
            run.warn(unit, text);
        }
        if undoing.operations.is_empty() {
            run.info(unit, format!("{id}: nothing to bring back"));
            return Ok(());
        }
        let version = text(&live, "/metadata/resourceVersion");
        let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
        let mut operations = vec![test];
        operations.extend(undoing.operations);
        let body = operations.into();
        match cluster
            .patch_as(patched, (Form::Json, &body), locked.guard())
            .await
        {
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let names: Vec<_> = fields
                    .iter()
                    .map(Field::name)
                    .filter(|name| !undoing.left.contains(name))
                    .collect();
                let text = format!("{id}: {} as before {} again", names.join(", "), entry.what);
                run.info(unit, text);
                return Ok(());
            }
        }
    }
    let message = format!("{RACES} times in a row");
    Err(Error::new(
        "undo",
        id.to_string(),
        Cause::Conflict { message },
    ))
}
