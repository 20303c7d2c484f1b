//! The way back of a progressive canary: its pods return to the version that the release had before.

use serde_json::{Value, json};
use sortie_cluster::record::Head;

use super::progress::Progress;
use crate::canary;
use crate::locked;
use crate::report::Unit;
use crate::rolling::{self, opened};
use crate::run::Run;
use crate::shape::RENDERED;
use crate::task::{RollingRollback, Target, Task};
use crate::units::Ended;

/// Take back what steps of the same execution have brought in progressively. The outputs say whether there was anything.
pub(crate) async fn rollback(run: &Run<'_>) -> Result<Value, Ended> {
    run.units.enter(Unit::Initialize);
    let look = async { Ok(locked::look(run).await?) };
    let look = Box::pin(look);
    let look = run.bounds.run(std::future::pending(), look).await?;
    let heads: Vec<&Head> = look.history.heads().collect();
    match newest(&heads, run.task) {
        None => {
            let reason =
                "this execution has brought in nothing progressively: nothing to roll back";
            run.info(Unit::Initialize, reason);
            let name = &run.task.release.name;
            Ok(json!({"releaseName": name, "rolledBack": false, "reason": reason}))
        }
        Some(head) if head.side.is_canary() => {
            let mut told = Box::pin(canary::delete(run)).await?;
            told["rolledBack"] = told["canaryDeleted"].clone();
            Ok(told)
        }
        Some(head) => {
            let options = RollingRollback {
                target: Target::Below(head.number),
                ..RollingRollback::default()
            };
            Box::pin(rolling::rollback::run(run, &options)).await
        }
    }
}

/// The newest record of a progressive step of the same execution.
fn newest<'a>(heads: &[&'a Head], task: &Task) -> Option<&'a Head> {
    let is_meant = |head: &&&Head| {
        let is_first = head.side.is_whole() && opened::<String>(head, RENDERED).is_some();
        head.asked_by.execution == task.requested_by.execution
            && (Progress::of(head).is_some() || is_first)
    };
    heads.iter().rev().find(is_meant).copied()
}
