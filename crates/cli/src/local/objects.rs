//! How objects are right now, in the same words for every verb that tells it.

use serde::Serialize;
use sortie_cluster::Cluster;
use sortie_cluster::record::{Head, History, Release, Tracked};
use sortie_health::{Status, Verdict};
use sortie_manifest::{Object, ObjectId};
use sortie_step::health_rules;
use sortie_step::inspect::{Inspected, Trouble, inspect};

use crate::exit::{Exit, Result};
use crate::print;
use crate::style::harmless;

/// One object, as `-o json` has it on a line of its own.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    /// API group; empty for the core group.
    group: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    status: &'static str,
    message: &'a str,
    /// Why its pods do not get there, as a failed deployment would say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<Told<'a>>,
}

/// Why the pods of a workload do not get there, as `-o json` has it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    code: &'static str,
    explanation: &'a str,
    hint: &'static str,
}

impl<'a> From<&'a Inspected> for Row<'a> {
    fn from(inspected: &'a Inspected) -> Self {
        let Inspected {
            id:
                ObjectId {
                    group,
                    kind,
                    namespace,
                    name,
                },
            verdict: Verdict { status, message },
            trouble,
            ..
        } = inspected;
        Self {
            group,
            kind,
            namespace: namespace.as_deref(),
            name,
            status: status.as_str(),
            message,
            trouble: trouble.as_ref().map(Told::from),
        }
    }
}

impl<'a> From<&'a Trouble> for Told<'a> {
    fn from(trouble: &'a Trouble) -> Self {
        let Trouble {
            code,
            explanation,
            hint,
        } = trouble;
        Self {
            code,
            explanation,
            hint,
        }
    }
}

/// Done when each is healthy, or stopped on purpose; not allowed when nothing is wrong but that some may not be read.
pub(super) fn ended<'a>(inspected: impl IntoIterator<Item = &'a Inspected>) -> Exit {
    let is_well =
        |one: &Inspected| matches!(one.verdict.status, Status::Healthy | Status::Suspended);
    let mut ill = inspected.into_iter().filter(|one| !is_well(one)).peekable();
    if ill.peek().is_none() {
        Exit::Done
    } else if ill.all(|one| one.is_forbidden) {
        Exit::NotAllowed
    } else {
        Exit::Failed
    }
}

/// The number whose objects run now: the newest of its side, or the one that a rollback of it brought back.
pub(super) fn running<'a>(history: &'a History, newest: &'a Head) -> &'a Head {
    let restored = restored(newest).and_then(|number| history.number(number));
    restored.map_or(newest, |stored| &stored.head)
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

/// These objects of a release. What is in these Secrets of its records is not shown.
pub(super) async fn of_release(
    cluster: &Cluster,
    release: &Release,
    tracked: &[Tracked],
    secrets: Vec<Object>,
) -> Result<Vec<Inspected>> {
    let namespaces = [release.namespace(), health_rules::SHARED_NAMESPACE];
    let rules = health_rules::read(cluster, &namespaces).await?.rules;
    let hash = release.hash();
    Ok(inspect(cluster, Some(&hash), tracked, &rules, secrets).await?)
}

/// A table, and below it what is wrong with pods.
pub(super) fn show(inspected: &[Inspected]) {
    let cells = |one: &Inspected| {
        vec![
            one.id.kind.clone(),
            one.id.namespace.clone().unwrap_or_default(),
            one.id.name.clone(),
            one.verdict.status.as_str().to_owned(),
            one.verdict.message.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = inspected.iter().map(cells).collect();
    print::rows(&["KIND", "NAMESPACE", "NAME", "HEALTH", "MESSAGE"], &rows);
    for one in inspected {
        let Some(Trouble {
            code,
            explanation,
            hint,
        }) = &one.trouble
        else {
            continue;
        };
        let id = &one.id;
        print::line(&harmless(&format!("{id}: {code}: {explanation}")));
        print::line(&format!("  what to do: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_told_only_when_nothing_else_is_wrong() {
        let one = |status, is_forbidden| Inspected {
            id: ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: None,
                name: "a".into(),
            },
            verdict: Verdict::new(status, "so"),
            trouble: None,
            is_forbidden,
        };
        let well = || one(Status::Healthy, false);
        let forbidden = || one(Status::Unknown, true);
        assert_eq!(ended(&[well(), one(Status::Suspended, false)]), Exit::Done);
        assert_eq!(ended(&[well(), forbidden()]), Exit::NotAllowed);
        let ill = one(Status::Progressing, false);
        assert_eq!(ended(&[forbidden(), ill]), Exit::Failed);
        assert_eq!(
            ended(&[one(Status::Unknown, false), forbidden()]),
            Exit::Failed
        );
    }
}
