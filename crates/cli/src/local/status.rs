//! `sortie status`: the newest number of a release, its objects and their health.

use futures::{StreamExt as _, stream};
use serde::Serialize;
use sortie_cluster::Cluster;
use sortie_cluster::record::{Head, Tracked};
use sortie_health::Verdict;

use super::history::nothing;
use super::records;
use crate::args::{Output, ReleaseArgs};
use crate::exit::{Exit, Result};
use crate::style::harmless;
use crate::{Surroundings, print};

/// Objects that are read at a time.
const AT_ONCE: usize = 16;

/// One object, as `-o json` has it.
#[derive(Debug, Serialize)]
struct Row {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    health: &'static str,
    message: String,
}

/// Read every object of the newest release once. The exit says whether the newest release ended well and its objects are
/// healthy.
pub(crate) async fn run(args: &ReleaseArgs, around: &Surroundings) -> Result {
    let (cluster, records) = records(args).await?;
    let history = records.history().await?;
    let Some(newest) = history.newest() else {
        return Err(nothing(records.release()));
    };
    let head = &newest.head;
    let looked: Vec<Result<Row>> = stream::iter(&head.inventory)
        .map(|tracked| look(&cluster, tracked))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let rows = looked.into_iter().collect::<Result<Vec<Row>>>()?;
    match around.output {
        Output::Json => print::json(&serde_json::json!({
            "release": head.release, "namespace": head.namespace, "number": head.number,
            "status": head.status.name(), "message": head.message, "objects": rows,
        })),
        Output::Text => show(head, &rows),
    }
    let well = rows
        .iter()
        .all(|row| row.health == "Healthy" || row.health == "Suspended");
    let ended_well = matches!(
        head.status,
        sortie_cluster::record::Status::Succeeded | sortie_cluster::record::Status::Superseded
    );
    Ok(if well && ended_well {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn show(head: &Head, rows: &[Row]) {
    let mut first = format!(
        "{} number {} in namespace {}: {}",
        head.release,
        head.number,
        head.namespace,
        head.status.name()
    );
    if !head.message.is_empty() {
        first.push_str(&format!(" ({})", head.message));
    }
    print::line(&harmless(&first));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let namespace = row.namespace.clone().unwrap_or_default();
            vec![
                row.kind.clone(),
                namespace,
                row.name.clone(),
                row.health.to_owned(),
                row.message.clone(),
            ]
        })
        .collect();
    print::line(&print::table(
        &["KIND", "NAMESPACE", "NAME", "HEALTH", "MESSAGE"],
        &cells,
    ));
}

async fn look(cluster: &Cluster, tracked: &Tracked) -> Result<Row> {
    let id = &tracked.id;
    let found = cluster.find(id).await?;
    let Verdict { status, message } = match &found {
        Some((_, object)) => sortie_health::assess(object),
        None => Verdict::missing(),
    };
    Ok(Row {
        kind: id.kind.clone(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        health: status.as_str(),
        message,
    })
}
