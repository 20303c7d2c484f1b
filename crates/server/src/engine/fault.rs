//! Why a step could not be handed out.

use sortie_workflow::{Failure, FailureType};

/// Why a step could not be handed out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What the user wrote cannot be carried out; the step fails with this.
    #[error("{message}")]
    Refused {
        /// Stable code.
        code: &'static str,
        /// Which operation on what, why, and what to do.
        message: String,
    },
    /// The store failed; to be tried again.
    #[error("the store failed")]
    Store(#[from] sortie_store::Error),
}

impl Fault {
    /// An entity that is referred to does not exist.
    pub(super) fn missing(what: impl std::fmt::Display) -> Self {
        Self::Refused {
            code: "SRT-S101",
            message: format!("there is no {what}; store it and run the pipeline again"),
        }
    }

    /// An entity uses something that cannot be run yet, or can no longer be read.
    pub(super) fn not_runnable(message: impl Into<String>) -> Self {
        Self::Refused {
            code: "SRT-S102",
            message: message.into(),
        }
    }

    /// An expression cannot be resolved.
    pub(super) fn expression(field: &str, error: &sortie_expression::Error) -> Self {
        Self::Refused {
            code: error.code(),
            message: format!("{field}: {error}"),
        }
    }

    /// Entities do not fit together.
    pub(super) fn mismatch(message: impl Into<String>) -> Self {
        Self::Refused {
            code: "SRT-S105",
            message: message.into(),
        }
    }

    /// Something is larger than can be handed out.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::Refused {
            code: "SRT-S106",
            message: message.into(),
        }
    }

    /// The failure of the step, when it is not the store's.
    pub(super) fn into_failure(self) -> Result<Failure, sortie_store::Error> {
        match self {
            Self::Refused { code, message } => Ok(Failure {
                types: vec![FailureType::Unknown],
                message,
                code: Some(code.to_owned()),
                outputs: serde_json::Value::Null,
            }),
            Self::Store(error) if error.is_transient() => Err(error),
            Self::Store(error) => Ok(Failure {
                types: vec![FailureType::Unknown],
                message: crate::problem::chain(&error),
                code: Some(error.code().to_owned()),
                outputs: serde_json::Value::Null,
            }),
        }
    }
}
