//! `sortie history`: the releases that are kept.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use sortie_cluster::record::{Head, History, Unreadable};

use super::{records, sides};
use crate::args::{Output, ReleaseArgs};
use crate::exit::{Exit, Failure, Result};
use crate::{Surroundings, print};

/// One release number, as `-o json` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    /// Absent when the Secret has not the name of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    status: &'static str,
    /// Absent, as colour and role, where it is the whole release.
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    /// The three in words.
    #[serde(skip)]
    side: String,
    message: Cow<'a, str>,
    /// Absent, as all that follow, when the record cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
}

impl<'a> From<&'a Head> for Row<'a> {
    fn from(head: &'a Head) -> Self {
        Self {
            number: Some(head.number),
            status: head.status.name(),
            track: head.side.track.as_deref(),
            color: head.side.color.as_deref(),
            role: head.side.role.as_deref(),
            side: sides::word(head),
            message: head.message.as_str().into(),
            objects: Some(head.inventory.len()),
            requested_by: Some(&head.asked_by.user),
            execution: Some(&head.asked_by.execution),
            created_at: Some(head.created_at),
            updated_at: Some(head.updated_at),
        }
    }
}

impl<'a> From<&'a Unreadable> for Row<'a> {
    fn from(record: &'a Unreadable) -> Self {
        Self {
            number: record.number,
            status: record.status(),
            track: None,
            color: None,
            role: None,
            side: String::new(),
            message: described(record).into(),
            objects: None,
            requested_by: None,
            execution: None,
            created_at: record.created_at,
            updated_at: None,
        }
    }
}

/// What is wrong with a record and what to do about it.
pub(super) fn described(record: &Unreadable) -> String {
    let code = record.why.code();
    format!("{code}: {}. {}", record.why, record.why.advice())
}

/// A row for each record, the newest first; those without a number last.
fn rows(history: &History) -> Vec<Row<'_>> {
    let unreadable = history.unreadable().iter().map(Row::from);
    let mut rows: Vec<Row<'_>> = history.heads().map(Row::from).chain(unreadable).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.number));
    rows
}

/// List them, newest first.
pub(crate) async fn run(args: &ReleaseArgs, around: &Surroundings) -> Result {
    let (_cluster, records) = records(args).await?;
    let history = records.history().await?;
    let rows = rows(&history);
    if rows.is_empty() {
        return Err(nothing(records.release()));
    }
    match around.output {
        Output::Json => print::json(&serde_json::json!({ "items": rows })),
        Output::Text => {
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|row| {
                    [
                        row.number.map(|number| number.to_string()),
                        Some(row.status.to_owned()),
                        Some(row.side.clone()),
                        row.objects.map(|count| count.to_string()),
                        row.created_at.map(print::time),
                        row.requested_by.map(str::to_owned),
                        Some(row.message.to_string()),
                    ]
                    .map(Option::unwrap_or_default)
                    .to_vec()
                })
                .collect();
            let header = [
                "NUMBER", "STATUS", "SIDE", "OBJECTS", "BEGUN", "BY", "MESSAGE",
            ];
            print::rows(&header, &cells);
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
    Failure {
        code: Some("SRT-Z016".to_owned()),
        ..Failure::new(Exit::NotFound, message)
    }
    .hint("look at --release, --namespace and --kube-context")
}
