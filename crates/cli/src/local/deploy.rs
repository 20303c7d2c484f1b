//! `sortie deploy`: one deployment from here, in the strategy that is asked for.

use serde_json::{Value, json};
use sortie_step::task::{
    self, Action, Amount, BlueGreenDeploy, CanaryDeploy, ProgressiveDeploy, Prune, RollingDeploy,
};

use super::follow::{self, Job, WayBack};
use super::view::Look;
use super::{records, set, sides};
use crate::args::{BringArgs, Deploy, Output, Strategy, StrategyArgs};
use crate::exit::{Exit, Failure, Result};
use crate::{Surroundings, print};

/// Pods of a canary when nobody says how many.
const CANARY: Amount = Amount::Count(1);

/// Deploy and follow to steady state.
pub(crate) async fn run(args: &Deploy, around: &Surroundings) -> Result {
    let Deploy {
        set,
        release,
        strategy,
        dry_run,
        bring,
    } = args;
    let strategy = self::strategy(*strategy, bring.prune)?;
    let set = set::read(&set.paths, &set.with)?;
    let deploy = RollingDeploy {
        dry_run: *dry_run,
        ..brought(*bring, set)
    };
    let (cluster, records) = records(release).await?;
    let namespace = records.release().namespace().to_owned();
    if strategy != task::Strategy::BlueGreen {
        sides::check_deployable(&records.history().await?, records.release())?;
    }
    let (action, way_back) = match strategy {
        task::Strategy::Rolling => (Action::RollingDeploy(deploy), WayBack::Rollback),
        task::Strategy::Canary(instances) => (
            Action::CanaryDeploy(CanaryDeploy { deploy, instances }),
            WayBack::Cancel,
        ),
        task::Strategy::Progressive(percent) => (
            Action::ProgressiveDeploy(ProgressiveDeploy {
                deploy,
                percent,
                is_recorded: false,
            }),
            WayBack::Shared,
        ),
        // Nothing is skipped: whoever swaps afterwards must never get an older version by it.
        task::Strategy::BlueGreen => (
            Action::BlueGreenDeploy(BlueGreenDeploy {
                deploy,
                skip_unchanged: false,
            }),
            WayBack::Untouched,
        ),
    };
    let job = Job {
        verb: "deploy",
        look: Look::Whole,
        history: bring.kept.history.into(),
        way_back,
        cluster,
        namespace: namespace.clone(),
        release: release.release.clone(),
        timeout: bring.timeout,
        action,
    };
    let outputs = follow::run(job, around).await?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }));
        }
        Output::Text if *dry_run => {
            print_plan(&outputs);
            print::note("dry run: nothing was written");
        }
        Output::Text => tell(strategy, &release.release, &namespace, &outputs),
    }
    Ok(Exit::Done)
}

/// How the set comes in, as the step wants to know it.
pub(super) fn strategy(args: StrategyArgs, prunes: bool) -> Result<task::Strategy> {
    let StrategyArgs {
        strategy,
        canary,
        progressive,
    } = args;
    let canary = canary.map(task::Strategy::Canary);
    let canary = progressive.map(task::Strategy::Progressive).or(canary);
    match (strategy, canary) {
        (Strategy::Canary, Some(whole @ task::Strategy::Progressive(100))) => Ok(whole),
        (Strategy::Canary, _) if prunes => Err(Failure::usage(
            "--prune does not go with --strategy canary: nothing is deleted before everybody has the new version",
        )
        .hint("add --prune to promote")),
        (Strategy::Canary, canary) => Ok(canary.unwrap_or(task::Strategy::Canary(CANARY))),
        (_, Some(_)) => Err(Failure::usage(
            "--canary and --progressive say how large a canary is, and there is none",
        )
        .hint("add --strategy canary")),
        (Strategy::Rolling, None) => Ok(task::Strategy::Rolling),
        (Strategy::BlueGreen, None) => Ok(task::Strategy::BlueGreen),
    }
}

/// The set with what its deployment may do.
pub(super) fn brought(bring: BringArgs, set: RollingDeploy) -> RollingDeploy {
    RollingDeploy {
        adopt: bring.adopt,
        replace: bring.replace,
        prune: bring.prune.then_some(Prune {
            limit: bring.prune_limit,
        }),
        wait_for_jobs: !bring.skip_job_wait,
        ..set
    }
}

/// What runs now, and what to do next with what runs beside the rest.
fn tell(strategy: task::Strategy, release: &str, namespace: &str, outputs: &Value) {
    let number = super::number(outputs, "releaseNumber");
    let named = format!("-n {namespace} --release {release}");
    let is_canary = outputs.get("targetInstances").is_some();
    match strategy {
        task::Strategy::Progressive(_) if !is_canary && number == 0 => {
            print::line(super::text(outputs, "reason"));
        }
        // A first deployment has no canary, and at 100 % it is gone.
        task::Strategy::Progressive(_) if !is_canary => print::line(&format!(
            "release {release} number {number} runs in namespace {namespace}"
        )),
        task::Strategy::Rolling => print::line(&format!(
            "release {release} number {number} runs in namespace {namespace}"
        )),
        task::Strategy::Canary(_) | task::Strategy::Progressive(_) => {
            let pods = match super::number(outputs, "targetInstances") {
                1 => "1 pod".to_owned(),
                pods => format!("{pods} pods"),
            };
            print::line(&format!(
                "canary of release {release}, number {number}, runs in namespace {namespace}: {pods}"
            ));
            print::note(&match strategy {
                task::Strategy::Progressive(_) => format!(
                    "next: the same with a larger share, `sortie promote {named}`, or `sortie cancel {named}`"
                ),
                _ => format!(
                    "next: `sortie promote PATH... {named}` with the same files, or `sortie cancel {named}`"
                ),
            });
        }
        task::Strategy::BlueGreen => {
            let color = super::text(outputs, "stageColor");
            let service = super::text(outputs, "stageServiceName");
            print::line(&format!(
                "release {release} number {number} runs in namespace {namespace} as {color}, behind Service {service}"
            ));
            print::note(&format!(
                "next: `sortie swap {named}` gives it the traffic, `sortie cancel {named}` takes its pods away"
            ));
        }
    }
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
