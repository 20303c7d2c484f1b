//! `sortie cancel`: what runs beside the version with the traffic goes, from here.

use serde_json::{Value, json};
use sortie_cluster::record::{Head, History, Release, STAGE};
use sortie_step::task::Action;

use super::sides::{self, Colors, numbered};
use super::{follow, history, records, swap};
use crate::args::{Cancel, Output};
use crate::exit::{Exit, Result};
use crate::{Surroundings, print};

/// Cancel and follow to the end.
pub(crate) async fn run(args: &Cancel, around: &Surroundings) -> Result {
    let Cancel {
        release,
        previous,
        timeout,
    } = args;
    let (cluster, records) = records(release).await?;
    let history = records.history().await?;
    let release = records.release();
    if history.is_empty() {
        return Err(history::nothing(release));
    }
    let Some((action, told)) = choose(&history, release, *previous)? else {
        let reason = nothing(&history);
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
        Output::Text => print::line(&match outputs.get("reason").and_then(Value::as_str) {
            Some(reason) => format!("release {}: {reason}", release.name()),
            None => told,
        }),
    }
    Ok(Exit::Done)
}

/// Why nothing goes. What a stage that never ended well has left is no deployment that could be scaled.
fn nothing(history: &History) -> String {
    let mut sides = sortie_step::inspect::sides(history).into_iter();
    let failed = sides.find(|head| head.side.role.as_deref() == Some(STAGE));
    match failed {
        Some(head) => format!(
            "{} did not end well and has no traffic; the next deployment takes its place: nothing to cancel",
            numbered(head)
        ),
        None => "neither a canary nor anything in the stage: nothing to cancel".to_owned(),
    }
}

/// What goes, and what is said of it afterwards. `None`: there is nothing.
fn choose(
    history: &History,
    release: &Release,
    previous: bool,
) -> Result<Option<(Action, String)>> {
    let (name, namespace) = (release.name(), release.namespace());
    if let Some(Head { number, .. }) = sides::canary(history) {
        if previous {
            let text = format!("release {name} has a canary, and no version from before a swap");
            return Err(sides::unsuited(text).hint("leave --previous out to delete the canary"));
        }
        let told = format!(
            "canary of release {name}, number {number}, is deleted from namespace {namespace}"
        );
        return Ok(Some((Action::CanaryDelete, told)));
    }
    let Some(colors) = Colors::of(history) else {
        return Ok(None);
    };
    let stage = numbered(colors.stage);
    match (colors.newer_primary(), previous) {
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
        _ => {
            let told =
                format!("release {name}: {stage} has no pods any more in namespace {namespace}");
            Ok(Some((Action::StageScaleDown, told)))
        }
    }
}
