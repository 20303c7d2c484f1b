//! Which release a rollback brings back, and what it undoes. Pure.

use sortie_cluster::record::{Head, Status};

use crate::failure::{Failure, FailureKind};
use crate::task::{Target, Task};

/// What a rollback does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, and why.
    Nothing(String),
    /// Bring a release back.
    Restore(Plan),
    /// A holder of this task that was killed has done it; its result was lost on the way.
    Done(u64),
    /// Nothing: it takes the record with this number, which cannot be read.
    Needs(u64),
}

/// What is brought back, and in whose place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Number of the release that comes back.
    pub(super) good: u64,
    /// Numbers of the releases after it, the oldest first: what they added and `good` lacks is removed.
    pub(super) undone: Vec<u64>,
    /// Numbers of releases after it whose records cannot be read: what they added is not known.
    pub(super) unknown: Vec<u64>,
    /// Where the rollback is recorded.
    pub(super) record: Place,
}

/// Where a rollback is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the record of the release that is undone.
    Undone(u64),
    /// In a record of its own: somebody chose this content although the newest release may be good.
    New,
    /// In a record of its own that a killed holder of this task has opened.
    Open(u64),
}

/// What is known of a release.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// Its heads, the oldest first.
    pub(super) heads: &'a [&'a Head],
    /// Numbers of records that cannot be read, the lowest first.
    pub(super) unreadable: &'a [u64],
}

/// Decide by the heads of the release. A record that cannot be read stands in the way only where it is needed: as the
/// release that is undone or was chosen, or when no other is good.
///
/// # Errors
/// The wish cannot be met, or must not be: somebody else has deployed meanwhile.
pub(super) fn decide(known: Known<'_>, target: Target, task: &Task) -> Result<Decision, Failure> {
    if let Target::Number(wanted) = target {
        return chosen(known, wanted, task);
    }
    let heads = known.heads;
    let readable = heads.last().map(|head| head.number);
    let Some(number) = readable.max(known.unreadable.last().copied()) else {
        return nothing("there is no release yet: nothing to roll back");
    };
    if let Target::Below(failed) = target
        && failed != number
    {
        return another_newest(failed, number);
    }
    let Some(newest) = heads.last().filter(|head| head.number == number) else {
        return Ok(Decision::Needs(number));
    };
    if target == Target::LastGood {
        if newest.is_good() {
            return nothing(good_already(heads, number, task));
        }
        let (ours, theirs) = (&task.requested_by.execution, &newest.asked_by.execution);
        if !ours.is_empty() && ours != theirs {
            return nothing(format!(
                "this execution has begun no release; number {number}, which failed, is another's: nothing to roll back"
            ));
        }
    }
    below(known, newest, task)
}

/// How a command names the release.
fn named(task: &Task) -> String {
    let release = &task.release;
    format!("-n {} --release {}", release.namespace, release.name)
}

/// The newest release is good by its record. Whoever has found out otherwise since can go on.
fn good_already(heads: &[&Head], newest: u64, task: &Task) -> String {
    let mut older = heads.iter().rev().filter(|head| head.number < newest);
    let before = older.find(|head| head.is_good());
    let way = before.map_or_else(String::new, |before| {
        format!(
            "; should number {newest} be broken now, choose number {good}, the last good one before it: \
             sortie rollback {named} --to {good}",
            good = before.number,
            named = named(task)
        )
    });
    format!("the newest release, number {newest}, is good: nothing to roll back{way}")
}

fn another_newest(failed: u64, newest: u64) -> Result<Decision, Failure> {
    if failed > newest {
        return nothing(format!(
            "release number {failed} was never begun: nothing to roll back"
        ));
    }
    // Its own release is not the newest any more: undoing it would undo somebody else's.
    Err(Failure::new(
        FailureKind::Unknown,
        "SRT-T020",
        format!("release number {failed} was followed by number {newest} meanwhile"),
        "look at the newer release; roll it back if it is wrong as well",
    ))
}

fn nothing(reason: impl Into<String>) -> Result<Decision, Failure> {
    Ok(Decision::Nothing(reason.into()))
}

/// The last good release below the newest.
fn below(known: Known<'_>, newest: &Head, task: &Task) -> Result<Decision, Failure> {
    let older = |head: &&&Head| head.number < newest.number;
    let mut older = known.heads.iter().rev().filter(older);
    let Some(good) = older.find(|head| head.is_good()) else {
        // One of these may be the good one.
        if let Some(number) = known.unreadable.last() {
            return Ok(Decision::Needs(*number));
        }
        return nothing(format!(
            "no release before number {} has succeeded: nothing is brought back, and nothing removed; \
             to remove it: sortie uninstall {}",
            newest.number,
            named(task)
        ));
    };
    Ok(Decision::Restore(plan(
        known,
        good.number,
        newest.number,
        Place::Undone(newest.number),
    )))
}

/// Exactly the wanted number.
fn chosen(known: Known<'_>, wanted: u64, task: &Task) -> Result<Decision, Failure> {
    let heads = known.heads;
    let own = heads
        .iter()
        .rev()
        .find(|head| head.asked_by.task == task.id);
    if let Some(own) = own.filter(|own| own.is_good()) {
        return Ok(Decision::Done(own.number));
    }
    if known.unreadable.contains(&wanted) {
        return Ok(Decision::Needs(wanted));
    }
    if !heads
        .iter()
        .any(|head| head.number == wanted && head.is_good())
    {
        let hint = good_numbers(heads);
        let text = format!("there is no good release number {wanted}");
        return Err(Failure::new(
            FailureKind::Configuration,
            "SRT-T021",
            text,
            hint,
        ));
    }
    let open = own.filter(|own| own.status == Status::InProgress);
    let record = open.map_or(Place::New, |own| Place::Open(own.number));
    let end = open.map_or(u64::MAX, |own| own.number - 1);
    Ok(Decision::Restore(plan(known, wanted, end, record)))
}

/// Which numbers can be chosen, for people.
pub(super) fn good_numbers(heads: &[&Head]) -> String {
    let good = heads.iter().filter(|head| head.is_good());
    let good: Vec<String> = good.map(|head| head.number.to_string()).collect();
    match good.as_slice() {
        [] => "no release has succeeded yet".to_owned(),
        good => format!("the kept numbers that succeeded are {}", good.join(", ")),
    }
}

/// Bring `good` back in place of what came after it, up to `last`.
fn plan(known: Known<'_>, good: u64, last: u64, record: Place) -> Plan {
    let after = |number: &u64| *number > good && *number <= last;
    let heads = known.heads.iter().map(|head| head.number);
    Plan {
        good,
        undone: heads.filter(after).collect(),
        unknown: known.unreadable.iter().copied().filter(after).collect(),
        record,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use sortie_cluster::record::Release;

    use super::*;
    use crate::task::{Action, Owner, RequestedBy, RollingRollback};

    fn task(execution: &str) -> Task {
        Task {
            id: "me".into(),
            epoch: 1,
            release: crate::task::Release {
                namespace: "shop".into(),
                name: "web".into(),
                owner: Owner::default(),
            },
            requested_by: RequestedBy {
                execution: execution.into(),
                ..RequestedBy::default()
            },
            undo_changes: false,
            hooks: Vec::new(),
            timeout: Duration::from_secs(1),
            action: Action::RollingRollback(RollingRollback::default()),
        }
    }

    /// One head per letter: `p` in progress, `s` succeeded, `x` failed, `o` superseded; the last one's task at will.
    /// There is none for `?`, which cannot be read.
    fn heads(statuses: &str, last_task: &str) -> Vec<Head> {
        let release = Release::new("shop", "web").unwrap();
        let numbered = statuses
            .chars()
            .zip(1..)
            .filter(|(letter, _)| *letter != '?');
        let mut heads: Vec<Head> = numbered
            .map(|(letter, number)| {
                let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
                head.asked_by.execution = "run".into();
                head.status = match letter {
                    'p' => Status::InProgress,
                    's' => Status::Succeeded,
                    'o' => Status::Superseded,
                    _ => Status::Failed,
                };
                head
            })
            .collect();
        if let Some(last) = heads.last_mut() {
            last.asked_by.task = last_task.into();
        }
        heads
    }

    /// `good<undone@place`, `nothing`, `done N`, or the code of the error.
    fn decided(statuses: &str, last_task: &str, target: Target, execution: &str) -> String {
        let heads = heads(statuses, last_task);
        let heads: Vec<&Head> = heads.iter().collect();
        let damaged = statuses
            .chars()
            .zip(1..)
            .filter(|(letter, _)| *letter == '?');
        let unreadable: Vec<u64> = damaged.map(|(_, number)| number).collect();
        let known = Known {
            heads: &heads,
            unreadable: &unreadable,
        };
        match decide(known, target, &task(execution)) {
            Ok(Decision::Nothing(_)) => "nothing".to_owned(),
            Ok(Decision::Done(number)) => format!("done {number}"),
            Ok(Decision::Needs(number)) => format!("needs {number}"),
            Ok(Decision::Restore(plan)) => {
                let unknown: String = plan.unknown.iter().map(|n| format!("?{n}")).collect();
                format!("{}<{:?}{unknown}@{:?}", plan.good, plan.undone, plan.record)
            }
            Err(failure) => failure.code,
        }
    }

    #[test]
    fn below_a_failed_number() {
        for (statuses, failed, expected) in [
            ("", 1, "nothing"),
            ("x", 1, "nothing"),
            ("xx", 2, "nothing"),
            ("sx", 2, "1<[2]@Undone(2)"),
            ("osx", 3, "2<[3]@Undone(3)"),
            ("sxx", 3, "1<[2, 3]@Undone(3)"),
            ("os", 2, "1<[2]@Undone(2)"),
            ("sp", 2, "1<[2]@Undone(2)"),
            ("sx", 3, "nothing"),
            ("sxs", 2, "SRT-T020"),
        ] {
            let got = decided(statuses, "", Target::Below(failed), "run");
            assert_eq!(got, expected, "{statuses:?} below {failed}");
        }
    }

    #[test]
    fn where_the_newest_is_good_the_one_before_can_be_chosen() {
        for (statuses, way) in [
            ("s", None),
            ("xs", None),
            ("oxs", Some(1)),
            ("oos", Some(2)),
        ] {
            let heads = heads(statuses, "");
            let heads: Vec<&Head> = heads.iter().collect();
            let known = Known {
                heads: &heads,
                unreadable: &[],
            };
            let Ok(Decision::Nothing(reason)) = decide(known, Target::LastGood, &task("")) else {
                panic!("{statuses}")
            };
            let named =
                way.map(|number| format!("sortie rollback -n shop --release web --to {number}"));
            match named {
                Some(named) => assert!(reason.ends_with(&named), "{reason}"),
                None => assert!(!reason.contains("--to"), "{reason}"),
            }
        }
    }

    #[test]
    fn the_last_good_one() {
        for (statuses, execution, expected) in [
            ("", "", "nothing"),
            ("os", "", "nothing"),
            ("os", "run", "nothing"),
            ("osx", "", "2<[3]@Undone(3)"),
            ("osx", "run", "2<[3]@Undone(3)"),
            ("osx", "another run", "nothing"),
            ("x", "", "nothing"),
        ] {
            let got = decided(statuses, "", Target::LastGood, execution);
            assert_eq!(got, expected, "{statuses:?} for {execution:?}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_hinders_only_where_it_is_needed() {
        let (below, to) = (Target::Below, Target::Number);
        for (statuses, target, expected) in [
            // Not needed, or another one is good as well.
            ("?sx", Target::LastGood, "2<[3]@Undone(3)"),
            ("s?x", Target::LastGood, "1<[3]?2@Undone(3)"),
            ("s?x", below(3), "1<[3]?2@Undone(3)"),
            ("?s", Target::LastGood, "nothing"),
            ("s?", to(1), "1<[]?2@New"),
            ("s?x", below(2), "SRT-T020"),
            ("s?", below(3), "nothing"),
            // Needed: what it added, or what it was.
            ("s?", Target::LastGood, "needs 2"),
            ("s?", below(2), "needs 2"),
            ("s?", to(2), "needs 2"),
            ("?x", Target::LastGood, "needs 1"),
            ("?", Target::LastGood, "needs 1"),
            ("?", to(2), "SRT-T021"),
        ] {
            let got = decided(statuses, "", target, "");
            assert_eq!(got, expected, "{statuses:?} {target:?}");
        }
    }

    #[test]
    fn a_chosen_number() {
        for (statuses, last_task, number, expected) in [
            ("oos", "", 1, "1<[2, 3]@New"),
            ("oos", "", 3, "3<[]@New"),
            ("oosx", "", 3, "3<[4]@New"),
            ("oosx", "", 4, "SRT-T021"),
            ("s", "", 7, "SRT-T021"),
            ("oosp", "me", 1, "1<[2, 3]@Open(4)"),
            ("ooos", "me", 1, "done 4"),
            ("oosx", "me", 1, "1<[2, 3, 4]@New"),
        ] {
            let got = decided(statuses, last_task, Target::Number(number), "");
            assert_eq!(got, expected, "{statuses:?} to {number}");
        }
    }
}
