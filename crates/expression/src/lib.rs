//! The `<+…>` expression language of Harness YAML.
//!
//! A text holds any number of expressions between `<+` and `>`; they nest. [`Evaluator`] replaces them by the
//! values that a [`Context`] knows. Three forms, by where the text stands:
//!
//! - [`Evaluator::text`]: fields and files; the result is text.
//! - [`Evaluator::typed`]: conditions and fields that are not text; the whole text is one expression.
//! - [`Evaluator::tree`]: every string in a YAML tree; a string that is one expression keeps its type.
//!
//! **Undefined names** are an error where their value is used. In `x == null`, `x != null`, `x ?: default`,
//! `empty(x)` and `size(x)` they are null. **Secrets** never enter: `<+secrets.getValue("x")>` becomes a
//! marker ([`SecretMarker`]) that whoever holds the value replaces. Everything is bounded ([`limits`]),
//! since texts and values come from people. Differences from Harness are listed in `docs/compatibility.md`.
//!
//! ```
//! use serde_json::json;
//!
//! let context = sortie_expression::JsonContext::new(json!({"env": {"name": "prod"}, "replicas": 3}));
//! let text = sortie_expression::evaluate_text("app-<+env.name>", &context)?;
//! assert_eq!(text, "app-prod");
//! let more = sortie_expression::evaluate_typed("<+replicas> + 1", &context)?;
//! assert_eq!(more, json!(4));
//! # Ok::<(), sortie_expression::Error>(())
//! ```

mod compare;
mod context;
mod error;
mod evaluate;
mod evaluator;
mod functors;
mod lex;
pub mod limits;
mod methods;
mod number;
mod operand;
mod parse;
mod patterns;
mod postfix;
mod references;
mod run;
mod secret;
mod syntax;

pub use context::{Context, JsonContext, Lookup};
pub use error::{Error, Reason};
pub use evaluator::Evaluator;
pub use references::{Reference, references};
pub use secret::{MissingSecret, SecretMarker};
pub use serde_json::Value;

/// Whether a text may hold expressions. A text without any evaluates to itself.
pub fn has_expressions(text: &str) -> bool {
    text.contains("<+")
}

/// [`Evaluator::text`] with default settings: no clock, no secrets, nothing deferred.
///
/// # Errors
/// See [`Reason`].
pub fn evaluate_text(text: &str, context: &dyn Context) -> Result<String, Error> {
    Evaluator::new(context).text(text)
}

/// [`Evaluator::typed`] with default settings: no clock, no secrets, nothing deferred.
///
/// # Errors
/// See [`Reason`].
pub fn evaluate_typed(text: &str, context: &dyn Context) -> Result<Value, Error> {
    Evaluator::new(context).typed(text)
}

/// [`Evaluator::tree`] with default settings: no clock, no secrets, nothing deferred.
///
/// # Errors
/// See [`Reason`].
pub fn evaluate_tree(tree: &Value, context: &dyn Context) -> Result<Value, Error> {
    Evaluator::new(context).tree(tree)
}
