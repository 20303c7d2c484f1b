//! Fields that hold a value or an expression.

use crate::position::Located;

/// A field that Harness lets the user give as a value or as text with `<+…>` expressions, which is
/// resolved when the pipeline runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field<T> {
    /// A fixed value.
    Value(T),
    /// Text with at least one `<+…>`; it is the whole scalar, so it may be mixed text.
    Expression(String),
}

/// A text field with its place.
pub type TextField = Located<Field<String>>;

/// A true-or-false field with its place.
pub type FlagField = Located<Field<bool>>;

/// A list of texts, which may be one expression as a whole.
pub type ListField = Located<Field<Vec<TextField>>>;

impl<T> Field<T> {
    /// The fixed value, if it is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Expression(_) => None,
        }
    }

    /// The text with expressions, if it is one.
    pub fn expression(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Expression(text) => Some(text),
        }
    }

    /// Whether this is a runtime input: text that begins with `<+input>`.
    pub fn is_runtime_input(&self) -> bool {
        self.expression().is_some_and(is_runtime_input)
    }
}

impl Field<String> {
    /// The text as written, fixed or not: what goes into the expression evaluator.
    pub fn text(&self) -> &str {
        match self {
            Self::Value(text) | Self::Expression(text) => text,
        }
    }
}

/// Whether a scalar is a runtime input rather than an ordinary expression.
pub(crate) fn is_runtime_input(text: &str) -> bool {
    text.trim_start().starts_with("<+input>")
}

/// Whether a scalar holds an expression.
pub(crate) fn has_expression(text: &str) -> bool {
    text.contains("<+")
}
