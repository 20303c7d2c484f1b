//! Waiting until everything that was written is healthy, by watches alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use serde_json::Value;
use sortie_cluster::watch::{Selection, Watched};
use sortie_cluster::{Cluster, LogRequest, Resource, clock};
use sortie_health::diagnosis::{Budgets, Cause, Change as Effect, Logs, Observation};
use sortie_health::steady::{Steady, SteadyState};
use sortie_health::{Facts, Status};
use sortie_manifest::{ObjectId, labels};

use crate::report::{Change, Level, ObjectRow, Sink, Unit};

/// Log lines of a failing container that a cause is shown with.
const LAST_WORDS: u32 = 10;
/// Bytes of them.
const LAST_WORDS_BYTES: u32 = 16 * 1024;

/// An object to wait for.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// Its identity.
    pub(crate) id: ObjectId,
    /// Its kind as the API server serves it.
    pub(crate) resource: Resource,
    /// What the API server answered our write with.
    pub(crate) answer: Value,
    /// What our write did to it.
    pub(crate) change: Change,
}

/// Why the wait ended without success.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An object will not get there.
    Failed {
        /// Why.
        cause: Box<Cause>,
        /// The last lines of its container, oldest first.
        last_words: Vec<String>,
    },
    /// A watch was refused.
    Cluster(sortie_cluster::Error),
}

/// What a wait is still waiting for, readable from outside: a wait that is dropped at its deadline tells it.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Vec<String>>);

impl Pending {
    /// One line for the failure at the deadline.
    pub(crate) fn describe(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.as_slice() {
            [] => "the objects were still being written".to_owned(),
            lines => lines.join("; "),
        }
    }

    fn replace(&self, lines: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }
}

/// Wait until all of `awaited` are healthy in one and the same look.
///
/// # Errors
/// One of them fails for good, or the API server refuses a watch. Time limits are the caller's: drop the future.
pub(crate) async fn wait(
    cluster: &Cluster,
    release_id: &str,
    awaited: Vec<Awaited>,
    sink: &dyn Sink,
    pending: &Pending,
) -> Result<(), Stop> {
    let mut wait = Wait::begin(cluster, release_id, awaited)
        .await
        .map_err(Stop::Cluster)?;
    loop {
        let now = clock::now();
        let look = wait.look(now, sink);
        pending.replace(wait.pending());
        match look {
            Look::AllReached => return Ok(()),
            Look::Failed(cause) => {
                let last_words = last_words(cluster, &cause).await;
                return Err(Stop::Failed { cause, last_words });
            }
            Look::Waiting { next } => wait.changed(next.map(|next| until(now, next))).await,
        }
    }
}

enum Look {
    AllReached,
    Failed(Box<Cause>),
    Waiting { next: Option<Timestamp> },
}

struct Wait {
    targets: Vec<Target>,
    watches: Vec<Watched>,
    /// Per namespace: which watches show pods, ReplicaSets and events.
    surroundings: BTreeMap<String, Surroundings>,
}

struct Target {
    id: ObjectId,
    change: Change,
    key: String,
    watch: usize,
    state: SteadyState,
    shown: Option<(Status, String)>,
    warned: Option<String>,
    reached: bool,
}

#[derive(Clone, Copy)]
struct Surroundings {
    pods: usize,
    revisions: usize,
    events: usize,
}

impl Wait {
    async fn begin(
        cluster: &Cluster,
        release_id: &str,
        awaited: Vec<Awaited>,
    ) -> Result<Self, sortie_cluster::Error> {
        let mut wait = Self {
            targets: Vec::new(),
            watches: Vec::new(),
            surroundings: BTreeMap::new(),
        };
        let mut selections: Vec<Selection> = Vec::new();
        let ours = format!("{}={release_id}", labels::RELEASE);
        let replica_sets = cluster.resolve("apps", "v1", "ReplicaSet").await?;
        for object in awaited {
            let Awaited {
                id,
                resource,
                answer,
                change,
            } = object;
            let effect = match change {
                Change::Unchanged => Effect::Unchanged,
                _ => Effect::Changed,
            };
            let namespace = id.namespace.clone().unwrap_or_default();
            let selection = Selection::of(resource, &namespace).labelled(&ours);
            let watch = wait.watch(cluster, &mut selections, selection).await?;
            if !namespace.is_empty() && !wait.surroundings.contains_key(&namespace) {
                // Pods and ReplicaSets carry the release's label from their template; events carry none.
                let pods = Selection::of(Resource::pods(), &namespace).labelled(&ours);
                let revisions = Selection::of(replica_sets.clone(), &namespace).labelled(&ours);
                let events =
                    Selection::of(Resource::events(), &namespace).where_fields("type!=Normal");
                let around = Surroundings {
                    pods: wait.watch(cluster, &mut selections, pods).await?,
                    revisions: wait.watch(cluster, &mut selections, revisions).await?,
                    events: wait.watch(cluster, &mut selections, events).await?,
                };
                wait.surroundings.insert(namespace, around);
            }
            wait.targets.push(Target {
                key: id.name.clone(),
                state: SteadyState::new(&answer, effect, Facts::default(), Budgets::default()),
                id,
                change,
                watch,
                shown: None,
                warned: None,
                reached: false,
            });
        }
        Ok(wait)
    }

    /// The index of the watch for `selection`, begun if there is none yet.
    async fn watch(
        &mut self,
        cluster: &Cluster,
        selections: &mut Vec<Selection>,
        selection: Selection,
    ) -> Result<usize, sortie_cluster::Error> {
        if let Some(index) = selections.iter().position(|known| *known == selection) {
            return Ok(index);
        }
        self.watches.push(cluster.watch(selection.clone()).await?);
        selections.push(selection);
        Ok(selections.len() - 1)
    }

    /// One look at everything; rows are told when they change.
    fn look(&mut self, now: Timestamp, sink: &dyn Sink) -> Look {
        let views: Vec<_> = self.watches.iter().map(Watched::view).collect();
        let listed = |index: usize| -> Vec<&Value> {
            views[index].objects.values().map(Arc::as_ref).collect()
        };
        let around: BTreeMap<&str, _> = self
            .surroundings
            .iter()
            .map(|(namespace, s)| {
                (
                    namespace.as_str(),
                    (listed(s.pods), listed(s.revisions), listed(s.events)),
                )
            })
            .collect();
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        let mut next: Option<Timestamp> = None;
        let mut reached = true;
        for target in &mut self.targets {
            let object = views[target.watch]
                .objects
                .get(&target.key)
                .map(Arc::as_ref);
            let namespace = target.id.namespace.as_deref().unwrap_or_default();
            let (pods, revisions, events) = around.get(namespace).unwrap_or(&nothing);
            let observation = Observation {
                workload: object.unwrap_or(&Value::Null),
                revisions: revisions.into(),
                pods: pods.into(),
                events: events.into(),
            };
            match target.state.observe(&observation, now) {
                Steady::Reached(verdict) => {
                    target.reached = true;
                    target.warned = None;
                    target.show(verdict.status, verdict.message, sink);
                }
                Steady::Waiting { verdict, trouble } => {
                    reached = false;
                    target.reached = false;
                    target.show(verdict.status, verdict.message, sink);
                    target.warn(trouble.as_ref(), sink);
                    let check = target.state.next_check(now);
                    next = [next, check].into_iter().flatten().min();
                }
                Steady::Failed(cause) => {
                    target.show(Status::Degraded, cause.one_line(&[]), sink);
                    return Look::Failed(Box::new(cause));
                }
            }
        }
        if reached {
            Look::AllReached
        } else {
            Look::Waiting { next }
        }
    }

    /// What is not reached yet, for people; at most three.
    fn pending(&self) -> Vec<String> {
        let unreached = self.targets.iter().filter(|target| !target.reached);
        let line = |target: &Target| match (&target.warned, &target.shown) {
            (Some(line), _) => line.clone(),
            (None, Some((health, message))) => {
                format!("{}: {} ({message})", target.id, health.as_str())
            }
            (None, None) => target.id.to_string(),
        };
        unreached.take(3).map(line).collect()
    }

    /// Resolves when a watch shows something new, or after `at_most`.
    async fn changed(&mut self, at_most: Option<Duration>) {
        let changes = self
            .watches
            .iter_mut()
            .map(|watched| watched.changed().map(drop).boxed());
        let any = futures::future::select_all(changes);
        match at_most {
            Some(at_most) => drop(tokio::time::timeout(at_most, any).await),
            None => drop(any.await),
        }
    }
}

impl Target {
    fn show(&mut self, health: Status, message: String, sink: &dyn Sink) {
        if self
            .shown
            .as_ref()
            .is_some_and(|(h, m)| *h == health && *m == message)
        {
            return;
        }
        let row = ObjectRow {
            id: self.id.clone(),
            change: self.change,
            health,
            message: message.clone(),
        };
        sink.object(Unit::WaitForSteadyState, row);
        sink.log(
            Unit::WaitForSteadyState,
            Level::Info,
            &format!("{}: {} ({message})", self.id, health.as_str()),
        );
        self.shown = Some((health, message));
    }

    fn warn(&mut self, trouble: Option<&Cause>, sink: &dyn Sink) {
        let line = trouble.map(|cause| cause.one_line(&[]));
        if let Some(line) = &line
            && self.warned.as_ref() != Some(line)
        {
            sink.log(Unit::WaitForSteadyState, Level::Warning, line);
        }
        if line.is_some() {
            self.warned = line;
        }
    }
}

/// The last lines of the container that a cause is about; empty when there are none to be had.
async fn last_words(cluster: &Cluster, cause: &Cause) -> Vec<String> {
    let (Some(logs), Some(pod), Some(namespace)) =
        (cause.logs, &cause.pod, &cause.object.namespace)
    else {
        return Vec::new();
    };
    let mut request = LogRequest {
        namespace: namespace.clone(),
        pod: pod.clone(),
        container: cause.container.clone(),
        previous: logs == Logs::Previous,
        lines: LAST_WORDS,
        bytes: LAST_WORDS_BYTES,
    };
    let lines = cluster.logs(&request).await.unwrap_or_default();
    if !lines.is_empty() {
        return lines;
    }
    // The container may have moved on to its next run in between.
    request.previous = !request.previous;
    cluster.logs(&request).await.unwrap_or_default()
}

fn until(now: Timestamp, moment: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(now)).unwrap_or(Duration::ZERO)
}
