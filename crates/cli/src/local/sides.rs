//! What stands beside what in a release, and which verb suits it.

use std::collections::HashSet;

use serde::Serialize;
use sortie_cluster::Cluster;
use sortie_cluster::record::{Head, History, PRIMARY, Records, Release, STAGE, Tracked};
use sortie_step::inspect::{Inspected, recorded_secrets, services, sides};

use super::objects::{self, Row};
use crate::exit::{Exit, Failure, Result};

/// One side of a release as it is now.
pub(super) struct Side<'a> {
    /// Its newest number.
    pub(super) newest: &'a Head,
    /// The number whose objects run: the newest, or the one that a rollback of it brought back.
    pub(super) runs: &'a Head,
    /// Names of the Services that select its colour.
    pub(super) services: Vec<String>,
    /// What runs.
    pub(super) objects: Vec<Inspected>,
}

/// The same, as `-o json` has it.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    pub(super) number: u64,
    pub(super) status: &'static str,
    pub(super) message: &'a str,
    pub(super) running: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) track: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) color: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) services: &'a [String],
    pub(super) objects: Vec<Row<'a>>,
}

/// Look at every side that stands: the one with the traffic first. All objects are read as one set, so that a Service of one
/// finds the pods of the other; each is shown once.
pub(super) async fn look<'a>(
    cluster: &Cluster,
    records: &Records,
    history: &'a History,
) -> Result<Vec<Side<'a>>> {
    let mut looked: Vec<(Side<'a>, usize)> = Vec::new();
    let mut tracked: Vec<Tracked> = Vec::new();
    let mut known = HashSet::new();
    for newest in sides(history) {
        let runs = objects::running(history, newest);
        let own = runs.inventory.iter();
        let own = own.filter(|tracked| known.insert(tracked.id.clone()));
        let before = tracked.len();
        tracked.extend(own.cloned());
        let services = services(cluster, newest).await?;
        let side = Side {
            newest,
            runs,
            services: services.into_iter().map(|service| service.name).collect(),
            objects: Vec::new(),
        };
        looked.push((side, tracked.len() - before));
    }
    // Where a rollback has brought another back, pods of the newest number may still fail.
    let heads = looked.iter().flat_map(|(side, _)| {
        let newest = Some(side.newest).filter(|newest| newest.number != side.runs.number);
        newest.into_iter().chain([side.runs])
    });
    let secrets = recorded_secrets(records, heads).await;
    let release = records.release();
    let inspected = objects::of_release(cluster, release, &tracked, secrets).await?;
    let mut inspected = inspected.into_iter();
    let filled = looked.into_iter().map(|(mut side, count)| {
        side.objects.extend(inspected.by_ref().take(count));
        side
    });
    Ok(filled.collect())
}

impl<'a> From<&'a Side<'_>> for Shown<'a> {
    fn from(side: &'a Side<'_>) -> Self {
        let head = side.newest;
        Self {
            number: head.number,
            status: head.status.name(),
            message: &head.message,
            running: side.runs.number,
            track: head.side.track.as_deref(),
            color: head.side.color.as_deref(),
            role: head.side.role.as_deref(),
            services: &side.services,
            objects: side.objects.iter().map(Row::from).collect(),
        }
    }
}

/// `canary`, `blue (primary)`; empty for a release as a whole.
pub(super) fn word(head: &Head) -> String {
    let side = &head.side;
    let word = side.track.as_deref().or(side.color.as_deref());
    let role = side.role.as_deref();
    let role = role.map_or_else(String::new, |role| format!(" ({role})"));
    format!("{}{role}", word.unwrap_or_default())
}

/// The canary that stands beside the release.
pub(super) fn canary(history: &History) -> Option<&Head> {
    sides(history)
        .into_iter()
        .find(|head| head.side.is_canary())
}

/// The colours of a release: the one without traffic, and the one that has it where something runs there.
pub(super) struct Colors<'a> {
    /// The newest number in the colour without traffic.
    pub(super) stage: &'a Head,
    primary: Option<&'a Head>,
}

impl<'a> Colors<'a> {
    /// `None`: nothing stands in the colour without traffic, so that there is nothing to swap.
    pub(super) fn of(history: &'a History) -> Option<Self> {
        let primary = history.standing(PRIMARY);
        Some(Self {
            stage: &history.standing(STAGE)?.head,
            primary: primary.map(|stored| &stored.head),
        })
    }

    /// The colour with the traffic when that is the newer one: it was swapped.
    pub(super) fn newer_primary(&self) -> Option<&'a Head> {
        self.primary
            .filter(|primary| primary.number > self.stage.number)
    }
}

/// `number 2 (blue)`.
pub(super) fn numbered(head: &Head) -> String {
    let color = head.side.color.as_deref().unwrap_or_default();
    format!("number {} ({color})", head.number)
}

/// Deployed in place of a release of two colours, the set would let its Service select both.
pub(super) fn check_deployable(history: &History, release: &Release) -> Result<()> {
    if !history.is_of_colors() {
        return Ok(());
    }
    let text = format!(
        "release {} is blue-green: its Services select one of two colours",
        release.name()
    );
    Err(unsuited(text).hint(
        "add --strategy blue-green; to deploy it otherwise, uninstall it or choose another release name",
    ))
}

/// A rollback knows whole releases alone.
pub(super) fn check_whole(history: &History, release: &Release) -> Result<()> {
    if !history.is_of_colors() {
        return Ok(());
    }
    let named = named(release);
    let hint = match Colors::of(history) {
        Some(colors) if colors.newer_primary().is_some() => format!(
            "`sortie swap {named}` goes back to {}",
            numbered(colors.stage)
        ),
        Some(colors) => format!(
            "the version with the traffic was not touched; `sortie cancel {named}` takes the pods of {}",
            numbered(colors.stage)
        ),
        None if history.standing(PRIMARY).is_none() => format!(
            "no version of it has the traffic yet; correct the set and deploy it again, or `sortie cancel {named}` takes its pods away"
        ),
        None => "the version with the traffic was not touched; correct the set and deploy it again"
            .to_owned(),
    };
    let text = format!(
        "release {} is blue-green: its way back is a swap, not a rollback",
        release.name()
    );
    Err(unsuited(text).hint(hint))
}

/// What names a release on the command line.
pub(super) fn named(release: &Release) -> String {
    format!("-n {} --release {}", release.namespace(), release.name())
}

/// A verb that does not suit how the release is deployed.
pub(super) fn unsuited(text: String) -> Failure {
    Failure {
        code: Some("SRT-Z020".to_owned()),
        ..Failure::new(Exit::Usage, text)
    }
}

/// Neither a canary nor another colour.
pub(super) fn alone(release: &Release, what: &str) -> Failure {
    let text = format!(
        "release {} in namespace {} has neither a canary nor anything in its stage that ended well: nothing to {what}",
        release.name(),
        release.namespace()
    );
    Failure {
        code: Some("SRT-Z018".to_owned()),
        ..Failure::new(Exit::NotFound, text)
    }
    .hint("deploy with --strategy canary or blue-green first; `sortie status` shows what runs")
}
