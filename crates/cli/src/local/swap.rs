//! `sortie swap`: the colours of a blue-green release exchange their traffic, from here.

use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::Cluster;
use sortie_cluster::record::Release;
use sortie_step::task::{Action, StageScaleUp, SwapServices};

use super::follow::{self, Job, WayBack};
use super::sides::{self, Colors};
use super::view::Look;
use super::{deployed, number, text};
use crate::args::{Output, Swap};
use crate::exit::{Exit, Result};
use crate::{Surroundings, print};

/// The code of a colour that was scaled down.
const SCALED_DOWN: &str = "SRT-T066";

/// Swap and follow to the end.
pub(crate) async fn run(args: &Swap, around: &Surroundings) -> Result {
    let Swap {
        release,
        settle,
        scale_up,
        timeout,
    } = args;
    let (cluster, records, history) = deployed(release).await?;
    if Colors::of(&history).is_none() {
        return Err(sides::alone(records.release(), "swap"));
    }
    let release = records.release();
    if *scale_up {
        let action = Action::StageScaleUp(StageScaleUp::default());
        follow::run(job("swap", &cluster, release, *timeout, action), around).await?;
    }
    swap(
        "swap",
        (&cluster, release),
        (settle.settle, *timeout),
        around,
    )
    .await
}

/// Swap, for this verb.
pub(super) async fn swap(
    verb: &'static str,
    (cluster, release): (&Cluster, &Release),
    (settle, timeout): (Duration, Duration),
    around: &Surroundings,
) -> Result {
    let action = Action::SwapServices(SwapServices {
        settle,
        ..SwapServices::default()
    });
    let outputs = follow::run(job(verb, cluster, release, timeout, action), around);
    let outputs = outputs.await.map_err(|failure| {
        if failure.code.as_deref() != Some(SCALED_DOWN) {
            return failure;
        }
        let named = sides::named(release);
        failure.hint(format!(
            "`sortie swap {named} --scale-up` gives it its pods back first"
        ))
    })?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }));
        }
        Output::Text => print::line(&told(release, &outputs)),
    }
    Ok(Exit::Done)
}

fn told(release: &Release, outputs: &Value) -> String {
    let name = release.name();
    if outputs.get("swapped") != Some(&Value::Bool(true)) {
        return format!("release {name}: {}", text(outputs, "reason"));
    }
    let (new, old) = (text(outputs, "primaryColor"), text(outputs, "stageColor"));
    format!(
        "release {name} number {} ({new}) has the traffic in namespace {}; {old} has none",
        number(outputs, "releaseNumber"),
        release.namespace()
    )
}

/// A step on a release that has no options but its own.
pub(super) fn job(
    verb: &'static str,
    cluster: &Cluster,
    release: &Release,
    timeout: Duration,
    action: Action,
) -> Job {
    Job {
        verb,
        look: Look::Whole,
        history: sortie_step::Limits::default().history,
        way_back: WayBack::Again,
        cluster: cluster.clone(),
        namespace: release.namespace().to_owned(),
        release: release.name().to_owned(),
        timeout,
        action,
    }
}
