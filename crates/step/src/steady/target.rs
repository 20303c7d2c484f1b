//! One object that is waited for, and what has been said about it.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sortie_health::diagnosis::{Budgets, Cause, Change as Effect, Class, Observation, covers};
use sortie_health::steady::{Steady, SteadyState};
use sortie_health::{Facts, Status, Verdict, Written, assess_after};
use sortie_manifest::ObjectId;

use super::Open;
use crate::report::{Change, Level, ObjectRow, Sink, Unit};

/// How long trouble that every start brings with it lasts before it is worth a line.
const USUAL: SignedDuration = SignedDuration::from_secs(5);

/// One object that is waited for.
pub(super) struct Target {
    pub(super) id: ObjectId,
    change: Change,
    answer: Value,
    facts: Facts,
    state: SteadyState,
    /// Until when a Service is waited for without an address of its load balancer.
    address_until: Option<Timestamp>,
    shown: Option<(Status, String)>,
    /// Trouble and since when it lasts.
    trouble: Option<(Class, Option<String>, Timestamp)>,
    warned: Option<Warned>,
    pub(super) reached: bool,
}

/// Trouble that was told.
struct Warned {
    line: String,
    begins_with_object: bool,
}

/// How the object is when it is as it will stay, so that no watch is needed to know it: built-in kinds without pods that
/// are healthy as soon as they exist.
pub(super) fn settled(id: &ObjectId, answer: &Value, facts: &Facts) -> Option<Verdict> {
    let built_in = !id.group.contains('.') || id.group.ends_with(".k8s.io");
    if covers(answer) || !built_in {
        return None;
    }
    let verdict = assess_after(answer, &Written::of(answer), facts);
    (verdict.status == Status::Healthy).then_some(verdict)
}

/// The row of an object that is settled: enough for what was healthy from the beginning.
pub(super) fn show_settled(id: ObjectId, change: Change, verdict: Verdict, sink: &dyn Sink) {
    let row = ObjectRow {
        id,
        change,
        health: verdict.status,
        message: verdict.message,
    };
    sink.object(Unit::WaitForSteadyState, row);
}

impl Target {
    pub(super) fn new(id: ObjectId, change: Change, open: Open, address_until: Timestamp) -> Self {
        let Open { answer, facts, .. } = open;
        let effect = match change {
            Change::Unchanged => Effect::Unchanged,
            _ => Effect::Changed,
        };
        let is_balanced = id.kind == "Service"
            && answer.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
        Self {
            state: SteadyState::new(&answer, effect, facts.clone(), Budgets::default()),
            address_until: is_balanced.then_some(address_until),
            id,
            change,
            answer,
            facts,
            shown: None,
            trouble: None,
            warned: None,
            reached: false,
        }
    }

    /// One look at the object and its surroundings.
    pub(super) fn look(
        &mut self,
        observation: &Observation<'_>,
        now: Timestamp,
        sink: &dyn Sink,
    ) -> Steady {
        if self.address_until.is_some_and(|until| until <= now) {
            self.go_on_without_address(observation, sink);
        }
        let steady = self.state.observe(observation, now);
        self.reached = matches!(steady, Steady::Reached(_));
        match &steady {
            Steady::Reached(verdict) => {
                self.trouble = None;
                self.warned = None;
                self.show(verdict.status, &verdict.message, sink);
            }
            Steady::Waiting { verdict, trouble } => {
                self.show(verdict.status, &verdict.message, sink);
                self.warn(trouble.as_ref(), now, sink);
            }
            Steady::Failed(cause) => self.show_failed(&cause.one_line(&[]), sink),
        }
        steady
    }

    /// When to look again though nothing has changed.
    pub(super) fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        let usual = match &self.trouble {
            Some((class, _, since)) if self.warned.is_none() && is_usual(*class) => {
                Some(since.saturating_add(USUAL).unwrap_or(Timestamp::MAX))
            }
            _ => None,
        };
        let address = self.address_until.filter(|_| !self.reached);
        [self.state.next_check(now), usual, address]
            .into_iter()
            .flatten()
            .min()
    }

    /// What it lacks, for people.
    pub(super) fn pending(&self) -> String {
        match (&self.warned, &self.shown) {
            (Some(warned), _) if warned.begins_with_object => warned.line.clone(),
            (Some(warned), _) => format!("{}: {}", self.id, warned.line),
            (None, Some((health, message))) => {
                format!("{}: {} ({message})", self.id, health.as_str())
            }
            (None, None) => self.id.to_string(),
        }
    }

    fn go_on_without_address(&mut self, observation: &Observation<'_>, sink: &dyn Sink) {
        self.address_until = None;
        self.facts.load_balancer_address_wanted = false;
        self.state = SteadyState::new(
            &self.answer,
            Effect::Unchanged,
            self.facts.clone(),
            Budgets::default(),
        );
        let written = Written::of(&self.answer);
        let wanted = assess_after(observation.workload, &written, &Facts::default());
        if wanted.status == Status::Progressing {
            let text = format!("{}: {}; going on without it", self.id, wanted.message);
            sink.log(Unit::WaitForSteadyState, Level::Warning, &text);
        }
    }

    pub(super) fn show(&mut self, health: Status, message: &str, sink: &dyn Sink) {
        let first = self.shown.is_none();
        if self
            .shown
            .as_ref()
            .is_some_and(|(h, m)| *h == health && m == message)
        {
            return;
        }
        let row = ObjectRow {
            id: self.id.clone(),
            change: self.change,
            health,
            message: message.to_owned(),
        };
        sink.object(Unit::WaitForSteadyState, row);
        // A row is enough for what was healthy from the beginning.
        if !(first && health == Status::Healthy && !covers(&self.answer)) {
            let text = format!("{}: {} ({message})", self.id, health.as_str());
            sink.log(Unit::WaitForSteadyState, Level::Info, &text);
        }
        self.shown = Some((health, message.to_owned()));
    }

    /// The cause goes into the row; in the log the failure of the step tells it, with the last words of the container.
    fn show_failed(&mut self, message: &str, sink: &dyn Sink) {
        let row = ObjectRow {
            id: self.id.clone(),
            change: self.change,
            health: Status::Degraded,
            message: message.to_owned(),
        };
        sink.object(Unit::WaitForSteadyState, row);
        let text = format!("{}: {}", self.id, Status::Degraded.as_str());
        sink.log(Unit::WaitForSteadyState, Level::Info, &text);
        self.shown = Some((Status::Degraded, message.to_owned()));
    }

    fn warn(&mut self, trouble: Option<&Cause>, now: Timestamp, sink: &dyn Sink) {
        let Some(cause) = trouble else {
            self.trouble = None;
            return;
        };
        let since = match &self.trouble {
            Some((class, pod, since)) if *class == cause.class && *pod == cause.pod => *since,
            _ => now,
        };
        self.trouble = Some((cause.class, cause.pod.clone(), since));
        if is_usual(cause.class) && now.duration_since(since) < USUAL {
            return;
        }
        let line = cause.one_line(&[]);
        if self.warned.as_ref().map(|warned| &warned.line) != Some(&line) {
            sink.log(Unit::WaitForSteadyState, Level::Warning, &line);
            self.warned = Some(Warned {
                line,
                begins_with_object: cause.begins_with_object(),
            });
        }
    }
}

/// Trouble that a start may bring with it and that passes by itself.
const fn is_usual(class: Class) -> bool {
    matches!(
        class,
        Class::ReadinessFailing
            | Class::LivenessFailing
            | Class::Unschedulable
            | Class::NotStarting
    )
}
