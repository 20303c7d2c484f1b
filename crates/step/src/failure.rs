//! How a step ends, in words for the person who asked.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_cluster::Cause;
use sortie_health::diagnosis::Cause as HealthCause;

use crate::report::{Level, Masked, Sink, Unit};

/// How a step ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It did what it should.
    Succeeded {
        /// What later steps can refer to: a JSON object, such as `{"releaseName": "web", "releaseNumber": 3}`.
        outputs: Value,
    },
    /// It did not.
    Failed(Failure),
    /// It was told to stop, and did at a safe place.
    Aborted,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which failure strategies apply.
    pub kind: FailureKind,
    /// Stable code with a page in the error reference.
    pub code: String,
    /// Which operation failed on what, and why; one line, no secret.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Release number of the failed attempt, once it had one.
    pub release_number: Option<u64>,
}

/// The classes of failure that failure strategies of pipelines tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// Something on the way was not reachable.
    Connectivity,
    /// Credentials were not accepted.
    Authentication,
    /// Credentials were accepted and do not suffice, or a policy says no.
    Authorization,
    /// Not done in time.
    Timeout,
    /// The manifests or the step's options cannot work.
    Configuration,
    /// Anything else about the deployment itself.
    Unknown,
}

impl Failure {
    pub(crate) fn new(
        kind: FailureKind,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            code: code.to_owned(),
            message: message.into(),
            hint: hint.into(),
            release_number: None,
        }
    }

    /// A failure of the cluster's API.
    pub(crate) fn cluster(error: &sortie_cluster::Error) -> Self {
        let kind = match error.cause() {
            Cause::Unauthorized { .. } => FailureKind::Authentication,
            Cause::Forbidden { .. } | Cause::Denied { .. } | Cause::AnotherRelease { .. } => {
                FailureKind::Authorization
            }
            Cause::Unreachable { .. } | Cause::Busy { .. } | Cause::WebhookUnavailable { .. } => {
                FailureKind::Connectivity
            }
            Cause::TimedOut { .. } => FailureKind::Timeout,
            Cause::Invalid { .. }
            | Cause::UnknownKind { .. }
            | Cause::Immutable { .. }
            | Cause::Irreplaceable { .. }
            | Cause::Duplicate { .. }
            | Cause::NamespaceMissing { .. } => FailureKind::Configuration,
            _ => FailureKind::Unknown,
        };
        Self::new(kind, error.code(), chain(error), error.advice())
    }

    /// An object that does not become healthy.
    pub(crate) fn health(cause: &HealthCause, last_words: &[String]) -> Self {
        Self::new(
            FailureKind::Unknown,
            cause.code(),
            cause.one_line(last_words),
            cause.hint(),
        )
    }

    pub(crate) fn configuration(
        code: &'static str,
        error: &(dyn std::error::Error + 'static),
        hint: &str,
    ) -> Self {
        Self::new(FailureKind::Configuration, code, chain(error), hint)
    }

    /// The last two lines in the log of the unit that failed: what and why, and what to do.
    pub fn lines(&self) -> [String; 2] {
        [
            format!("{}: {}", self.code, self.message),
            format!("what to do: {}", self.hint),
        ]
    }

    /// The same without any known secret.
    pub(crate) fn masked(mut self, masked: &Masked) -> Self {
        self.message = masked.mask(&self.message);
        self.hint = masked.mask(&self.hint);
        self
    }

    pub(crate) const fn of_release(mut self, number: u64) -> Self {
        self.release_number = Some(number);
        self
    }
}

/// The message of an error and of each cause behind it, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text.replace('\n', " ")
}

/// Failures that are in the log one by one; more are counted.
const TOLD: usize = 100;

/// All failures of one check in the log when there are several, the first as the failure of the whole: `None` when
/// there is none. `more` of them were only counted.
pub(crate) fn all_of(
    sink: &dyn Sink,
    unit: Unit,
    failures: Vec<Failure>,
    more: usize,
) -> Option<Failure> {
    let several = failures.len() + more > 1;
    tell(
        sink,
        unit,
        failures.iter().map(|one| one.message.clone()),
        more,
    );
    let others = failures.len().saturating_sub(1) + more;
    let mut first = failures.into_iter().next()?;
    if several {
        first.message.push_str(&format!(" (and {others} more)"));
    }
    Some(first)
}

/// Several errors in the log, each on a line; of very many the number. One alone is told by the failure.
fn tell(sink: &dyn Sink, unit: Unit, errors: impl ExactSizeIterator<Item = String>, more: usize) {
    let all = errors.len() + more;
    if all < 2 {
        return;
    }
    for text in errors.take(TOLD) {
        sink.log(unit, Level::Error, &text);
    }
    if all > TOLD {
        let text = format!("{} more errors are not shown", all - TOLD);
        sink.log(unit, Level::Error, &text);
    }
}

/// All refusals in the log when there are several, the first in the failure.
pub(crate) fn refused(sink: &dyn Sink, unit: Unit, errors: &[sortie_cluster::Error]) -> Failure {
    tell(sink, unit, errors.iter().map(|error| chain(error)), 0);
    first_of(errors)
}

/// The first of several refusals, with how many more there are. A lost lease goes before everything: the others follow
/// from it.
pub(crate) fn first_of(errors: &[sortie_cluster::Error]) -> Failure {
    let lost = errors
        .iter()
        .find(|error| matches!(error.cause(), Cause::LeaseLost { .. }));
    let Some(first) = lost.or_else(|| errors.first()) else {
        return Failure::new(
            FailureKind::Unknown,
            "SRT-T016",
            "the API server refused the set without a reason",
            "look at the API server's own log",
        );
    };
    let mut failure = Failure::cluster(first);
    if errors.len() > 1 {
        failure
            .message
            .push_str(&format!(" (and {} more)", errors.len() - 1));
    }
    failure
}
