//! `sortie deploy`: one rolling deployment from here.

use serde_json::{Value, json};
use sortie_step::task::{Action, Prune, RollingDeploy};

use super::follow::{self, Job};
use super::view::Look;
use super::{connect, set};
use crate::args::{Deploy, Output, Strategy};
use crate::exit::{Exit, Result};
use crate::{Surroundings, print};

/// Deploy and follow to steady state.
pub(crate) async fn run(args: &Deploy, around: &Surroundings) -> Result {
    let Deploy {
        set,
        release,
        strategy: Strategy::Rolling,
        dry_run,
        adopt,
        replace,
        prune,
        prune_limit,
        skip_job_wait,
        kept,
        timeout,
    } = args;
    let set = set::read(&set.paths, &set.with)?;
    let (cluster, namespace) = connect(&release.cluster).await?;
    let job = Job {
        verb: "deploy",
        look: Look::Whole,
        history: kept.history.into(),
        cluster,
        namespace: namespace.clone(),
        release: release.release.clone(),
        timeout: *timeout,
        action: Action::RollingDeploy(RollingDeploy {
            adopt: *adopt,
            replace: *replace,
            prune: prune.then_some(Prune {
                limit: *prune_limit,
            }),
            wait_for_jobs: !skip_job_wait,
            dry_run: *dry_run,
            ..set
        }),
    };
    let outputs = follow::run(job, around).await?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }))
        }
        Output::Text if *dry_run => {
            print_plan(&outputs);
            print::note("dry run: nothing was written");
        }
        Output::Text => print::line(&format!(
            "release {} number {} runs in namespace {namespace}",
            release.release,
            outputs
                .get("releaseNumber")
                .and_then(Value::as_u64)
                .unwrap_or_default()
        )),
    }
    Ok(Exit::Done)
}

/// What would be done, one line per object.
pub(super) fn print_plan(outputs: &Value) {
    let rows = outputs
        .get("dryRun")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text = |row: &Value, pointer: &str| {
        row.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            [
                "/object/kind",
                "/object/namespace",
                "/object/name",
                "/change",
            ]
            .map(|pointer| text(row, pointer))
            .to_vec()
        })
        .collect();
    print::line(&print::table(
        &["KIND", "NAMESPACE", "NAME", "WOULD BE"],
        &rows,
    ));
}
