//! Failure strategies.

use crate::position::Position;

/// What to do about certain failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureStrategy {
    /// The failures it is for; at least one.
    pub errors: Vec<FailureType>,
    /// What is done.
    pub action: FailureAction,
    /// Where it starts.
    pub position: Position,
}

/// What a failure strategy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureAction {
    /// Go on; the step is shown as failed and ignored.
    Ignore,
    /// Go on as if it had succeeded.
    MarkAsSuccess,
    /// Fail, without rollback.
    MarkAsFailure,
    /// Abort the execution.
    Abort,
    /// Run the `rollbackSteps` of the stage.
    StageRollback,
    /// An action of the published schema that cannot be run yet.
    Unsupported(String),
}

macro_rules! failure_types {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Kinds of failure, as the published pipeline schema names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FailureType {
            $($(#[$doc])* $name,)*
        }

        impl FailureType {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As written in YAML.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

failure_types! {
    /// Every failure.
    AllErrors,
    /// None of the others.
    Unknown,
    /// Credentials were refused.
    Authentication,
    /// Something could not be reached.
    Connectivity,
    /// The step took longer than its timeout.
    Timeout,
    /// Rights were missing.
    Authorization,
    /// A verification failed.
    Verification,
    /// A delegate could not be made.
    DelegateProvisioning,
    /// A policy refused.
    PolicyEvaluationFailure,
    /// Nobody gave an execution input in time.
    InputTimeoutError,
    /// An approval was refused.
    ApprovalRejection,
    /// The delegate that ran a step which must not run twice is gone.
    DelegateRestart,
    /// A person marked it as failed.
    UserMarkedFailure,
    /// The infrastructure could not be provided.
    InfrastructureFailure,
    /// The image of a plugin could not be started.
    PluginImageFailure,
    /// A limit of resources was hit.
    ResourceLimitsFailure,
    /// The configuration is wrong.
    ConfigurationFailure,
    /// A failure that is known to pass.
    RetryableTransientFailure,
}
