//! Failure types and what to do about them.

use serde::{Deserialize, Serialize};

/// Why a step failed, as failure strategies name it in YAML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureType {
    /// None of the others: the step ran and did not succeed, or its parameters could not be resolved.
    Unknown,
    /// Somebody's credentials were refused.
    Authentication,
    /// The credentials were good, the permission was missing.
    Authorization,
    /// A service could not be reached.
    Connectivity,
    /// The step took longer than its timeout.
    Timeout,
    /// Continuous verification found the new version worse.
    Verification,
    /// No delegate could be found or made for the step.
    DelegateProvisioning,
    /// The delegate that ran a step which cannot be resumed went away.
    DelegateRestart,
    /// A policy refused.
    PolicyEvaluationFailure,
    /// A person did not answer in time.
    InputTimeoutError,
    /// A person refused.
    ApprovalRejection,
    /// A person marked the step as failed.
    UserMarkedFailure,
}

/// One entry of `failureStrategies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureStrategy {
    /// Which failures.
    pub errors: Errors,
    /// What to do about them.
    pub action: FailureAction,
}

/// The failures that a strategy answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Errors {
    /// Every type that no other entry of the same level names. Written `AllErrors` in YAML.
    All,
    /// The listed types.
    Of(Vec<FailureType>),
}

/// What happens to a step that failed, and then to the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureAction {
    /// The step ends as [`crate::Status::IgnoreFailed`]; the stage goes on as after a success.
    Ignore,
    /// The step ends as [`crate::Status::Succeeded`].
    MarkAsSuccess,
    /// The step stays failed; later nodes run or are skipped by their `when`.
    MarkAsFailure,
    /// The whole pipeline is aborted; nothing is rolled back.
    Abort,
    /// The rest of the stage is skipped and its rollback steps run. The stage stays failed.
    StageRollback,
}
