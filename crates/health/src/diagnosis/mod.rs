//! Finding out early that a workload will never get there.
//!
//! A [`Diagnostician`] is fed with [`Observation`]s of one workload: the object, the pods, the events, whenever one of
//! them changes or [`Diagnostician::next_check`] comes due. It keeps, per symptom, when it was first seen, and says
//! whether to go on ([`Diagnosis`]). Only pods of the *new* revision count: an old revision that fails is the reason
//! for many a rollout, never its failure.

mod activity;
mod admission;
mod budget;
mod cause;
mod container;
mod event;
mod image;
mod pod;
mod probe;
mod revision;
mod symptom;
mod workload;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use budget::Budgets;
pub use cause::{Cause, Class, EventSeen, Logs, ObjectName};

pub(crate) use budget::after;
pub(crate) use event::Events;

use container::{Container, containers};
use revision::{Revision, Workload};
use symptom::{Key, Patience, Symptom};

use crate::kinds::{Facts, assess_kind};
use crate::read::{count, deleting, flag, text, uid};
use crate::verdict::Status;

/// What the cluster shows of one workload at one moment.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// The Deployment, ReplicaSet, StatefulSet, DaemonSet, Job or Pod.
    pub workload: &'a Value,
    /// ReplicaSets of a Deployment; ControllerRevisions of a DaemonSet, if the caller has them. Others are ignored.
    pub revisions: Cow<'a, [&'a Value]>,
    /// Pods in its namespace; those of other owners are ignored.
    pub pods: Cow<'a, [&'a Value]>,
    /// Events (`v1` or `events.k8s.io/v1`) in its namespace; those about other objects are ignored.
    pub events: Cow<'a, [&'a Value]>,
}

/// What to make of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Diagnosis {
    /// Nothing is wrong.
    Fine,
    /// Something is worth saying and never a failure by itself.
    Warning(Cause),
    /// Something is wrong and will be a failure at `deadline`, unless it goes away.
    Pending {
        /// When it was first seen.
        since: Timestamp,
        /// When it becomes a failure.
        deadline: Timestamp,
        /// What is wrong.
        cause: Cause,
    },
    /// The workload will not get there.
    Fatal(Cause),
}

/// Whether the write before the wait has changed the workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It has: a pod of the new revision that already crash-loops when first seen has done so in this rollout.
    Changed,
    /// It was as wished already: a pod that crash-loops when first seen may be about to recover, because what it
    /// missed is there now. One more crash decides.
    Unchanged,
}

/// The budgets of one workload's rollout. Not persisted: after a restart the budgets begin anew.
#[derive(Clone, Debug)]
pub struct Diagnostician {
    budgets: Budgets,
    change: Change,
    since: BTreeMap<Key, Timestamp>,
    /// Restarts of each container (pod UID, name) that do not count.
    restarts_before: BTreeMap<(String, String), i64>,
    deadline: Option<Timestamp>,
}

/// What one look says, when nothing is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Glance {
    /// Nothing is wrong.
    Fine,
    /// Nothing is wrong: a container has just started, and its readiness probe has time to succeed. One line says how long.
    Starting(String),
    /// Something is wrong, and may still go away.
    Trouble(Box<Cause>),
}

/// Looks at a workload once. The grace of a readiness probe is the same as in a wait, and counts from the start of the
/// container by the clock of its node.
#[must_use]
pub fn glance(observation: &Observation<'_>, now: Timestamp) -> Glance {
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
    let mut symptoms = match diagnostician.look(observation) {
        Look::Fine => return Glance::Fine,
        Look::Ended(cause) => return Glance::Trouble(cause),
        Look::Symptoms(symptoms) => symptoms,
    };
    let mut starting = None;
    symptoms.retain(|symptom| match symptom.starting(now) {
        Some(line) => {
            starting.get_or_insert(line);
            false
        }
        None => true,
    });
    match diagnostician.judge(symptoms, now) {
        Diagnosis::Warning(cause) | Diagnosis::Pending { cause, .. } | Diagnosis::Fatal(cause) => {
            Glance::Trouble(Box::new(cause))
        }
        Diagnosis::Fine => starting.map_or(Glance::Fine, Glance::Starting),
    }
}

/// What is seen of a workload at one moment, without regard to how long it has been so.
enum Look {
    /// It is as wished, or nothing but time is missing.
    Fine,
    /// It has ended badly.
    Ended(Box<Cause>),
    /// All that is wrong.
    Symptoms(Vec<Symptom>),
}

/// Can a [`Diagnostician`] say anything about objects of this kind?
#[must_use]
pub fn covers(object: &Value) -> bool {
    Workload::of(object).is_some()
}

// === impl Diagnostician ===

impl Diagnostician {
    /// One for one rollout of one workload.
    #[must_use]
    pub const fn new(budgets: Budgets, change: Change) -> Self {
        Self {
            budgets,
            change,
            since: BTreeMap::new(),
            restarts_before: BTreeMap::new(),
            deadline: None,
        }
    }

    /// Looks at the workload. The caller makes sure that `observation.workload` was read at or after its own write
    /// (see [`Written`](crate::Written)). `now` never goes backwards.
    pub fn observe(&mut self, observation: &Observation<'_>, now: Timestamp) -> Diagnosis {
        self.deadline = None;
        match self.look(observation) {
            Look::Fine => {
                self.since.clear();
                Diagnosis::Fine
            }
            Look::Ended(cause) => Diagnosis::Fatal(*cause),
            Look::Symptoms(symptoms) => self.judge(symptoms, now),
        }
    }

    fn look(&mut self, observation: &Observation<'_>) -> Look {
        let object = observation.workload;
        let Some(kind) = Workload::of(object) else {
            return Look::Fine;
        };
        let status = assess_kind(object, &Facts::default()).status;
        let is_well = matches!(status, Status::Healthy | Status::Suspended);
        if !deleting(object) && (is_well || workload::wants_no_pods(kind, object)) {
            return Look::Fine;
        }
        let revision = Revision::of(kind, observation);
        let events = Events::index(&observation.events);
        let mut symptoms = self.symptoms(kind, object, &revision, &events);
        for Symptom { key, cause, .. } in &mut symptoms {
            cause.event = events.warning(&key.subject, cause.container.as_deref());
        }
        let about_workload = || events.warning(uid(object)?, None);
        if let Some(mut cause) = workload::ended(kind, object, &revision, &symptoms) {
            cause.event = cause.event.or_else(about_workload);
            return Look::Ended(Box::new(cause));
        }
        if workload::all_ready(kind, object, &revision) {
            return Look::Fine;
        }
        let overdue = workload::overdue(kind, object, &symptoms);
        let still = activity::symptom(kind, object, &revision, &events, &self.budgets, &symptoms);
        symptoms.extend(overdue.into_iter().chain(still).map(|mut symptom| {
            symptom.cause.event = symptom.cause.event.or_else(about_workload);
            symptom
        }));
        Look::Symptoms(symptoms)
    }

    /// When to look again even though nothing has changed: the next deadline of a symptom. `now` if it has passed.
    /// One timer at this moment replaces polling.
    #[must_use]
    pub fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        self.deadline.map(|deadline| deadline.max(now))
    }

    /// All that is wrong with the pods of the new revision and with their creation.
    fn symptoms(
        &mut self,
        kind: Workload,
        object: &Value,
        revision: &Revision<'_>,
        events: &Events<'_>,
    ) -> Vec<Symptom> {
        let mut symptoms = Vec::new();
        let mut seen = BTreeMap::new();
        let unready = revision
            .pods
            .iter()
            .filter(|pod| text(pod, "/status/phase") == Some("Running") && !pod::is_ready(pod))
            .count();
        let failures_allowed = i32::try_from(revision.pods.len() / unready.max(1))
            .unwrap_or(1)
            .max(1);
        for &pod in &revision.pods {
            let ended = matches!(text(pod, "/status/phase"), Some("Failed" | "Succeeded"));
            if ended || pod::was_evicted(pod) {
                continue;
            }
            symptoms.extend(pod::symptom(object, pod, events, &self.budgets));
            for (status, is_init) in containers(pod) {
                let key = (
                    uid(pod).unwrap_or("").to_owned(),
                    text(status, "/name").unwrap_or("?").to_owned(),
                );
                let restarts_before = self.restarts_before(&key, status);
                let container = Container {
                    workload: object,
                    pod,
                    status,
                    is_init,
                    events,
                    budgets: &self.budgets,
                    restarts_before,
                    failures_allowed,
                    of_job: kind == Workload::Job,
                };
                symptoms.extend(container.symptom());
                seen.insert(key, restarts_before);
            }
        }
        self.restarts_before = seen;
        symptoms.extend(admission::symptom(
            kind,
            object,
            revision,
            events,
            &self.budgets,
        ));
        if kind == Workload::StatefulSet {
            symptoms.extend(workload::stuck(object, revision));
        }
        symptoms
    }

    /// A container that is ready when first seen has earned its restarts before; so has one that nothing was
    /// changed about.
    fn restarts_before(&self, key: &(String, String), status: &Value) -> i64 {
        self.restarts_before.get(key).copied().unwrap_or_else(|| {
            if flag(status, "/ready") || self.change == Change::Unchanged {
                count(status, "/restartCount")
            } else {
                0
            }
        })
    }

    /// Runs the clocks of all symptoms and picks what to say.
    fn judge(&mut self, mut symptoms: Vec<Symptom>, now: Timestamp) -> Diagnosis {
        symptoms.sort_by(|a, b| {
            (a.key.class, &a.cause.pod, &a.key).cmp(&(b.key.class, &b.cause.pod, &b.key))
        });
        let before = std::mem::take(&mut self.since);
        let mut pending: Option<(Timestamp, Timestamp, Cause)> = None;
        let mut warning = None;
        let mut fatal = None;
        for Symptom {
            key,
            patience,
            cause,
            start: _,
        } in symptoms
        {
            let since = before.get(&key).copied().unwrap_or(now);
            self.since.insert(key, since);
            let deadline = match patience {
                Patience::Endless => {
                    warning.get_or_insert(cause);
                    continue;
                }
                Patience::Over => now,
                Patience::For(duration) => after(since, duration.max(SignedDuration::ZERO)),
            };
            if deadline <= now {
                fatal.get_or_insert(cause);
                continue;
            }
            self.deadline = Some(
                self.deadline
                    .map_or(deadline, |soonest| soonest.min(deadline)),
            );
            // That nothing has changed for a while is only worth saying when it ends the wait.
            if cause.class != Class::NoActivity
                && pending
                    .as_ref()
                    .is_none_or(|(_, soonest, _)| deadline < *soonest)
            {
                pending = Some((since, deadline, cause));
            }
        }
        match (fatal, pending, warning) {
            (Some(cause), _, _) => Diagnosis::Fatal(cause),
            (None, Some((since, deadline, cause)), _) => Diagnosis::Pending {
                since,
                deadline,
                cause,
            },
            (None, None, Some(cause)) => Diagnosis::Warning(cause),
            (None, None, None) => Diagnosis::Fine,
        }
    }
}
