//! Waiting until everything that was written is healthy, by watches alone.

pub(crate) mod facts;
mod last_words;
mod target;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sortie_cluster::apply::Applied;
use sortie_cluster::clock::{self, Course};
use sortie_cluster::delete::Doomed;
use sortie_cluster::lease::Guard;
use sortie_cluster::watch::{self, Selection, View, Watched};
use sortie_cluster::{Cause as Refusal, Cluster, Error, Resource};
use sortie_health::diagnosis::{Budgets, Cause, Change as Effect, Class, Observation};
use sortie_health::steady::{Steady, SteadyState};
use sortie_health::{Facts, Verdict};
use sortie_manifest::{ObjectId, labels};

use crate::failure::{Failure, chain};
use crate::report::{Change, Sink, Unit};
use crate::run::Run;
use crate::units::Ended;
use target::Target;
use wanted::Wanted;

pub(crate) use last_words::last_words;

/// Objects that the failure at the deadline names.
const NAMED: usize = 3;

/// How long the deletion of a pod that is in the way may take.
const POD_GONE_WITHIN: Duration = Duration::from_secs(120);

/// An object to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    /// Its identity.
    pub(crate) id: ObjectId,
    /// What our write did to it.
    change: Change,
    health: Health,
}

/// What is known of an object when the wait begins.
#[derive(Clone, Debug)]
enum Health {
    /// It is healthy and will stay so. Most objects of a set are like that, so no more of them is kept.
    Settled(Verdict),
    /// Watches will tell.
    Open(Box<Open>),
}

/// What it takes to judge an object.
#[derive(Clone, Debug)]
struct Open {
    /// Its kind as the API server serves it.
    resource: Resource,
    /// What the API server answered our write with.
    answer: Value,
    /// What the rest of the set says about it.
    facts: Facts,
}

impl Awaited {
    /// An object that was written as part of a set.
    pub(crate) fn of(applied: Applied, resource: Resource, set: &facts::Set) -> Self {
        let Applied {
            id, object, change, ..
        } = applied;
        let facts = set.about(&id, &object);
        let health = match target::settled(&id, &object, &facts) {
            Some(verdict) => Health::Settled(verdict),
            None => Health::Open(Box::new(Open {
                resource,
                answer: Arc::unwrap_or_clone(object),
                facts,
            })),
        };
        Self {
            id,
            change: crate::apply::change(change),
            health,
        }
    }

    /// The verdict, where the object is as it should be as it was read, and our write changed nothing.
    fn reached(&self, now: Timestamp) -> Option<Verdict> {
        if self.change != Change::Unchanged {
            return None;
        }
        let open = match &self.health {
            Health::Settled(verdict) => return Some(verdict.clone()),
            Health::Open(open) => open,
        };
        let (answer, facts) = (&open.answer, open.facts.clone());
        let mut state = SteadyState::new(answer, Effect::Unchanged, facts, Budgets::default());
        let observation = Observation {
            workload: answer,
            revisions: [].as_slice().into(),
            pods: [].as_slice().into(),
            events: [].as_slice().into(),
        };
        match state.observe(&observation, now) {
            Steady::Reached(verdict) => Some(verdict),
            _ => None,
        }
    }

    /// The row of an object that is as it should be.
    fn show(&self, verdict: Verdict, now: Timestamp, sink: &dyn Sink) {
        let (id, change) = (self.id.clone(), self.change);
        match &self.health {
            Health::Settled(_) => target::show_settled(id, change, verdict, sink),
            Health::Open(open) => Target::new(id, change, Open::clone(open), now).show(
                verdict.status,
                &verdict.message,
                sink,
            ),
        }
    }

    /// What the API server answered our write with, as long as it counts.
    fn answer(&self) -> Option<&Value> {
        match &self.health {
            Health::Settled(_) => None,
            Health::Open(open) => Some(&open.answer),
        }
    }
}

/// Whether all of `awaited` are healthy as they were read a moment ago, and nothing was written to any of them since: one
/// look is all it takes then. Their rows are told if so.
pub(crate) fn is_reached(run: &Run<'_>, awaited: &[Awaited]) -> bool {
    let now = clock::now();
    let verdicts: Option<Vec<Verdict>> = awaited.iter().map(|one| one.reached(now)).collect();
    let Some(verdicts) = verdicts else {
        return false;
    };
    for (one, verdict) in awaited.iter().zip(verdicts) {
        one.show(verdict, now, run.sink);
    }
    true
}

/// Wait until all of `awaited` are healthy in one and the same look.
///
/// # Errors
/// One of them fails for good, or the API server refuses a watch. Time limits are the caller's: drop the future.
pub(crate) async fn wait(run: &Run<'_>, guard: &Guard, awaited: Vec<Awaited>) -> Result<(), Ended> {
    until_healthy(run, Some(guard), awaited).await
}

/// As [`wait`], and nothing is written: a pod that is in the way stays there.
///
/// # Errors
/// As [`wait`].
pub(crate) async fn wait_only(run: &Run<'_>, awaited: Vec<Awaited>) -> Result<(), Ended> {
    until_healthy(run, None, awaited).await
}

async fn until_healthy(
    run: &Run<'_>,
    guard: Option<&Guard>,
    awaited: Vec<Awaited>,
) -> Result<(), Ended> {
    let mut wait = Wait::begin(run, awaited).await?;
    loop {
        let now = wait.course.now();
        let look = wait.look(run, now);
        run.bounds.pending().replace(wait.pending());
        match look {
            Look::AllReached => return Ok(()),
            Look::Failed(cause) => {
                let words = last_words(&run.env.cluster, &cause).await;
                return Err(Failure::health(&cause, &words).into());
            }
            Look::Stuck(pods) => match guard {
                Some(guard) => wait.free(run, guard, pods).await?,
                None => wait.changed(None).await,
            },
            Look::Waiting { next } => wait.changed(next.map(|next| until(now, next))).await,
        }
    }
}

enum Look {
    AllReached,
    Failed(Box<Cause>),
    /// Pods of an earlier revision for whose deletion an ordered StatefulSet waits.
    Stuck(Vec<Doomed>),
    Waiting {
        next: Option<Timestamp>,
    },
}

struct Wait {
    /// By which all deadlines are measured.
    course: Course,
    /// With the index of the watch that shows each.
    targets: Vec<(Target, usize)>,
    /// One that the account may not have is absent.
    watches: Vec<Option<Watched>>,
    /// Per namespace: which watches show pods, ReplicaSets and events.
    surroundings: BTreeMap<String, [usize; 3]>,
    /// UIDs of pods that were in the way and are deleted.
    freed: BTreeSet<String>,
}

impl Wait {
    async fn begin(run: &Run<'_>, awaited: Vec<Awaited>) -> Result<Self, Failure> {
        let cluster = &run.env.cluster;
        let course = Course::begin();
        let address_until = course
            .now()
            .saturating_add(run.env.limits.load_balancer)
            .unwrap_or(Timestamp::MAX);
        let mut wanted = Wanted::default();
        let mut targets = Vec::new();
        let mut around: BTreeMap<String, [usize; 3]> = BTreeMap::new();
        let untracked = facts::untracked(awaited.iter(), &run.release_id());
        let ours = format!("{}={}", labels::RELEASE, run.release_id());
        for Awaited { id, change, health } in awaited {
            let mut open = match health {
                Health::Settled(verdict) => {
                    target::show_settled(id, change, verdict, run.sink);
                    continue;
                }
                Health::Open(open) => open,
            };
            facts::complete(&mut open.facts, cluster, &open.answer).await;
            let namespace = id.namespace.clone().unwrap_or_default();
            let mut selection = Selection::of(open.resource.clone(), &namespace);
            // What was applied beside any release carries no label.
            if facts::carries(&open.answer, &run.release_id()) {
                selection = selection.labelled(&ours);
            }
            let watch = wanted.add(selection, true);
            if !namespace.is_empty() && !around.contains_key(&namespace) {
                // Pods that were taken over keep the labels that they had.
                let label = (!untracked.contains(&namespace)).then_some(ours.as_str());
                let selections = surroundings(cluster, &namespace, label).await;
                let selections = selections.map_err(|error| Failure::cluster(&error))?;
                around.insert(namespace, selections.map(|one| wanted.add(one, false)));
            }
            let target = Target::new(id, change, *open, address_until);
            targets.push((target, watch));
        }
        let watches = wanted.watch(run).await?;
        Ok(Self {
            course,
            targets,
            surroundings: around,
            watches,
            freed: BTreeSet::new(),
        })
    }

    /// One look at everything; rows are told when they change.
    fn look(&mut self, run: &Run<'_>, now: Timestamp) -> Look {
        let view = |watched: &Option<Watched>| watched.as_ref().map(Watched::view);
        let views: Vec<Option<View>> = self.watches.iter().map(view).collect();
        let objects = |index: usize| views.get(index)?.as_ref().map(|view| &view.objects);
        let listed = |index: &usize| -> Vec<&Value> {
            let objects = objects(*index).into_iter();
            objects
                .flat_map(|all| all.values().map(Arc::as_ref))
                .collect()
        };
        let around: BTreeMap<&str, _> = self
            .surroundings
            .iter()
            .map(|(namespace, [pods, revisions, events])| {
                let lists = (listed(pods), listed(revisions), listed(events));
                (namespace.as_str(), lists)
            })
            .collect();
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        let mut next: Option<Timestamp> = None;
        let mut reached = true;
        let mut stuck = Vec::new();
        for (target, watch) in &mut self.targets {
            let object = objects(*watch).and_then(|all| all.get(&target.id.name));
            let namespace = target.id.namespace.as_deref().unwrap_or_default();
            let (pods, revisions, events) = around.get(namespace).unwrap_or(&nothing);
            let observation = Observation {
                workload: object.map_or(&Value::Null, Arc::as_ref),
                revisions: revisions.into(),
                pods: pods.into(),
                events: events.into(),
            };
            match target.look(&observation, now, run.sink) {
                Steady::Reached(_) => {}
                Steady::Failed(cause) => return Look::Failed(Box::new(cause)),
                Steady::Waiting { trouble, .. } => {
                    reached = false;
                    next = [next, target.next_check(now)].into_iter().flatten().min();
                    let pod = trouble.as_ref().and_then(|cause| in_the_way(cause, pods));
                    stuck.extend(pod.filter(|pod| {
                        pod.uid
                            .as_ref()
                            .is_some_and(|uid| !self.freed.contains(uid))
                    }));
                }
            }
        }
        if reached {
            Look::AllReached
        } else if stuck.is_empty() {
            Look::Waiting { next }
        } else {
            Look::Stuck(stuck)
        }
    }

    /// What is not reached yet, for people.
    fn pending(&self) -> Vec<String> {
        let unreached = self.targets.iter().filter(|(target, _)| !target.reached);
        unreached
            .take(NAMED)
            .map(|(target, _)| target.pending())
            .collect()
    }

    /// Delete pods that an ordered StatefulSet waits for: it replaces a broken pod of an earlier revision only when
    /// somebody deletes it.
    async fn free(
        &mut self,
        run: &Run<'_>,
        guard: &Guard,
        pods: Vec<Doomed>,
    ) -> Result<(), Failure> {
        for pod in &pods {
            let text = format!(
                "{} of an earlier revision is broken and in the way of its StatefulSet: deleting it",
                pod.id
            );
            run.warn(Unit::WaitForSteadyState, text);
            self.freed.extend(pod.uid.clone());
        }
        let cluster = &run.env.cluster;
        for (id, result) in cluster.delete_all(pods, POD_GONE_WITHIN, guard).await {
            match result {
                Ok(_) => run.info(Unit::WaitForSteadyState, format!("{id} deleted")),
                Err(error) if matches!(error.cause(), Refusal::LeaseLost { .. }) => {
                    return Err(Failure::cluster(&error));
                }
                Err(error) => run.warn(Unit::WaitForSteadyState, chain(&error)),
            }
        }
        Ok(())
    }

    /// Resolves when a watch shows something new, or after `at_most`.
    async fn changed(&mut self, at_most: Option<Duration>) {
        let any = watch::any_changed(self.watches.iter_mut().flatten());
        match at_most {
            Some(at_most) => drop(tokio::time::timeout(at_most, any).await),
            None => any.await,
        }
    }
}

/// What explains how the workloads of a release are in a namespace: pods, revisions and events. `ours` selects the
/// release's label, which pods and ReplicaSets have from their template; events have none.
pub(crate) async fn surroundings(
    cluster: &Cluster,
    namespace: &str,
    label: Option<&str>,
) -> Result<[Selection; 3], Error> {
    let replica_sets = cluster.resolve("apps", "v1", "ReplicaSet").await?;
    let ours = |resource| {
        let all = Selection::of(resource, namespace);
        match label {
            Some(label) => all.labelled(label),
            None => all,
        }
    };
    Ok([
        ours(Resource::pods()),
        ours(replica_sets),
        Selection::of(Resource::events(), namespace).where_fields("type!=Normal"),
    ])
}

/// The pod that a cause says is in the way.
fn in_the_way(cause: &Cause, pods: &[&Value]) -> Option<Doomed> {
    let name = cause
        .pod
        .as_deref()
        .filter(|_| cause.class == Class::OldPodStuck)?;
    let text = |pod: &Value, pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let pod = pods
        .iter()
        .find(|pod| text(pod, "/metadata/name").as_deref() == Some(name))?;
    Some(Doomed {
        id: ObjectId {
            group: String::new(),
            kind: "Pod".to_owned(),
            namespace: text(pod, "/metadata/namespace"),
            name: name.to_owned(),
        },
        uid: Some(text(pod, "/metadata/uid")?),
        release: None,
    })
}

fn until(now: Timestamp, moment: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(now)).unwrap_or(Duration::ZERO)
}
