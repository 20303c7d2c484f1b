//! What can go wrong with a request to the cluster, in words for the person who has to act.

use std::fmt;
use std::time::Duration;

use sortie_manifest::Origin;

use crate::access::CredentialError;
use crate::lease;

/// An operation on one object that failed: what was tried, on what, why, and what to do.
///
/// Displayed as `cannot apply Deployment/shop/web (web.yaml:12:1): <cause>`; [`Error::advice`] says
/// what to do about it and [`Error::code`] leads to the page in the error reference.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    verb: &'static str,
    target: String,
    origin: Option<Origin>,
    cause: Cause,
}

/// Why the operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The API server does not know who we are (401).
    #[error("the API server does not accept our credentials: {message}")]
    Unauthorized {
        /// The server's own words.
        message: String,
    },
    /// There is nothing to show the API server who we are.
    #[error("there are no credentials for the API server")]
    NoCredentials {
        /// Why not.
        source: CredentialError,
    },
    /// RBAC or admission control does not allow it (403).
    #[error("not allowed: {message}{}", crate::rbac::clause(.message))]
    Forbidden {
        /// The server's own words.
        message: String,
    },
    /// No API of the cluster serves this kind.
    #[error(
        "the cluster does not know kind {kind} in {api_version}{}", nearest_clause(.nearest)
    )]
    UnknownKind {
        /// `apiVersion` that was asked for.
        api_version: String,
        /// Kind that was asked for.
        kind: String,
        /// Kinds the cluster serves that may have been meant, as `apps/v1 Deployment`.
        nearest: Vec<String>,
    },
    /// Several APIs of the cluster serve a kind of this name.
    #[error("kind {kind} can mean {}", .candidates.join(" or "))]
    AmbiguousKind {
        /// As it was asked for.
        kind: String,
        /// What may have been meant, as `Route.route.openshift.io`.
        candidates: Vec<String>,
    },
    /// The object is malformed or breaks a rule of its kind (400, 422).
    #[error("the API server finds it invalid: {}", problem_list(.problems))]
    Invalid {
        /// What is wrong, field by field.
        problems: Vec<Problem>,
    },
    /// A field changed that the API server never lets change.
    #[error("{}", immutable_clause(.problems, .others))]
    Immutable {
        /// The fields, with the server's words.
        problems: Vec<Problem>,
        /// What is wrong besides, whatever becomes of these fields.
        others: Vec<Problem>,
    },
    /// A field changed that the API server never lets change, and it does not take a new object either.
    #[error("{}; a new object in its place, tried out under another name, is refused as well", immutable_clause(.problems, &[]))]
    Irreplaceable {
        /// The fields, with the server's words.
        problems: Vec<Problem>,
        /// Why there can be no new one.
        source: Box<Error>,
    },
    /// The object was deleted to be replaced, and the new one could not be made.
    #[error("the new object could not be made after the old one was deleted; {}", restored_clause(.restored))]
    NotReplaced {
        /// Whether the old one was made again: not, if it is a Job that had ended.
        restored: Result<bool, Box<Error>>,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A ResourceQuota or LimitRange of the namespace has no room for it.
    #[error("the namespace's quota has no room for it: {message}")]
    Quota {
        /// The server's own words: what was asked for, used and allowed.
        message: String,
    },
    /// An admission webhook or policy said no.
    #[error("{by} denied it: {message}")]
    Denied {
        /// `webhook NAME` or `policy NAME`.
        by: String,
        /// Its words.
        message: String,
    },
    /// An admission webhook could not be called, and its configuration says to fail then.
    #[error("webhook {webhook} could not be called: {message}")]
    WebhookUnavailable {
        /// Name of the webhook.
        webhook: String,
        /// The server's own words.
        message: String,
    },
    /// Somebody else changed the object between our reading and our writing (409).
    #[error("it was changed by somebody else meanwhile: {message}")]
    Conflict {
        /// The server's own words.
        message: String,
    },
    /// The object does not exist (404).
    #[error("it does not exist")]
    NotFound,
    /// The object exists already.
    #[error("it exists already")]
    AlreadyExists,
    /// The object's namespace does not exist.
    #[error("namespace {namespace} does not exist")]
    NamespaceMissing {
        /// The namespace.
        namespace: String,
    },
    /// The object's namespace is being deleted.
    #[error("namespace {namespace} is being deleted")]
    NamespaceTerminating {
        /// The namespace.
        namespace: String,
    },
    /// The object belongs to another release.
    #[error("it belongs to another release ({owner})")]
    AnotherRelease {
        /// The other release, by name when the object tells it, else by its hash.
        owner: String,
    },
    /// The same object is twice in the set.
    #[error("the same object is also at {other}")]
    Duplicate {
        /// Where its first occurrence is.
        other: Origin,
    },
    /// Deletion was accepted, but finalizers keep the object.
    #[error("it is still there {} s after we began to wait{}: {}", .waited.as_secs(), since_clause(.since), holder_clause(.holders, .pods, .remaining))]
    Stuck {
        /// How long was waited.
        waited: Duration,
        /// Since when it is being deleted; empty when that is not known.
        since: String,
        /// Finalizers, each with who has to act on it.
        holders: Vec<String>,
        /// Pods that end with it and are still there.
        pods: Vec<String>,
        /// What is left in a namespace, in the API server's words.
        remaining: Vec<String>,
    },
    /// The API server was too busy (429, 503, 504), also after retries.
    #[error("the API server is too busy (status {status}): {message}")]
    Busy {
        /// HTTP status.
        status: u16,
        /// The server's own words.
        message: String,
    },
    /// No connection to the API server, or it broke.
    #[error("no connection to the API server")]
    Unreachable {
        /// What the HTTP client reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("no answer from the API server within {} s", .after.as_secs_f32())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// Any other refusal.
    #[error("the API server answered with status {status}: {message}")]
    Server {
        /// HTTP status.
        status: u16,
        /// The server's own words.
        message: String,
    },
    /// The answer is not what the Kubernetes API promises.
    #[error("the API server's answer cannot be read")]
    Unreadable {
        /// What does not fit.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The right to write to the release is not ours any more.
    #[error("the release's lease is not held any more")]
    LeaseLost {
        /// How it was lost.
        #[source]
        source: lease::Lost,
    },
}

/// What the API server says about one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.replicas`; empty when the server names none.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What a caller may do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request may succeed later; nothing was changed as far as we know.
    Later,
    /// Read the object again and decide anew.
    AfterReading,
    /// The same request will fail again.
    Never,
}

impl Error {
    /// An operation `verb` ("apply", "delete") on `target` ("Deployment/shop/web") that failed.
    pub fn new(verb: &'static str, target: impl Into<String>, cause: Cause) -> Self {
        Self {
            inner: Box::new(Inner {
                verb,
                target: target.into(),
                origin: None,
                cause,
            }),
        }
    }

    /// The same with the place in the manifest that the object came from.
    #[must_use]
    pub fn at(mut self, origin: Option<&Origin>) -> Self {
        self.inner.origin = origin.cloned();
        self
    }

    /// The same where something else was being done: an English verb.
    #[must_use]
    pub fn doing(mut self, verb: &'static str) -> Self {
        self.inner.verb = verb;
        self
    }

    /// What was tried: an English verb.
    pub fn verb(&self) -> &'static str {
        self.inner.verb
    }

    /// The object it was tried on.
    pub fn target(&self) -> &str {
        &self.inner.target
    }

    /// Where the object is written in the manifest, when it is from one.
    pub fn origin(&self) -> Option<&Origin> {
        self.inner.origin.as_ref()
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.inner.cause
    }

    /// Why it failed, by value.
    pub fn into_cause(self) -> Cause {
        self.inner.cause
    }

    /// The same with another cause.
    pub(crate) fn map_cause(mut self, change: impl FnOnce(Cause) -> Cause) -> Self {
        self.inner.cause = change(self.inner.cause);
        self
    }

    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self.cause() {
            Cause::Unauthorized { .. } => "SRT-C002",
            Cause::NoCredentials { source } => source.code(),
            Cause::Forbidden { .. } => "SRT-C003",
            Cause::UnknownKind { .. } => "SRT-C004",
            Cause::Invalid { .. } => "SRT-C005",
            Cause::Immutable { .. } => "SRT-C006",
            Cause::Quota { .. } => "SRT-C007",
            Cause::Denied { .. } => "SRT-C008",
            Cause::WebhookUnavailable { .. } => "SRT-C009",
            Cause::Conflict { .. } => "SRT-C010",
            Cause::NotFound => "SRT-C011",
            Cause::AlreadyExists => "SRT-C012",
            Cause::NamespaceMissing { .. } => "SRT-C013",
            Cause::NamespaceTerminating { .. } => "SRT-C014",
            Cause::AnotherRelease { .. } => "SRT-C015",
            Cause::Duplicate { .. } => "SRT-C016",
            Cause::Stuck { .. } => "SRT-C017",
            Cause::Busy { .. } => "SRT-C018",
            Cause::Unreachable { .. } => "SRT-C019",
            Cause::TimedOut { .. } => "SRT-C020",
            Cause::Server { .. } => "SRT-C021",
            Cause::Unreadable { .. } => "SRT-C022",
            Cause::LeaseLost { .. } => "SRT-C023",
            Cause::NotReplaced { .. } => "SRT-C024",
            Cause::Irreplaceable { .. } => "SRT-C040",
            Cause::AmbiguousKind { .. } => "SRT-C028",
        }
    }

    /// What the person who asked can do about it, as one sentence.
    pub fn advice(&self) -> &'static str {
        match self.cause() {
            Cause::Unauthorized { .. } => {
                "Check the credentials of the kubeconfig, or the delegate's service account."
            }
            Cause::NoCredentials { source } => source.advice(),
            Cause::Forbidden { .. } => {
                "Give the account in the message the right it names, or deploy to a namespace where it has it."
            }
            Cause::UnknownKind { .. } => {
                "Correct apiVersion and kind, or install the operator whose CustomResourceDefinition defines it."
            }
            Cause::AmbiguousKind { .. } => {
                "Name the kind with its group, as the message does: Kind.group."
            }
            Cause::Invalid { .. } => "Correct the named fields in the manifest.",
            Cause::Immutable { .. } => {
                "Undo the change, give the object another name, or let it be deleted and made anew: --replace, or its annotation sortie.dev/replace: \"true\"."
            }
            Cause::Irreplaceable { .. } => {
                "Undo the change, or see to it that a new object is accepted: the reason at the end of the message hinders it."
            }
            Cause::NotReplaced { .. } => {
                "Read why the new object was refused; if the old one is not back, apply it from the release's record (sortie rollback)."
            }
            Cause::Quota { .. } => {
                "Lower the requests in the manifest, free room in the namespace, or raise its quota."
            }
            Cause::Denied { .. } => {
                "Change the manifest as the message asks, or talk to the owner of the policy."
            }
            Cause::WebhookUnavailable { .. } => {
                "Look after the pods behind the webhook; nothing that it guards can change while they are down."
            }
            Cause::Conflict { .. } => {
                "Try again; if it persists, find out who keeps changing the object."
            }
            Cause::NotFound => "Check name and namespace.",
            Cause::AlreadyExists => "Choose another name, or delete the existing object.",
            Cause::NamespaceMissing { .. } => {
                "Create the namespace, or add a Namespace object to the manifest."
            }
            Cause::NamespaceTerminating { .. } => "Wait until it is gone, then create it again.",
            Cause::AnotherRelease { .. } => {
                "Deploy under that release's name, rename the object, or adopt it explicitly."
            }
            Cause::Duplicate { .. } => "Remove one of the two from the manifest.",
            Cause::Stuck {
                holders, remaining, ..
            } if holders.is_empty() && remaining.is_empty() => {
                "Find out why its pods do not end: `kubectl describe pod` names the node; one whose node is gone must be deleted by force."
            }
            Cause::Stuck { .. } => {
                "Look after the controllers that own the finalizers; they must finish before the object can go."
            }
            Cause::Busy { .. } => "Try again later; the API server asked for less load.",
            Cause::Unreachable { .. } => {
                "Check that the API server runs and that its address is right."
            }
            Cause::TimedOut { .. } => "Check the load of the API server and the network to it.",
            Cause::Server { .. } => "Read the message; the API server's own log says more.",
            Cause::Unreadable { .. } => {
                "Check that the address is that of a Kubernetes API server."
            }
            Cause::LeaseLost { .. } => {
                "Another task holds the release now; wait for it, then deploy again."
            }
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self.cause() {
            Cause::Busy { .. }
            | Cause::Unreachable { .. }
            | Cause::TimedOut { .. }
            | Cause::WebhookUnavailable { .. } => Retry::Later,
            Cause::NoCredentials { source } if source.is_transient() => Retry::Later,
            Cause::Irreplaceable { source, .. } => source.retry(),
            Cause::Conflict { .. } => Retry::AfterReading,
            _ => Retry::Never,
        }
    }

    /// Whether the object was not there, or not even its namespace.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.cause(),
            Cause::NotFound | Cause::NamespaceMissing { .. }
        )
    }

    /// Whether a compare-and-set was lost.
    pub fn is_conflict(&self) -> bool {
        matches!(self.cause(), Cause::Conflict { .. })
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.verb, self.target)?;
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for Inner {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The cause is already part of the message; what lies behind it is not.
        std::error::Error::source(&self.cause)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

fn problem_list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The fields alone, where the server says no more than that they cannot change.
fn immutable_clause(problems: &[Problem], others: &[Problem]) -> String {
    let mut clause = unchangeable_clause(problems);
    if !others.is_empty() {
        clause.push_str("; besides, the API server finds it invalid: ");
        clause.push_str(&problem_list(others));
    }
    clause
}

fn unchangeable_clause(problems: &[Problem]) -> String {
    let bare = |problem: &&Problem| {
        let says_no_more = problem.message.ends_with("field is immutable")
            || problem.message == "differs from the live object";
        says_no_more && !problem.field.is_empty()
    };
    if problems.iter().all(|problem| bare(&problem)) {
        let fields: Vec<&str> = problems.iter().map(|one| one.field.as_str()).collect();
        return format!("{} cannot change", fields.join(", "));
    }
    let list = problem_list(problems);
    format!("a field that cannot change would change: {list}")
}

fn nearest_clause(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; it knows {}", nearest.join(", "))
    }
}

fn restored_clause(restored: &Result<bool, Box<Error>>) -> String {
    match restored {
        Ok(true) => "the old one is back".to_owned(),
        Ok(false) => "the old one had done its work and is not run again".to_owned(),
        Err(error) => format!("the old one could not be made again either: {error}"),
    }
}

fn since_clause(since: &str) -> String {
    if since.is_empty() {
        String::new()
    } else {
        format!(" (it is being deleted since {since})")
    }
}

pub(crate) fn holder_clause(
    finalizers: &[String],
    pods: &[String],
    remaining: &[String],
) -> String {
    let of_pods =
        (!pods.is_empty()).then(|| format!("waiting for pods to end: {}", pods.join(", ")));
    if !remaining.is_empty() {
        let parts = remaining.iter().cloned().chain(of_pods);
        return parts.collect::<Vec<_>>().join("; ");
    }
    if !finalizers.is_empty() {
        return format!("waiting for finalizers {}", finalizers.join(", "));
    }
    of_pods.unwrap_or_else(|| String::from("its dependants are still being deleted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_operation_object_and_reason_once() {
        let error = Error::new(
            "apply",
            "Deployment/shop/web",
            Cause::Unreachable {
                source: "connection refused".into(),
            },
        );
        assert_eq!(
            error.to_string(),
            "cannot apply Deployment/shop/web: no connection to the API server"
        );
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("connection refused"));
    }

    #[test]
    fn an_unknown_kind_names_what_may_have_been_meant() {
        let cause = Cause::UnknownKind {
            api_version: "apps/v1".into(),
            kind: "Deploymnet".into(),
            nearest: vec!["apps/v1 Deployment".into()],
        };
        assert_eq!(
            cause.to_string(),
            "the cluster does not know kind Deploymnet in apps/v1; it knows apps/v1 Deployment"
        );
    }
}
