//! How objects are right now, in the same words for every verb that tells it.

use serde::Serialize;
use sortie_cluster::Cluster;
use sortie_cluster::record::{Head, History, Release};
use sortie_health::Status;
use sortie_step::health_rules;
use sortie_step::inspect::{Inspected, Trouble, inspect};

use crate::exit::Result;
use crate::print;
use crate::style::harmless;

/// Why the pods of a workload do not get there, as `-o json` has it.
#[derive(Debug, Serialize)]
pub(super) struct Told<'a> {
    code: &'static str,
    explanation: &'a str,
    hint: &'static str,
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

/// Whether each is healthy, or stopped on purpose.
pub(super) fn are_well(inspected: &[Inspected]) -> bool {
    inspected
        .iter()
        .all(|one| matches!(one.verdict.status, Status::Healthy | Status::Suspended))
}

/// The number whose objects run now: the newest, or the one that a rollback of it brought back.
pub(super) fn running(history: &History) -> Option<&Head> {
    let newest = &history.newest()?.head;
    let restored = restored(newest).and_then(|number| history.number(number));
    Some(restored.map_or(newest, |stored| &stored.head))
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

/// The objects of one number of a release.
pub(super) async fn of_release(
    cluster: &Cluster,
    release: &Release,
    runs: &Head,
) -> Result<Vec<Inspected>> {
    let namespaces = [release.namespace(), health_rules::SHARED_NAMESPACE];
    let rules = health_rules::read(cluster, &namespaces).await?.rules;
    let hash = release.hash();
    Ok(inspect(cluster, Some(&hash), &runs.inventory, &rules).await?)
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
        let (kind, name) = (&one.id.kind, &one.id.name);
        print::line(&harmless(&format!("{kind}/{name}: {code}: {explanation}")));
        print::line(&format!("  what to do: {hint}"));
    }
}
