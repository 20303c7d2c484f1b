//! `sortie rollback`: the last good release back, from here.

use serde_json::{Value, json};
use sortie_step::task::{Action, RollingRollback, Target};

use super::follow::{self, Job, WayBack};
use super::view::Look;
use super::{deployed, sides};
use crate::args::{Output, Rollback};
use crate::exit::{Exit, Result};
use crate::{Surroundings, print};

/// Roll back and follow to steady state.
pub(crate) async fn run(args: &Rollback, around: &Surroundings) -> Result {
    let Rollback {
        release,
        to,
        delete_storage,
        kept,
        timeout,
    } = args;
    let (cluster, records, history) = deployed(release).await?;
    sides::check_whole(&history, records.release())?;
    let canary = sides::canary(&history).map(|head| head.number);
    let namespace = records.release().namespace();
    let job = Job {
        verb: "rollback",
        look: Look::Whole,
        history: kept.history.into(),
        way_back: WayBack::Again,
        cluster,
        namespace: namespace.to_owned(),
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
        Output::Text => {
            print::line(&told(&release.release, namespace, &outputs));
            if let Some(number) = canary {
                let named = format!("-n {namespace} --release {}", release.release);
                print::note(&format!(
                    "its canary, number {number}, runs on: `sortie cancel {named}` deletes it"
                ));
            }
        }
    }
    Ok(Exit::Done)
}

fn told(release: &str, namespace: &str, outputs: &Value) -> String {
    let number = |key: &str| outputs.get(key).and_then(Value::as_u64);
    match (number("releaseNumber"), number("recordNumber")) {
        (Some(good), Some(own)) => format!(
            "release {release} number {own}, with the content of number {good}, runs in namespace {namespace}"
        ),
        (Some(good), None) => {
            format!("release {release} number {good} runs in namespace {namespace}")
        }
        (None, _) => {
            let reason = outputs.get("reason").and_then(Value::as_str);
            format!(
                "release {release}: {}",
                reason.unwrap_or("nothing to roll back")
            )
        }
    }
}
