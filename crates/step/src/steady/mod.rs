//! Waiting until everything that was written is healthy, by watches alone.

pub(crate) mod facts;
mod last_words;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sortie_cluster::apply::Applied;
use sortie_cluster::clock::Course;
use sortie_cluster::delete::Doomed;
use sortie_cluster::lease::Guard;
use sortie_cluster::watch::{self, Selection, View, Watched};
use sortie_cluster::{Cause as Refusal, Cluster, Error, Resource};
use sortie_health::diagnosis::{Cause, Class, Observation};
use sortie_health::steady::Steady;
use sortie_health::{Facts, Verdict};
use sortie_manifest::{ObjectId, labels};

use crate::failure::{Failure, chain};
use crate::report::{Change, Unit};
use crate::run::Run;
use crate::units::Ended;
use target::Target;

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

    /// What the API server answered our write with, as long as it counts.
    fn answer(&self) -> Option<&Value> {
        match &self.health {
            Health::Settled(_) => None,
            Health::Open(open) => Some(&open.answer),
        }
    }
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
    watches: Vec<Watched>,
    /// Per namespace: which watches show pods, ReplicaSets and events. A watch that the account may not have is absent.
    surroundings: BTreeMap<String, Surroundings>,
    /// UIDs of pods that were in the way and are deleted.
    freed: BTreeSet<String>,
}

#[derive(Clone, Copy, Default)]
struct Surroundings {
    pods: Option<usize>,
    revisions: Option<usize>,
    events: Option<usize>,
}

impl Wait {
    async fn begin(run: &Run<'_>, awaited: Vec<Awaited>) -> Result<Self, Failure> {
        let cluster = &run.env.cluster;
        let mut wait = Self {
            course: Course::begin(),
            targets: Vec::new(),
            watches: Vec::new(),
            surroundings: BTreeMap::new(),
            freed: BTreeSet::new(),
        };
        let address_until = wait
            .course
            .now()
            .saturating_add(run.env.limits.load_balancer)
            .unwrap_or(Timestamp::MAX);
        let mut selections = Vec::new();
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
            let watch = wait
                .watch(cluster, &mut selections, selection)
                .await
                .map_err(|error| Failure::cluster(&error))?;
            if !namespace.is_empty() && !wait.surroundings.contains_key(&namespace) {
                // Pods that were taken over keep the labels that they had.
                let label = (!untracked.contains(&namespace)).then_some(ours.as_str());
                let around = wait.around(run, &mut selections, &namespace, label).await?;
                wait.surroundings.insert(namespace, around);
            }
            let target = Target::new(id, change, *open, address_until);
            wait.targets.push((target, watch));
        }
        Ok(wait)
    }

    /// The watches that explain what happens to the workloads of a namespace.
    async fn around(
        &mut self,
        run: &Run<'_>,
        selections: &mut Vec<Selection>,
        namespace: &str,
        label: Option<&str>,
    ) -> Result<Surroundings, Failure> {
        let cluster = &run.env.cluster;
        let wanted = surroundings(cluster, namespace, label).await;
        let wanted = wanted.map_err(|error| Failure::cluster(&error))?;
        let mut indices = [None; 3];
        for (selection, index) in wanted.into_iter().zip(&mut indices) {
            *index = match self.watch(cluster, selections, selection).await {
                Ok(watch) => Some(watch),
                Err(error) if matches!(error.cause(), Refusal::Forbidden { .. }) => {
                    let text = format!(
                        "failures are explained less well without this right: {}",
                        chain(&error)
                    );
                    run.warn(Unit::WaitForSteadyState, text);
                    None
                }
                Err(error) => return Err(Failure::cluster(&error)),
            };
        }
        let [pods, revisions, events] = indices;
        Ok(Surroundings {
            pods,
            revisions,
            events,
        })
    }

    /// The index of the watch for `selection`, begun if there is none yet.
    async fn watch(
        &mut self,
        cluster: &Cluster,
        selections: &mut Vec<Selection>,
        selection: Selection,
    ) -> Result<usize, Error> {
        if let Some(index) = selections.iter().position(|known| *known == selection) {
            return Ok(index);
        }
        self.watches.push(cluster.watch(selection.clone()).await?);
        selections.push(selection);
        Ok(selections.len() - 1)
    }

    /// One look at everything; rows are told when they change.
    fn look(&mut self, run: &Run<'_>, now: Timestamp) -> Look {
        let views: Vec<View> = self.watches.iter().map(Watched::view).collect();
        let listed = |index: Option<usize>| -> Vec<&Value> {
            let view = index.map(|index| &views[index]);
            view.into_iter()
                .flat_map(|view| view.objects.values().map(Arc::as_ref))
                .collect()
        };
        let around: BTreeMap<&str, _> = self
            .surroundings
            .iter()
            .map(|(namespace, s)| {
                let lists = (listed(s.pods), listed(s.revisions), listed(s.events));
                (namespace.as_str(), lists)
            })
            .collect();
        let nothing = (Vec::new(), Vec::new(), Vec::new());
        let mut next: Option<Timestamp> = None;
        let mut reached = true;
        let mut stuck = Vec::new();
        for (target, watch) in &mut self.targets {
            let object = views[*watch].objects.get(&target.id.name).map(Arc::as_ref);
            let namespace = target.id.namespace.as_deref().unwrap_or_default();
            let (pods, revisions, events) = around.get(namespace).unwrap_or(&nothing);
            let observation = Observation {
                workload: object.unwrap_or(&Value::Null),
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
        let any = watch::any_changed(&mut self.watches);
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
