//! `sortie history`: the releases that are kept.

use jiff::Timestamp;
use serde::Serialize;
use sortie_cluster::record::Head;

use super::records;
use crate::args::{Output, ReleaseArgs};
use crate::exit::{Exit, Failure, Result};
use crate::{Surroundings, print};

/// One release number, as `-o json` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    number: u64,
    status: &'static str,
    message: &'a str,
    objects: usize,
    requested_by: &'a str,
    execution: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a Head> for Row<'a> {
    fn from(head: &'a Head) -> Self {
        Self {
            number: head.number,
            status: head.status.name(),
            message: &head.message,
            objects: head.inventory.len(),
            requested_by: &head.asked_by.user,
            execution: &head.asked_by.execution,
            created_at: head.created_at,
            updated_at: head.updated_at,
        }
    }
}

/// List them, newest first.
pub(crate) async fn run(args: &ReleaseArgs, around: &Surroundings) -> Result {
    let (_cluster, records) = records(args).await?;
    let history = records.history().await?;
    let heads: Vec<&Head> = history.heads().rev().collect();
    if heads.is_empty() {
        return Err(nothing(records.release()));
    }
    let rows: Vec<Row<'_>> = heads.into_iter().map(Row::from).collect();
    match around.output {
        Output::Json => print::json(&serde_json::json!({ "items": rows })),
        Output::Text => {
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|row| {
                    vec![
                        row.number.to_string(),
                        row.status.to_owned(),
                        row.objects.to_string(),
                        print::time(row.created_at),
                        row.requested_by.to_owned(),
                        row.message.to_owned(),
                    ]
                })
                .collect();
            let header = ["NUMBER", "STATUS", "OBJECTS", "BEGUN", "BY", "MESSAGE"];
            print::line(&print::table(&header, &cells));
        }
    }
    Ok(Exit::Done)
}

/// There is no record at all.
pub(super) fn nothing(release: &sortie_cluster::record::Release) -> Failure {
    let message = format!(
        "there is no release {} in namespace {}",
        release.name(),
        release.namespace()
    );
    Failure::new(Exit::NotFound, message).hint("look at --release, --namespace and --kube-context")
}
