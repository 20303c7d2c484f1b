//! `sortie status`: the newest number of a release, its objects and their health.

use jiff::Timestamp;
use serde::Serialize;
use sortie_cluster::lease::Holder;
use sortie_cluster::record::{Head, History, Records, Status, Unreadable};
use sortie_cluster::{Cause, Cluster};

use super::history::{described, nothing};
use super::objects::{self, ended};
use super::sides::{Shown, Side};
use super::{records, sides};
use crate::args::{Output, ReleaseArgs};
use crate::exit::{Exit, Failure, Result};
use crate::style::harmless;
use crate::{Surroundings, clock, duration, print};

/// Who works on the release at the moment, as `-o json` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Holding {
    holder: String,
    acquired_at: Option<Timestamp>,
    renewed_at: Option<Timestamp>,
    /// Since it was taken.
    age_seconds: Option<i64>,
    /// Not renewed in time: its holder is gone, and the next task takes over.
    expired: bool,
}

/// The release, as `-o json` has it: the side with the traffic, and what stands beside it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    release: &'a str,
    namespace: &'a str,
    #[serde(flatten)]
    side: Shown<'a>,
    lease: Option<Holding>,
    beside: Vec<Shown<'a>>,
    unreadable: Vec<serde_json::Value>,
}

/// Read every object of what runs once. The exit says whether the newest number of each side ended well, or was rolled back
/// well, and its objects are healthy; of a newest one whose record cannot be read it is not known.
pub(crate) async fn run(args: &ReleaseArgs, around: &Surroundings) -> Result {
    let (cluster, records) = records(args).await?;
    let history = records.history().await?;
    let holding = holding(&cluster, &records).await?;
    let looked = sides::look(&cluster, &records, &history).await?;
    let mut shown = looked.iter().map(Shown::from);
    let Some(first) = shown.next() else {
        return Err(unknown(history, &records, holding.as_ref()));
    };
    let unreadable = history.unreadable();
    match around.output {
        Output::Json => print::json(&Told {
            release: records.release().name(),
            namespace: records.release().namespace(),
            side: first,
            lease: holding,
            beside: shown.collect(),
            unreadable: unreadable.iter().map(damaged).collect(),
        }),
        Output::Text => {
            for (at, side) in looked.iter().enumerate() {
                print::line(&harmless(&headline(side, at == 0)));
                if let Some(holding) = holding.as_ref().filter(|_| at == 0) {
                    print::line(&harmless(&holding.to_string()));
                }
                objects::show(&side.objects);
            }
            for record in unreadable {
                print::note(&harmless(&format!("warning: {}", described(record))));
            }
        }
    }
    let is_well =
        |side: &Side<'_>| matches!(side.runs.status, Status::Succeeded | Status::Superseded);
    let newest = history.newest().map(|stored| stored.head.number);
    let newer_is_lost = unreadable.iter().any(|record| record.number > newest);
    Ok(if looked.iter().all(is_well) && !newer_is_lost {
        ended(looked.iter().flat_map(|side| &side.objects))
    } else {
        Exit::Failed
    })
}

fn damaged(record: &Unreadable) -> serde_json::Value {
    serde_json::json!({
        "number": record.number, "secret": record.secret, "status": record.status(),
        "message": described(record),
    })
}

/// Why there is no release to show.
fn unknown(history: History, records: &Records, holding: Option<&Holding>) -> Failure {
    if let Some(record) = history.into_unreadable().pop() {
        return record.why.into();
    }
    let nothing = nothing(records.release());
    match holding {
        Some(holding) => nothing.hint(holding.to_string()),
        None => nothing,
    }
}

/// Who holds the release. An account that may not know is told nothing.
async fn holding(cluster: &Cluster, records: &Records) -> Result<Option<Holding>> {
    let release = records.release();
    let holder = Holder::of(cluster, release.namespace(), &release.lease_name()).await;
    match holder {
        Ok(holder) => Ok(holder.map(|holder| Holding::at(holder, clock::now()))),
        Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Holding {
    fn at(holder: Holder, now: Timestamp) -> Self {
        let lasts = jiff::SignedDuration::try_from(holder.lasts).unwrap_or_default();
        let is_late = |renewed: Timestamp| now.duration_since(renewed) > lasts;
        Self {
            holder: holder.name,
            acquired_at: holder.acquired_at,
            renewed_at: holder.renewed_at,
            age_seconds: holder
                .acquired_at
                .map(|taken| now.duration_since(taken).as_secs().max(0)),
            expired: holder.renewed_at.is_some_and(is_late),
        }
    }
}

impl std::fmt::Display for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} holds the release", self.holder)?;
        if let Some(age) = self.age_seconds {
            let age = duration::show(jiff::SignedDuration::from_secs(age));
            write!(f, " for {age}")?;
        }
        if self.expired {
            f.write_str(", and is gone: it has not renewed its lease; the next task takes over")?;
        }
        Ok(())
    }
}

/// What runs on a side, and what became of it; the first one names the release.
fn headline(side: &Side<'_>, is_first: bool) -> String {
    let Head {
        release,
        namespace,
        number,
        status,
        message,
        ..
    } = side.newest;
    let word = match sides::word(side.newest) {
        word if word.is_empty() => word,
        word => format!(", {word}"),
    };
    let mut line = if is_first {
        let end = if word.is_empty() { "" } else { "," };
        format!("{release} number {number}{word}{end} in namespace {namespace}: ")
    } else {
        format!("and number {number}{word}: ")
    };
    line.push_str(status.name());
    if !message.is_empty() {
        line.push_str(&format!(" ({message})"));
    }
    if side.runs.number != *number {
        line.push_str(&format!(
            "; rolled back to number {}, which runs now",
            side.runs.number
        ));
    }
    match side.services.as_slice() {
        [] if side.newest.side.color.is_some() => line.push_str("; no Service selects it"),
        [] => {}
        [one] => line.push_str(&format!("; Service {one} selects it")),
        several => line.push_str(&format!("; Services {} select it", several.join(", "))),
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_holder_is_told_with_its_age() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let holder = |renewed| Holder {
            name: "ann@laptop".to_owned(),
            acquired_at: Some(at(100)),
            renewed_at: Some(at(renewed)),
            lasts: Duration::from_secs(15),
        };
        for (renewed, expected) in [
            (163, "ann@laptop holds the release for 1 m 05 s"),
            (
                140,
                "ann@laptop holds the release for 1 m 05 s, and is gone: it has not renewed its lease; the next task takes over",
            ),
        ] {
            let holding = Holding::at(holder(renewed), at(165));
            assert_eq!(holding.to_string(), expected);
        }
    }
}
