//! Environments.

use crate::variable::Variable;

/// An environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `type`
    pub environment_type: EnvironmentType,
    /// `<+env.variables.…>`
    pub variables: Vec<Variable>,
}

/// Whether an environment is for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnvironmentType {
    /// `Production`
    Production,
    /// `PreProduction`
    PreProduction,
}

impl EnvironmentType {
    /// As written in YAML and as `<+env.type>` yields it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "Production",
            Self::PreProduction => "PreProduction",
        }
    }
}
