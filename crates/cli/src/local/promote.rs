//! `sortie promote`: what runs beside the present version takes its place, from here.

use std::sync::Arc;

use serde_json::json;
use sortie_cluster::Cluster;
use sortie_cluster::record::{Head, Release, Status};
use sortie_step::Form;
use sortie_step::inspect::{is_of_set, is_progressive};
use sortie_step::task::{Action, Owner, ProgressiveDeploy, RollingDeploy};

use super::follow::{self, Job, WayBack};
use super::sides::{self, Colors};
use super::view::Look;
use super::{deploy, deployed, number, said, set, swap};
use crate::args::{BringArgs, Output, Promote};
use crate::exit::{Exit, Failure, Result};
use crate::{Surroundings, print};

/// Promote and follow to steady state.
pub(crate) async fn run(args: &Promote, around: &Surroundings) -> Result {
    let (cluster, records, history) = deployed(&args.release).await?;
    let release = records.release();
    if let Some(canary) = sides::canary(&history) {
        return to_everybody(args, (&cluster, release), canary, around).await;
    }
    let Some(colors) = Colors::of(&history) else {
        return Err(sides::alone(release, "promote"));
    };
    if names_a_set(args) || brings(args.bring) {
        let text = format!(
            "release {} is blue-green: its new version runs already",
            release.name()
        );
        return Err(sides::unsuited(text).hint("leave the PATH out, and what goes with it"));
    }
    if let Some(primary) = colors.newer_primary() {
        let text = format!(
            "the newest version has the traffic already: {}",
            sides::numbered(primary)
        );
        let hint = format!(
            "`sortie swap {}` goes back to {}",
            sides::named(release),
            sides::numbered(colors.stage)
        );
        return Err(sides::unsuited(text).hint(hint));
    }
    let times = (args.settle.settle, args.bring.timeout);
    swap::swap("promote", (&cluster, release), times, around).await
}

/// Whether there is anything about files to deploy among the arguments.
fn names_a_set(args: &Promote) -> bool {
    let with = &args.with;
    !args.paths.is_empty() || !with.values.is_empty() || with.context.is_some()
}

/// Whether there is anything about how a set is deployed.
fn brings(bring: BringArgs) -> bool {
    bring.adopt || bring.replace || bring.prune || bring.skip_job_wait
}

/// A rolling deployment of what the canary was deployed from, then the end of the canary.
async fn to_everybody(
    args: &Promote,
    (cluster, release): (&Cluster, &Release),
    canary: &Head,
    around: &Surroundings,
) -> Result {
    let is_progressive = is_progressive(canary);
    if is_progressive && names_a_set(args) {
        let text = format!(
            "canary number {} is progressive: its record has the set that everybody gets",
            canary.number
        );
        return Err(sides::unsuited(text).hint("leave the PATH out, and --values and --context"));
    }
    if !is_progressive && args.paths.is_empty() {
        let named = sides::named(release);
        let text = format!(
            "the record of canary number {} has its copies alone",
            canary.number
        );
        return Err(sides::unsuited(text).hint(format!(
            "name what it was deployed from: `sortie promote PATH... {named}`, with the same --values and --context"
        )));
    }
    if canary.status != Status::Succeeded {
        let text = format!("canary number {} did not end well", canary.number);
        return Err(unlike(text, is_progressive, release));
    }
    let set = match is_progressive {
        true => RollingDeploy::default(),
        false => set::read(&args.paths, &args.with)?,
    };
    if !is_progressive {
        check(&set, release, canary, around).await?;
    }
    let bring = args.bring;
    let deploy = deploy::brought(bring, set);
    let action = match is_progressive {
        true => Action::ProgressiveDeploy(ProgressiveDeploy {
            deploy,
            percent: 100,
            is_recorded: true,
        }),
        false => Action::RollingDeploy(deploy),
    };
    let job = Job {
        history: bring.kept.history.into(),
        way_back: WayBack::Rollback,
        look: Look::Whole,
        ..swap::job("promote", cluster, release, bring.timeout, action)
    };
    let mut outputs = follow::run(job, around).await?;
    if !is_progressive {
        let job = swap::job(
            "cancel",
            cluster,
            release,
            bring.timeout,
            Action::CanaryDelete,
        );
        let deleted = follow::run(job, around).await.map_err(|failure| {
            let hint = format!(
                "everybody has the new version; `sortie cancel {}` deletes the canary",
                sides::named(release)
            );
            failure.hint(hint)
        })?;
        for key in ["canaryDeleted", "deletedResourceIds"] {
            if let Some(value) = deleted.get(key) {
                outputs[key] = value.clone();
            }
        }
    }
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }));
        }
        Output::Text => print::line(&format!(
            "release {} number {} runs in namespace {}; its canary, number {}, is deleted",
            release.name(),
            number(&outputs, "releaseNumber"),
            release.namespace(),
            canary.number
        )),
    }
    Ok(Exit::Done)
}

/// Everybody gets what the canary has shown to be good, and nothing else.
async fn check(
    set: &RollingDeploy,
    release: &Release,
    canary: &Head,
    around: &Surroundings,
) -> Result<()> {
    let of = sortie_step::task::Release {
        namespace: release.namespace().to_owned(),
        name: release.name().to_owned(),
        owner: Owner::default(),
    };
    // What there is to say of the set is said when it is deployed.
    let (silent, _) = said::channel();
    let renderer = follow::renderer(around);
    let objects = sortie_step::render(set, &of, Form::AsWritten, &renderer, Arc::new(silent));
    let objects = objects
        .await
        .map_err(|failure| follow::explained(failure, "promote failed"))?;
    match is_of_set(canary, &objects, release.namespace()) {
        Some(false) => {
            let number = canary.number;
            let text =
                format!("the set is not the one that canary number {number} was deployed from");
            Err(unlike(text, false, release))
        }
        _ => Ok(()),
    }
}

/// That something else than what a canary has shown to be good would become the release.
fn unlike(why: String, is_progressive: bool, release: &Release) -> Failure {
    let named = sides::named(release);
    let hint = match is_progressive {
        true => format!(
            "deploy it with its share again: `sortie deploy PATH... {named} --strategy canary --progressive PERCENT`, then promote it; or give its pods back first: `sortie cancel {named}`, then `sortie deploy PATH... {named}`"
        ),
        false => format!(
            "deploy it as a canary first; or let everybody have it as it is: `sortie deploy PATH... {named}`, then `sortie cancel {named}`"
        ),
    };
    Failure {
        code: Some("SRT-Z019".to_owned()),
        ..Failure::new(Exit::Failed, why)
    }
    .hint(hint)
}
