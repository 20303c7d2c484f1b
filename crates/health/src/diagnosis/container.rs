//! What is wrong with one container of a pod of the new revision.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::budget::{Budgets, after};
use super::cause::{Cause, Class, Logs};
use super::event::{Event, Events};
use super::image::{self, Pull};
use super::probe::Probe;
use super::symptom::{Patience, Start, Symptom};
use crate::line::times;
use crate::read::{count, flag, has, int, last_message, list, text, time, uid};

/// A container with everything around it that its rules look at.
pub(crate) struct Container<'a> {
    pub(crate) workload: &'a Value,
    pub(crate) pod: &'a Value,
    /// Its entry in `status.containerStatuses` or `status.initContainerStatuses`.
    pub(crate) status: &'a Value,
    /// An init container that is to end; a sidecar is none.
    pub(crate) is_init: bool,
    pub(crate) events: &'a Events<'a>,
    pub(crate) budgets: &'a Budgets,
    /// Restarts that happened before this rollout.
    pub(crate) restarts_before: i64,
    /// Failures of the readiness probe that are let pass after its grace: more if few of the new pods fail.
    pub(crate) failures_allowed: i32,
    /// The pod belongs to a Job, whose own limits decide about failed runs.
    pub(crate) of_job: bool,
}

/// The containers of a pod: their status and whether they are init containers that are to end.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = (&Value, bool)> {
    let init = list(pod, "/status/initContainerStatuses")
        .iter()
        .map(|status| {
            let sidecar = spec_of(
                pod,
                "/spec/initContainers",
                text(status, "/name").unwrap_or(""),
            )
            .is_some_and(|spec| text(spec, "/restartPolicy") == Some("Always"));
            (status, !sidecar)
        });
    init.chain(
        list(pod, "/status/containerStatuses")
            .iter()
            .map(|status| (status, false)),
    )
}

fn spec_of<'a>(pod: &'a Value, field: &str, name: &str) -> Option<&'a Value> {
    list(pod, field)
        .iter()
        .find(|container| text(container, "/name") == Some(name))
}

impl<'a> Container<'a> {
    pub(crate) fn name(&self) -> &'a str {
        text(self.status, "/name").unwrap_or("?")
    }

    /// At most one symptom: a container has one state.
    pub(crate) fn symptom(&self) -> Option<Symptom> {
        match text(self.status, "/state/waiting/reason") {
            Some(
                reason @ ("ErrImagePull"
                | "ImagePullBackOff"
                | "ImageInspectError"
                | "RegistryUnavailable"),
            ) => Some(self.image(reason)),
            Some(reason @ "InvalidImageName") => {
                Some(self.waiting(Class::ImageNameInvalid, reason, Patience::Over))
            }
            Some(reason @ "ErrImageNeverPull") => {
                Some(self.waiting(Class::ImageNotFound, reason, Patience::Over))
            }
            Some(reason @ "CreateContainerConfigError") => Some(self.config(reason)),
            Some(
                reason @ ("CreateContainerError"
                | "RunContainerError"
                | "ContainerCannotRun"
                | "PreCreateHookError"
                | "PreStartHookError"
                | "PostStartHookError"
                | "SignatureValidationFailed"),
            ) => Some(self.refused(reason)),
            Some(_) | None => self.crash().or_else(|| self.unready()),
        }
    }

    fn cause(&self, class: Class, reason: &str, message: &str) -> Cause {
        Cause::new(class, self.workload, reason, message)
            .in_pod(self.pod)
            .in_container(self.name())
    }

    fn waiting(&self, class: Class, reason: &str, patience: Patience) -> Symptom {
        let message = text(self.status, "/state/waiting/message").unwrap_or("");
        Symptom::new(self.pod, patience, self.cause(class, reason, message))
    }

    /// A back-off says nothing about what went wrong; the event of the failed pull does.
    fn image(&self, reason: &str) -> Symptom {
        let image = text(self.status, "/image").unwrap_or("");
        let stated = text(self.status, "/state/waiting/message").unwrap_or("");
        let reported = uid(self.pod)
            .into_iter()
            .flat_map(|pod| self.events.of(pod))
            .filter(|event| event.reason() == "Failed" && event.is_about(self.name()))
            .filter(|event| event.message().contains("pull") && event.message().contains(image))
            .max_by_key(|event| event.last())
            .map_or("", |event| event.message());
        let (message, pull) = match (
            image::classify(stated, image),
            image::classify(reported, image),
        ) {
            (Pull::Unclear, told) if !reported.is_empty() => (reported, told),
            (told, _) => (stated, told),
        };
        let patience = match pull {
            Pull::NotFound | Pull::Denied => Patience::Over,
            Pull::Unreachable => Patience::For(self.budgets.registry_unreachable),
            Pull::Unclear => Patience::For(self.budgets.image_pull),
        };
        // A back-off is the wait after the failure, which stays the same.
        let reason = match reason {
            "ImagePullBackOff" => "ErrImagePull",
            other => other,
        };
        let told = image::telling(message, image);
        let message = if image.is_empty() {
            told
        } else {
            format!("image {image}: {told}")
        };
        let cause = self.cause(pull.class(), reason, &message);
        Symptom::new(self.pod, patience, cause)
    }

    fn config(&self, reason: &str) -> Symptom {
        let message = text(self.status, "/state/waiting/message").unwrap_or("");
        if message.contains("failed to sync") {
            self.waiting(
                Class::ContainerRefused,
                reason,
                Patience::For(self.budgets.container_refused),
            )
        } else if names_missing(message) {
            self.waiting(
                Class::ConfigMissing,
                reason,
                Patience::For(self.budgets.config_missing),
            )
        } else if message.contains("runAsNonRoot") || message.contains("run as root") {
            self.waiting(Class::ContainerRefused, reason, Patience::Over)
        } else {
            self.waiting(
                Class::ContainerRefused,
                reason,
                Patience::For(self.budgets.container_refused),
            )
        }
    }

    /// Exit code 128 is what a runtime reports when it could not start the process, for whatever reason: it may
    /// pass. So may a runtime that is too slow.
    fn refused(&self, reason: &str) -> Symptom {
        let message = text(self.status, "/state/waiting/message").unwrap_or("");
        let may_pass = self.ended().is_some_and(|(_, code)| code == 128)
            || message.contains("deadline exceeded")
            || message.contains("is reserved for");
        let patience = if may_pass {
            Patience::For(self.budgets.container_refused)
        } else {
            Patience::Over
        };
        self.waiting(Class::ContainerRefused, reason, patience)
    }

    /// The last end of the container and its exit code.
    fn ended(&self) -> Option<(&'a Value, i64)> {
        let end = ["/state/terminated", "/lastState/terminated"]
            .into_iter()
            .find_map(|pointer| self.status.pointer(pointer).filter(|end| end.is_object()))?;
        Some((end, count(end, "/exitCode")))
    }

    /// Will the kubelet not start this container again, because it has done its work?
    fn is_done(&self, code: i64) -> bool {
        let always = text(self.pod, "/spec/restartPolicy").is_none_or(|policy| policy == "Always");
        code == 0 && (self.is_init || !always)
    }

    /// The container is down after it has run.
    fn crash(&self) -> Option<Symptom> {
        let looping = text(self.status, "/state/waiting/reason") == Some("CrashLoopBackOff");
        let down = looping || has(self.status, "/state/terminated");
        let (end, code) = self.ended().unwrap_or((&Value::Null, 0));
        let never = text(self.pod, "/spec/restartPolicy") == Some("Never");
        if !down || (never && !looping) || (!looping && self.is_done(code)) {
            return None;
        }
        let restarts = count(self.status, "/restartCount")
            .saturating_sub(self.restarts_before)
            .max(0);
        let allowed = i64::from(self.budgets.crash_restarts);
        let quick = run_length(end).is_some_and(|length| length < self.budgets.quick_exit);
        let patience = if self.of_job {
            Patience::Endless
        } else if restarts >= allowed || (restarts >= 1 && quick) {
            Patience::Over
        } else {
            Patience::For(self.budgets.no_activity)
        };
        let run = time(end, "/startedAt");
        let probe = self
            .probe_event("Liveness", run)
            .or_else(|| self.probe_event("Startup", run))
            .map(Event::message);
        let class = if probe.is_some() {
            Class::LivenessFailing
        } else {
            Class::CrashLoop
        };
        let reason = if looping {
            "CrashLoopBackOff"
        } else {
            text(end, "/reason").unwrap_or("Terminated")
        };
        let message = story(end, code, restarts.saturating_add(1), probe);
        let mut cause = self.cause(class, reason, &message);
        cause.exit_code = has(end, "/exitCode").then_some(code);
        let ended_before = looping && has(self.status, "/lastState/terminated");
        cause.logs = Some(if ended_before {
            Logs::Previous
        } else {
            Logs::Current
        });
        Some(Symptom::new(self.pod, patience, cause))
    }

    /// The container runs and is not ready although it should be by now.
    fn unready(&self) -> Option<Symptom> {
        let spec = spec_of(self.pod, "/spec/containers", self.name())
            .or_else(|| spec_of(self.pod, "/spec/initContainers", self.name()))?;
        let readiness = Probe::of(spec, "readinessProbe")?;
        let startup = Probe::of(spec, "startupProbe");
        let starting = startup.is_some() && !flag(self.status, "/started");
        if self.is_init
            || starting
            || !has(self.status, "/state/running")
            || flag(self.status, "/ready")
        {
            return None;
        }
        let reported = self.probe_event("Readiness", time(self.status, "/state/running/startedAt"));
        let answers = reported.is_some_and(|event| !event.message().contains("connection refused"));
        let allowed = readiness.period().saturating_mul(self.failures_allowed);
        let failing = readiness.grace(startup).saturating_add(allowed);
        let patience = if answers {
            failing
        } else {
            failing.max(self.budgets.slow_start)
        };
        let message = reported.map_or(
            "running, but its readiness probe has not succeeded",
            Event::message,
        );
        let mut cause = self.cause(Class::ReadinessFailing, "Unhealthy", message);
        cause.logs = Some(Logs::Current);
        let run = count(self.status, "/restartCount");
        let symptom = Symptom::new(self.pod, Patience::For(patience), cause).of_run(run);
        Some(Symptom {
            start: self.start((readiness, startup), failing, reported),
            ..symptom
        })
    }

    /// The start of the container, which is to last no longer than `failing` from the first probe on. There is none for a
    /// container that has ended before.
    fn start(
        &self,
        (readiness, startup): (Probe, Option<Probe>),
        failing: SignedDuration,
        reported: Option<Event<'_>>,
    ) -> Option<Start> {
        let started = time(self.status, "/state/running/startedAt")?;
        if has(self.status, "/lastState/terminated") {
            return None;
        }
        // The first report of the readiness probe tells best when the startup probe had succeeded.
        let begun = startup.map_or(started, |startup| {
            let latest = after(started, startup.startup());
            reported.map_or(latest, |event| event.first().clamp(started, latest))
        });
        Some(Start {
            probed: after(started, readiness.initial_delay()),
            until: after(begun, failing),
        })
    }

    /// What that probe last complained about, in the run that began at `since` by the clock of its node.
    fn probe_event(&self, probe: &str, since: Option<Timestamp>) -> Option<Event<'a>> {
        self.events
            .of(uid(self.pod)?)
            .filter(|event| event.reason() == "Unhealthy" && event.message().starts_with(probe))
            .filter(|event| event.is_about(self.name()))
            .filter(|event| since.is_none_or(|since| event.last() >= since))
            .max_by_key(|event| event.last())
    }

    /// The longest that this container may show nothing new while all is in order.
    pub(crate) fn quiet(&self) -> SignedDuration {
        let spec = spec_of(self.pod, "/spec/containers", self.name());
        let startup = spec.and_then(|spec| Probe::of(spec, "startupProbe"));
        let readiness = spec.and_then(|spec| Probe::of(spec, "readinessProbe"));
        let starting = startup.map_or(SignedDuration::ZERO, Probe::startup);
        let grace = readiness.map_or(SignedDuration::ZERO, |readiness| readiness.grace(startup));
        starting.saturating_add(grace)
    }
}

/// Does the message name something that the pod template refers to and that does not exist?
pub(crate) fn names_missing(message: &str) -> bool {
    let what = [
        "configmap",
        "ConfigMap",
        "secret",
        "Secret",
        "serviceaccount",
        "key",
    ];
    let missing = ["not found", "couldn't find key", "non-existent"];
    what.iter().any(|word| message.contains(word))
        && missing.iter().any(|word| message.contains(word))
}

/// How long the run lasted, by the clock of its node. A process that never started has a start time of zero.
fn run_length(end: &Value) -> Option<SignedDuration> {
    if matches!(
        text(end, "/reason"),
        Some("StartError" | "ContainerCannotRun")
    ) {
        return Some(SignedDuration::ZERO);
    }
    let started = time(end, "/startedAt").filter(|started| started.as_second() > 0)?;
    Some(time(end, "/finishedAt")?.duration_since(started))
}

/// "exit code 1 three times (the last run lasted 0 s)".
fn story(end: &Value, code: i64, ends: i64, probe: Option<&str>) -> String {
    let ends = times(ends.max(1).unsigned_abs());
    let mut story = if int(end, "/exitCode").is_some() {
        format!("exit code {code} {ends}")
    } else {
        format!("ended {ends}")
    };
    match text(end, "/reason") {
        Some("OOMKilled") => {
            story.push_str(", killed for using more memory than its limit (OOMKilled)")
        }
        Some("StartError" | "ContainerCannotRun") => {
            story.push_str(", its process could not be started")
        }
        _ if code == 0 => story.push_str(", although it is expected to keep running"),
        _ => {}
    }
    if let Some(probe) = probe {
        story.push_str("; ");
        story.push_str(probe);
    }
    if let Some(message) = last_message(end) {
        story.push_str("; ");
        story.push_str(&message);
    }
    story
}
