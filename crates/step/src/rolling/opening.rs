//! The record of a deployment, opened before the first change or found open.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use sortie_cluster::apply::{Change, Planned};
use sortie_cluster::clock;
use sortie_cluster::record::{Head, Notes, PartId, Status, Stored, Tracked};
use sortie_manifest::order::External;
use sortie_manifest::versioning::Versioned;
use sortie_manifest::{Object, ObjectId, Origin, hash};

use super::earlier::{Earlier, earlier};
use super::prune::{self, Foreseen};
use super::{RESULT, hook_runs};
use crate::adoption::{self, Adoption};
use crate::external;
use crate::failure::{Failure, FailureKind};
use crate::locked::{Locked, record_failure};
use crate::progressive;
use crate::readiness;
use crate::replacement;
use crate::report::{Level, Sink as _, Unit};
use crate::run::Run;
use crate::sequence::{Sequence, disordered};
use crate::shape::{self, Shape, Shaped, Wanted};
use crate::single::traffic;
use crate::task::{RollingDeploy, Versioning};
use crate::try_out::try_out;
use crate::units::Ended;

/// Objects named one by one before they are written; more are counted.
const NAMED_OBJECTS: usize = 50;

/// A deployment that may begin to write.
pub(super) enum Opened {
    /// Its record is open.
    Record(Box<Stored>, Vec<Planned>, Sequence),
    /// Another holder of the task has ended it meanwhile, with this number.
    Done(u64),
    /// There is nothing to do; what the outputs say.
    Skipped(Value),
}

/// What is to be deployed.
pub(crate) struct Rendered {
    /// The objects, as rendered or as recorded.
    pub(crate) objects: Vec<Object>,
    /// Names of the secrets in them.
    pub(crate) secrets: Vec<String>,
    /// How it was versioned when it was recorded, whatever the task says.
    pub(crate) versioning: Option<Versioning>,
}

impl Rendered {
    /// The options with which it is deployed.
    pub(super) fn options(&self, asked: &RollingDeploy) -> RollingDeploy {
        RollingDeploy {
            versioning: self.versioning.unwrap_or(asked.versioning),
            ..asked.clone()
        }
    }
}

/// Try the set out and open the record; resumed, find the record that is open.
pub(super) async fn open(
    run: &Run<'_>,
    (options, shape): (&RollingDeploy, Shape),
    locked: &Locked,
    rendered: Rendered,
) -> Result<Opened, Ended> {
    locked.warn_of_unreadable(run, Unit::Initialize);
    close_interrupted(run, locked).await?;
    run.bounds
        .pending()
        .set("the API server was still judging the objects");
    match earlier(shape.own(&locked.history), run.task)? {
        Earlier::Done(number) => Ok(Opened::Done(number)),
        Earlier::Open(number) => reopen(run, options, locked, number).await,
        Earlier::None => begin(run, (options, shape), locked, rendered).await,
    }
}

async fn reopen(
    run: &Run<'_>,
    options: &RollingDeploy,
    locked: &Locked,
    number: u64,
) -> Result<Opened, Ended> {
    let stored = locked.history.number(number).cloned();
    let mut stored = stored.ok_or_else(|| gone(number))?;
    let mut objects = objects_of(run, &stored, locked).await?;
    let over = hook_runs::over(&stored.head);
    let namespace = &run.task.release.namespace;
    objects.retain(|object| !over.contains(&object.id().in_namespace(namespace)));
    let sequence = sequence(run, &objects, Unit::Initialize)?;
    let steered = progressive::steered(&stored.head);
    let planned = match try_out(run, objects, options, (false, &steered)).await {
        Ok(planned) => planned,
        Err(failure) => {
            let own = |task: &str| task == run.task.id;
            if replacement::is_unfinished(&stored.head, own) {
                replacement::restore(run, locked, &mut stored, Unit::Initialize, own).await;
                locked.update(&mut stored).await?;
            }
            return Err(failure.into());
        }
    };
    run.units.enter(Unit::Prepare);
    run.info(
        Unit::Prepare,
        format!("going on with release number {number}"),
    );
    stored.head.task_epoch = run.task.epoch;
    locked.update(&mut stored).await?;
    locked.overwrite(run, &stored.head).await;
    Ok(Opened::Record(Box::new(stored), planned, sequence))
}

async fn begin(
    run: &Run<'_>,
    (options, shape): (&RollingDeploy, Shape),
    locked: &Locked,
    rendered: Rendered,
) -> Result<Opened, Ended> {
    let mut head = locked.next_head(run.task);
    let first = shape.is_first(&locked.history);
    let set = shape.is_gone_on_with().then(|| rendered.objects.clone());
    let wanted = shape.of(run, options, &locked.history, rendered.objects);
    let Shaped {
        objects,
        mut versioned,
        notes,
        side,
        written,
        steered,
        former,
        noted,
        ..
    } = match wanted.await? {
        Wanted::Deploy(shaped) => *shaped,
        Wanted::Skip(outputs) => return Ok(Opened::Skipped(outputs)),
    };
    for text in notes {
        run.info(Unit::Initialize, text);
    }
    head.side = side;
    if let Some(asked) = &options.routing {
        Box::pin(traffic::foresee(run, asked, &objects)).await?;
    }
    let mut sequence = sequence(run, &objects, Unit::Initialize)?;
    let judged = try_out(run, objects, options, (first, &steered));
    let (planned, parts) = futures::join!(judged, locked.parts());
    let mut planned = planned?;
    run.info(Unit::Initialize, accepted(planned.len()));
    let mut unused = Vec::new();
    if head.side.is_whole() {
        (planned, unused) = adoption::keep_names(run, planned, options, first).await?;
    }

    run.units.enter(Unit::Prepare);
    planned = written.of(run, Unit::Prepare, planned);
    if !unused.is_empty() || !head.side.is_whole() {
        let written: HashSet<&str> = planned
            .iter()
            .map(|of| of.target.id.name.as_str())
            .collect();
        versioned
            .renames
            .retain(|of| written.contains(of.to.as_str()));
        let objects: Vec<Object> = planned.iter().map(|of| of.target.object.clone()).collect();
        let again = Sequence::of(&objects, &run.task.release.namespace);
        sequence = again.map_err(|errors| disordered(&errors).1)?;
    }
    describe(run, &planned, &versioned, head.number);
    let is_whole = head.side.is_whole();
    let whole = is_whole.then_some((first, versioned.mentions.as_slice()));
    let adopted = Adoption::of(run, Unit::Prepare, &planned, whole).await;
    planned.iter_mut().for_each(Planned::forget_content);
    for object in &planned {
        head.track(object.target.id.clone(), None);
    }
    let earlier = (&locked.history, &head.side, former.as_slice());
    let foreseen = prune::foresee(run, earlier, &planned, options.prune, Unit::Prepare);
    let Foreseen { doomed, left } = foreseen.await?;
    let color = head.side.color.as_deref();
    shape::check_neighbours(run, (color, &noted), &planned, &doomed).await?;
    for Tracked { id, uid } in doomed.iter().chain(&left) {
        head.track(id.clone(), uid.clone());
    }
    let objects: Vec<Object> = planned
        .iter()
        .map(|object| object.target.object.clone())
        .collect();
    head.manifest_hash = hash::manifest(&objects);
    let present: Vec<_> = planned
        .iter()
        .filter(|object| {
            object
                .change()
                .is_some_and(|change| change != Change::Created)
        })
        .map(|object| &object.target.id)
        .chain(left.iter().map(|tracked| &tracked.id))
        .collect();
    let mut data: BTreeMap<&str, Notes> = BTreeMap::from([
        ("present", Notes::of(&present)),
        ("secrets", Notes::of(&rendered.secrets)),
        (prune::NOTED, Notes::of(&doomed)),
    ]);
    for (key, notes) in adopted.notes() {
        data.insert(key, notes);
    }
    for (key, value) in &noted {
        data.insert(key, Notes::of(value));
    }
    externals(run, locked, &sequence).await?;
    // Stopped until now, nothing has happened.
    run.bounds.check()?;
    if let Some(set) = set.filter(|_| head.side.is_canary()) {
        let parts = progressive::keep(locked, &mut head, &set).await?;
        data.insert(progressive::RENDERING, Notes::of(&parts));
        data.insert(progressive::VERSIONING, Notes::of(&options.versioning));
    }
    head.note_with("Prepare", "", "opened", data, clock::now());
    let stored = record_objects(locked, head, &objects, &parts).await?;
    locked.overwrite(run, &stored.head).await;
    Ok(Opened::Record(Box::new(stored), planned, sequence))
}

/// That the whole set was tried out, for people.
pub(crate) fn accepted(count: usize) -> String {
    match count {
        1 => "the API server accepts the object".to_owned(),
        count => format!("the API server accepts all {count} objects"),
    }
}

/// The order of a set.
pub(crate) fn sequence(run: &Run<'_>, objects: &[Object], unit: Unit) -> Result<Sequence, Failure> {
    let sequence = Sequence::of(objects, &run.task.release.namespace);
    let sequence = sequence.map_err(|errors| {
        let (lines, failure) = disordered(&errors);
        if lines.len() > 1 {
            for line in lines {
                run.sink.log(unit, Level::Error, &line);
            }
        }
        failure
    })?;
    for note in &sequence.notes {
        run.warn(unit, note.to_string());
    }
    Ok(sequence)
}

/// Wait for what the set depends on and does not contain.
async fn externals(run: &Run<'_>, locked: &Locked, sequence: &Sequence) -> Result<(), Ended> {
    for External { object, dependency } in &sequence.external {
        let ready = external::ready(run, object, dependency);
        run.bounds.run(locked.lost(), Box::pin(ready)).await?;
    }
    Ok(())
}

/// A release that an interrupted task left in progress has failed, and what it had deleted to replace it is made again.
/// Says whether there was one.
pub(crate) async fn close_interrupted(run: &Run<'_>, locked: &Locked) -> Result<bool, Failure> {
    let mut any = false;
    let others = |task: &str| task != run.task.id;
    for stored in locked.history.records() {
        let open = stored.head.status == Status::InProgress && others(&stored.head.asked_by.task);
        let half_way = replacement::is_unfinished(&stored.head, others);
        if !open && !half_way {
            continue;
        }
        let mut stored = stored.clone();
        replacement::restore(run, locked, &mut stored, Unit::Initialize, others).await;
        any = true;
        if !open {
            locked.update(&mut stored).await?;
            continue;
        }
        let head = &mut stored.head;
        head.status = Status::Failed;
        head.message = "interrupted, and not taken up again".to_owned();
        head.note(RESULT, "", "interrupted", clock::now());
        let text = format!("release number {} was interrupted earlier", head.number);
        locked.update(&mut stored).await?;
        run.warn(Unit::Initialize, text);
    }
    Ok(any)
}

/// Write a new head with its objects. Of a set that is in the records already, as far as its parts are `present`, nothing
/// is written again.
pub(super) async fn record_objects(
    locked: &Locked,
    mut head: Head,
    objects: &[Object],
    present: &[PartId],
) -> Result<Stored, Failure> {
    let (records, guard) = (&locked.records, locked.guard());
    let stored = match locked.history.parts_of(&head.manifest_hash, present) {
        Some(parts) => {
            head.parts = parts.to_vec();
            records.create_as(head, present, guard).await
        }
        None => {
            let values: Vec<_> = objects.iter().map(Object::value).collect();
            records.create(head, &values, present, guard).await
        }
    };
    stored.map_err(|error| record_failure(&error))
}

/// The objects of a record.
pub(super) async fn objects_of(
    run: &Run<'_>,
    stored: &Stored,
    locked: &Locked,
) -> Result<Vec<Object>, Failure> {
    let values = locked.records.objects(&stored.head).await;
    let values = values.map_err(|error| record_failure(&error))?;
    recorded(run, &stored.head, values)
}

/// The objects of a record. Their place in messages is the record. What their Secrets hold is known to the masker from
/// then on.
pub(crate) fn recorded(
    run: &Run<'_>,
    head: &Head,
    values: Vec<Value>,
) -> Result<Vec<Object>, Failure> {
    let file: std::sync::Arc<str> =
        format!("release {} number {}", head.release, head.number).into();
    let objects = values.into_iter().zip(1..).map(|(value, document)| {
        let origin = Origin {
            document,
            ..Origin::outside(file.clone())
        };
        Object::from_value(value, origin)
    });
    let objects = objects.collect::<Result<Vec<_>, _>>().map_err(|error| {
        let hint = "restore the record's Secrets from a backup, or deploy again";
        let text = format!("{file} is damaged: {error}");
        Failure::new(FailureKind::Unknown, "SRT-T013", text, hint)
    })?;
    run.sink.learn_set(&objects, &run.task.release);
    Ok(objects)
}

pub(crate) fn gone(number: u64) -> Failure {
    let text = format!("the record of release number {number} is gone");
    let hint = "somebody deleted its Secret; deploy again";
    Failure::new(FailureKind::Unknown, "SRT-T013", text, hint)
}

/// What will happen to the objects: a line for each, or one for all when they are many. Nothing is written yet.
fn foreseen(changes: &[(&ObjectId, Option<Change>)]) -> Vec<String> {
    if changes.len() <= NAMED_OBJECTS {
        let line = |(id, change): &(&ObjectId, _)| format!("{id}: {}", intent(*change));
        return changes.iter().map(line).collect();
    }
    let kinds = [
        Some(Change::Created),
        Some(Change::Configured),
        Some(Change::Unchanged),
        None,
    ];
    let counted = kinds.iter().filter_map(|kind| {
        let count = changes.iter().filter(|(_, change)| change == kind).count();
        (count > 0).then(|| format!("{count} {}", intent(*kind)))
    });
    let counted: Vec<_> = counted.collect();
    vec![format!("{} objects: {}", changes.len(), counted.join(", "))]
}

fn intent(change: Option<Change>) -> &'static str {
    match change {
        Some(Change::Created) => "will be created",
        Some(Change::Configured) => "will be configured",
        Some(Change::Unchanged) => "unchanged",
        None => "will be created once what it needs is there",
    }
}

fn describe(run: &Run<'_>, planned: &[Planned], versioned: &Versioned, number: u64) {
    let unit = Unit::Prepare;
    run.info(unit, format!("release number {number}"));
    for text in planned.iter().filter_map(replacement::foretold) {
        run.warn(unit, text);
    }
    let changes = planned
        .iter()
        .filter(|object| object.replaces().is_none())
        .map(|object| (&object.target.id, object.change()));
    for line in foreseen(&changes.collect::<Vec<_>>()) {
        run.info(unit, line);
    }
    if let Some(text) = readiness::untold(planned) {
        run.warn(unit, text);
    }
    for rename in &versioned.renames {
        let text = format!(
            "{:?} {} is deployed as {}",
            rename.kind, rename.from, rename.to
        );
        run.info(unit, text);
    }
    for mention in &versioned.mentions {
        let text = format!(
            "{}: {} names {:?} {}, which is deployed under a versioned name; add the annotation sortie.dev/skip-versioning to keep its name",
            mention.object, mention.path, mention.kind, mention.name
        );
        run.warn(unit, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<ObjectId> {
        let id = |number| ObjectId {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("shop".to_owned()),
            name: format!("c{number}"),
        };
        (0..count).map(id).collect()
    }

    #[test]
    fn what_is_not_done_yet_is_not_told_as_done() {
        let ids = ids(4);
        let changes = [
            (&ids[0], Some(Change::Created)),
            (&ids[1], Some(Change::Configured)),
            (&ids[2], Some(Change::Unchanged)),
            (&ids[3], None),
        ];
        let lines = foreseen(&changes);
        let ends = [
            "c0: will be created",
            "c1: will be configured",
            "c2: unchanged",
            "c3: will be created once what it needs is there",
        ];
        assert_eq!(lines.len(), ends.len());
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.ends_with(end), "{line}");
        }
    }

    #[test]
    fn many_objects_are_counted() {
        let ids = ids(NAMED_OBJECTS + 1);
        let mut changes: Vec<_> = ids.iter().map(|id| (id, Some(Change::Unchanged))).collect();
        assert_eq!(foreseen(&changes[1..]).len(), NAMED_OBJECTS);
        changes[0].1 = Some(Change::Created);
        changes[1].1 = None;
        assert_eq!(
            foreseen(&changes),
            [
                "51 objects: 1 will be created, 49 unchanged, 1 will be created once what it needs is there"
            ]
        );
    }
}
