//! Environments.

use crate::reader::{Context, Fields};
use crate::variable::{self, Variable};

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

impl Environment {
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let types = [EnvironmentType::Production, EnvironmentType::PreProduction]
            .map(|environment_type| (environment_type.as_str(), environment_type));
        let environment_type = fields.required_choice("type", &types, cx);
        let variables = variable::read_all(fields, cx);
        fields.accept(&["__uuid", "metadata"]);
        fields.not_runnable(&["overrides"], cx);
        fields.no_effect(&["enforce"], cx);
        Some(Self {
            environment_type: environment_type?,
            variables,
        })
    }
}
