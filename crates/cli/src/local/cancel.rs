//! `sortie cancel`: what runs beside the version with the traffic goes, from here.

use serde_json::{Value, json};
use sortie_cluster::record::{Head, History, Release};
use sortie_step::inspect::{fallen_stage, former_whole};
use sortie_step::task::{Action, StageScaleDown};

use super::sides::{self, Colors, numbered};
use super::{deployed, follow, number, swap, text};
use crate::args::{Cancel, Output};
use crate::exit::{Exit, Failure, Result};
use crate::{Surroundings, print};

/// Cancel and follow to the end.
pub(crate) async fn run(args: &Cancel, around: &Surroundings) -> Result {
    let Cancel {
        release,
        previous,
        timeout,
    } = args;
    let (cluster, records, history) = deployed(release).await?;
    let release = records.release();
    let Some(action) = choose(&history, release, *previous)? else {
        let reason = "neither a canary nor anything in the stage: nothing to cancel";
        match around.output {
            Output::Json => {
                let outputs =
                    json!({"releaseName": release.name(), "canceled": false, "reason": reason});
                print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }));
            }
            Output::Text => print::line(&format!("release {}: {reason}", release.name())),
        }
        return Ok(Exit::Done);
    };
    let job = swap::job("cancel", &cluster, release, *timeout, action);
    let outputs = follow::run(job, around).await?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }));
        }
        Output::Text => print::line(&told(release, &outputs)),
    }
    Ok(Exit::Done)
}

/// What was done, by what the step says of it.
fn told(release: &Release, outputs: &Value) -> String {
    let (name, namespace) = (release.name(), release.namespace());
    if let Some(reason) = outputs.get("reason").and_then(Value::as_str) {
        return format!("release {name}: {reason}");
    }
    if outputs.get("canaryDeleted").is_some() {
        return format!("release {name}: the canary is deleted from namespace {namespace}");
    }
    format!(
        "release {name}: number {} ({}) has no pods any more in namespace {namespace}",
        number(outputs, "releaseNumber"),
        text(outputs, "stageColor")
    )
}

/// What goes. `None`: there is nothing.
fn choose(history: &History, release: &Release, previous: bool) -> Result<Option<Action>> {
    let name = release.name();
    if sides::canary(history).is_some() {
        if previous {
            let text = format!("release {name} has a canary, and no version from before a swap");
            return Err(sides::unsuited(text).hint("leave --previous out to delete the canary"));
        }
        return Ok(Some(Action::CanaryDelete));
    }
    let colors = Colors::of(history);
    let newer_primary = colors.as_ref().and_then(Colors::newer_primary);
    let stage = colors.map(|colors| colors.stage);
    let Some(stage) = stage.or_else(|| fallen_stage(history)) else {
        return match former_whole(history) {
            Some(former) => Err(without_color(former)),
            None => Ok(None),
        };
    };
    let number = Some(stage.number);
    let stage = numbered(stage);
    match (newer_primary, previous) {
        (Some(primary), false) => {
            let named = sides::named(release);
            let text = format!(
                "{} has the traffic since a swap; {stage} had it before",
                numbered(primary)
            );
            Err(sides::unsuited(text).hint(format!(
                "`sortie swap {named}` goes back; `sortie cancel {named} --previous` takes the pods of {stage}"
            )))
        }
        (None, true) => {
            let text = format!("{stage} is the newest version: it has not had the traffic yet");
            Err(sides::unsuited(text).hint("leave --previous out to take its pods"))
        }
        // It takes those pods and no others, whoever swaps meanwhile.
        _ => Ok(Some(Action::StageScaleDown(StageScaleDown { number }))),
    }
}

/// What had the traffic before the first swap is no side of its own: some of its workloads may serve both colours by now.
fn without_color(former: &Head) -> Failure {
    let text = format!(
        "number {} had the traffic before the first swap; it was deployed without a colour, and cancel takes pods of a colour alone",
        former.number
    );
    sides::unsuited(text).hint("the next blue-green deployment deletes what neither colour uses")
}
