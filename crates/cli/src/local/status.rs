//! `sortie status`: the newest number of a release, its objects and their health.

use futures::{StreamExt as _, stream};
use serde::Serialize;
use sortie_cluster::Cluster;
use sortie_cluster::record::{Head, Status, Tracked};
use sortie_health::Verdict;

use super::history::{described, nothing};
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

/// Read every object of what runs once. The exit says whether the newest release ended well, or was rolled back well,
/// and its objects are healthy; of a newest one whose record cannot be read it is not known.
pub(crate) async fn run(args: &ReleaseArgs, around: &Surroundings) -> Result {
    let (cluster, records) = records(args).await?;
    let history = records.history().await?;
    let Some(newest) = history.newest() else {
        let unreadable = history.into_unreadable().into_iter().next_back();
        return Err(
            unreadable.map_or_else(|| nothing(records.release()), |record| record.why.into())
        );
    };
    let newest = &newest.head;
    let unreadable = history.unreadable();
    let newer_is_lost = unreadable
        .iter()
        .any(|record| record.number > Some(newest.number));
    let restored = restored(newest).and_then(|number| history.number(number));
    let runs = restored.map_or(newest, |stored| &stored.head);
    let looked: Vec<Result<Row>> = stream::iter(&runs.inventory)
        .map(|tracked| look(&cluster, tracked))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let rows = looked.into_iter().collect::<Result<Vec<Row>>>()?;
    match around.output {
        Output::Json => print::json(&serde_json::json!({
            "release": newest.release, "namespace": newest.namespace, "number": newest.number,
            "status": newest.status.name(), "message": newest.message,
            "running": runs.number, "objects": rows,
            "unreadable": unreadable.iter().map(|record| serde_json::json!({
                "number": record.number, "secret": record.secret, "status": record.status(),
                "message": described(record),
            })).collect::<Vec<_>>(),
        })),
        Output::Text => {
            show(newest, runs, &rows);
            for record in unreadable {
                print::note(&harmless(&format!("warning: {}", described(record))));
            }
        }
    }
    let well = rows
        .iter()
        .all(|row| matches!(row.health, "Healthy" | "Suspended"));
    let ended_well = matches!(runs.status, Status::Succeeded | Status::Superseded);
    Ok(if well && ended_well && !newer_is_lost {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The number that a rollback brought back after this one, as its journal says.
fn restored(head: &Head) -> Option<u64> {
    let last = head
        .journal
        .iter()
        .rev()
        .find(|entry| entry.unit == "Rollback")?;
    last.what
        .strip_prefix("rolled back to number ")?
        .parse()
        .ok()
}

fn show(newest: &Head, runs: &Head, rows: &[Row]) {
    let Head {
        release,
        namespace,
        number,
        status,
        message,
        ..
    } = newest;
    let mut first = format!(
        "{release} number {number} in namespace {namespace}: {}",
        status.name()
    );
    if !message.is_empty() {
        first.push_str(&format!(" ({message})"));
    }
    if runs.number != *number {
        first.push_str(&format!(
            "; rolled back to number {}, which runs now",
            runs.number
        ));
    }
    print::line(&harmless(&first));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let Row {
                kind,
                namespace,
                name,
                health,
                message,
            } = row;
            let namespace = namespace.clone().unwrap_or_default();
            vec![
                kind.clone(),
                namespace,
                name.clone(),
                (*health).to_owned(),
                message.clone(),
            ]
        })
        .collect();
    print::rows(&["KIND", "NAMESPACE", "NAME", "HEALTH", "MESSAGE"], &cells);
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
