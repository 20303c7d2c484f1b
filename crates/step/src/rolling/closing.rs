//! The end of a step in its record. It is there before the result is told to anybody.

use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::record::{Head, Status, Stored};

use super::RESULT;
use super::earlier::ABORTED;
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;
use crate::task::Release;
use crate::units::Ended;

/// What is journalled as the end of a step that went well, with what it tells.
const SUCCEEDED: &str = "succeeded";

/// Close the record with the result. One that is handed over stays open for the next holder.
///
/// # Errors
/// A success that could not be recorded.
pub(super) async fn close(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    result: &Result<Value, Ended>,
) -> Result<(), Ended> {
    let head = &mut stored.head;
    let now = clock::now();
    match result {
        Ok(outputs) => {
            head.status = Status::Succeeded;
            head.note_with(RESULT, "", SUCCEEDED, outputs.clone(), now);
        }
        Err(Ended::Aborted) => {
            head.status = Status::Failed;
            ABORTED.clone_into(&mut head.message);
            head.note(RESULT, "", ABORTED, now);
        }
        Err(Ended::Failed(failure)) => {
            // Journals hold no secret, whatever an application has written to its log.
            let failure = failure.clone().of_release(head.number).masked(run.sink);
            head.status = Status::Failed;
            head.message = format!("{}: {}", failure.code, failure.message);
            let data = serde_json::to_value(failure).unwrap_or_default();
            head.note_with(RESULT, "", "failed", data, now);
        }
        Err(Ended::HandedOver) => return Ok(()),
    }
    if let Err(failure) = locked.update(stored).await {
        // A later holder owns the record now; its word counts, and ours must not hide what went wrong.
        if result.is_ok() {
            return Err(failure.into());
        }
        let text = format!("the record could not be closed: {}", failure.message);
        run.warn(Unit::WrapUp, text);
        return Ok(());
    }
    if result.is_ok() {
        locked.tidy(run, Some(&stored.head)).await;
    }
    Ok(())
}

/// What a task that ended well has told, for whom its result was lost on the way.
pub(super) fn told(release: &Release, head: &Head) -> Value {
    let mut entries = head.journal.iter().rev();
    let result = entries.find(|entry| entry.unit == RESULT && entry.what == SUCCEEDED);
    let told = result.and_then(|result| result.data.read().filter(Value::is_object));
    told.unwrap_or_else(|| outputs(release, head.number))
}

/// What later steps can refer to.
pub(super) fn outputs(release: &Release, number: u64) -> Value {
    json!({
        "releaseName": release.name,
        "releaseNumber": number,
        "namespace": release.namespace,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::task::Owner;

    #[test]
    fn a_lost_success_is_told_again_word_by_word() {
        let release = Release {
            namespace: "shop".into(),
            name: "web".into(),
            owner: Owner::default(),
        };
        let recorded = sortie_cluster::record::Release::new("shop", "web").unwrap();
        let mut head = Head::new(&recorded, 3, Timestamp::UNIX_EPOCH);
        // A record of an earlier version says nothing of its outputs.
        head.note(RESULT, "", SUCCEEDED, Timestamp::UNIX_EPOCH);
        assert_eq!(told(&release, &head), outputs(&release, 3));
        let said = json!({"releaseNumber": 1, "prunedResourceIds": ["ConfigMap/shop/a"]});
        head.note_with(RESULT, "", SUCCEEDED, said.clone(), Timestamp::UNIX_EPOCH);
        assert_eq!(told(&release, &head), said);
    }
}
