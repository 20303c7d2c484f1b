//! `sortie rollback`: the last good release back, from here.

use serde_json::{Value, json};
use sortie_step::task::{Action, RollingRollback, Target};

use super::connect;
use super::follow::{self, Job};
use super::view::Look;
use crate::args::{Output, Rollback};
use crate::exit::{Exit, Result};
use crate::{Surroundings, print};

/// Roll back and follow to steady state.
pub(crate) async fn run(args: &Rollback, around: &Surroundings) -> Result {
    let Rollback {
        release,
        to,
        delete_storage,
        timeout,
    } = args;
    let (cluster, namespace) = connect(&release.cluster).await?;
    let job = Job {
        verb: "rollback",
        look: Look::Whole,
        cluster,
        namespace: namespace.clone(),
        release: release.release.clone(),
        timeout: *timeout,
        action: Action::RollingRollback(RollingRollback {
            target: to.map_or(Target::LastGood, Target::Number),
            delete_storage: *delete_storage,
        }),
    };
    let outputs = follow::run(job, around).await?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }))
        }
        Output::Text => print::line(
            &match outputs.get("releaseNumber").and_then(Value::as_u64) {
                Some(number) => format!(
                    "release {} number {number} runs in namespace {namespace}",
                    release.release
                ),
                None => format!(
                    "release {}: there was nothing to roll back",
                    release.release
                ),
            },
        ),
    }
    Ok(Exit::Done)
}
