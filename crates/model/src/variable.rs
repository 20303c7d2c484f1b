//! Variables of pipelines, stages, step groups, services and environments.

use crate::field::Field;
use crate::position::Located;
use crate::reference::RefField;

/// A variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name; may hold dots, dollars and hyphens.
    pub name: Located<String>,
    /// Its value, if it has one.
    pub value: Option<VariableValue>,
    /// Used when there is no value.
    pub default: Option<VariableValue>,
    /// An execution without a value must be refused.
    pub required: bool,
}

/// The value of a variable by its `type`.
#[derive(Clone, Debug)]
pub enum VariableValue {
    /// `String`
    Text(Located<Field<String>>),
    /// `Number`
    Number(Located<Field<f64>>),
    /// `Secret`: reading the variable yields the secret that it names.
    Secret(RefField),
}

impl Variable {
    /// The value that counts: `value`, else `default`.
    pub fn effective(&self) -> Option<&VariableValue> {
        self.value.as_ref().or(self.default.as_ref())
    }
}
