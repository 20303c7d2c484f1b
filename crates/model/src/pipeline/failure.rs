//! Failure strategies.

use crate::field::Field;
use crate::path;
use crate::position::Position;
use crate::problem::Code;
use crate::reader::fields::unknown_value;
use crate::reader::{Context, Fields};

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

/// Reads `failureStrategies` of a stage, group or step.
pub(crate) fn read_all(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Vec<FailureStrategy> {
    let mut strategies = Vec::new();
    for (node, path) in fields.items("failureStrategies", cx) {
        let Some(mut item) = Fields::open(node, path, cx) else {
            continue;
        };
        let inner = item.required_map("onFailure", cx);
        item.accept(&["description"]);
        item.finish(cx);
        if let Some(mut inner) = inner {
            strategies.extend(read(&mut inner, cx));
            inner.finish(cx);
        }
    }
    strategies
}

fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<FailureStrategy> {
    let errors = errors(fields, cx);
    let position = fields.position;
    fields.accept(&["action", "description"]);
    let mut action = fields.required_map("action", cx)?;
    let read = read_action(&mut action, cx);
    action.finish(cx);
    if errors.is_empty() {
        return None;
    }
    Some(FailureStrategy {
        errors,
        action: read?,
        position,
    })
}

fn errors(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Vec<FailureType> {
    let list = fields.texts("errors", cx);
    let Field::Value(texts) = list.value else {
        return Vec::new();
    };
    if texts.is_empty() {
        fields.missing("errors", cx);
    }
    let names: Vec<_> = FailureType::ALL.iter().map(|kind| kind.as_str()).collect();
    let mut errors = Vec::new();
    for (index, text) in texts.into_iter().enumerate() {
        let found = FailureType::ALL
            .iter()
            .find(|kind| kind.as_str() == text.value.text());
        match found {
            Some(kind) => errors.push(*kind),
            None => {
                let word = text.map(|field| field.text().to_owned());
                unknown_value(
                    &path::item(&fields.path_of("errors"), index),
                    &word,
                    &names,
                    cx,
                );
            }
        }
    }
    errors
}

/// Actions of the published schema that cannot be run yet.
const LATER: [&str; 6] = [
    "Retry",
    "RetryStepGroup",
    "ManualIntervention",
    "ProceedWithDefaultValues",
    "StepGroupRollback",
    "PipelineRollback",
];

fn read_action(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<FailureAction> {
    let kind = fields.required_fixed_text("type", cx);
    fields.accept(&["spec"]);
    let kind = kind?;
    let path = fields.path_of("type");
    Some(match kind.as_str() {
        "Ignore" => FailureAction::Ignore,
        "MarkAsSuccess" => FailureAction::MarkAsSuccess,
        "MarkAsFailure" => FailureAction::MarkAsFailure,
        "Abort" => FailureAction::Abort,
        "StageRollback" => FailureAction::StageRollback,
        other if LATER.contains(&other) => {
            let message = format!("`{other}` is kept, and cannot be run yet");
            cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
            FailureAction::Unsupported(kind.value)
        }
        _ => {
            let simple = [
                "Ignore",
                "MarkAsSuccess",
                "MarkAsFailure",
                "Abort",
                "StageRollback",
            ];
            unknown_value(
                &path,
                &kind,
                &[simple.as_slice(), LATER.as_slice()].concat(),
                cx,
            );
            return None;
        }
    })
}
