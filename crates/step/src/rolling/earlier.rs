//! What an earlier holder of the same task has left behind.

use serde::de::DeserializeOwned;
use sortie_cluster::record::{Head, Status};

use super::RESULT;
use crate::failure::{Failure, FailureKind};
use crate::task::Task;
use crate::units::Ended;

/// What was journalled as the end of a step that was told to stop.
pub(super) const ABORTED: &str = "aborted";

/// What an earlier holder of the same task has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// Nothing: this task has not written anything yet.
    None,
    /// An open record with this number: it was interrupted.
    Open(u64),
    /// A success with this number, whose result was lost on the way.
    Done(u64),
}

/// Look for the task in the records of its release.
///
/// # Errors
/// The task had ended without success and its result was lost on the way; or a later holder is at work on it.
pub(super) fn earlier<'a>(
    heads: impl DoubleEndedIterator<Item = &'a Head>,
    task: &Task,
) -> Result<Earlier, Ended> {
    let Some(head) = heads.rev().find(|head| head.asked_by.task == task.id) else {
        return Ok(Earlier::None);
    };
    match head.status {
        Status::InProgress if head.task_epoch > task.epoch => {
            let text = format!(
                "release number {} was taken up by a later holder of this task (epoch {}, ours is {})",
                head.number, head.task_epoch, task.epoch
            );
            let hint = "nothing: the later holder carries the task on";
            let failure = Failure::new(FailureKind::Unknown, "SRT-T015", text, hint);
            Err(failure.of_release(head.number).into())
        }
        Status::InProgress => Ok(Earlier::Open(head.number)),
        Status::Succeeded | Status::Superseded => Ok(Earlier::Done(head.number)),
        Status::Failed => Err(ended(head)),
    }
}

/// How a task ended, as its record tells it.
fn ended(head: &Head) -> Ended {
    let result = head.journal.iter().rev().find(|entry| entry.unit == RESULT);
    if result.is_some_and(|entry| entry.what == ABORTED) {
        return Ended::Aborted;
    }
    let recorded = result.and_then(|entry| entry.data.read());
    Ended::Failed(recorded.unwrap_or_else(|| {
        let hint = "look at the log of that attempt, then deploy again";
        Failure::new(FailureKind::Unknown, "SRT-T014", head.message.clone(), hint)
            .of_release(head.number)
    }))
}

/// A list that the first holder noted when it opened the record: `present`, the objects that were there before;
/// `secrets`, the names of the secrets in the set.
pub(crate) fn noted<T: DeserializeOwned>(head: &Head, key: &str) -> Vec<T> {
    opened(head, key).unwrap_or_default()
}

/// Anything that the first holder noted when it opened the record.
pub(crate) fn opened<T: DeserializeOwned>(head: &Head, key: &str) -> Option<T> {
    let opened = head.journal.iter().find(|entry| entry.unit == "Prepare")?;
    opened.data.field(key)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use sortie_cluster::record::Release;

    use super::*;
    use crate::task::{Action, Release as TaskRelease, RequestedBy, RollingDeploy};

    fn task(id: &str, epoch: u64) -> Task {
        Task {
            id: id.into(),
            epoch,
            release: TaskRelease {
                namespace: "shop".into(),
                name: "web".into(),
                owner: crate::task::Owner::default(),
            },
            requested_by: RequestedBy::default(),
            undo_changes: false,
            hooks: Vec::new(),
            timeout: std::time::Duration::from_secs(1),
            action: Action::RollingDeploy(RollingDeploy::default()),
        }
    }

    fn head(number: u64, task: &str, status: Status) -> Head {
        let release = Release::new("shop", "web").unwrap();
        let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
        head.asked_by.task = task.into();
        head.task_epoch = 2;
        head.status = status;
        head
    }

    #[test]
    fn only_records_of_the_same_task_count() {
        let heads = [
            head(1, "a", Status::Superseded),
            head(2, "b", Status::InProgress),
            head(3, "c", Status::Succeeded),
        ];
        let look = |id, epoch| earlier(heads.iter(), &task(id, epoch));
        assert_eq!(look("x", 1).unwrap(), Earlier::None);
        assert_eq!(look("a", 2).unwrap(), Earlier::Done(1));
        assert_eq!(look("b", 2).unwrap(), Earlier::Open(2));
        assert_eq!(look("c", 3).unwrap(), Earlier::Done(3));
        match look("b", 1) {
            Err(Ended::Failed(failure)) => assert_eq!(failure.code, "SRT-T015"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lost_failure_is_told_again_word_by_word() {
        let failure = Failure::new(FailureKind::Timeout, "SRT-T010", "too late", "hurry");
        let mut failed = head(1, "a", Status::Failed);
        let data = serde_json::to_value(&failure).unwrap();
        failed.note_with(RESULT, "", "failed", data, Timestamp::UNIX_EPOCH);
        match earlier([failed].iter(), &task("a", 2)) {
            Err(Ended::Failed(told)) => assert_eq!(told, failure),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_abort_is_told_again_as_one() {
        let mut failed = head(1, "a", Status::Failed);
        failed.note(RESULT, "", ABORTED, Timestamp::UNIX_EPOCH);
        let told = earlier([failed].iter(), &task("a", 2));
        assert!(matches!(told, Err(Ended::Aborted)), "{told:?}");
    }

    #[test]
    fn a_failure_that_somebody_else_noted_is_told_by_its_message() {
        let mut failed = head(1, "a", Status::Failed);
        failed.message = "interrupted".into();
        failed.note(RESULT, "", "interrupted", Timestamp::UNIX_EPOCH);
        match earlier([failed].iter(), &task("a", 2)) {
            Err(Ended::Failed(told)) => {
                assert_eq!(
                    (told.code.as_str(), told.release_number),
                    ("SRT-T014", Some(1))
                );
                assert_eq!(told.message, "interrupted");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_noted_at_the_opening_is_found() {
        let mut open = head(1, "a", Status::InProgress);
        let data = json!({"secrets": ["account.token"]});
        open.note_with("Prepare", "", "opened", data, Timestamp::UNIX_EPOCH);
        assert_eq!(noted::<String>(&open, "secrets"), ["account.token"]);
        assert!(noted::<String>(&open, "present").is_empty());
    }
}
