//! Replacing objects whose changes the API server never allows: who may ask for it, and what is kept before, so that a
//! task that is killed between the deletion and the new object has lost nothing.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_cluster::apply::{Applied, Immutable, Planned};
use sortie_cluster::delete::{Held, Patience};
use sortie_cluster::record::{Head, PartId, Stored};
use sortie_cluster::{Error, Problem, clock};
use sortie_manifest::{Object, ObjectId, annotations, workload};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, chain};
use crate::locked::{Locked, record_failure};
use crate::protection::is_storage;
use crate::remove::show_held;
use crate::report::Unit;
use crate::run::Run;

/// How long the end of an object that is replaced may take, when no pods end with it that may take longer.
const GONE_WITHIN: Duration = Duration::from_secs(120);
/// How long the end of an object that goes already may take before it is left to whoever comes next: from the beginning, but
/// its pods may take the time that they have; and once the step's time is over or it is to stop, whatever its pods may take.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// What each of the other objects still gets then.
const MOMENT: Duration = Duration::from_secs(2);
/// Why it is left to them then.
const LATE: &str = "the end of the old one takes longer than this step may; whoever deploys or rolls back next makes it again";
/// How often an object that changes after it was kept is kept anew.
const RACES: u32 = 5;

/// Journalled before a replacement: what is kept, and where.
const BEGUN: &str = "replacing";
/// Journalled after it.
const OVER: &str = "replaced";
/// Journalled when the former object was made again instead.
const RESTORED: &str = "restored";

/// Who asks for replacements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nobody but the objects themselves, by their annotation.
    Not,
    /// The task, for everything but storage, which its own annotation must name.
    ByTask,
    /// A rollback, for everything but storage, whatever the annotations say.
    ByRollback,
}

impl Asked {
    /// Whether an object may be replaced.
    pub(crate) fn of(self, object: &Object) -> Immutable {
        let annotated = object.annotation(annotations::REPLACE) == Some("true");
        let storage = is_storage(&object.id());
        let asked = match self {
            Self::Not => annotated,
            Self::ByTask => annotated || !storage,
            Self::ByRollback => !storage,
        };
        if asked {
            Immutable::Replace
        } else {
            Immutable::Refuse
        }
    }
}

/// An object whose replacement is journalled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    object: ObjectId,
    /// The parts with the live object.
    parts: Vec<PartId>,
    /// The task that began it: it may finish it.
    task: String,
}

/// Why an object is replaced and what that means, for people.
pub(crate) fn foretold(planned: &Planned) -> Option<String> {
    let (_, problems) = planned.replaces()?;
    let fields: Vec<&str> = problems.iter().map(field).collect();
    let mut text = format!(
        "{}: will be deleted and made anew, because {} cannot change",
        planned.target.id,
        fields.join(", ")
    );
    if workload::is_workload(&planned.target.object) {
        text.push_str("; its pods end before new ones start");
    }
    Some(text)
}

fn field(problem: &Problem) -> &str {
    match problem.field.as_str() {
        "" => "a field",
        field => field,
    }
}

/// Replace objects one by one, after all of them are written down in the release's record. What became of each is in the
/// list, but for those that it was time to stop at: the end of an object that is to be replaced is not waited for when
/// nothing else is any more.
///
/// # Errors
/// The record could not be written.
pub(crate) async fn replace(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    unit: Unit,
    doomed: Vec<Planned>,
) -> Result<Vec<(Planned, Result<Applied, Error>)>, Failure> {
    if doomed.is_empty() {
        return Ok(Vec::new());
    }
    let kept = keep(run, locked, stored, unit, &doomed).await?;
    let mut written = Vec::new();
    let mut over = Vec::new();
    for (planned, kept) in doomed.into_iter().zip(kept) {
        if run.bounds.check().is_err() {
            break;
        }
        let result = replace_one(run, locked, stored, unit, (&planned, kept)).await?;
        if let Err(error) = &result
            && run.bounds.check().is_err()
        {
            run.warn(unit, chain(error));
            break;
        }
        if result.is_ok() {
            over.push(planned.target.id.clone());
        }
        written.push((planned, result));
    }
    let text = format!("{} objects replaced", over.len());
    let data = json!({ OVER: over });
    let head = &mut stored.head;
    head.note_with(unit.name(), "", text, data, clock::now());
    Ok(written)
}

async fn replace_one(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    unit: Unit,
    (planned, mut kept): (&Planned, Value),
) -> Result<Result<Applied, Error>, Failure> {
    let (cluster, guard) = (&run.env.cluster, locked.guard());
    let mut planned = planned.clone();
    let mut races = 0;
    loop {
        let replacement = format!("the replacement of {}", planned.target.id);
        run.bounds.pending().set(&replacement);
        let held = telling(run, unit, &replacement);
        let stop = CancellationToken::new();
        let patience = Patience::from((GONE_WITHIN, &held as Held<'_>)).unless(&stop);
        let stopping = async {
            run.bounds.stopped().await;
            stop.cancel();
            std::future::pending::<Infallible>().await
        };
        let replaced = tokio::select! {
            biased;
            replaced = cluster.replace(&planned, &kept, patience, guard) => replaced,
            never = stopping => match never {},
        };
        races += 1;
        match replaced {
            Err(error) if error.is_conflict() && races < RACES => {}
            result => return Ok(result),
        }
        // Somebody has written it since: what is live is kept and not what was.
        let target = vec![planned.target.clone()];
        match cluster.plan(target, planned.scope()).await {
            Ok(again) => match again.into_iter().next() {
                Some(again) => planned = again,
                None => continue,
            },
            Err(errors) => match errors.into_iter().next() {
                Some(error) => return Ok(Err(error)),
                None => continue,
            },
        }
        if planned.replaces().is_none() {
            return Ok(cluster.apply(&planned, guard).await);
        }
        let again = std::slice::from_ref(&planned);
        if let Some(live) = keep(run, locked, stored, unit, again).await?.pop() {
            kept = live;
        }
    }
}

/// Tells what the end of an object waits for: the log once, its row and the failure at the deadline each time.
fn telling<'a>(
    run: &'a Run<'_>,
    unit: Unit,
    what: &'a str,
) -> impl Fn(&ObjectId, Option<&str>) + Sync + 'a {
    let told = AtomicBool::new(false);
    move |id, why| {
        let pending = why.map_or_else(|| what.to_owned(), |why| format!("{what}, {why}"));
        if why.is_some() && !told.swap(true, Ordering::Relaxed) {
            run.info(unit, &pending);
        }
        run.bounds.pending().set(pending);
        show_held(run, unit, id, why);
    }
}

/// Write live objects down and journal that they are about to be replaced.
async fn keep(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    unit: Unit,
    doomed: &[Planned],
) -> Result<Vec<Value>, Failure> {
    let (mut kept, mut begun) = (Vec::new(), Vec::new());
    for planned in doomed {
        let Some((live, _)) = planned.replaces() else {
            continue;
        };
        let live = live.whole();
        let parts = locked.records.keep(&[&live], locked.guard()).await;
        let parts = parts.map_err(|error| record_failure(&error))?;
        let new = parts.iter().filter(|part| !stored.head.kept.contains(part));
        let new: Vec<PartId> = new.cloned().collect();
        stored.head.kept.extend(new);
        begun.push(Begun {
            object: planned.target.id.clone(),
            parts,
            task: run.task.id.clone(),
        });
        kept.push(live);
    }
    let text = format!("{} live objects kept before they are replaced", begun.len());
    let data = json!({ BEGUN: begun });
    let head = &mut stored.head;
    head.note_with(unit.name(), "", text, data, clock::now());
    locked.update(stored).await?;
    Ok(kept)
}

/// Make objects again that were deleted to be replaced and of which there is no new one: nobody goes on with it. The
/// record is changed, and not written.
pub(crate) async fn restore(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    unit: Unit,
    whose: impl Fn(&str) -> bool,
) {
    let open = unfinished(&stored.head).into_iter();
    let (mut restored, mut over) = (Vec::new(), Vec::new());
    let number = stored.head.number;
    let mut late = pin!(late(run));
    let mut is_late = false;
    for Begun { object, parts, .. } in open.filter(|begun| whose(&begun.task)) {
        let back = match is_late {
            // What is there, or needs no waiting, is not left away for one that takes long.
            true => tokio::time::timeout(MOMENT, bring_back(run, locked, unit, (number, &parts)))
                .await
                .unwrap_or_else(|_| Err(LATE.to_owned())),
            false => tokio::select! {
                biased;
                back = bring_back(run, locked, unit, (number, &parts)) => back,
                () = &mut late => {
                    is_late = true;
                    Err(LATE.to_owned())
                }
            },
        };
        match back {
            Ok(true) => {
                let text = format!("{object} was deleted to be replaced: it is back as it was");
                run.warn(unit, text);
                restored.push(object);
            }
            Ok(false) => over.push(object),
            Err(error) => {
                let text = format!("{object} was deleted to be replaced, and is not back: {error}");
                run.warn(unit, text);
            }
        }
    }
    if restored.is_empty() && over.is_empty() {
        return;
    }
    let text = format!("{} objects brought back", restored.len());
    let data = json!({ RESTORED: restored, OVER: over });
    let head = &mut stored.head;
    head.note_with(unit.name(), "", text, data, clock::now());
}

/// Resolves when nothing is waited for any longer: a while after the step should have ended or was to stop.
async fn late(run: &Run<'_>) {
    run.bounds.stopped().await;
    tokio::time::sleep(BACK_WITHIN).await;
}

async fn bring_back(
    run: &Run<'_>,
    locked: &Locked,
    unit: Unit,
    (number, parts): (u64, &[PartId]),
) -> Result<bool, String> {
    let kept = locked.records.kept(number, parts).await;
    let kept = kept.map_err(|error| chain(&error))?;
    let held = telling(run, unit, "the return of the former object");
    let mut any = false;
    for live in &kept {
        let patience = (BACK_WITHIN, &held as Held<'_>);
        let back = run.env.cluster.bring_back(live, patience, locked.guard());
        any |= tokio::select! {
            biased;
            back = back => back.map_err(|error| chain(&error))?,
            // Its pods may take long; the release's next holder brings it back.
            failure = locked.lost() => return Err(failure.message),
        };
    }
    Ok(any)
}

/// Whether the record knows of a replacement by anybody that this says, and not of its end.
pub(crate) fn is_unfinished(head: &Head, whose: impl Fn(&str) -> bool) -> bool {
    unfinished(head).iter().any(|begun| whose(&begun.task))
}

/// What a task has replaced, whoever has noted its end.
pub(crate) fn replaced(head: &Head, task: &str) -> Vec<ObjectId> {
    let mut replaced: Vec<ObjectId> = Vec::new();
    for entry in &head.journal {
        for begun in entry.data.field::<Vec<Begun>>(BEGUN).unwrap_or_default() {
            if begun.task == task && !replaced.contains(&begun.object) {
                replaced.push(begun.object);
            }
        }
        let restored = entry
            .data
            .field::<Vec<ObjectId>>(RESTORED)
            .unwrap_or_default();
        replaced.retain(|id| !restored.contains(id));
    }
    replaced
}

fn unfinished(head: &Head) -> Vec<Begun> {
    let mut open: Vec<Begun> = Vec::new();
    for entry in &head.journal {
        for begun in entry.data.field::<Vec<Begun>>(BEGUN).unwrap_or_default() {
            // Kept anew: what is live counts, and not what was.
            open.retain(|known| known.object != begun.object);
            open.push(begun);
        }
        for key in [OVER, RESTORED] {
            let over = entry.data.field::<Vec<ObjectId>>(key).unwrap_or_default();
            open.retain(|begun| !over.contains(&begun.object));
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sortie_cluster::record::Release;
    use sortie_manifest::Origin;

    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    fn head(journal: &[(&str, &str)]) -> Head {
        let release = Release::new("shop", "web").unwrap();
        let mut head = Head::new(&release, 1, Timestamp::UNIX_EPOCH);
        for (key, names) in journal {
            let names = names.split(' ');
            let data = match *key {
                BEGUN => {
                    let begun = names.map(|name| Begun {
                        object: id(name),
                        parts: Vec::new(),
                        task: "me".into(),
                    });
                    json!({ BEGUN: begun.collect::<Vec<_>>() })
                }
                key => json!({ key: names.map(id).collect::<Vec<_>>() }),
            };
            head.note_with("Apply", "", "", data, Timestamp::UNIX_EPOCH);
        }
        head
    }

    #[test]
    fn the_journal_tells_what_was_left_half_way_and_what_was_replaced() {
        for (journal, open, done) in [
            (&[][..], "", ""),
            (&[(BEGUN, "a b")], "a b", "a b"),
            (&[(BEGUN, "a b"), (OVER, "a")], "b", "a b"),
            (&[(BEGUN, "a b"), (RESTORED, "a")], "b", "b"),
            (&[(BEGUN, "a"), (OVER, "a"), (BEGUN, "a")], "a", "a"),
            (&[(BEGUN, "a"), (BEGUN, "a"), (OVER, "a")], "", "a"),
        ] {
            let head = head(journal);
            let names = |ids: Vec<ObjectId>| {
                let names = ids.into_iter().map(|id| id.name);
                names.collect::<Vec<_>>().join(" ")
            };
            let half = unfinished(&head).into_iter().map(|begun| begun.object);
            assert_eq!(names(half.collect()), open, "{journal:?}");
            assert_eq!(names(replaced(&head, "me")), done, "{journal:?}");
            assert!(replaced(&head, "other").is_empty());
            assert_eq!(is_unfinished(&head, |task| task == "me"), !open.is_empty());
            assert!(!is_unfinished(&head, |task| task != "me"));
        }
    }

    #[test]
    fn storage_is_replaced_by_its_own_annotation_alone_and_by_no_rollback() {
        use Asked::{ByRollback, ByTask, Not};
        for (kind, annotation, asked) in [
            ("Service", None, &[ByTask, ByRollback][..]),
            ("Service", Some("true"), &[Not, ByTask, ByRollback]),
            ("Service", Some("false"), &[ByTask, ByRollback]),
            ("PersistentVolumeClaim", None, &[]),
            ("PersistentVolumeClaim", Some("true"), &[Not, ByTask]),
        ] {
            let mut value = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}});
            if let Some(annotation) = annotation {
                value["metadata"]["annotations"] = json!({annotations::REPLACE: annotation});
            }
            let origin = Origin::outside("test");
            let object = Object::from_value(value, origin).unwrap();
            for by in [Not, ByTask, ByRollback] {
                let may = by.of(&object) == Immutable::Replace;
                assert_eq!(may, asked.contains(&by), "{kind} {annotation:?} {by:?}");
            }
        }
    }
}
