//! Waiting for one object to reach its steady state: verdict and diagnosis joined.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde_json::Value;

use crate::diagnosis::{
    Budgets, Cause, Change, Class, Diagnosis, Diagnostician, Events, ObjectName, Observation,
    after, covers,
};
use crate::kinds::{Facts, Judgement, may_be_old};
use crate::read;
use crate::verdict::{Status, Verdict};
use crate::written::{Written, judge_after};

/// Where the wait stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Steady {
    /// There: healthy, or stopped on purpose.
    Reached(Verdict),
    /// Not there yet.
    Waiting {
        /// The present health; its message is fit for a progress line.
        verdict: Verdict,
        /// What is wrong, if something is.
        trouble: Option<Cause>,
    },
    /// It will not get there.
    Failed(Cause),
}

/// The wait for one object after one write.
#[derive(Clone, Debug)]
pub struct SteadyState {
    object: ObjectName,
    written: Written,
    facts: Facts,
    budgets: Budgets,
    diagnostician: Diagnostician,
    /// Trouble without a diagnosis and since when it lasts.
    lasting: Option<(Class, Timestamp)>,
    deadline: Option<Timestamp>,
    /// The status that our change met, by its hash.
    met: Option<u64>,
    /// Since when that one is good and may be old.
    settling: Option<Timestamp>,
}

// === impl SteadyState ===

impl SteadyState {
    /// A wait that begins now, for the object that the API server answered our write with (or showed, if there was
    /// nothing to write).
    #[must_use]
    pub fn new(answer: &Value, change: Change, facts: Facts, budgets: Budgets) -> Self {
        Self {
            object: ObjectName::of(answer),
            written: Written::of(answer),
            facts,
            diagnostician: Diagnostician::new(budgets.clone(), change),
            budgets,
            lasting: None,
            deadline: None,
            met: (change == Change::Changed).then(|| status_print(answer)),
            settling: None,
        }
    }

    /// Looks at the object and, if it has pods, at what belongs to it. `Value::Null` is an object that is not there.
    ///
    /// A workload with pods fails by its diagnosis. Other kinds fail when they report a failure for longer than
    /// [`Budgets::degraded`], and every kind fails when it is gone for that long. Kinds whose health says nothing about
    /// this deployment (the last run of a CronJob, an autoscaler without metrics, a disruption budget) are reached as
    /// soon as they are there. Where a rule of the user decides, its word counts for every kind; while it says that the
    /// object is on its way, a workload still fails by its diagnosis.
    ///
    /// A good status of a custom resource that was there before our change, and does not tell the generation which it is
    /// about, is believed after [`Budgets::settle`].
    pub fn observe(&mut self, observation: &Observation<'_>, now: Timestamp) -> Steady {
        let object = observation.workload;
        self.deadline = None;
        let Judgement { verdict, by_user } = judge_after(object, &self.written, &self.facts);
        if object.is_null() || self.written.is_replaced(object) {
            return self.lasting(Class::Gone, verdict, observation, now);
        }
        if self.written.unseen(object).is_some() {
            return Steady::Waiting {
                verdict,
                trouble: None,
            };
        }
        let steady = matches!(verdict.status, Status::Healthy | Status::Suspended);
        if verdict.status == Status::Healthy
            && let Some(until) = self.settles(object, now)
        {
            self.deadline = Some(until);
            let message = "its status may be of before our change; giving its controller a moment";
            return Steady::Waiting {
                verdict: Verdict::progressing(message),
                trouble: None,
            };
        }
        if steady || (is_advisory(object) && !by_user && !read::deleting(object)) {
            return Steady::Reached(verdict);
        }
        match verdict.status {
            Status::Degraded if by_user => {
                return self.lasting(Class::Degraded, verdict, observation, now);
            }
            Status::Unknown if by_user => {
                return self.lasting(Class::RuleUnfit, verdict, observation, now);
            }
            _ => {}
        }
        if covers(object) {
            self.lasting = None;
            return self.diagnose(observation, verdict, now);
        }
        if verdict.status == Status::Degraded {
            return self.lasting(Class::Degraded, verdict, observation, now);
        }
        self.lasting = None;
        Steady::Waiting {
            verdict,
            trouble: None,
        }
    }

    /// Trouble without a diagnosis: a failure once it has lasted.
    fn lasting(
        &mut self,
        class: Class,
        verdict: Verdict,
        observation: &Observation<'_>,
        now: Timestamp,
    ) -> Steady {
        let since = match self.lasting {
            Some((before, since)) if before == class => since,
            _ => now,
        };
        self.lasting = Some((class, since));
        let mut cause = Cause::new(
            class,
            &Value::Null,
            verdict.status.as_str(),
            &verdict.message,
        );
        cause.object = self.object.clone();
        cause.event = read::uid(observation.workload)
            .filter(|_| class == Class::Degraded)
            .and_then(|uid| Events::index(&observation.events).warning(uid, None));
        let deadline = after(since, self.budgets.degraded);
        if deadline <= now {
            return Steady::Failed(cause);
        }
        self.deadline = Some(deadline);
        Steady::Waiting {
            verdict,
            trouble: Some(cause),
        }
    }

    /// Until when a good status that may be old is not believed.
    fn settles(&mut self, object: &Value, now: Timestamp) -> Option<Timestamp> {
        let same = self.met == Some(status_print(object));
        if !same || !may_be_old(object) {
            return None;
        }
        let since = *self.settling.get_or_insert(now);
        Some(after(since, self.budgets.settle)).filter(|until| *until > now)
    }

    /// When to look again even though nothing has changed; `now` if that moment has passed.
    #[must_use]
    pub fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        self.deadline.map(|deadline| deadline.max(now))
    }

    fn diagnose(
        &mut self,
        observation: &Observation<'_>,
        verdict: Verdict,
        now: Timestamp,
    ) -> Steady {
        let diagnosis = self.diagnostician.observe(observation, now);
        self.deadline = self.diagnostician.next_check(now);
        match diagnosis {
            Diagnosis::Fatal(cause) => Steady::Failed(cause),
            Diagnosis::Fine => Steady::Waiting {
                verdict,
                trouble: None,
            },
            Diagnosis::Warning(cause) | Diagnosis::Pending { cause, .. } => Steady::Waiting {
                verdict,
                trouble: Some(cause),
            },
        }
    }
}

fn status_print(object: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.get("status").map(Value::to_string).hash(&mut hasher);
    hasher.finish()
}

/// Kinds whose reported failure says nothing about this deployment.
fn is_advisory(object: &Value) -> bool {
    matches!(
        (read::group(object), read::kind(object)),
        ("batch", "CronJob")
            | ("autoscaling", "HorizontalPodAutoscaler")
            | ("policy", "PodDisruptionBudget")
    )
}
