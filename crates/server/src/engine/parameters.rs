//! What the driver keeps in a compiled plan beside what the engine itself needs. Stored with every
//! execution: fields are only ever added.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Of the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PipelineParameters {
    /// Free text.
    pub description: String,
    /// Tags.
    pub tags: Value,
    /// With the values of this run.
    pub variables: Vec<VariableParameter>,
}

/// Of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StageParameters {
    /// Service reference, with expressions.
    pub service: String,
    /// Environment reference, with expressions.
    pub environment: String,
    /// Identifier of the infrastructure, with expressions.
    pub infrastructure: String,
    /// Variables.
    pub variables: Vec<VariableParameter>,
}

/// Of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StepParameters {
    /// `spec` as written, with expressions.
    pub spec: Value,
    /// Delegate selectors of the step or, when it has none, of what is around it: a list of texts,
    /// or one expression.
    pub selectors: Value,
    /// Variables of the step groups around it, outermost first.
    pub group_variables: Vec<VariableParameter>,
}

/// A variable and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VariableParameter {
    /// Its name.
    pub name: String,
    /// A text with expressions, or a number. A secret reads as the expression that yields it.
    pub value: Value,
}
