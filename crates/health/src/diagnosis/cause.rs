//! Why a workload does not get there, in words and codes.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::line::{self, MESSAGE_LIMIT, NAME_LIMIT};
use crate::read;

/// Why a workload does not get there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// Which kind of trouble.
    pub class: Class,
    /// The object that is being waited for.
    pub object: ObjectName,
    /// The pod in trouble.
    pub pod: Option<String>,
    /// The container in trouble.
    pub container: Option<String>,
    /// The reason as Kubernetes names it, such as `CrashLoopBackOff`.
    pub reason: String,
    /// One line: what the cluster says about it.
    pub message: String,
    /// How the container last ended.
    pub exit_code: Option<i64>,
    /// Which logs of the container would tell more.
    pub logs: Option<Logs>,
    /// The latest warning that the cluster gave about the pod or the object.
    #[serde(default)]
    pub event: Option<EventSeen>,
}

/// An event of the cluster, as evidence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventSeen {
    /// Its reason, such as `FailedMount`.
    pub reason: String,
    /// Its message, one line.
    pub message: String,
    /// How often it has happened.
    pub times: u64,
    /// When it last happened, by the clock of the cluster.
    pub last: Option<Timestamp>,
}

/// Kind, namespace and name of an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObjectName {
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Namespace, if the object has one.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

/// Which run of a container to read logs from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Logs {
    /// The container as it is now, running or ended.
    Current,
    /// The run before (`previous=true` in the Kubernetes API).
    Previous,
}

/// Kinds of trouble, the most telling first: of several, the first is reported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Class {
    /// The image name cannot be parsed.
    ImageNameInvalid,
    /// The registry does not know the image.
    ImageNotFound,
    /// The registry refuses access to the image.
    ImageDenied,
    /// The image cannot be pulled, for a reason that may pass.
    ImagePull,
    /// A ConfigMap, Secret, key or service account does not exist.
    ConfigMissing,
    /// The container cannot be created or started.
    ContainerRefused,
    /// The container ends again and again.
    CrashLoop,
    /// The liveness or startup probe fails, so that the container is restarted.
    LivenessFailing,
    /// A resource quota leaves no room for the pod.
    Quota,
    /// The API server refuses the pod.
    PodRefused,
    /// The readiness probe fails.
    ReadinessFailing,
    /// No node can take the pod.
    Unschedulable,
    /// The node cannot set the pod up: volumes, network.
    NotStarting,
    /// A pod of the previous revision is in the way.
    OldPodStuck,
    /// The Job failed.
    JobFailed,
    /// The pod failed.
    PodFailed,
    /// The progress deadline passed.
    DeadlineExceeded,
    /// Nothing has changed for too long.
    NoActivity,
    /// The object's controller reports a failure.
    Degraded,
    /// The object is not there, or another one has taken its place.
    Gone,
    /// The user's own rule for its health cannot be read or evaluated.
    RuleUnfit,
}

// === impl Class ===

impl Class {
    /// All of them, in order.
    pub const ALL: [Self; 21] = [
        Self::ImageNameInvalid,
        Self::ImageNotFound,
        Self::ImageDenied,
        Self::ImagePull,
        Self::ConfigMissing,
        Self::ContainerRefused,
        Self::CrashLoop,
        Self::LivenessFailing,
        Self::Quota,
        Self::PodRefused,
        Self::ReadinessFailing,
        Self::Unschedulable,
        Self::NotStarting,
        Self::OldPodStuck,
        Self::JobFailed,
        Self::PodFailed,
        Self::DeadlineExceeded,
        Self::NoActivity,
        Self::Degraded,
        Self::Gone,
        Self::RuleUnfit,
    ];

    /// The stable code; `docs/errors/` has a page for each.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ImageNameInvalid => "SRT-H001",
            Self::ImageNotFound => "SRT-H002",
            Self::ImageDenied => "SRT-H003",
            Self::ImagePull => "SRT-H004",
            Self::ConfigMissing => "SRT-H005",
            Self::ContainerRefused => "SRT-H006",
            Self::CrashLoop => "SRT-H007",
            Self::LivenessFailing => "SRT-H008",
            Self::Quota => "SRT-H009",
            Self::PodRefused => "SRT-H010",
            Self::ReadinessFailing => "SRT-H011",
            Self::Unschedulable => "SRT-H012",
            Self::NotStarting => "SRT-H013",
            Self::OldPodStuck => "SRT-H014",
            Self::JobFailed => "SRT-H015",
            Self::PodFailed => "SRT-H016",
            Self::DeadlineExceeded => "SRT-H017",
            Self::NoActivity => "SRT-H018",
            Self::Degraded => "SRT-H019",
            Self::Gone => "SRT-H020",
            Self::RuleUnfit => "SRT-H021",
        }
    }

    /// Whether it is about the object, not about one of its pods.
    const fn is_of_the_whole(self) -> bool {
        matches!(
            self,
            Self::DeadlineExceeded | Self::NoActivity | Self::JobFailed
        )
    }

    /// What to do about it, one sentence.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::ImageNameInvalid => {
                "correct the image name; an expression in it may have come out empty"
            }
            Self::ImageNotFound => {
                "check the image's name and tag, and that it was pushed to this registry"
            }
            Self::ImageDenied => {
                "check that the image exists and that imagePullSecrets give access to it"
            }
            Self::ImagePull => {
                "check that the nodes reach the registry and that it does not limit them"
            }
            Self::ConfigMissing => {
                "create what is missing, or correct its name in the pod template"
            }
            Self::ContainerRefused => "check command, security context and mounts of the container",
            Self::CrashLoop => "read the container's log: the process itself ends",
            Self::LivenessFailing => {
                "make the probe fit the application: a startup probe or a longer delay, or fix what it reports"
            }
            Self::Quota => "raise the quota, ask for fewer resources, or remove what is not needed",
            Self::PodRefused => "change the pod template so that the named policy admits it",
            Self::ReadinessFailing => {
                "read the container's log and try the probe by hand; give a slow start a startup probe"
            }
            Self::Unschedulable => {
                "make room, add nodes, or loosen the pod's requests and constraints"
            }
            Self::NotStarting => "check the pod's volumes and the node's network plug-in",
            Self::OldPodStuck => "delete the pod: its controller waits for it before it goes on",
            Self::JobFailed => "read the log of the job's pod",
            Self::PodFailed => "read the log of the pod",
            Self::DeadlineExceeded => "look at the pods, or raise spec.progressDeadlineSeconds",
            Self::NoActivity => {
                "look at the object and its events; its controller may not be running"
            }
            Self::Degraded => "look at the object's conditions",
            Self::Gone => "find out who deleted or replaced the object while it was being deployed",
            Self::RuleUnfit => "correct the rule that the message names",
        }
    }
}

// === impl Cause ===

impl Cause {
    /// A cause with reason and message reduced to one bounded line each.
    pub(crate) fn new(class: Class, workload: &Value, reason: &str, message: &str) -> Self {
        Self {
            class,
            object: ObjectName::of(workload),
            pod: None,
            container: None,
            reason: line::one_line(reason, NAME_LIMIT),
            message: line::one_line(message, MESSAGE_LIMIT),
            exit_code: None,
            logs: None,
            event: None,
        }
    }

    pub(crate) fn in_pod(mut self, pod: &Value) -> Self {
        self.pod = Some(line::one_line(read::name(pod), NAME_LIMIT));
        self
    }

    pub(crate) fn in_container(mut self, container: &str) -> Self {
        self.container = Some(line::one_line(container, NAME_LIMIT));
        self
    }

    /// Adds what another cause knows about pod, container and logs, and says it after our own message.
    pub(crate) fn because_of(mut self, other: Option<&Self>) -> Self {
        if let Some(other) = other {
            self.message = line::one_line(
                &format!("{}; {}", self.message, other.one_line(&[])),
                MESSAGE_LIMIT,
            );
            self.exit_code = other.exit_code;
            self.logs = other.logs;
            self.event.clone_from(&other.event);
            // The message names them already; the fields are for who fetches the logs.
            self.pod.clone_from(&other.pod);
            self.container.clone_from(&other.container);
        }
        self
    }

    /// The stable code of the cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.class.code()
    }

    /// What to do about it, one sentence.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.class.hint()
    }

    /// Whether [`Cause::one_line`] begins with the object itself, and not with one of its pods.
    #[must_use]
    pub const fn begins_with_object(&self) -> bool {
        self.class.is_of_the_whole() || self.pod.is_none()
    }

    /// Where it is: `pod web-7c9f-x2 container web`, or the object as a whole.
    pub(crate) fn place(&self) -> String {
        match (&self.pod, &self.container) {
            _ if self.begins_with_object() => self.object.to_string(),
            (Some(pod), Some(container)) => format!("pod {pod} container {container}"),
            (Some(pod), None) => format!("pod {pod}"),
            (None, _) => self.object.to_string(),
        }
    }

    /// The whole story on one line, with the end of the log if there is one:
    /// `pod web-7c9f-x2 container web: CrashLoopBackOff, exit code 1 three times; last log: "cannot bind port"`.
    #[must_use]
    pub fn one_line(&self, last_log_lines: &[String]) -> String {
        let Self {
            class,
            reason,
            message,
            event,
            ..
        } = self;
        let about_object = class.is_of_the_whole();
        let mut text = self.place();
        text.push_str(": ");
        text.push_str(reason);
        if !message.is_empty() && message != reason {
            text.push_str(if *class == Class::CrashLoop {
                ", "
            } else {
                ": "
            });
            text.push_str(message);
        }
        // The messages of the others come from the event, or say more than it.
        let event_tells = about_object
            || matches!(
                class,
                Class::ContainerRefused | Class::PodFailed | Class::Degraded
            );
        if let Some(seen) = event
            && event_tells
            && !text.contains(seen.message.as_str())
        {
            let EventSeen {
                reason, message, ..
            } = seen;
            text.push_str("; event ");
            text.push_str(reason);
            text.push_str(": ");
            text.push_str(&line::one_line(message, 300));
        }
        let lines: Vec<String> = last_log_lines
            .iter()
            .rev()
            .map(|log_line| line::one_line(log_line, 200))
            .filter(|log_line| !log_line.is_empty())
            .take(3)
            .collect();
        if !lines.is_empty() {
            let lines: Vec<String> = lines.into_iter().rev().collect();
            text.push_str("; last log: \"");
            text.push_str(&lines.join(" | "));
            text.push('"');
        }
        text
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one_line(&[]))
    }
}

// === impl ObjectName ===

impl ObjectName {
    pub(crate) fn of(object: &Value) -> Self {
        Self {
            kind: line::one_line(read::kind(object), NAME_LIMIT),
            namespace: read::text(object, "/metadata/namespace")
                .map(|it| line::one_line(it, NAME_LIMIT)),
            name: line::one_line(read::name(object), NAME_LIMIT),
        }
    }
}

impl fmt::Display for ObjectName {
    /// `Deployment/shop/web`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}
