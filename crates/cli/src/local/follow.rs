//! Runs a step here and shows it: as a tree, as lines, or as JSON lines.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sortie_cluster::record::{History, PRIMARY};
use sortie_cluster::{Cluster, record};
use sortie_render::git::Network;
use sortie_render::tools::Search;
use sortie_step::inspect::is_progressive;
use sortie_step::policy::Policy;
use sortie_step::task::{Action, Owner, Release, RequestedBy, Task};
use sortie_step::{FailureKind, Limits, Nothing, Outcome, Renderer};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::said::{self, Said};
use super::view::{Look, View};
use crate::Surroundings;
use crate::exit::{Exit, Failure, Result};
use crate::stops::Stops;

/// How often what is shown is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

/// What a person can do after a step that failed, or that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WayBack {
    /// Give the same command again.
    Again,
    /// Or bring the last good release back.
    Rollback,
    /// Or take everything away: no release was good yet.
    Uninstall,
    /// Or take away what runs beside the present version.
    Cancel,
    /// Or give the present version the pods back that the canary has taken.
    Shared,
    /// Nothing needs to be brought back: the version with the traffic runs on.
    Untouched,
    /// Or take away what is there: no version of it has had the traffic yet.
    CancelFirst,
}

/// A step to run here.
#[derive(Debug)]
pub(super) struct Job {
    /// The verb, for people.
    pub(super) verb: &'static str,
    /// The cluster.
    pub(super) cluster: Cluster,
    /// Namespace of the release.
    pub(super) namespace: String,
    /// Release name.
    pub(super) release: String,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// What to do.
    pub(super) action: Action,
    /// How much is shown of it.
    pub(super) look: Look,
    /// How many records of the release are kept.
    pub(super) history: usize,
    /// What can be done when it does not come to its end.
    pub(super) way_back: WayBack,
}

/// Who asks for a step that runs here.
#[derive(Debug, PartialEq, Eq)]
struct Asker {
    /// For the release record.
    name: String,
    /// With the machine, for the Lease.
    address: String,
}

impl Asker {
    /// A process without a user's name, as in many containers, is known by its user id and machine.
    fn of(user: Option<&str>, uid: u32, host: &str) -> Self {
        match user {
            Some(user) => Self {
                name: user.to_owned(),
                address: format!("{user}@{host}"),
            },
            None => {
                let address = format!("uid {uid}@{host}");
                Self {
                    name: address.clone(),
                    address,
                }
            }
        }
    }
}

/// Runs the step to its end. Ctrl-C stops it at the next safe place; a second one ends the program.
pub(super) async fn run(job: Job, around: &Surroundings) -> Result<Value> {
    let Job {
        verb,
        cluster,
        namespace,
        release,
        timeout,
        action,
        look,
        history,
        way_back,
    } = job;
    let who = Asker::of(
        around.environment.user.as_deref(),
        rustix::process::getuid().as_raw(),
        &rustix::system::uname().nodename().to_string_lossy(),
    );
    let task = Task {
        id: uuid::Uuid::now_v7().to_string(),
        epoch: 0,
        release: Release {
            namespace,
            name: release,
            owner: Owner::default(),
        },
        requested_by: RequestedBy {
            user: who.name,
            ..RequestedBy::default()
        },
        undo_changes: false,
        hooks: Vec::new(),
        timeout,
        action,
    };
    let (teller, hears) = said::channel();
    let cancel = CancellationToken::new();
    let environment = sortie_step::Environment {
        cluster,
        renderer: renderer(around),
        policy: Policy::default(),
        resolver: Arc::new(Nothing),
        scripts: None,
        sink: Arc::new(teller),
        cancel: cancel.clone(),
        holder: format!(
            "{} (sortie {verb}, process {})",
            who.address,
            std::process::id()
        ),
        rules_namespace: sortie_step::health_rules::SHARED_NAMESPACE.to_owned(),
        limits: Limits {
            history,
            ..Limits::default()
        },
    };
    let mut view = View::open(verb, &task.release.name, look, around);
    let outcome = {
        let step = Box::pin(sortie_step::run(&task, &environment));
        watch(step, hears, &mut view, &cancel, &task.release).await?
    };
    let is_done = matches!(outcome, Outcome::Succeeded { .. });
    let way_back = match way_back {
        WayBack::Rollback | WayBack::Shared | WayBack::Untouched if !is_done => {
            let history = history_of(&environment.cluster, &task.release).await;
            match history {
                Some(history) => way_back.by(&history),
                None => way_back,
            }
        }
        way_back => way_back,
    };
    view.close(outcome, (verb, way_back), &task.release)
}

/// What is recorded of a release, as far as that can be found out.
async fn history_of(cluster: &Cluster, release: &Release) -> Option<History> {
    let release = record::Release::new(&release.namespace, &release.name).ok()?;
    let records = record::Records::new(cluster.clone(), release);
    records.history().await.ok()
}

impl WayBack {
    /// The same, where nothing that is to be gone back to, or to be left as it is, was there before; or where the step has
    /// come to another of its halves.
    fn by(self, history: &History) -> Self {
        let newest = history.newest().map(|stored| &stored.head);
        let is_shared = newest.is_some_and(|head| {
            head.side.is_canary() && head.is_canary_left() && is_progressive(head)
        });
        match self {
            Self::Rollback | Self::Shared if is_shared => Self::Shared,
            Self::Rollback | Self::Shared if history.last_good(None).is_none() => Self::Uninstall,
            Self::Shared => Self::Rollback,
            Self::Untouched if history.standing(PRIMARY).is_none() => Self::CancelFirst,
            other => other,
        }
    }
}

/// How manifests are rendered on this machine.
pub(super) fn renderer(around: &Surroundings) -> Renderer {
    let proxies = around.environment.proxies.clone();
    Renderer {
        search: Search::from_environment(),
        scratch: std::env::temp_dir(),
        ca_file: around.environment.ca_file.clone(),
        network: Network {
            http_proxy: proxies.http,
            https_proxy: proxies.https,
            no_proxy: proxies.none,
        },
    }
}

/// Shows what the step says until it has ended.
async fn watch(
    mut step: impl Future<Output = Outcome> + Unpin,
    mut hears: UnboundedReceiver<Said>,
    view: &mut View,
    cancel: &CancellationToken,
    release: &Release,
) -> Result<Outcome> {
    let mut redraw = tokio::time::interval(REDRAW);
    redraw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stops = Stops::listen()?;
    loop {
        tokio::select! {
            // What was said comes before the end.
            biased;
            () = stops.next() => {
                if cancel.is_cancelled() {
                    return Err(at_once(release));
                }
                cancel.cancel();
                view.warn("stopping at the next safe place; Ctrl-C again ends at once");
            }
            _ = redraw.tick() => view.draw(),
            Some(said) = hears.recv() => view.show(said),
            outcome = &mut step => {
                while let Ok(said) = hears.try_recv() {
                    view.show(said);
                }
                return Ok(outcome);
            }
        }
    }
}

/// A second Ctrl-C.
fn at_once(release: &Release) -> Failure {
    let lease = Limits::default().lease.as_secs();
    let text = format!(
        "ended at once; how far release {} is stands in its record",
        release.name
    );
    let hint =
        format!("the next verb that changes it carries on, once its lease has run out ({lease} s)");
    Failure::new(Exit::Interrupted, text).hint(hint)
}

/// Why a step on a release failed, for the end of the program.
pub(super) fn failed(
    failure: sortie_step::Failure,
    (verb, way_back): (&str, WayBack),
    release: &Release,
) -> Failure {
    let Release {
        namespace, name, ..
    } = release;
    let number = failure.release_number;
    let named = format!("-n {namespace} --release {name}");
    let undo = number.and_then(|_| match way_back {
        WayBack::Again => None,
        WayBack::Rollback => Some(format!(
            "`sortie rollback {named}` brings the last good release back"
        )),
        WayBack::Uninstall => Some(format!(
            "no release of it has succeeded yet: `sortie uninstall {named}` takes away what is there"
        )),
        WayBack::Cancel => Some(format!(
            "`sortie cancel {named}` takes its pods away; the present version was not touched"
        )),
        WayBack::Shared => Some(format!(
            "`sortie cancel {named}` gives the present version its pods back, then takes the canary away"
        )),
        WayBack::Untouched => Some(
            "the version with the traffic was not touched; correct the set and deploy it again"
                .to_owned(),
        ),
        WayBack::CancelFirst => Some(format!(
            "no version of it has the traffic yet; correct the set and deploy it again, or `sortie cancel {named}` takes its pods away"
        )),
    });
    let number = number.map_or_else(String::new, |number| format!(", release number {number}"));
    let mut failure = explained(failure, &format!("{verb} {name} failed{number}"));
    failure.hint = match (failure.hint.take(), undo) {
        (Some(hint), Some(undo)) => Some(format!("{}; {undo}", hint.trim_end_matches('.'))),
        (hint, undo) => hint.or(undo),
    };
    failure
}

/// The failure of `what`, such as `render failed`.
pub(super) fn explained(failure: sortie_step::Failure, what: &str) -> Failure {
    let sortie_step::Failure {
        kind,
        code,
        message,
        hint,
        ..
    } = failure;
    let exit = match (code.as_str(), kind) {
        // Another release's object, another owner, a lost lease or a lost compare-and-set.
        ("SRT-C010" | "SRT-C012" | "SRT-C015" | "SRT-C023" | "SRT-C034" | "SRT-C035", _) => {
            Exit::Conflict
        }
        ("SRT-C013", _) => Exit::NotFound,
        (_, FailureKind::Connectivity) => Exit::Unreachable,
        (_, FailureKind::Authentication | FailureKind::Authorization) => Exit::NotAllowed,
        _ => Exit::Failed,
    };
    Failure {
        hint: Some(hint).filter(|hint| !hint.is_empty()),
        code: Some(code).filter(|code| !code.is_empty()),
        ..Failure::new(exit, format!("{what}: {message}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_way_back_once_a_number_was_begun() {
        let release = Release {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            owner: Owner::default(),
        };
        let hint = |way_back, number| {
            let failure = sortie_step::Failure {
                kind: FailureKind::Unknown,
                code: String::new(),
                message: "no".to_owned(),
                hint: "look.".to_owned(),
                release_number: number,
            };
            failed(failure, ("deploy", way_back), &release)
                .hint
                .unwrap()
        };
        for (way_back, expected) in [
            (WayBack::Again, "look."),
            (
                WayBack::Uninstall,
                "look; no release of it has succeeded yet: `sortie uninstall -n shop --release web` takes",
            ),
            (
                WayBack::Rollback,
                "look; `sortie rollback -n shop --release web` brings",
            ),
            (
                WayBack::Cancel,
                "look; `sortie cancel -n shop --release web` takes",
            ),
            (
                WayBack::Shared,
                "look; `sortie cancel -n shop --release web` gives",
            ),
            (WayBack::Untouched, "look; the version with the traffic"),
            (
                WayBack::CancelFirst,
                "look; no version of it has the traffic yet",
            ),
        ] {
            let told = hint(way_back, Some(2));
            assert!(told.starts_with(expected), "{told}");
            assert_eq!(hint(way_back, None), "look.", "{way_back:?}");
        }
    }

    #[test]
    fn an_asker_without_a_name_is_known_by_user_id_and_machine() {
        let named = Asker::of(Some("ada"), 1000, "desk");
        assert_eq!(named.name, "ada");
        assert_eq!(named.address, "ada@desk");
        let nameless = Asker::of(None, 1000, "runner-7");
        assert_eq!(nameless.name, "uid 1000@runner-7");
        assert_eq!(nameless.address, "uid 1000@runner-7");
    }
}
